"""One reader per file format: a path in, rows and labels out; :mod:`certimetric.datasets` checks them."""

import csv
import json
import lzma
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_svmlight_file

from certimetric._optional import require
from certimetric._validation import FloatArray
from certimetric.exceptions import DataError

__all__ = [
    "READ_ERRORS",
    "check_file",
    "first_line",
    "kind_of",
    "read_csv",
    "read_libsvm",
    "read_metric_array",
    "read_notes",
    "read_npy",
    "read_npz",
    "read_parquet",
]

READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    SyntaxError,
    MemoryError,
    EOFError,
    csv.Error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the libraries raise for damaged files, which numpy reads as Python in part; Arrow's derive from these.

The size that a file claims may pass the memory; an archive may be encrypted.
"""


def first_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


_SUFFIXES = {
    ".npz": "npz",
    ".npy": "npy",
    ".csv": "csv",
    ".parquet": "parquet",
    ".libsvm": "libsvm",
    ".svmlight": "libsvm",
    ".svm": "libsvm",
}
_MAGIC = {"npz": b"PK", "npy": b"\x93NUMPY", "parquet": b"PAR1"}
_BINARY = (b"PK", b"\x93NUMPY", b"PAR1", b"\x1f\x8b", b"BZh")


def check_file(path: Path) -> None:
    """Raise where there is no file."""
    if path.is_dir():
        raise DataError(f"{path}: is a directory, but a file is needed.")
    if not path.is_file():
        raise DataError(f"{path}: no such file.")


def kind_of(path: Path) -> str:
    """The format that a suffix stands for."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".bz2", ".gz"):
        suffixes.pop()
        if suffixes and _SUFFIXES.get(suffixes[-1]) == "libsvm":
            return "libsvm"
    elif suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    raise DataError(
        f"{path}: unknown format; known suffixes are {', '.join(_SUFFIXES)}, .libsvm.bz2 and .libsvm.gz."
    )


def check_magic(path: Path) -> None:
    """Raise where the first bytes say that a file is not what its suffix says."""
    kind = kind_of(path)
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise DataError(f"{path}: is empty.")
    compressed = path.suffix.lower() in (".bz2", ".gz")
    wrong = (
        not head.startswith(_MAGIC[kind]) if kind in _MAGIC else not compressed and head.startswith(_BINARY)
    )
    if wrong:
        raise DataError(f"{path}: is not {kind}, whatever its name says (it begins with {head!r}).")


@contextmanager
def open_archive(path: Path) -> Iterator[Any]:
    """An npz, opened for reading; object arrays are refused: reading them would run code from the file."""
    check_magic(path)
    # A file of our own: where the archive is damaged, numpy leaves the one that it opens unclosed.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        yield archive


