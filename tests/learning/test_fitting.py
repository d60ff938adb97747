"""Fits that end early, go on later, or are watched: the same for every learner by gradients."""

import json
import pickle
import signal
import time
import warnings
from fractions import Fraction
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from certimetric.datasets import read_metric
from certimetric.exceptions import DataError, InputError, InputTypeError, OutputError
from certimetric.learning import ARML, ExactRadius, RobustPrototypes, _fitting
from certimetric.learning._adam import Adam
from certimetric.learning._checkpoint import save_state
from certimetric.learning._descent import Descent


def fit(blobs, **parameters):
    return ARML(**{"max_iter": 12, "random_state": 0, **parameters}).fit(*blobs)


def same_fit(first, second):
    np.testing.assert_array_equal(first.components_, second.components_)
    assert first.history_.keys() == second.history_.keys()
    for name, numbers in first.history_.items():
        np.testing.assert_array_equal(numbers, second.history_[name])
    return True


def test_warm_start_goes_on_as_if_it_had_not_stopped(blobs):
    learner = fit(blobs, max_iter=5, warm_start=True)
    learner = pickle.loads(pickle.dumps(learner))
    assert same_fit(learner.set_params(max_iter=12).fit(*blobs), fit(blobs))
    # Nothing is left to do.
    assert same_fit(learner.fit(*blobs), fit(blobs))


def test_warm_start_refuses_other_shapes(blobs):
    learner = fit(blobs, warm_start=True)
    with pytest.raises(InputError, match="warm_start goes on"):
        learner.fit(blobs[0][:, :3], blobs[1])


def test_a_checkpoint_goes_on_to_the_same_bits(blobs, tmp_path):
    path = tmp_path / "fit.npz"
    early = {"early_stopping": True, "max_iter": 12}
    fit(blobs, **early | {"max_iter": 10}, checkpoint=path)
    assert same_fit(fit(blobs, **early, checkpoint=path), fit(blobs, **early))
    assert same_fit(fit(blobs, **early, checkpoint=path), fit(blobs, **early))


def test_a_checkpoint_belongs_to_its_data_and_parameters(blobs, tmp_path):
    path = tmp_path / "fit.npz"
    fit(blobs, checkpoint=path)
    for other in ({"learning_rate": 0.5}, {"random_state": 1}, {"init": np.eye(4)}):
        with pytest.raises(DataError, match="of a fit with other data or other parameters"):
            fit(blobs, checkpoint=path, **other)
    with pytest.raises(DataError, match="of a fit with other data"):
        fit((blobs[0] + 1e-9, blobs[1]), checkpoint=path)


def test_a_checkpoint_takes_parameters_by_their_values(blobs, tmp_path):
    path = tmp_path / "fit.npz"
    init = np.diag([1.0, 2, 3, 4])
    fit(blobs, checkpoint=path, init=init, n_neighbors=3, hinge=0.5, random_state=np.int64(0))
    same = {"init": init.astype(int).tolist(), "n_neighbors": np.int32(3), "hinge": Fraction(1, 2)}
    assert same_fit(fit(blobs, checkpoint=path, **same, n_jobs=2), fit(blobs, **same))
    others = [
        {"n_neighbors": np.int64(4)},
        {"hinge": np.float32(0.6)},
        {"hinge": Fraction(1, 3)},
        {"init": pd.DataFrame(init + 1)},
        {"init": (init + 1).astype(object)},
    ]
    for other in others:
        with pytest.raises(DataError, match="of a fit with other data or other parameters"):
            fit(blobs, checkpoint=path, **{**same, **other})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"n_neighbors": np.int64(3)}, {"n_neighbors": np.int64(4)}),
        ({"hinge": Fraction(1, 2)}, {"hinge": Fraction(1, 3)}),
        ({"hinge": np.float32(0.5)}, {"hinge": np.float32(0.6)}),
        ({"init": pd.DataFrame(np.eye(4))}, {"init": pd.DataFrame(2 * np.eye(4))}),
        ({"init": np.eye(4).astype(object)}, {"init": (2 * np.eye(4)).astype(object)}),
    ],
)
def test_a_checkpoint_belongs_to_parameters_of_any_type(blobs, tmp_path, first, second):
    path = tmp_path / "fit.npz"
    for _ in range(2):
        fit(blobs, checkpoint=path, **first)
    with pytest.raises(DataError, match="of a fit with other data or other parameters"):
        fit(blobs, checkpoint=path, **second)


