"""Reading files: every format gives the same data, and every damage one line that says what is wrong."""

import numpy as np
import pytest

from certimetric import datasets, load_certification
from certimetric.datasets import DataSet, Scaler, read, read_metric
from certimetric.exceptions import DataError
from files import LABELS, ROWS, WRITERS, write_libsvm


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_data(tmp_path, name):
    WRITERS[name](tmp_path / name)
    data = read(tmp_path / name)
    np.testing.assert_array_equal(data.X, ROWS)
    np.testing.assert_array_equal(data.y, LABELS)
    assert data.X.dtype == np.float64
    assert data.y.dtype.kind == "i"
    assert data.X.flags.c_contiguous


@pytest.mark.parametrize("name", ["b.csv", "a.parquet"])
def test_label_column_is_found_by_name(tmp_path, name):
    WRITERS[name](tmp_path / name)
    data = read(tmp_path / name, label="b")
    np.testing.assert_array_equal(data.X, np.c_[ROWS[:, [0, 2]], LABELS])
    np.testing.assert_array_equal(data.y, ROWS[:, 1])
    with pytest.raises(DataError, match="has no column 'z'; it has a, b, c, label"):
        read(tmp_path / name, label="z")


def test_tables_without_labels_are_recognised_by_their_width(tmp_path):
    np.savetxt(tmp_path / "a.csv", ROWS, delimiter=",")
    data = read(tmp_path / "a.csv", n_features=3)
    np.testing.assert_array_equal(data.X, ROWS)
    assert data.y is None
    with pytest.raises(DataError, match="has no labels"):
        data.labels()


def test_text_labels_stay_text(tmp_path):
    (tmp_path / "a.csv").write_text('1,2,"x, y"\n3,4,z\n')
    np.testing.assert_array_equal(read(tmp_path / "a.csv").y, ["x, y", "z"])


def test_splits_of_an_npz_go_with_their_labels(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X_train=ROWS, y_train=LABELS, X_test=ROWS[:1], y_test=[9])
    np.testing.assert_array_equal(read(path, "train").y, LABELS)
    np.testing.assert_array_equal(read(path, "test").y, [9])
    np.testing.assert_array_equal(read(path, x_key="X_test", y_key="y_test").X, ROWS[:1])


def test_npy_has_features_only(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    data = read(tmp_path / "a.npy")
    np.testing.assert_array_equal(data.X, ROWS)
    assert data.y is None


@pytest.mark.parametrize("name", [*WRITERS, "a.npy"])
def test_missing_files_are_named(tmp_path, name):
    with pytest.raises(DataError, match=r"a\.|b\..*: no such file"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "a.libsvm.bz2"])
def test_truncated_files_are_one_line(tmp_path, name):
    WRITERS[name](tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be read as") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_truncated_npy_and_ragged_csv_are_one_line(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as npy"):
        read(tmp_path / "a.npy")
    (tmp_path / "a.csv").write_text("1,2,3\n1,2\n")
    with pytest.raises(DataError, match=r"cannot be read as csv: .*column"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv", ".parquet", ".libsvm"])
@pytest.mark.parametrize("content", ["a.npz", "a.parquet"])
def test_files_of_another_format_are_recognised(tmp_path, suffix, content):
    if content.endswith(suffix):
        pytest.skip("that is its format")
    WRITERS[content](tmp_path / content)
    path = (tmp_path / content).rename(tmp_path / f"wrong{suffix}")
    with pytest.raises(DataError, match=f"is not {suffix[1:]}, whatever its name says"):
        read(path)


@pytest.mark.parametrize("reader", [read, read_metric, load_certification])
def test_directories_are_called_by_their_name(tmp_path, reader):
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(DataError, match=r"a\.npz: is a directory, but a file is needed"):
        reader(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,label\n", "has a header, but no rows"),
        ("a,b,label\n\n", "has a header, but no rows"),
        ("1;2;0\n", "needs at least two columns, features and a label; it has 1"),
        ("1,2,0\n3,4,\n", "data row 2 has no label"),
        ("x" * 200_000, "cannot be read as csv: field larger than"),
    ],
)
def test_tables_without_rows_columns_or_labels_are_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=rf"a\.csv: {message}"):
        read(tmp_path / "a.csv")


