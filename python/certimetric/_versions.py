"""What is installed: for bug reports and for the provenance of results."""

import functools
import platform
import sys
from importlib import metadata

import joblib

from certimetric import _native

__all__ = ["__version__", "native_build", "show_versions", "versions"]

_PACKAGES = ("numpy", "scikit-learn", "scipy", "joblib")
_OPTIONAL = ("pyarrow", "pandas", "polars", "zstandard", "matplotlib", "typer", "rich")


def native_build() -> dict[str, str]:
    """Version, profile, target, instruction sets and compiler of the Rust core."""
    return dict(_native.build_info())


__version__: str = native_build()["version"]


@functools.cache
def installed(package: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions(*, optional: bool = False) -> dict[str, str]:
    """Versions of what a result depends on.

    Parameters
    ----------
    optional : bool, default=False
        Also list the libraries of the extras; absent ones are given as ``"-"``.

    Returns
    -------
    dict of str to str
    """
    names = _PACKAGES + _OPTIONAL if optional else _PACKAGES
    found = {name: installed(name) or "-" for name in names}
    return {"certimetric": __version__, "python": platform.python_version(), **found}


def show_versions() -> None:
    """Print the versions of certimetric, its dependencies, the Rust core and the machine.

    See Also
    --------
    sklearn.show_versions : The same for scikit-learn.
    """
    build = native_build()
    rows = {**versions(optional=True), "platform": platform.platform(), "executable": sys.executable}
    rows |= {"processors": str(joblib.cpu_count())}
    rows |= {f"core {key}": value for key, value in build.items() if key != "version"}
    width = max(map(len, rows))
    for key, value in rows.items():
        print(f"{key:>{width}}: {value}")
