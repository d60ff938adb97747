"""``certimetric reproduce lmnn-pl``: what is measured is the library's own, kept, and told."""

import csv

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.model_selection import train_test_split
from typer.testing import CliRunner

import certimetric as cm
from certimetric._cli_app import app
from certimetric.datasets import Scaler
from certimetric.learning import LMNN
from certimetric.learning._line_descent import LineDescent
from certimetric.reproduce.perturbed import LEARNERS, Study


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two data sets in halves, as in the folder of the published tables."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name, load in (("iris", load_iris), ("wine", load_wine)):
        X, y = load(return_X_y=True)
        halves = {"X_train": X[::10], "y_train": y[::10], "X_test": X[5::10], "y_test": y[5::10]}
        np.savez(tmp_path / "data" / f"{name}.npz", **halves)
    return tmp_path


@pytest.fixture(autouse=True)
def quick_fits(monkeypatch):
    """The same learners with few steps."""
    for name, make in LEARNERS.items():
        if make is not None:
            monkeypatch.setitem(LEARNERS, name, lambda make=make: make().set_params(max_iter=20))


def run(*arguments):
    return CliRunner().invoke(app, ["reproduce", "lmnn-pl", *map(str, arguments), "--quiet"])


def records(folder):
    with (folder / "certimetric-reproduced" / "lmnn-pl.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_have_every_learner_and_say_which_way_it_goes(folder):
    result = run("--data", "data", "--splits", 2)
    assert result.exit_code == 0, result.output
    found = records(folder)
    assert len(found) == 2 * 2 * len(LEARNERS)
    assert {r["data"] for r in found} == {"iris", "wine"}
    gaps = [
        np.mean([float(r["radius"]) for r in found if (r["data"], r["learner"]) == (data, "lmnn-pl")])
        - np.mean([float(r["radius"]) for r in found if (r["data"], r["learner"]) == (data, "lmnn-triplets")])
        for data in ("iris", "wine")
    ]
    told = (
        f"lmnn-pl above lmnn-triplets on {sum(g > 0 for g in gaps)} of 2, by {np.mean(gaps):+.3f} in the mean"
    )
    assert told in result.stdout
    table = (folder / "certimetric-reproduced" / "lmnn-pl.md").read_text(encoding="utf-8")
    assert told in table
    assert (folder / "certimetric-reproduced" / "lmnn-pl.png").stat().st_size > 10_000


def test_measurements_are_those_of_the_library(folder):
    assert run("--data", "data", "--only", "iris", "--splits", 1).exit_code == 0
    X, y = load_iris(return_X_y=True)
    X, y = np.concatenate([X[::10], X[5::10]]), np.concatenate([y[::10], y[5::10]])
    rows, points, y, t = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    scaler = Scaler.fit(rows, "minmax")
    learner = LMNN(perturbation="auto", max_iter=20).fit(scaler(rows), y)
    cert = cm.CertifiedKNeighborsClassifier(metric=learner).fit(scaler(rows), y).certify(scaler(points), t)
    (ours,) = (r for r in records(folder) if r["learner"] == "lmnn-pl")
    assert float(ours["radius"]) == pytest.approx(cert.lower.mean(), rel=1e-9)
    assert float(ours["accuracy"]) == pytest.approx(1 - cert.certified_error(0), abs=1e-9)


def test_what_is_measured_is_kept(folder, monkeypatch):
    assert run("--data", "data", "--only", "iris", "--splits", 1).exit_code == 0
    first = records(folder)
    monkeypatch.setattr(Study, "_measured", None)
    assert run("--data", "data", "--only", "iris", "--splits", 1).exit_code == 0
    assert records(folder) == first


def test_what_is_kept_is_measured_again_where_it_is_damaged_or_was_asked_otherwise(folder, monkeypatch):
    assert run("--data", "data", "--only", "iris", "--splits", 1).exit_code == 0
    first, cells = records(folder), folder / "certimetric-reproduced" / "cells"
    for path, damage in zip(cells.iterdir(), (b"", b"{", b"\xff", b'{"data": "iris"}'), strict=True):
        path.write_bytes(damage)
    assert run("--data", "data", "--only", "iris", "--splits", 1).exit_code == 0
    assert records(folder) == first
    monkeypatch.setitem(LEARNERS, "lmnn", lambda: LMNN(max_iter=1))
    assert run("--data", "data", "--only", "iris", "--splits", 1).exit_code == 0
    changed = {a["learner"] for a, b in zip(records(folder), first, strict=True) if a != b}
    assert changed == {"lmnn"}


def test_a_class_of_too_few_rows_is_named(folder):
    np.savez(folder / "few.npz", X=np.arange(13.0)[:, None], y=np.repeat(["a", "b", "rare"], [5, 5, 3]))
    result = run("--data", "few.npz")
    assert result.exit_code == 2
    assert "each class needs 4 rows to be split; 'rare' has 3" in result.stderr


def test_ctrl_c_says_how_to_go_on(folder, monkeypatch):
    measured, count = Study._measured, []

    def interrupted(self, *args):
        count.append(args)
        if len(count) == 3:
            raise KeyboardInterrupt
        return measured(self, *args)

    monkeypatch.setattr(Study, "_measured", interrupted)
    result = run("--data", "data", "--only", "iris", "--splits", 1)
    assert result.exit_code == 130
    assert "2 of 4 measurements are kept in certimetric-reproduced/cells" in result.stderr
    assert run("--data", "data", "--only", "iris", "--splits", 1).exit_code == 0
    assert len(count) == 3 + 2


def test_ctrl_c_in_a_fit_keeps_nothing_of_it(folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LineDescent, "epoch", interrupted)
    result = run("--data", "data", "--only", "iris", "--splits", 1)
    assert result.exit_code == 130
    assert "1 of 4 measurements are kept" in result.stderr
    (kept,) = (folder / "certimetric-reproduced" / "cells").iterdir()
    assert kept.name.startswith("iris-euclidean-")


def test_a_file_of_ones_own_will_do(folder):
    X, y = load_iris(return_X_y=True)
    np.savez(folder / "mine.npz", X=X[::5], y=np.array(["a", "b", "c"])[y[::5]])
    assert run("--data", "mine.npz", "--splits", 1).exit_code == 0
    assert {r["data"] for r in records(folder)} == {"mine"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "--data: nowhere: no such file or folder"),
        (["--data", "data", "--only", "sonar"], "sonar.npz: no such file"),
        (["--data", "data", "--only", "mnist"], "--only must name data sets of the table"),
        (["--data", "data/iris.npz", "--only", "iris"], "--only chooses among the data sets of a folder"),
        (["--data", "data", "--jobs", "0"], "--jobs"),
        (["--data", "data", "--out", "data/iris.npz"], "is a file, but a folder is needed"),
    ],
)
def test_mistakes_are_one_line_before_any_work(folder, monkeypatch, arguments, message):
    monkeypatch.setattr(Study, "_measured", None)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (folder / "certimetric-reproduced").exists()
