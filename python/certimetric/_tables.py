"""A certification as tables and files. Heavy libraries are imported when used; nothing is pickled."""

import csv
import io
import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from certimetric._files import write_text, writing
from certimetric._formats import READ_ERRORS, check_file, first_line, open_archive
from certimetric._optional import require
from certimetric.certification import Certification, RunInfo
from certimetric.exceptions import DataError, InputError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["load", "save", "to_arrow", "to_pandas", "to_polars"]

_KEY = "certimetric"
"""Where the header is: in the metadata of Parquet, or among the arrays of an npz."""
_LAYOUT = 2


def columns(cert: Certification) -> dict[str, NDArray[Any]]:
    """The one-dimensional arrays by name; certificates are for those who ask for them."""
    arrays = cert.to_dict()
    return {name: array for name, array in arrays.items() if array.ndim == 1 and name != "certificates"}


def to_pandas(cert: Certification) -> "pd.DataFrame":
    frame: pd.DataFrame = require("pandas", extra="io").DataFrame(
        {name: array.copy() for name, array in columns(cert).items()}
    )
    return frame


def to_polars(cert: Certification) -> "pl.DataFrame":
    frame: pl.DataFrame = require("polars", extra="io").DataFrame(
        {name: array.tolist() if _is_text(array) else array for name, array in columns(cert).items()}
    )
    return frame


def _is_text(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "UO"


def to_arrow(cert: Certification) -> "pa.Table":
    arrow = require("pyarrow", extra="io")
    arrays = {name: _arrow_column(arrow, name, array) for name, array in columns(cert).items()}
    if cert.adversarial is not None:
        flat = arrow.array(np.ascontiguousarray(cert.adversarial).ravel())
        arrays["adversarial"] = arrow.FixedSizeListArray.from_arrays(flat, cert.adversarial.shape[1])
    if cert.certificates is not None:
        arrays["certificates"] = arrow.array(cert.certificates.tolist(), arrow.string())
    return arrow.table(arrays).replace_schema_metadata({_KEY: _header(cert)})


def _header(cert: Certification) -> str:
    types = {name: array.dtype.str for name, array in cert.to_dict().items()}
    return json.dumps({"layout": _LAYOUT, "run": cert.run.to_dict(), "types": types})


def _arrow_column(arrow: Any, name: str, array: NDArray[Any]) -> Any:
    try:
        return arrow.array(array.tolist() if _is_text(array) else array)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        raise InputError(f"{name} holds labels of mixed types, which a table cannot: {error}") from error


def save(cert: Certification, path: str | PathLike[str]) -> None:
    target = Path(path)
    writers: dict[str, Callable[[Certification, Path], None]] = {
        ".parquet": _save_parquet,
        ".npz": _save_npz,
        ".csv": _save_csv,
        ".json": _save_json,
    }
    if target.suffix.lower() not in writers:
        raise InputError(f"path must end in {', '.join(writers)}; got {target.name!r}.")
    writers[target.suffix.lower()](cert, target)


def _save_parquet(cert: Certification, path: Path) -> None:
    parquet = require("pyarrow.parquet", extra="io")
    table = to_arrow(cert)
    with writing(path) as file:
        parquet.write_table(table, file, compression="zstd")


def _save_npz(cert: Certification, path: Path) -> None:
    arrays: dict[str, Any] = {_KEY: _header(cert)}
    for name, array in cert.to_dict().items():
        # An array of objects would be pickled, and reading it would run code from the file: text instead.
        arrays[name] = _as_text(name, array) if array.dtype.kind == "O" else array
    with writing(path) as file:
        np.savez(file, **arrays)


def _as_text(name: str, array: NDArray[Any]) -> str:
    try:
        return json.dumps(array.tolist())
    except TypeError as error:
        raise InputError(f"{name} holds labels that a file cannot: {error}") from error


def _save_csv(cert: Certification, path: Path) -> None:
    table = columns(cert)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(table)
    writer.writerows(zip(*(array.tolist() for array in table.values()), strict=True))
    write_text(path, text.getvalue())


def _save_json(cert: Certification, path: Path) -> None:
    table = {name: [_json_value(value) for value in array.tolist()] for name, array in columns(cert).items()}
    text = json.dumps({"run": cert.run.to_dict(), "points": table}, allow_nan=False, indent=1)
    write_text(path, text + "\n")


def _json_value(value: Any) -> Any:
    # JSON has no infinity; the string is what Python's float() and most other readers take.
    return "inf" if isinstance(value, float) and value == np.inf else value


def load(path: str | PathLike[str]) -> Certification:
    source = Path(path)
    check_file(source)
    return _load_npz(source) if source.suffix.lower() == ".npz" else _load_parquet(source)


def _load_npz(path: Path) -> Certification:
    try:
        with open_archive(path) as archive:
            found = {name: archive[name] for name in archive.files}
    except DataError:
        raise
    except READ_ERRORS as error:
        raise DataError(f"{path}: cannot be read as npz: {first_line(error)}") from error
    header = str(found.pop(_KEY, "{}"))
    return _from_columns(header, lambda name, kind: _unpacked(found[name], kind), path)


def _unpacked(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.array(json.loads(str(array)), dtype=dtype) if dtype.kind == "O" else array


def _load_parquet(path: Path) -> Certification:
    arrow = require("pyarrow", extra="io")
    parquet = require("pyarrow.parquet", extra="io")
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, *READ_ERRORS) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {first_line(error)}") from error
    header = (table.schema.metadata or {}).get(_KEY.encode(), b"{}")
    return _from_columns(header, lambda name, kind: _numpy_column(table.column(name), kind), path)


def _from_columns(
    text: str | bytes, column: Callable[[str, np.dtype[Any]], NDArray[Any]], path: Path
) -> Certification:
    try:
        header = json.loads(text)
        if isinstance(header, dict) and header.get("layout") == _LAYOUT:
            arrays: dict[str, Any] = {"y": None, "adversarial": None, "seconds": None, "certificates": None}
            for name, kind in dict(header["types"]).items():
                arrays[name] = column(name, np.dtype(kind))
            return Certification(run=RunInfo.from_dict(header["run"]), **arrays)
    except READ_ERRORS as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise DataError(f"{path}: not as Certification.save wrote it: {reason}") from error
    raise DataError(f"{path}: not written by Certification.save, or by another version of it.")


def _numpy_column(column: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    if hasattr(column.type, "list_size"):
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=dtype).reshape(len(column), column.type.list_size)
    if dtype.kind in "UO":
        return np.array(column.to_pylist(), dtype=dtype)
    return np.asarray(column.to_numpy().astype(dtype, casting="same_kind"))