def test_a_checkpoint_tells_the_parameters_of_a_learner_within(tmp_path, blobs):
    options = {"n_prototypes": 2, "max_iter": 2, "random_state": 0, "checkpoint": tmp_path / "fit.npz"}
    inner = {"max_iter": 2, "random_state": 0}
    RobustPrototypes(**options, metric=ARML(**inner)).fit(*blobs)
    watched = ARML(**inner, n_jobs=2, callback=lambda progress: None, checkpoint=tmp_path / "inner.npz")
    RobustPrototypes(**options, metric=watched).fit(*blobs)
    for other in ({"hinge": 2.0}, {"max_iter": 3}):
        with pytest.raises(DataError, match="other parameters"):
            RobustPrototypes(**options, metric=ARML(**inner | other)).fit(*blobs)


@pytest.mark.parametrize(
    ("place", "error", "reason"),
    [
        ("no/such/fit.npz", OutputError, "No such file or directory"),
        ("folder.npz", OutputError, "is a folder"),
        ("file/fit.npz", OutputError, "Not a directory"),
        ("fit.ckpt", InputError, "must be a file .npz"),
        ("fit", InputError, "must be a file .npz"),
    ],
)
def test_a_checkpoint_that_could_not_be_kept_is_refused_before_any_work(
    blobs, tmp_path, monkeypatch, place, error, reason
):
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(ARML, "_begin", None)
    with pytest.raises(error, match=f"checkpoint.*{reason}"):
        fit(blobs, checkpoint=tmp_path / place)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_is_a_path(blobs):
    with pytest.raises(InputTypeError, match="checkpoint must be a path"):
        fit(blobs, checkpoint=3)


@pytest.mark.parametrize("failing", [[3], [13], range(14)], ids=["within", "at the end", "always"])
def test_a_checkpoint_that_fails_costs_no_fit(blobs, tmp_path, monkeypatch, failing):
    path, saves = tmp_path / "fit.npz", []

    def save(*arguments, **options):
        saves.append(1)
        if len(saves) in failing:
            raise OutputError("fit.npz: cannot be written: No space left on device.")
        return save_state(*arguments, **options)

    monkeypatch.setattr(_fitting, "save_state", save)
    # After each epoch, and at the end.
    monkeypatch.setattr(_fitting, "Descent", partial(Descent, save_every=0.0))
    with pytest.warns(RuntimeWarning, match="ARML has no checkpoint of epoch .*No space left"):
        learner = fit(blobs, checkpoint=path)
    assert len(saves) == 13
    assert same_fit(learner, fit(blobs))


def test_a_metric_is_saved_under_a_name_that_can_be_read(blobs, tmp_path):
    learner = fit(blobs)
    for name in ("nosuffix", "metric.npy"):
        with pytest.raises(InputError, match=r"path must be a file \.npz, got .*" + name):
            learner.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    learner.save(str(tmp_path / "metric.NPZ"))
    assert read_metric(tmp_path / "metric.NPZ") == learner.metric_


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense" * 50])
def test_a_damaged_checkpoint_is_one_error(blobs, tmp_path, content):
    path = tmp_path / "fit.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        fit(blobs, checkpoint=path)


def test_a_checkpoint_cut_anywhere_is_refused(blobs, tmp_path):
    path = tmp_path / "fit.npz"
    fit(blobs, checkpoint=path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            fit(blobs, checkpoint=path)


@pytest.mark.parametrize("missing", ["value.components", "square.components", "fingerprint", "epoch"])
def test_a_checkpoint_that_lacks_a_part_is_refused(blobs, tmp_path, missing):
    path = tmp_path / "fit.npz"
    fit(blobs, max_iter=2, checkpoint=path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != missing}
    head = json.loads(str(arrays["head"]))
    head.pop(missing, None)
    np.savez(path, **{**arrays, "head": np.array(json.dumps(head))})
    with pytest.raises(DataError, match=r"fit\.npz: is a"):
        fit(blobs, max_iter=4, checkpoint=path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epoch", "x"),
        ("epoch", 1e9),
        ("stale", -1),
        ("history", []),
        ("history", {"loss": [[1.0]]}),
        ("best", [1]),
        ("best", [1.0, 1]),
        ("value.components", np.full((4, 4), np.nan)),
        ("value.components", np.ones((4, 4), dtype=np.int64)),
    ],
)
def test_a_checkpoint_that_was_changed_is_refused(blobs, tmp_path, name, value):
    path = tmp_path / "fit.npz"
    fit(blobs, max_iter=2, checkpoint=path)
    with np.load(path) as archive:
        arrays = dict(archive)
    head = json.loads(str(arrays["head"]))
    (arrays if name in arrays else head)[name] = value
    np.savez(path, **{**arrays, "head": np.array(json.dumps(head))})
    with pytest.raises(DataError, match=r"fit\.npz: is a damaged checkpoint"):
        fit(blobs, max_iter=4, checkpoint=path)


