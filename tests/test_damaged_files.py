"""Whatever is in a file: data, or an error of the library that names the file. Nothing else comes out."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import certimetric as cm
from certimetric import datasets
from certimetric.exceptions import DataError
from files import WRITERS

SETTINGS = settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""Half of the profile's examples for each of two dozen tests; a file may be written again."""

EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "cut", "repeat", "end"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=4,
)
"""What happens to the bytes of a file, and where as a share of its length."""


def edited(content: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    for kind, share, value in edits:
        at = int(share * len(content))
        before, after = content[:at], content[at:]
        content = {
            "set": before + value + after[len(value) :],
            "insert": before + value + after,
            "cut": before + after[8 * len(value) :],
            "repeat": before + after[: len(value)] + after,
            "end": before or value,
        }[kind]
    return content


def read_anything(path: Path, options: dict[str, Any]) -> None:
    """The readers of data and of metrics, on a file that may hold anything."""
    found = result_or_one_line(lambda: datasets.read(path, **options), path)
    if found is not None:
        assert np.isfinite(found.X).all()
        assert found.y is None or found.y.shape == (len(found.X),)
        assert options.get("n_features") in (None, found.X.shape[1])
    result_or_one_line(lambda: datasets.read_metric(path), path)


def load_anything(path: Path) -> None:
    """The reader of results."""
    cert = result_or_one_line(lambda: cm.load_certification(path), path)
    if cert is not None:
        assert len(cert.upper) == len(cert) == len(cert.status)


def result_or_one_line(reader: Callable[[], Any], path: Path) -> Any:
    """What the reader returns; None where it raised the documented error: a line that names the file."""
    try:
        return reader()
    except DataError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return None


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "split": st.sampled_from(["train", "test"]),
        "n_features": st.integers(1, 5),
        "label": st.sampled_from(["label", "b", "z"]),
    },
)


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder, found = tmp_path_factory.mktemp("files"), {}
    for name, write in WRITERS.items():
        write(folder / name)
        found[name] = (folder / name).read_bytes()
    np.save(folder / "a.npy", np.eye(3))
    return {**found, "a.npy": (folder / "a.npy").read_bytes()}


@pytest.mark.parametrize("name", [*WRITERS, "a.npy"])
@SETTINGS
@given(edits=EDITS, options=OPTIONS)
def test_damaged_data_is_one_error(tmp_path, contents, name, edits, options) -> None:
    (tmp_path / name).write_bytes(edited(contents[name], edits))
    read_anything(tmp_path / name, options)


@pytest.mark.parametrize("name", [*WRITERS, "a.npy"])
@SETTINGS
@given(content=st.binary(max_size=200), kept=st.integers(0, 8), options=OPTIONS)
def test_random_bytes_are_one_error(tmp_path, contents, name, content, kept, options) -> None:
    (tmp_path / name).write_bytes(contents[name][:kept] + content)
    read_anything(tmp_path / name, options)


CSV = st.lists(
    st.lists(
        st.sampled_from(["1", "-2.5", "a", "", '"', "nan", "1e400", " ", "\u00e9", "\x00", "'"]), max_size=4
    ),
    max_size=5,
)
LIBSVM = st.lists(
    st.lists(
        st.sampled_from(["1", "-1", "1:2", "2:-0.5", "3:nan", "0:1", "qid:1", "9:", "a", "#"]), max_size=4
    ),
    max_size=5,
)


@SETTINGS
@given(lines=CSV, ending=st.sampled_from(["\n", "\r\n", "\r"]), options=OPTIONS)
def test_any_table_of_text_is_data_or_one_error(tmp_path, lines, ending, options) -> None:
    text = ending.join(",".join(line) for line in lines)
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    read_anything(tmp_path / "a.csv", options)


@SETTINGS
@given(lines=LIBSVM, options=OPTIONS)
def test_any_sparse_text_is_data_or_one_error(tmp_path, lines, options) -> None:
    (tmp_path / "a.svm").write_text("\n".join(" ".join(line) for line in lines))
    read_anything(tmp_path / "a.svm", options)


