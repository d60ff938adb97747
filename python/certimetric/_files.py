"""Files that are whole or not there: the one place that writes.

The content goes into a draft beside the file, is brought to the disk, and takes the file's name last. A
program that is killed, a full disk or Ctrl-C leaves what was under the name before, or nothing. Of a program
that was killed the draft may stay, ``.certimetric-0123456789abcdef.part``.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from certimetric.exceptions import InputError, OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_apart", "check_npz", "check_writable", "save_picture", "write_text", "writing"]

_DOTS = 150
"""Of a picture, per inch."""


@contextmanager
def writing(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that replaces ``path`` when the block has ended without an error.

    Through a symbolic link its target is replaced. What is no ordinary file, such as a pipe or
    ``/dev/stdout``, is written in place.

    Raises
    ------
    OutputError
        The system's reason why it cannot be written, and the path.
    """
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file
        else:
            with _draft_of(target.resolve()) as file:
                yield file
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}.") from error


@contextmanager
def _draft_of(target: Path) -> Iterator[BinaryIO]:
    draft = _draft_beside(target)
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _draft_beside(target: Path) -> Path:
    return target.with_name(f".certimetric-{secrets.token_hex(8)}.part")


def check_npz(path: str | PathLike[str], name: str) -> None:
    """Raise where a file to be written would not be read again: by its suffix the format is known."""
    if Path(path).suffix.lower() != ".npz":
        raise InputError(f"{name} must be a file .npz, got {path}.")


def check_apart(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None] | None = None) -> None:
    """Raise where a file to be written is one that is read, or is written twice; the keys name them."""
    known = {_identity(path): name for name, path in (inputs or {}).items() if path is not None}
    for name, path in outputs.items():
        if path is None or (path.exists() and not path.is_file()):
            continue
        other = known.setdefault(_identity(path), name)
        if other != name:
            raise InputError(f"{name} is the same file as {other}, {path}. Name another one.")


def _identity(path: Path) -> object:
    """The same for all names of a file."""
    if path.exists():
        found = path.stat()
        return found.st_dev, found.st_ino
    return path.resolve()


def check_writable(path: str | PathLike[str], name: str) -> None:
    """Raise before any work where a file that is read again could not be written after it."""
    target = Path(path)
    try:
        is_other = target.exists() and not target.is_file()
        if not is_other:
            # Nothing but an attempt knows of permissions, quotas and read-only disks.
            draft = _draft_beside(target.resolve())
            draft.open("xb").close()
            draft.unlink()
    except OSError as error:
        raise OutputError(f"{name}: {target} cannot be written: {error.strerror or error}.") from error
    if is_other:
        raise OutputError(f"{name}: {target} is a folder or a device, but a file is needed.")


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write UTF-8, line ends as they are."""
    with writing(path) as file:
        file.write(text.encode())


def save_picture(figure: "Figure", path: Path) -> None:
    """Write a figure of matplotlib; the suffix says the format."""
    with writing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=_DOTS)
