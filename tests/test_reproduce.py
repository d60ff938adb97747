"""Published tables, again: protocol, cells that are kept, what is printed and written, mistakes."""

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.utils import shuffle
from typer.testing import CliRunner

import certimetric as cm
from certimetric._cli_app import app
from certimetric.learning import ARML, ExactRadius
from certimetric.reproduce import METRICS, PROTOCOLS, TABLES, Cell, Protocol, Source, Store, load, report
from certimetric.reproduce.metrics import PROTOTYPES
from certimetric.reproduce.picture import draw

PUBLISHED = np.array([0.039, 0.126, 0.316, 0.577, 0.784, 0.937])
RADII = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def write(path, rng, n=60, m=25, d=3):
    """A small data set of three classes that overlap, as an npz of two halves."""
    labels = np.arange(n + m) % 3
    rows = rng.normal(size=(n + m, d)) + labels[:, None]
    np.savez(path, X_train=rows[:n], y_train=labels[:n], X_test=rows[n:], y_test=labels[n:])
    return path


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    """A folder with two of the published names; runs happen beside it."""
    monkeypatch.delenv("CERTIMETRIC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("pendigits", "splice"):
        write(tmp_path / "data" / f"{name}.npz", rng)
    write(tmp_path / "mine.npz", rng)
    return tmp_path


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    """Most tests are not about pictures, which take longer than all else here."""
    monkeypatch.setattr("certimetric._cli_reproduce.draw", lambda _, path: path.touch())


@pytest.fixture
def pictures(monkeypatch, quick_pictures):
    """The figures that are drawn after all."""
    figures, savefig = [], Figure.savefig
    monkeypatch.setattr("certimetric._cli_reproduce.draw", draw)
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), savefig(self, *a, **k))
    )
    return figures


def run(*arguments, table="knn-table"):
    return CliRunner().invoke(app, ["reproduce", table, *map(str, arguments), "--quiet"])


