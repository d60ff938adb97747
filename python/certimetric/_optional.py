"""Optional libraries: imported when they are used, with an error that says how to get them."""

from importlib import import_module
from types import ModuleType

from certimetric.exceptions import MissingDependencyError

__all__ = ["require"]


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module.

    Parameters
    ----------
    module : str
        Dotted name, such as ``"pyarrow.parquet"``.
    extra : str
        The extra of this package that installs it.

    Raises
    ------
    MissingDependencyError
        Where it is not installed; the message has the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependencyError(
            f"{package} is needed but cannot be imported ({error}): pip install 'certimetric[{extra}]'"
        ) from error