def test_another_file_is_no_checkpoint(blobs, tmp_path):
    fit(blobs, max_iter=2).save(tmp_path / "metric.npz")
    with pytest.raises(DataError, match=r"cannot be read as a checkpoint: it is another file"):
        fit(blobs, checkpoint=tmp_path / "metric.npz")


def test_a_pickle_is_no_checkpoint(blobs, tmp_path):
    path = tmp_path / "fit.npz"
    np.savez(path, head=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        fit(blobs, checkpoint=path)


def test_a_callback_is_told_and_may_stop(blobs):
    told = []

    def callback(progress):
        told.append(progress)
        return progress.epoch == 4

    learner = fit(blobs, callback=callback)
    assert learner.stop_reason_ == "callback"
    assert [progress.epoch for progress in told] == [1, 2, 3, 4]
    np.testing.assert_array_equal(told[-1].values["components"], learner.components_)
    assert told[-1].record == {"loss": learner.history_["loss"][-1]}
    assert same_fit(learner, fit(blobs, max_iter=4))


def test_what_a_callback_raises_reaches_the_caller(blobs):
    def callback(progress):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fit(blobs, callback=callback)


def test_what_a_callback_raises_costs_no_epoch_that_was_made(blobs, tmp_path):
    def callback(progress):
        if progress.epoch == 5:
            raise RuntimeError("enough")

    path = tmp_path / "fit.npz"
    with pytest.raises(RuntimeError, match="enough"):
        fit(blobs, callback=callback, checkpoint=path)
    told = []
    assert same_fit(fit(blobs, checkpoint=path, callback=told.append), fit(blobs))
    assert told[0].epoch == 6


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"early_stopping": "False"}, InputTypeError, "early_stopping must be True or False, got 'False'"),
        ({"warm_start": np.ones(2)}, InputTypeError, "warm_start must be True or False"),
        ({"progress": 1}, InputTypeError, "progress must be True or False"),
        ({"loss": np.ones(2)}, InputError, "loss must be 'negative', "),
        ({"backend": ["native"]}, InputError, "backend must be 'native' or 'torch'"),
        ({"random_state": "foo"}, InputError, "random_state must be an integer from 0 to"),
        ({"random_state": -1}, InputError, "random_state must be an integer from 0 to"),
    ],
)
def test_parameters_of_other_types_are_refused_by_name(blobs, parameters, error, message):
    with pytest.raises(error, match=message):
        fit(blobs, **parameters)


def test_missing_labels_are_refused(blobs):
    labels = pd.Series(np.asarray(blobs[1]).astype(str), dtype="string")
    labels[3] = pd.NA
    with pytest.raises(InputError, match="y has <NA> at row 3"):
        fit((blobs[0], labels))


def test_components_that_no_metric_takes_stop_the_fit(blobs):
    with pytest.warns(ConvergenceWarning, match=r"ARML has .* in epoch 1 and stops"):
        learner = fit(blobs, learning_rate=1e160)
    assert learner.stop_reason_ == "loss not finite"
    assert learner.metric_.components_.shape == (4, 4)


@pytest.mark.parametrize(
    "learner",
    [
        ARML(batch_size=1, time_limit=0.2),
        ExactRadius(batch_size=1, time_limit=0.2),
        RobustPrototypes(4, batch_size=1, time_limit=0.2),
    ],
    ids=lambda learner: type(learner).__name__,
)
def test_a_time_limit_ends_an_epoch(learner, rng):
    rows, labels = rng.normal(size=(20000, 6)), np.arange(20000) % 2
    begun = time.process_time()
    learner = clone(learner).set_params(random_state=0).fit(rows, labels)
    assert (learner.stop_reason_, learner.n_iter_) == ("time_limit", 0)
    # An epoch of so many steps takes longer.
    assert time.process_time() - begun < 1.5