def done(*arguments, table="knn-table", out="certimetric-reproduced"):
    """The records of the CSV that a run writes."""
    result = run(*arguments, "--out", out, table=table)
    assert result.exit_code == 0, result.output
    with Path(out, f"{table}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)), result.stdout


def numbers(records, column, **wanted):
    """A column of the records that have the wanted values."""
    chosen = [r for r in records if all(r[name] == str(value) for name, value in wanted.items())]
    return [float(r[column]) for r in chosen]


def direct(path, k, points=1000, **options):
    """The same by the library itself: scaled by the training set, shuffled by 42."""
    with np.load(path) as archive:
        X, y, Z, t = (archive[name] for name in ("X_train", "y_train", "X_test", "y_test"))
    low, span = X.min(axis=0), np.ptp(X, axis=0)
    Z, t = shuffle((Z - low) / span, t, random_state=42)
    model = cm.CertifiedKNeighborsClassifier(k).fit((X - low) / span, y)
    return model.certify(Z[:points], t[:points], **options)


@pytest.fixture
def computed(monkeypatch):
    """The cells that are computed, in turn."""
    cells, certify = [], Cell.certify

    def counted(self, *args, **kwargs):
        cells.append(self)
        return certify(self, *args, **kwargs)

    monkeypatch.setattr(Cell, "certify", counted)
    return cells


def test_the_protocol_scales_by_the_training_set_and_takes_the_first_points_of_a_shuffle(folder):
    source = Source("mine", folder / "mine.npz", protocol=Protocol(points=7))
    split = load(source)
    with np.load(folder / "mine.npz") as archive:
        order = shuffle(np.arange(25), random_state=42)[:7]
        low, span = archive["X_train"].min(axis=0), np.ptp(archive["X_train"], axis=0)
        np.testing.assert_array_equal(split.X, (archive["X_train"] - low) / span)
        np.testing.assert_array_equal(split.Z, (archive["X_test"][order] - low) / span)
        np.testing.assert_array_equal(split.t, archive["y_test"][order])


def test_published_protocols_are_those_of_the_paper():
    assert PROTOCOLS.keys() == set(TABLES["knn-table"].data_sets) == set(TABLES["nn-table"].data_sets)
    assert {name for name, protocol in PROTOCOLS.items() if protocol.scale == "255"} == {
        "mnist",
        "fashion_mnist",
    }
    assert [name for name, protocol in PROTOCOLS.items() if protocol.points != 1000] == ["splice"]


def test_ours_and_the_difference_stand_beside_the_published_numbers(folder):
    records, shown = done("--data", "data", "--only", "pendigits", "-k", 3, 11)
    bound = direct("data/pendigits.npz", 11, method="bound", rule="majority").certified_error(RADII)
    chosen = {"n_neighbors": 11, "method": "bound"}
    np.testing.assert_allclose(numbers(records, "certified_error", **chosen), bound, rtol=1e-15)
    np.testing.assert_array_equal(numbers(records, "published", **chosen), PUBLISHED)
    np.testing.assert_allclose(numbers(records, "difference", **chosen), bound - PUBLISHED, atol=1e-11)
    assert {r["published"] for r in records if r["method"] == "exact" or r["n_neighbors"] == "3"} == {""}
    table = (folder / "certimetric-reproduced" / "knn-table.md").read_text(encoding="utf-8")
    for text in (shown, table):
        assert "NeurIPS 2020" in text
        words = text.replace("|", " ").split()
        for values, form in ((PUBLISHED, "{:.3f}"), (bound, "{:.3f}"), (bound - PUBLISHED, "{:+.3f}")):
            row = [form.format(value) for value in values]
            assert any(words[i : i + 6] == row for i in range(len(words))), row
        assert "published numbers differ" in text


def test_equal_numbers_are_called_so(folder, monkeypatch):
    ours = direct("data/pendigits.npz", 11, method="bound", rule="majority").certified_error(RADII)
    kind = TABLES["knn-table"].published
    monkeypatch.setitem(kind.errors["euclidean"], "pendigits", tuple(np.round(ours, 3)))
    _, shown = done("--data", "data", "--only", "pendigits", "-k", 11, "--rule", "majority")
    assert "all 6 published numbers agree to three digits\n" in shown
    _, shown = done("--data", "data", "--only", "pendigits", "-k", 11, "--points", 5)
    assert "(published over 1,000 test points)" in shown


@pytest.mark.parametrize("rule", ["majority", "plurality"])
def test_exact_cells_are_those_of_the_library(folder, rule):
    records, _ = done("--data", "data", "--only", "pendigits", "-k", 5)
    cert = direct("data/pendigits.npz", 5, rule=rule)
    chosen = {"rule": rule, "method": "exact"}
    np.testing.assert_allclose(numbers(records, "certified_error", **chosen), cert.certified_error(RADII))
    np.testing.assert_allclose(numbers(records, "attack_error", **chosen), cert.attack_error(RADII))
    assert set(numbers(records, "share_proven", **chosen)) == {1.0}


def test_bounded_intervals_give_both_ends(folder):
    limited, shown = done("--data", "data", "--only", "pendigits", "-k", 11, "--point-time-limit", 0)
    exact = direct("data/pendigits.npz", 11, rule="majority").certified_error(RADII)
    chosen = {"rule": "majority", "method": "exact"}
    certified, attacked = (
        np.array(numbers(limited, f"{n}_error", **chosen)) for n in ("certified", "attack")
    )
    assert (attacked <= exact).all()
    assert (exact <= certified).all()
    assert (attacked < certified).any()
    (share,) = set(numbers(limited, "share_proven", **chosen))
    assert share < 1
    assert min(numbers(limited, "widest_interval", **chosen)) > 0
    radius = int(np.argmax(certified - attacked))
    assert f"{attacked[radius]:.3f}–{certified[radius]:.3f}" in shown
    assert f"{share:.1%}" in shown


def test_two_numbers_that_are_the_same_to_three_digits_are_one(certification):
    ends = np.ones(len(certification))
    tied = replace(certification, lower=ends, upper=ends + 1e-13)
    wide = replace(certification, lower=ends, upper=3 * ends)
    cell = Cell(3, "majority", "exact")
    many = wide[[0]], tied[np.zeros(2999, dtype=int)], wide[np.zeros(20, dtype=int)]
    lower, upper = (np.concatenate([getattr(cert, end) for cert in many]) for end in ("lower", "upper"))
    base = certification[np.zeros(len(lower), dtype=int)]
    mixed = replace(base, lower=lower, upper=upper)
    assert report.shares(cell, mixed, np.array([0.5, 2.0, 3.0])) == ["0.000", "0.993–1.000", "1.000"]
    assert report.shares(cell, mixed[:3000], np.array([2.0])) == ["1.000"]


def test_a_second_run_computes_nothing_and_writes_the_same(folder, computed):
    first, _ = done("--data", "data", "-k", 3, 11)
    assert len(computed) == 2 * 6
    again, shown = done("--data", "data", "-k", 3, 11, "--jobs", 2)
    assert len(computed) == 2 * 6
    assert again == first
    assert shown.count("kept from an earlier run") == 12
    done("--data", "data", "-k", "3,5", "--only", "splice")
    assert {cell.n_neighbors for cell in computed[12:]} == {5}


def test_what_determines_a_cell_is_in_its_name(folder, computed, rng, monkeypatch):
    choice = ("--data", "data", "--only", "pendigits", "-k", 5, "--rule", "plurality")
    done(*choice)
    done(*choice, "--points", 10)
    assert len(computed) == 2
    write(folder / "data" / "pendigits.npz", rng)
    done(*choice)
    assert len(computed) == 3
    monkeypatch.setattr("certimetric.reproduce.cells.native_build", lambda: {"version": "9.9"})
    done(*choice)
    assert len(computed) == 4


def test_only_cells_that_are_not_proven_depend_on_the_limit(folder, computed):
    choice = ("--data", "data", "--only", "pendigits", "-k", 11, "--rule", "plurality", "--point-time-limit")
    for limit, count in ((0, 1), (0, 1), (20, 2), (30, 2), ("inf", 2), (0, 2)):
        records, _ = done(*choice, limit)
        assert len(computed) == count
    assert set(numbers(records, "share_proven")) == {1.0}


def test_damaged_cells_are_computed_again(folder, computed):
    choice = ("--data", "data", "--only", "pendigits", "-k", 3, "--rule", "plurality")
    first, _ = done(*choice)
    (cell,) = (folder / "certimetric-reproduced" / "cells").iterdir()
    cell.write_bytes(cell.read_bytes()[:100])
    again, _ = done(*choice)
    assert len(computed) == 2
    assert numbers(again, "certified_error") == numbers(first, "certified_error")
    assert list(cell.parent.iterdir()) == [cell]


def test_a_cell_that_cannot_be_written_leaves_no_file_of_its_name(folder, monkeypatch):
    def full(file, **_):
        file.write(b"PK half")
        raise OSError("no space left")

    choice = ("--data", "data", "--only", "pendigits", "-k", 3, "--rule", "plurality")
    monkeypatch.setattr(np, "savez", full)
    assert "no space left" in run(*choice).stderr
    store = Store(folder / "certimetric-reproduced" / "cells")
    split = load(Source("pendigits", folder / "data" / "pendigits.npz"))
    assert store.get(split, Cell(3, "plurality", "exact", 10.0)) is None
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize("before", [0, 2, 4])
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(folder, pictures, computed, monkeypatch, before):
    certify = Cell.certify

    def interrupted(self, *args, **kwargs):
        if len(computed) == before:
            raise KeyboardInterrupt
        return certify(self, *args, **kwargs)

    choice = ("--data", "data", "-k", 3)
    with monkeypatch.context() as patch:
        patch.setattr(Cell, "certify", interrupted)
        result = run(*choice)
    assert result.exit_code == 130
    kept = f"{before} of 6 certifications are kept in certimetric-reproduced/cells"
    assert result.stderr == f"certimetric: interrupted: {kept}; the same command goes on from there.\n"
    table = folder / "certimetric-reproduced" / "knn-table.md"
    assert table.exists() == (before > 0)
    if before == 2:
        assert "Not finished: 1 of 3 certifications are missing." in table.read_text(encoding="utf-8")
    done(*choice)
    assert len(computed) == 6
    assert "Not finished" not in table.read_text(encoding="utf-8")


def test_own_data_has_no_published_numbers(folder):
    (folder / "mine.npz").rename("pendigits.npz")
    records, shown = done("--data", "pendigits.npz", "-k", 11, "--eps", "0,0.25")
    assert {r["published"] for r in records} == {""}
    assert "none of this is published" in shown
    cert = direct("pendigits.npz", 11, rule="plurality")
    np.testing.assert_allclose(
        numbers(records, "certified_error", rule="plurality"), cert.certified_error([0, 0.25])
    )
    assert "published," not in (folder / "certimetric-reproduced" / "knn-table.md").read_text()


def test_own_data_may_be_two_files_and_its_radii_round(folder):
    with np.load("mine.npz") as archive:
        for half in ("train", "test"):
            table = np.c_[archive[f"X_{half}"], archive[f"y_{half}"]]
            np.savetxt(f"{half}.csv", table, delimiter=",", fmt="%.17g")
    records, _ = done("--data", "train.csv", "--test", "test.csv", "-k", 3, "--scale", "none")
    split = load(Source("train", folder / "train.csv", folder / "test.csv", Protocol("none")))
    model = cm.CertifiedKNeighborsClassifier(3).fit(split.X, split.y)
    cert = model.certify(split.Z, split.t, rule="majority")
    chosen = {"method": "exact", "rule": "majority"}
    radii = numbers(records, "radius", **chosen)
    assert radii[0] == 0
    assert cert.certified_error(radii[-1]) > 0.5
    np.testing.assert_allclose(numbers(records, "certified_error", **chosen), cert.certified_error(radii))


def test_labels_of_own_data_are_where_one_says(folder):
    with np.load("mine.npz") as archive:
        np.savez("named.npz", **archive, digit=archive["y_train"])
        for half in ("train", "test"):
            table = np.c_[archive[f"y_{half}"], archive[f"X_{half}"]]
            names = ",".join(["digit", *(f"pixel{i}" for i in range(table.shape[1] - 1))])
            np.savetxt(f"{half}.csv", table, delimiter=",", fmt="%.17g", header=names, comments="")
    choice = ("-k", 3, "--eps", "0,0.25", "--rule", "majority")
    known, _ = done("--data", "mine.npz", *choice)
    for given in (
        ("--data", "train.csv", "--test", "test.csv", "--label", "digit"),
        ("--data", "named.npz", "--y-key", "digit"),
    ):
        records, _ = done(*given, *choice)
        assert numbers(records, "certified_error") == numbers(known, "certified_error")


def test_one_neighbor_has_one_row_whatever_the_rules():
    cells = TABLES["knn-table"].cells((1, 3), ("majority", "plurality"), None)
    assert len({str(cell) for cell in cells}) == len(cells)
    assert [cell.rule for cell in cells if cell.n_neighbors == 3] == ["majority", "majority", "plurality"]


def test_points_and_data_sets_that_are_there_are_taken(folder):
    records, shown = done("--data", "data", "-k", 3, "--points", 10)
    assert {(r["data_set"], r["points"]) for r in records} == {("pendigits", "10"), ("splice", "10")}
    assert "MNIST" not in shown
    write(folder / "data" / "splice.npz", np.random.default_rng(1), m=1100)
    write(folder / "data" / "pendigits.npz", np.random.default_rng(1), m=1100)
    records, _ = done("--data", "data", "-k", 1, "--rule", "plurality")
    assert {(r["data_set"], r["points"]) for r in records} == {("pendigits", "1000"), ("splice", "1100")}


def test_lists_may_be_written_either_way(folder, computed):
    done("--data", "data", "-k", 3, 5, "--rule", "majority", "plurality", "--only", "splice", "pendigits")
    assert len(computed) == 12
    done(
        "--data", "data", "--neighbors", 3, "-k", 5, "-k", 3, "--rule", "majority", "--rule", "plurality",
        "--only", "splice", "--only", "pendigits",
    )  # fmt: skip
    assert len(computed) == 12


def test_the_table_of_one_neighbor_is_exact(folder):
    records, shown = done("--data", "data", table="nn-table")
    assert len(records) == 2 * 6
    cert = direct("data/pendigits.npz", 1)
    np.testing.assert_allclose(
        numbers(records, "certified_error", data_set="pendigits"), cert.certified_error(RADII)
    )
    assert numbers(records, "published", data_set="pendigits") == [0.032, 0.119, 0.347, 0.606, 0.829, 0.969]
    assert "K = 1, exact, published" in shown


def test_the_folder_of_the_environment_is_the_default(folder, monkeypatch):
    monkeypatch.setenv("CERTIMETRIC_DATA", str(folder / "data"))
    done("--only", "splice", "-k", 3)


def test_pictures_have_a_panel_for_each_data_set_and_rule(folder, pictures):
    done("--data", "data", "-k", 11, "--point-time-limit", 0)
    (figure,) = pictures
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "Pendigits, 25 points, majority rule"
    assert len(titles) == 4
    assert all(axes.collections for axes in figure.axes), "bands down to the attack error"
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    np.testing.assert_array_equal(marks[0].get_ydata(), PUBLISHED)
    picture = folder / "certimetric-reproduced" / "knn-table.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "'--data'"),
        (("--data", "none"), "--data: none: no such file or folder"),
        (("--data", "empty"), "--data: empty has none of the data sets of the table, pendigits, satimage, "),
        (("--data", "data", "--only", "iris"), "--only must name data sets of the table, pendigits, "),
        (("--data", "data", "--only", "usps"), "--only: data/usps.npz: no such file"),
        (("--data", "data", "--only", "pendigits,", "usps"), "--only: data/usps.npz: no such file"),
        (("--data", "data", "--only=pendigits,usps"), "--only: data/usps.npz: no such file"),
        (("--data", "data", "--only", ","), "--only must name data sets of the table, pendigits, "),
        (("--data", "mine.npz", "--only", "usps"), "--only chooses among the data sets of a folder, but"),
        (
            ("--data", "data", "--test", "mine.npz"),
            "--test is for a data file of your own, but --data",
        ),
        (("--data", "data", "--scale", "none"), "--scale is for a data file of your own"),
        (("--data", "data", "--eps", "0,1"), "--eps is for a data file of your own"),
        (("--data", "data", "--y-key", "digit"), "--y-key is for a data file of your own"),
        (("--data", "mine.npz", "--label", "digit"), "--label names the label column of a csv or parquet"),
        (("--data", "mine.npz", "--y-key", "digit"), "has no array 'digit'"),
        (("--data", "mine.npz", "--eps", "0;1"), "--eps must be numbers separated by commas"),
        (("--data", "mine.npz", "--test", "none.csv"), "none.csv: no such file"),
        (("--data", "half.npz"), "half.npz: has no X_test, so --test must name a file of test data"),
        (("--data", "unlabelled.npz"), "has no labels, but they are needed here"),
        (("--data", "mine.txt"), "mine.txt: unknown format"),
        (("--data", "data", "-k", "0"), "--neighbors must be at least 1, got 0"),
        (("--data", "data", "-k", "3", "61"), "--neighbors must be at most n_samples = 60, got 61"),
        (("--data", "mine.npz", "-k", "3", "61"), "--neighbors must be at most n_samples = 60, got 61"),
        (("--data", "data", "-k", "two"), "'--neighbors'"),
        (("--data", "data", "--rule", "all"), "--rule must be plurality or majority; got 'all'"),
        (("--data", "data", "--points", "0"), "'--points'"),
        (("--data", "data", "--point-time-limit", "-1"), "--point-time-limit must be at least 0"),
        (("--data", "data", "--jobs", "0"), "--jobs must not be 0"),
        (("--data", "data", "--out", "mine.npz"), "--out: mine.npz is a file, but a folder is needed"),
        (("--data", "data", "--out", "no/such"), "no does not exist"),
        (("--data", "broken"), "broken/splice.npz: has no array 'y_test'"),
        (("--data", "data", "pendigits"), "unexpected extra argument"),
    ],
)
def test_mistakes_are_one_line_before_any_work(folder, computed, arguments, message):
    for name in ("empty", "broken"):
        (folder / name).mkdir()
    write(folder / "broken" / "pendigits.npz", np.random.default_rng(0))
    np.savez("broken/splice.npz", X_train=np.eye(3), y_train=[0, 1, 2], X_test=np.eye(3))
    np.savez("half.npz", X_train=np.eye(3), y_train=[0, 1, 2])
    np.savez("unlabelled.npz", X_train=np.eye(3), y_train=[0, 1, 2], X_test=np.eye(3))
    (folder / "mine.txt").write_text("1,2\n")
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.startswith("certimetric: error: ")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert computed == []
    assert not (folder / "certimetric-reproduced").exists()


