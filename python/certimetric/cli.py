"""Entry point of the command line; the commands themselves need the extra ``cli``."""

import signal
import sys

from certimetric._optional import require
from certimetric.exceptions import MissingDependencyError

__all__ = ["main"]


def main() -> None:
    """Run ``certimetric``; exit codes: 0 done, 1 internal error, 2 a mistake in the input, 130 Ctrl-C.

    Where the reader of a pipe goes away, SIGPIPE ends the program.
    """
    try:
        for module in ("typer", "rich"):
            require(module, extra="cli")
    except MissingDependencyError as error:
        print(f"certimetric: error: {error}", file=sys.stderr)
        sys.exit(2)
    from certimetric._cli_app import app

    if hasattr(signal, "SIGPIPE"):
        # Python ignores it and would report a broken pipe as an error.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    app()


if __name__ == "__main__":
    main()
