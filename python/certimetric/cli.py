"""Entry point of the command line; the commands themselves need the extra ``cli``."""

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run ``certimetric``; exit codes: 0 done, 1 internal error, 2 a mistake in the input, 130 Ctrl-C.

    Where the reader of a pipe goes away, SIGPIPE ends the program.
    """
    try:
        import rich  # noqa: F401 - only to see whether it is there
        import typer  # noqa: F401 - the same
    except ImportError as error:
        sys.exit(_missing(error))
    from certimetric._cli_app import app

    if hasattr(signal, "SIGPIPE"):
        # Python ignores it and would report a broken pipe as an error.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    app()


def _missing(error: ImportError) -> int:
    print(
        f"certimetric: the command line needs typer and rich ({error}): pip install 'certimetric[cli]'",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    main()