def test_without_a_table_there_is_help_and_exit_code_two():
    result = CliRunner().invoke(app, ["reproduce"])
    assert result.exit_code == 2
    assert "knn-table" in result.stderr
    assert "nn-table" in result.stderr


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", ["pendigits", "satimage"])
def test_published_rows_are_reproduced_to_three_digits(data_folder, tmp_path, name):
    for table, options in (("nn-table", ()), ("knn-table", ("-k", 11, "--rule", "majority"))):
        records, shown = done(
            "--data", data_folder, "--only", name, *options, table=table, out=tmp_path / "out"
        )
        assert "all 6 published numbers agree to three digits\n" in shown
    published, exact = (
        np.array(numbers(records, "certified_error", method=method)) for method in ("bound", "exact")
    )
    assert (exact <= published).all()
    assert (exact < published).any()


@pytest.fixture
def quick_fits(monkeypatch):
    """ARML of few epochs; the fits that are made, in turn."""
    fits, fit = [], ARML.fit
    monkeypatch.setattr(ARML, "fit", lambda self, X, y: (fits.append(X.shape), fit(self, X, y))[1])
    monkeypatch.setitem(METRICS, "arml", lambda _: ARML(max_iter=5, random_state=0))
    return fits


@pytest.fixture
def quick_prototypes(monkeypatch):
    """The prototypes of a table and their metric, with fewer epochs."""

    def shortened(make, split):
        return make(split).set_params(max_iter=20, metric__max_iter=10)

    for name in ("prototypes-clean", "prototypes-area"):
        monkeypatch.setitem(PROTOTYPES, name, partial(shortened, PROTOTYPES[name]))