def test_a_table_of_one_row_needs_no_header(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,0")
    np.testing.assert_array_equal(read(tmp_path / "a.csv").X, [[1.0, 2.0]])


def test_columns_of_text_are_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1.0], "name": ["x"], "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'name' does not hold numbers"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize("label", [0.5, np.nan, np.inf, None])
def test_labels_that_are_no_classes_are_refused(label):
    labels = np.array([1, label], dtype=object if label is None else float)
    with pytest.raises(DataError, match=rf"rows: labels must be .* but row 2 has {label!r}"):
        DataSet(np.eye(2), labels, "rows").labels()


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv", ".parquet", ".libsvm"])
def test_empty_files_are_refused(tmp_path, suffix):
    (tmp_path / f"a{suffix}").touch()
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.gz"])
def test_unknown_suffixes_are_refused(tmp_path, name):
    (tmp_path / name).write_text("1,2\n")
    with pytest.raises(DataError, match=r"unknown format; known suffixes are \.npz"):
        read(tmp_path / name)


def test_missing_keys_name_those_there_are(tmp_path):
    np.savez(tmp_path / "a.npz", features=ROWS, target=LABELS)
    with pytest.raises(DataError, match="has no array 'X' or 'X_train'; it has features, target"):
        read(tmp_path / "a.npz")
    with pytest.raises(DataError, match="has no array 'labels'; it has features, target"):
        read(tmp_path / "a.npz", x_key="features", y_key="labels")
    np.testing.assert_array_equal(read(tmp_path / "a.npz", x_key="features", y_key="target").y, LABELS)


def test_object_arrays_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.array([{"a": 1}], dtype=object), y=[0])
    with pytest.raises(DataError, match="Object arrays cannot be loaded"):
        read(tmp_path / "a.npz")


def test_a_metric_with_a_pickle_beside_it_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", components_=np.eye(2), about=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="about is a pickle of objects"):
        read_metric(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", components_=np.eye(2), about=np.array("text"))
    np.testing.assert_array_equal(read_metric(tmp_path / "b.npz").components_, np.eye(2))


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.array([[1.0, np.nan]]), [0], "X contains NaN"),
        (np.ones(3), [0, 1, 2], "X must be two-dimensional"),
        (np.ones((3, 2)), [0, 1], r"3 rows, but labels of shape \(2,\)"),
    ],
)
def test_bad_content_names_the_file(tmp_path, rows, labels, message):
    np.savez(tmp_path / "a.npz", X=rows, y=labels)
    with pytest.raises(DataError, match=rf"a\.npz: {message}"):
        read(tmp_path / "a.npz")


def test_libsvm_with_more_features_than_the_training_set_is_refused(tmp_path):
    write_libsvm(tmp_path / "a.svm")
    assert read(tmp_path / "a.svm", n_features=5).X.shape == (4, 5)
    with pytest.raises(DataError, match="n_features"):
        read(tmp_path / "a.svm", n_features=2)


@pytest.mark.parametrize("key", ["M", "G", "components_"])
def test_metrics_are_read_from_npz(tmp_path, key):
    array = np.diag([4.0, 1.0])
    np.savez(tmp_path / "m.npz", **{key: array})
    matrix = read_metric(tmp_path / "m.npz").get_mahalanobis_matrix()
    np.testing.assert_allclose(matrix, array if key == "M" else array @ array)


def test_bad_metric_files_name_what_is_wrong(tmp_path):
    np.save(tmp_path / "m.npy", np.diag([1.0, -1.0]))
    with pytest.raises(DataError, match=r"m\.npy: M must be positive semidefinite"):
        read_metric(tmp_path / "m.npy")
    np.savez(tmp_path / "m.npz", other=np.eye(2))
    with pytest.raises(DataError, match="has neither components_, components, G nor M; it has other"):
        read_metric(tmp_path / "m.npz")


def test_minmax_scaling_is_fitted_on_the_training_set():
    scaler = Scaler.fit(np.array([[0.0, 5.0, -1.0], [10.0, 5.0, 1.0]]), "minmax")
    np.testing.assert_array_equal(scaler(np.array([[5.0, 6.0, 3.0]])), [[0.5, 1.0, 2.0]])


def test_other_scalings_are_what_they_say():
    rows = np.array([[0.0, 51.0]])
    np.testing.assert_array_equal(Scaler.fit(rows, "255")(rows), [[0.0, 0.2]])
    np.testing.assert_array_equal(Scaler.fit(rows, "none")(rows), rows)
    with pytest.raises(DataError, match="scale must be 'minmax', '255' or 'none'; got 'max'"):
        Scaler.fit(rows, "max")


def test_digits_are_split_the_same_way_each_time():
    (train, test), (again, _) = datasets.load_digits_split(1), datasets.load_digits_split(1)
    assert train.X.shape == (1347, 64)
    assert test.X.shape == (450, 64)
    assert train.X.max() == 1.0
    np.testing.assert_array_equal(train.X, again.X)