def read_npz(
    path: Path, split: str | None, x_key: str | None, y_key: str | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Rows and labels of an npz."""
    with open_archive(path) as archive:
        x_names = (x_key,) if x_key else _names("X", split)
        rows_name = next((name for name in x_names if name in archive), None)
        if rows_name is None:
            wanted = " or ".join(map(repr, x_names))
            raise DataError(f"{path}: has no array {wanted}; it has {_listed(archive.files)}.")
        if y_key and y_key not in archive:
            raise DataError(f"{path}: has no array {y_key!r}; it has {_listed(archive.files)}.")
        # Labels belong to the rows that were found: X_train goes with y_train, X with y.
        labels_name = y_key or rows_name.replace("X", "y", 1)
        has_labels = labels_name in archive and labels_name != rows_name
        labels = _array(archive, labels_name, path) if has_labels else None
        return _array(archive, rows_name, path), labels


def _array(archive: Any, name: str, path: Path) -> NDArray[Any]:
    """An array of an npz; for a member that is none, numpy returns its bytes."""
    array = archive[name]
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {name} is not an array.")
    return array


def _listed(names: list[str]) -> str:
    """Some names on one line, whatever is in them."""
    return ", ".join(" ".join(name.split()) for name in names[:12]) or "nothing"


def _names(stem: str, split: str | None) -> tuple[str, ...]:
    return (f"{stem}_{split}", stem) if split else (stem, f"{stem}_train")


def has_test_split(path: Path) -> bool:
    """Whether a file is an npz with ``X_test``."""
    if kind_of(path) != "npz":
        return False
    with open_archive(path) as archive:
        return "X_test" in archive


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an npy."""
    check_magic(path)
    with path.open("rb") as file:
        return np.asarray(np.load(file, allow_pickle=False))


def read_csv(path: Path, label: str | None, n_features: int | None) -> tuple[FloatArray, NDArray[Any] | None]:
    """Numbers separated by commas, with a header or none."""
    check_magic(path)
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        first, more = next(lines, []), any(lines)
    column = _label_column(path, first, label, n_features)
    features = [number for number in range(len(first)) if number != column]
    header = label is not None or not all(_is_number(first[number]) for number in features)
    if header and not more:
        raise DataError(f"{path}: has a header, but no rows.")
    options: dict[str, Any] = {
        "delimiter": ",",
        "skiprows": int(header),
        "comments": None,
        "quotechar": '"',
        "encoding": "utf-8-sig",
    }
    with warnings.catch_warnings():
        # Lines without anything are skipped; numpy would say that it does not count them.
        warnings.simplefilter("ignore", UserWarning)
        rows = np.loadtxt(path, usecols=features, ndmin=2, dtype=np.float64, **options)
        if column is None:
            return rows, None
        labels = np.loadtxt(path, usecols=[column], ndmin=1, dtype=str, **options)
    if "" in labels:
        raise DataError(f"{path}: data row {labels.tolist().index('') + 1} has no label.")
    return rows, _natural(labels)


def _label_column(path: Path, names: list[str], label: str | None, n_features: int | None) -> int | None:
    if label is not None:
        if label not in names:
            raise DataError(f"{path}: has no column {label!r}; it has {_listed(names)}.")
        return names.index(label)
    if len(names) == n_features:
        return None
    if len(names) < 2:
        raise DataError(f"{path}: needs at least two columns, features and a label; it has {len(names)}.")
    return len(names) - 1


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _natural(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as integers or numbers where they all are, as they came otherwise."""
    try:
        numbers = labels.astype(np.float64)
    except (TypeError, ValueError):
        return labels
    whole = (
        np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all() and (np.abs(numbers) < 2**53).all()
    )
    return numbers.astype(np.int64) if whole else numbers


def read_parquet(
    path: Path, label: str | None, n_features: int | None
) -> tuple[FloatArray, NDArray[Any] | None]:
    """Numeric columns, and one of labels."""
    parquet = require("pyarrow.parquet", extra="io")
    check_magic(path)
    table = parquet.read_table(path)
    column = _label_column(path, table.column_names, label, n_features)
    features = [number for number in range(table.num_columns) if number != column]
    rows = np.empty((table.num_rows, len(features)))
    for target, number in enumerate(features):
        try:
            rows[:, target] = table.column(number).to_numpy()
        except (TypeError, ValueError) as error:
            name = table.column_names[number]
            raise DataError(f"{path}: column {name!r} does not hold numbers: {first_line(error)}") from error
    return rows, None if column is None else _natural(np.array(table.column(column).to_pylist()))


def read_libsvm(path: Path, n_features: int | None) -> tuple[FloatArray, NDArray[Any]]:
    """LIBSVM's text, made dense."""
    check_magic(path)
    matrix, labels = load_svmlight_file(str(path), n_features=n_features)
    return np.asarray(matrix.toarray(), dtype=np.float64), _natural(labels)


def _refuse_objects(archive: Any, path: Path) -> None:
    """Raise where any array of an npz is a pickle, whether it would be read or not."""
    for name in archive.zip.namelist():
        if not name.endswith(".npy"):
            continue
        with archive.zip.open(name) as file:
            is_first = np.lib.format.read_magic(file) == (1, 0)
            headers = np.lib.format
            read = headers.read_array_header_1_0 if is_first else headers.read_array_header_2_0
            if read(file)[2].hasobject:
                raise DataError(
                    f"{path}: {name.removesuffix('.npy')} is a pickle of objects, which is not read."
                )


def read_notes(path: Path) -> dict[str, Any]:
    """What an npz says of itself in words, ``about`` as JSON; empty where it says nothing."""
    if kind_of(path) != "npz":
        return {}
    with open_archive(path) as archive:
        about = archive.get("about")
    if about is None or about.shape or about.dtype.kind != "U":
        return {}
    try:
        notes = json.loads(str(about))
    except json.JSONDecodeError:
        return {}
    return notes if isinstance(notes, dict) else {}


def read_metric_array(path: Path) -> tuple[str, NDArray[Any]]:
    """Components or matrix of a metric, and which of the two."""
    kind = kind_of(path)
    if kind == "npy":
        return "matrix", read_npy(path)
    if kind != "npz":
        raise DataError(f"{path}: a metric is read from .npz or .npy.")
    with open_archive(path) as archive:
        _refuse_objects(archive, path)
        for name in ("components_", "components", "G", "M"):
            if name in archive:
                return ("matrix" if name == "M" else "components"), _array(archive, name, path)
        raise DataError(
            f"{path}: has neither components_, components, G nor M; it has {_listed(archive.files)}."
        )