def learned(path):
    """The metric of these fits, by the library itself."""
    with np.load(path) as archive:
        X, y = archive["X_train"], archive["y_train"]
    return ARML(max_iter=5, random_state=0).fit((X - X.min(axis=0)) / np.ptp(X, axis=0), y)


@pytest.mark.parametrize(
    ("table", "k", "method", "rule"),
    [("arml-table1", 1, "exact", "plurality"), ("arml-table2", 11, "bound", "majority")],
)
def test_learned_metrics_stand_beside_their_published_numbers(folder, quick_fits, table, k, method, rule):
    records, shown = done(
        "--data", "data", "--only", "pendigits", "--metric", "euclidean", "arml", table=table
    )
    assert quick_fits == [(60, 3)]
    metric = learned("data/pendigits.npz").metric_
    with np.load("data/pendigits.npz") as archive:
        X, y, Z, t = (archive[name] for name in ("X_train", "y_train", "X_test", "y_test"))
    low, span = X.min(axis=0), np.ptp(X, axis=0)
    Z, t = shuffle((Z - low) / span, t, random_state=42)
    model = cm.CertifiedKNeighborsClassifier(k, metric=metric).fit((X - low) / span, y)
    cert = model.certify(Z, t, method=method, rule=rule)
    np.testing.assert_allclose(
        numbers(records, "certified_error", metric="arml"), cert.certified_error(RADII)
    )
    published = TABLES[table].published.errors["arml"]["pendigits"]
    assert tuple(numbers(records, "published", metric="arml")) == published
    assert f"ARML, K = {k}" in shown
    assert f"Euclidean, K = {k}" in shown