@pytest.mark.parametrize("answer", [True, np.True_])
def test_a_callback_that_says_so_ends_the_fit(blobs, answer):
    learner = fit(blobs, callback=lambda progress: answer)
    assert (learner.stop_reason_, learner.n_iter_) == ("callback", 1)


def test_warm_start_scores_the_best_again_on_other_rows(blobs):
    rows, labels = blobs
    options = {"warm_start": True, "early_stopping": True, "validation_fraction": 0.3}
    learner = fit((1000 * rows, labels), max_iter=20, **options)
    largest = learner.history_["validation"].max()
    learner.set_params(max_iter=40).fit(rows, labels)
    assert learner._state.best.score < largest / 100


def test_a_time_limit_ends_the_fit(blobs):
    learner = fit(blobs, max_iter=10**9, time_limit=0.2)
    assert learner.stop_reason_ == "time_limit"
    assert 0 < learner.n_iter_ < 10**6


@pytest.fixture
def listens():
    """Python's own handler of Ctrl-C, which a process in the background may not have."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("listens")
@pytest.mark.parametrize("place", ["in an epoch", "in a callback"])
def test_interrupts_leave_what_was_learned(blobs, monkeypatch, place):
    count, step = [], Adam.step

    def interrupt(*arguments):
        count.append(1)
        if len(count) == 5:
            signal.raise_signal(signal.SIGINT)
        return step(*arguments) if arguments[1:] else None

    with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if place == "in an epoch":
            patch.setattr(Adam, "step", interrupt)
            learner = fit(blobs)
        else:
            learner = fit(blobs, callback=interrupt)
    (warning,) = caught
    epoch = 4 if place == "in an epoch" else 5
    left = f"what was learned by the end of epoch {epoch} is kept."
    expected = f"ARML was interrupted in epoch {epoch + 1}: {left}"
    assert (str(warning.message), warning.category) == (expected, ConvergenceWarning)
    assert learner.stop_reason_ == "interrupted"
    # The epoch that was broken off has left no trace.
    assert same_fit(learner, fit(blobs, max_iter=epoch))


def test_a_loss_that_is_not_finite_stops_with_the_last_good_metric(blobs):
    rows, labels = blobs
    far = rows * 1e4
    with pytest.warns(
        ConvergenceWarning, match="ARML has a loss of inf in epoch 1 and stops: what it began with is kept"
    ):
        learner = fit((far, labels), loss="exponential")
    assert learner.stop_reason_ == "loss not finite"
    np.testing.assert_array_equal(learner.components_, np.eye(4))
    # Where the radii have grown before, the last good metric is left.
    learner = fit(blobs, max_iter=3, warm_start=True).set_params(loss="exponential", max_iter=9)
    good = learner.components_
    with pytest.warns(ConvergenceWarning, match="in epoch 4 and stops: .* by the end of epoch 3 is kept"):
        learner.fit(far, labels)
    np.testing.assert_array_equal(learner.components_, good)


def test_early_stopping_keeps_the_metric_that_validates_best(blobs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner = fit(blobs, early_stopping=True, max_iter=400, learning_rate=0.05, n_iter_no_change=4)
    scores, epochs = learner.history_["validation"], learner.history_["validation_epoch"]
    assert learner.stop_reason_ == "no better validation"
    assert len(scores) == scores.argmax() + 1 + 4
    assert learner.best_iter_ == epochs[scores.argmax()] < learner.n_iter_


def test_early_stopping_needs_classes_that_can_be_split(blobs):
    rows, labels = blobs
    labels = np.append(labels[:-1], "lonely")
    with pytest.raises(InputError, match=r"early_stopping holds out .* y has the label 'lonely' once"):
        fit((rows, labels), early_stopping=True)
    with pytest.raises(InputError, match="early_stopping needs classes large enough"):
        fit((rows, np.arange(len(rows)) % 37), early_stopping=True)


def test_progress_is_a_line_on_standard_error(blobs, capsys):
    fit(blobs, progress=True)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "ARML" in streams.err
    assert "12/12" in streams.err
