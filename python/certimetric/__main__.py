"""``python -m certimetric`` is the command ``certimetric``."""

from certimetric.cli import main

if __name__ == "__main__":
    main()