def test_metrics_are_learned_once_and_again_where_their_file_is_damaged(folder, quick_fits):
    choice = ("--data", "data", "--only", "pendigits", "--metric", "arml")
    first, _ = done(*choice, table="arml-table1")
    done(*choice, table="arml-table2")
    assert len(quick_fits) == 1
    (kept,) = (folder / "certimetric-reproduced" / "metrics").iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    (cell,) = (folder / "certimetric-reproduced" / "cells").glob("*-k1-*")
    cell.unlink()
    again, _ = done(*choice, table="arml-table1")
    assert len(quick_fits) == 2
    assert numbers(again, "certified_error") == numbers(first, "certified_error")


def test_ctrl_c_in_a_fit_keeps_its_checkpoint(folder, quick_fits, monkeypatch):
    choice = ("--data", "data", "--only", "pendigits", "--metric", "arml")
    epoch, count = ARML._epoch, []

    def interrupted(self, *args):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return epoch(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(ARML, "_epoch", interrupted)
        assert run(*choice, table="arml-table1").exit_code == 130
    monkeypatch.setattr(ARML, "_epoch", lambda self, *args: (count.append(1), epoch(self, *args))[1])
    records, _ = done(*choice, table="arml-table1")
    # Two epochs were kept.
    assert len(count) == 3 + 3
    whole, _ = done(*choice, table="arml-table1", out="other")
    assert numbers(records, "certified_error") == numbers(whole, "certified_error")
    assert [path.suffixes for path in (folder / "certimetric-reproduced" / "metrics").iterdir()] == [[".npz"]]


def test_ctrl_c_in_the_metric_of_prototypes_keeps_none(folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ExactRadius, "_epoch", interrupted)
    choice = ("--data", "data", "--only", "pendigits", "--metric", "prototypes-area")
    assert run(*choice, table="arml-table1").exit_code == 130
    assert not list((folder / "certimetric-reproduced" / "metrics").iterdir())


def test_unknown_metrics_are_named(folder):
    result = run("--data", "data", "--metric", "cosine", table="arml-table1")
    assert result.exit_code == 2
    assert "--metric must be one of euclidean, nca, lmnn, itml, lfda, arml" in result.stderr


def lonely(path, out):
    """The same data, in which one class has a single row."""
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["y_train"][0] = 9
    np.savez(out, **arrays)


def test_one_data_set_that_no_learner_can_have_does_not_end_the_others(folder, quick_prototypes):
    lonely(folder / "mine.npz", folder / "data" / "pendigits.npz")
    records, shown = done("--data", "data", "--metric", "prototypes-clean", table="arml-table1")
    assert {r["data_set"] for r in records} == {"splice"}
    table = (folder / "certimetric-reproduced" / "arml-table1.md").read_text(encoding="utf-8")
    for text in (shown, table):
        assert "Left out: RobustPrototypes" in text.split("Pendigits", 1)[1].split("Splice")[0]
        assert "Not finished" not in text


def test_learners_that_cannot_have_the_data_are_left_out_and_say_why(folder):
    lonely(folder / "mine.npz", folder / "lonely.npz")
    choice = ("--data", "lonely.npz", "--metric", "euclidean", "prototypes-clean")
    records, shown = done(*choice, table="arml-table1")
    assert {r["metric"] for r in records} == {"euclidean"}
    why = "objective='clean' holds out a part of the rows of each class, but y has the label 9 once."
    assert why in " ".join(shown.split())
    assert why in (folder / "certimetric-reproduced" / "arml-table1.md").read_text(encoding="utf-8")
    alone = run("--data", "lonely.npz", "--metric", "prototypes-clean", table="arml-table1")
    assert alone.exit_code == 2
    assert why in " ".join(alone.stderr.split())


@pytest.mark.parametrize("metric", [name for name, make in METRICS.items() if make])
def test_every_metric_can_be_learned_kept_and_read(folder, metric, quick_fits):
    choice = ("--data", "data", "--only", "splice", "--metric", metric)
    first, _ = done(*choice, table="arml-table1")
    assert len(first) == 6
    # What is new has no published numbers.
    assert all(bool(r["published"]) == (metric != "exact-radius") for r in first)
    done(*choice, table="arml-table2")


@pytest.mark.parametrize("name", ["prototypes-clean", "prototypes-area"])
def test_prototypes_can_be_learned_kept_and_read(folder, name, quick_prototypes):
    choice = ("--data", "data", "--only", "pendigits", "--metric", name)
    first, shown = done(*choice, table="arml-table1")
    assert "RobustPrototypes" in shown
    (cell,) = (folder / "certimetric-reproduced" / "cells").iterdir()
    cell.unlink()
    again, _ = done(*choice, table="arml-table1")
    assert numbers(again, "certified_error") == numbers(first, "certified_error")
    (kept,) = (folder / "certimetric-reproduced" / "metrics").iterdir()
    # What is kept are the learned rows: an archive with a metric, too.
    assert cm.datasets.read(kept).X.shape[1] == cm.datasets.read_metric(kept).n_features
    result = run("--data", "data", "--metric", name, table="arml-table2")
    assert "--metric must be one of" in result.stderr
