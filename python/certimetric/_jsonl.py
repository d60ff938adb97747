"""Files of one JSON object a line, plain or compressed; what the lines say is not looked at here."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

from certimetric import _formats
from certimetric._files import writing
from certimetric._optional import require
from certimetric.exceptions import DataError

__all__ = ["check_file", "check_name", "read_lines", "write_lines"]

_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_CHUNK = 2**20

_PACKED = 2**12
"""Bytes of a zstd file that are unpacked at once: to 30,000 times as many where somebody means harm."""

_LONGEST = 2**30
"""Bytes of a line."""


def check_file(path: Path) -> None:
    """Raise where there is no file, its suffix is unknown, or a library for it is missing."""
    _formats.check_file(path)
    check_name(path)


def check_name(path: Path) -> None:
    """Raise where the suffix is unknown, or a library for it is missing."""
    if not path.name.lower().endswith(_SUFFIXES):
        raise DataError(f"{path}: unknown format; known suffixes are {', '.join(_SUFFIXES)}.")
    if _kind(path) == ".zst":
        require("zstandard", extra="io")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines; the same lines are the same file, byte for byte."""
    check_name(path)
    content = "".join(f"{line}\n" for line in lines).encode()
    if _kind(path) == ".gz":
        content = gzip.compress(content, mtime=0)
    elif _kind(path) == ".zst":
        content = require("zstandard", extra="io").ZstdCompressor(level=10).compress(content)
    with writing(path) as file:
        file.write(content)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbers, from 1, and bytes of the lines that are not blank.

    Raises
    ------
    DataError
        The file is damaged, or ends before its compressed data does, or has a line of more than 1 GiB.
    """
    # A long line comes in many pieces, which are joined once.
    pieces: list[bytes] = []
    number = size = 0
    for chunk in _guarded(path):
        first, *others = chunk.split(b"\n")
        pieces.append(first)
        lengths = [size + len(first), *map(len, others)]
        if max(lengths) > _LONGEST:
            raise DataError(f"{path}: has a line that is longer than any that is written.")
        size = lengths[-1]
        for piece in others:
            line, pieces = b"".join(pieces), [piece]
            number += 1
            if line.strip():
                yield number, line
    line = b"".join(pieces)
    if line.strip():
        yield number + 1, line


def _kind(path: Path) -> str:
    return path.suffix.lower()


def _guarded(path: Path) -> Iterator[bytes]:
    """The content in pieces; whatever a damaged file raises becomes one line that names the file."""
    damage: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
    if _kind(path) == ".zst":
        damage += (require("zstandard", extra="io").ZstdError,)
    try:
        with path.open("rb") as file:
            yield from _unpacked(file, _kind(path))
    except damage as error:
        raise DataError(f"{path}: cannot be read as {_kind(path)[1:]}: {error}") from error


def _unpacked(file: IO[bytes], kind: str) -> Iterator[bytes]:
    if kind == ".zst":
        yield from _frames(file)
        return
    with closing(gzip.GzipFile(fileobj=file) if kind == ".gz" else file) as source:
        while chunk := source.read(_CHUNK):
            yield chunk


def _frames(file: IO[bytes]) -> Iterator[bytes]:
    """What the frames of a zstd file have; zstandard's own reader takes a file that was cut off for whole."""
    zstandard = require("zstandard", extra="io")
    frame, rest = None, b""
    while chunk := rest or file.read(_PACKED):
        frame = frame or zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(chunk)
        rest = frame.unused_data
        if frame.eof:
            frame = None
    if frame is not None:
        raise EOFError("compressed file ended before the end of a frame")
