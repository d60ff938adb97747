"""One small data set in every format that the library reads."""

import bz2
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import dump_svmlight_file

ROWS = np.array([[0.0, 1.5, -2.0], [3.0, 0.0, 4.0], [1e-3, 2.0, 1e10], [7.0, 8.0, 9.5]])
LABELS = np.array([3, 1, 1, 3])


def write_npz(path: Path) -> None:
    np.savez(path, X=ROWS, y=LABELS)


def write_csv(path: Path) -> None:
    lines = (
        ",".join(map(repr, [*row, label])) for row, label in zip(ROWS.tolist(), LABELS.tolist(), strict=True)
    )
    path.write_text("".join(f"{line}\n" for line in lines))


def write_csv_with_header(path: Path) -> None:
    write_csv(path)
    path.write_text("a,b,c,label\n" + path.read_text())


def write_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": ROWS[:, 0], "b": ROWS[:, 1], "c": ROWS[:, 2], "label": LABELS}), path)


def write_libsvm(path: Path) -> None:
    dump_svmlight_file(ROWS, LABELS, str(path), zero_based=False)


def write_libsvm_bz2(path: Path) -> None:
    write_libsvm(path)
    path.write_bytes(bz2.compress(path.read_bytes()))


WRITERS: dict[str, Callable[[Path], None]] = {
    "a.npz": write_npz,
    "a.csv": write_csv,
    "b.csv": write_csv_with_header,
    "a.parquet": write_parquet,
    "a.libsvm": write_libsvm,
    "a.libsvm.bz2": write_libsvm_bz2,
}