ARRAYS = [
    np.eye(3),
    np.ones((2, 2, 2)),
    np.zeros((0, 3)),
    np.zeros((3, 0)),
    np.float64(3),
    np.arange(3),
    np.array(["a", "b", "c"]),
    np.array([b"a", b"b", b"c"]),
    np.array([True, False, True]),
    np.array([1j, 2, 3]),
    np.array(["2020-01-01"] * 3, dtype="M8[D]"),
    np.array([1, 2, 3], dtype="m8[s]"),
    np.zeros(3, dtype=[("a", "f8"), ("b", "i4")]),
    np.array([1.5, np.nan, np.inf]),
    np.array([[1.0, np.nan]]),
    np.eye(3, dtype=np.float16),
    np.eye(3, dtype=np.longdouble),
    np.full((3, 2), 1e200),
    np.zeros(3, dtype="V5"),
    np.asfortranarray(np.arange(6.0).reshape(3, 2)),
    np.eye(3, dtype=">f8"),
    np.array([1, 2**63, 3], dtype=np.uint64),
]
NAMES = ["X", "y", "X_train", "y_train", "X_test", "y_test", "M", "G", "components_", "certimetric", "lower"]


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """An npz whose checksums are right, with arrays of all types, some of them damaged."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5)):
            content = npy(draw(st.sampled_from(ARRAYS)))
            if draw(st.booleans()):
                content = edited(content, draw(EDITS))
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


@SETTINGS
@given(content=archives(), options=OPTIONS)
def test_any_archive_is_data_or_one_error(tmp_path, content, options) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    read_anything(tmp_path / "a.npz", options)
    load_anything(tmp_path / "a.npz")


COLUMNS = [
    pa.array([1.0, None, 3.0]),
    pa.array([1, None, 3]),
    pa.array([1, 2, 3]),
    pa.array([0.5, 1.5, float("nan")]),
    pa.array(["a", None, "c"]),
    pa.array(["1", "2", "3"]),
    pa.array([None, None, None]),
    pa.array([True, None, False]),
    pa.array([b"a", b"b", b"\xff"]),
    pa.array([[1], [2, 3], []]),
    pa.array([{"a": 1}, {"a": 2}, None]),
    pa.array([1, 2, 3], pa.timestamp("s")),
    pa.array([1, 2, 3], pa.date32()),
    pa.array([1, 2, 3], pa.duration("s")),
    pa.array([1, 2, 3], pa.time32("s")),
    pa.array([1, 2, 3], pa.decimal128(5, 2)),
    pa.array(["a", "b", "a"]).dictionary_encode(),
    pa.array([1.0, 2.0, 3.0], pa.float16()),
    pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float64(), 2)),
]


@SETTINGS
@given(columns=st.lists(st.sampled_from(COLUMNS), max_size=4), twice=st.booleans(), options=OPTIONS)
def test_any_parquet_is_data_or_one_error(tmp_path, columns, twice, options) -> None:
    names = ["a", "b", "label", "a" if twice else "c"][: len(columns)]
    pq.write_table(pa.Table.from_arrays(columns, names), tmp_path / "a.parquet")
    read_anything(tmp_path / "a.parquet", options)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("results")
    clf = cm.CertifiedKNeighborsClassifier().fit(np.eye(3), ["a", "b", "b"])
    cert = clf.certify(0.1 * np.eye(3)[:2], ["a", "b"], return_adversarial=True)
    for suffix in ("npz", "parquet"):
        cert.save(folder / f"run.{suffix}")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["run.npz", "run.parquet"])
@SETTINGS
@given(edits=EDITS)
def test_damaged_results_are_one_error(tmp_path, saved, name, edits) -> None:
    (tmp_path / name).write_bytes(edited(saved[name], edits))
    load_anything(tmp_path / name)


@pytest.mark.parametrize("name", ["run.npz", "run.parquet"])
@SETTINGS
@given(content=st.binary(max_size=200), kept=st.integers(0, 8))
def test_random_bytes_are_no_result(tmp_path, saved, name, content, kept) -> None:
    (tmp_path / name).write_bytes(saved[name][:kept] + content)
    load_anything(tmp_path / name)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["f8", "<f8", "O", "<U4", "lower", "x", "i4,i4"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("name", ["run.npz", "run.parquet"])
@SETTINGS
@given(data=st.data())
def test_damaged_headers_are_one_error(tmp_path, saved, name, data) -> None:
    """One entry of the header is another, or gone, or one column is of another type or gone."""
    (tmp_path / name).write_bytes(saved[name])
    arrays, header = taken_apart(tmp_path / name)
    target = data.draw(st.sampled_from([header, header["run"], header["types"], arrays]))
    key = data.draw(st.sampled_from(sorted(target)))
    del target[key]
    if data.draw(st.booleans()):
        values = [a[:2] for a in ARRAYS if a.ndim == 1 and a.dtype.names is None and a.dtype.kind in "iufU"]
        target[key] = data.draw(st.sampled_from(values) if target is arrays else VALUES)
    put_together(tmp_path / name, arrays, json.dumps(data.draw(st.sampled_from([header, [header], None]))))
    load_anything(tmp_path / name)


def taken_apart(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and header of a result."""
    if path.suffix == ".npz":
        with np.load(path) as archive:
            arrays = dict(archive)
        return arrays, json.loads(str(arrays.pop("certimetric")))
    table = pq.read_table(path)
    return dict(zip(table.column_names, table.columns, strict=True)), json.loads(
        table.schema.metadata[b"certimetric"]
    )


def put_together(path: Path, arrays: dict[str, Any], header: str) -> None:
    if path.suffix == ".npz":
        np.savez(path, certimetric=header, **arrays)
    else:
        pq.write_table(pa.table(arrays).replace_schema_metadata({"certimetric": header}), path)
