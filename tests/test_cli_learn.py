"""The command ``learn``: options from a learner's signature, a metric file out, one line for a mistake."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from typer.testing import CliRunner

from certimetric import datasets
from certimetric._cli_app import app
from certimetric.learning import ARML, LFDA


@pytest.fixture
def train(tmp_path, rng):
    labels = np.arange(60) % 3
    rows = 255 * rng.uniform(size=(60, 4)) + 60 * labels[:, None]
    np.savez(tmp_path / "data.npz", X_train=rows, y_train=labels, X_test=rows[:9] + 1, y_test=labels[:9])
    return tmp_path / "data.npz"


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def learn(train, *options):
    return run(
        "learn", "arml", "--train", train, "--out", train.with_name("metric.npz"), "--seed", 1, *options
    )


def test_a_metric_is_learned_saved_and_certified(train):
    result = learn(train, "--scale", "255", "--max-iter", 7, "--loss", "logistic", "--n-components", 2)
    assert result.exit_code == 0, result.output
    path = train.with_name("metric.npz")
    assert result.stdout.startswith(f"{path}: ARML, components 2 x 4, 7 epochs, loss ")
    data = datasets.read(train, "train")
    expected = ARML(2, max_iter=7, loss="logistic", random_state=1).fit(data.X / 255, data.y)
    np.testing.assert_array_equal(datasets.read_metric(path).components_, expected.components_)
    with np.load(path, allow_pickle=False) as archive:
        about = json.loads(str(archive["about"]))
    assert about["learner"] == "ARML"
    assert about["parameters"]["loss"] == "logistic"
    assert about["scale"] == "255"
    assert "certimetric" in about["versions"]
    assert about["settled"]["n_iter_"] == about["parameters"]["max_iter"]
    certified = run("certify", "--train", train, "--scale", "255", "--metric", path, "-q")
    assert certified.exit_code == 0, certified.output


def test_help_has_the_sentences_of_the_docstring():
    result = run("learn", "arml", "--help")
    assert result.exit_code == 0
    assert "--max-iter" in result.stdout
    assert "Number of nearest rows of each kind that are drawn from" in " ".join(result.stdout.split())
    assert "--callback" not in result.stdout
    assert "--random-state" not in result.stdout


def test_a_checkpoint_goes_on(train):
    checkpoint = train.with_name("fit.npz")
    learn(train, "--max-iter", 4, "--checkpoint", checkpoint)
    result = learn(train, "--max-iter", 9, "--checkpoint", checkpoint, "-q")
    assert "9 epochs" in result.stdout
    whole = datasets.read_metric(train.with_name("metric.npz"))
    learn(train, "--max-iter", 9)
    assert whole == datasets.read_metric(train.with_name("metric.npz"))


def test_ctrl_c_writes_what_was_learned(train, monkeypatch):
    fit = ARML.fit

    def interrupted(self, X, y):
        fit(self, X, y)
        self.stop_reason_ = "interrupted"
        warnings.warn("ARML was interrupted in epoch 3.", ConvergenceWarning, stacklevel=1)
        return self

    monkeypatch.setattr(ARML, "fit", interrupted)
    result = learn(train, "--max-iter", 2)
    assert result.exit_code == 130
    assert "certimetric: ARML was interrupted in epoch 3." in result.stderr
    assert train.with_name("metric.npz").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-iter", "0"], "--max-iter must be at least 1"),
        (["--loss", "square"], "square"),
        (["--out", "metric.csv"], "--out must be a file .npz"),
        (["--out", "nowhere/metric.npz"], "the folder nowhere does not exist"),
        (["--label", "y"], "--label names the label column"),
        (["--n-components", "9"], "--n-components must be at most n_features = 4"),
        (["--device", "cuda"], "device='cuda' needs backend='torch'"),
        (["--checkpoint", "nowhere/fit.npz"], "checkpoint: nowhere/fit.npz cannot be written"),
        (["--checkpoint", "fit.ckpt"], "--checkpoint must be a file .npz, got fit.ckpt"),
    ],
)
def test_mistakes_are_one_line(train, options, message):
    result = learn(train, "-q", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_file_that_is_read_is_written(train):
    before, link = train.read_bytes(), train.with_name("link.npz")
    link.symlink_to(train)
    other = train.with_name("other.npz")
    for options, names in (
        (["--out", train], ["--out", "--train"]),
        (["--out", link], ["--out", "--train"]),
        (["--out", other, "--checkpoint", other], ["--checkpoint", "--out"]),
        (["--checkpoint", train], ["--checkpoint", "--train"]),
    ):
        result = learn(train, "-q", *options)
        assert result.exit_code == 2
        assert f"error: {names[0]} is the same file as {names[1]}" in result.stderr
    points = run("certify", "--train", train, "--out", train, "-q")
    assert "error: --out is the same file as --train" in points.stderr
    labels = run("predict", "--train", train, "--out", train)
    assert "error: --out is the same file as --train" in labels.stderr
    picture = train.with_name("picture.png")
    both = run("certify", "--train", train, "--plot", picture, "--examples", picture, "--shape", "2x2", "-q")
    assert "error: --examples is the same file as --plot" in both.stderr
    assert train.read_bytes() == before
    assert not other.exists()


def test_a_metric_of_rows_in_other_units_is_told(train):
    path = train.with_name("metric.npz")
    assert learn(train, "--scale", "minmax", "--max-iter", 2, "-q").exit_code == 0
    result = run("certify", "--train", train, "--metric", path, "-q")
    assert result.exit_code == 0
    assert f"{path} was learned with --scale minmax, but here it is --scale none." in result.stderr
    same = run("certify", "--train", train, "--metric", path, "--scale", "minmax", "-q")
    assert "--scale" not in same.stderr


def test_what_a_metric_was_learned_with_is_told(train):
    learn(train, "--max-iter", 2, "-q")
    result = run("info", train.with_name("metric.npz"))
    assert "components_: shape (4, 4), float64" in result.stdout
    about = json.loads(result.stdout.partition("about: ")[2])
    assert (about["learner"], about["parameters"]["max_iter"]) == ("ARML", 2)


def test_a_mistake_about_a_value_names_its_option(train):
    command = ["learn", "prototypes", "--train", train, "--out", train.with_name("points.npz"), "-q"]
    result = run(*command, "--objective", "clean", "--precision", "float16", "--n-prototypes", "0")
    assert "error: --n-prototypes must be" in result.stderr
    assert "'2.5' is neither a whole number nor 'auto'" in run(*command, "--n-prototypes", "2.5").stderr
    np.savez(train.with_name("few.npz"), X=np.eye(4), y=[0, 0, 1, 1])
    command[3] = train.with_name("few.npz")
    assert "error: --objective='clean' holds out" in run(*command, "--objective", "clean").stderr


def test_data_that_cannot_be_learned_from_is_one_line(tmp_path):
    np.savez(tmp_path / "one.npz", X=np.eye(3), y=[1, 1, 1])
    result = learn(tmp_path / "one.npz", "-q")
    assert result.exit_code == 2
    assert "y has one class" in result.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("n-components", "9"), ("init", "foo"), ("max-iter", "0"), ("tol", "-1")]
)
def test_mistakes_about_nca_are_one_line(train, option, value):
    out = train.with_name("metric.npz")
    result = run("learn", "nca", "--train", train, "--out", out, "-q", f"--{option}", value)
    assert result.exit_code == 2
    assert f"error: --{option} must" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("learner", ["arml", "itml"])
def test_a_checkpoint_needs_a_seed(train, learner):
    out = train.with_name("metric.npz")
    result = run("learn", learner, "--train", train, "--out", out, "--checkpoint", "fit.npz")
    assert result.exit_code == 2
    assert "--checkpoint needs --seed" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can write")
def test_a_file_that_cannot_be_written_is_refused_before_any_work(train, monkeypatch):
    monkeypatch.setattr(LFDA, "fit", lambda *_: pytest.fail("it has begun"))
    result = run("learn", "lfda", "--train", train, "--out", "/proc/metric.npz")
    assert result.exit_code == 2
    assert "--out: /proc/metric.npz cannot be written" in " ".join(result.stderr.split())
