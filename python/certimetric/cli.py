"""Entry point of the command line; the commands themselves need the extra ``cli``.

Importing this module takes no time: :func:`main` imports the libraries, and listens to Ctrl-C before that.
"""

import os
import signal
import sys
from collections.abc import Callable

__all__ = ["main"]

_MESSAGE = "certimetric: interrupted"

_INTERRUPTED = 130
"""As shells have it: 128 and the number of the signal."""


def main() -> None:
    """Run ``certimetric``; exit codes: 0 done, 1 internal error, 2 a mistake in the input, 130 Ctrl-C.

    The code of ``verify`` is also 1 where a certificate is rejected. Where the reader of a pipe goes away,
    SIGPIPE ends the program.
    """
    # A caller may have had it ignored, as nohup does.
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listens:
        # An exception could come up anywhere in the libraries' imports, where some are caught or printed.
        signal.signal(signal.SIGINT, _leave)
    app = _load()
    if hasattr(signal, "SIGPIPE"):
        # Python ignores it and would report a broken pipe as an error.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        if listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        app()
    except KeyboardInterrupt:
        print(_MESSAGE, file=sys.stderr)
        sys.exit(_INTERRUPTED)


def _leave(*_: object) -> None:
    os.write(sys.stderr.fileno(), f"{_MESSAGE}\n".encode())
    os._exit(_INTERRUPTED)


def _load() -> Callable[[], object]:
    """The commands; where their libraries are missing, one line that says which extra to install."""
    from certimetric._optional import require
    from certimetric.exceptions import MissingDependencyError

    try:
        for module in ("typer", "rich"):
            require(module, extra="cli")
    except MissingDependencyError as error:
        print(f"certimetric: error: {error}", file=sys.stderr)
        sys.exit(2)
    from certimetric._cli_app import app

    return app
