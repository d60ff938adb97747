"""Trials before the first epoch: who knows them, who goes on from them, and what ends them."""

import time
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from certimetric.exceptions import DataError, InputError
from certimetric.learning import ExactRadius, RobustPrototypes, _decay

IRIS = load_iris(return_X_y=True)
CLEAN = {"n_prototypes": 2, "objective": "clean", "max_iter": 3, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore:RobustPrototypes has")


@dataclass
class Trials:
    """Trials that take no time: the decays tried so far, and the one that Ctrl-C ends."""

    decays: list[float] = field(default_factory=list)
    end: int = 0
    seconds: float = 0.0

    def __call__(self, model, splits, decay, end):
        self.decays.append(decay)
        if len(self.decays) == self.end:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        rows = sum(len(split.wrong) for split in splits)
        # More rows are wrong with a long decay, and after one epoch nearly all.
        epochs = model._trial_epochs(splits[0].size)
        return _decay.Trial(np.arange(rows) < rows * (0.9 if epochs == 1 else min(0.9, 0.1 * decay)))


@pytest.fixture
def trials(monkeypatch):
    made = Trials()
    monkeypatch.setattr(_decay, "_try", made)
    return made


def test_ctrl_c_leaves_the_beginning_and_keeps_the_trials(trials, tmp_path):
    kept = RobustPrototypes(**CLEAN, checkpoint=tmp_path / "fit.npz")
    trials.end = 3
    with pytest.warns(ConvergenceWarning, match="interrupted before epoch 1: what it began with is kept"):
        kept.fit(*IRIS)
    assert (kept.stop_reason_, kept.n_iter_, kept.decay_) == ("interrupted", 0, None)
    assert kept.predict(IRIS[0]).shape == (150,)
    kept.fit(*IRIS)
    first, resumed = trials.decays[:2], trials.decays[3:]
    trials.decays.clear()
    trials.end = 0
    whole = RobustPrototypes(**CLEAN).fit(*IRIS)
    assert trials.decays == first + resumed
    # What was chosen is known as well, to who makes more epochs.
    trials.decays.clear()
    kept.set_params(max_iter=6).fit(*IRIS)
    assert not trials.decays
    assert (kept.n_iter_, kept.decay_) == (6, whole.decay_)
    assert np.array_equal(kept.history_["loss"][:3], whole.history_["loss"])


def test_a_warm_start_knows_no_trials_of_rows_that_may_be_others(trials):
    rows, labels = IRIS
    model = RobustPrototypes(2, max_iter=2, random_state=0).fit(rows, labels)
    trials.end = 3
    with pytest.warns(ConvergenceWarning, match="interrupted before epoch 3"):
        model.set_params(objective="clean", warm_start=True, max_iter=4).fit(rows, labels)
    assert model.n_iter_ == 2
    model.fit(rows[::-1], labels[::-1])
    again = trials.decays[3:]
    trials.decays.clear()
    trials.end = 0
    alone = RobustPrototypes(**CLEAN).fit(rows[::-1], labels[::-1])
    assert again == trials.decays
    assert (model.n_iter_, model.decay_) == (4, alone.decay_)


def test_trials_of_other_lengths_are_made_again(trials, tmp_path):
    path = tmp_path / "fit.npz"
    trials.end = 3
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        RobustPrototypes(**CLEAN | {"max_iter": 1}, checkpoint=path).fit(*IRIS)
    longer = RobustPrototypes(**CLEAN, checkpoint=path).fit(*IRIS)
    assert trials.decays[3:5] == trials.decays[:2]
    assert longer.decay_ == RobustPrototypes(**CLEAN).fit(*IRIS).decay_


def test_a_choice_that_no_epoch_was_made_by_is_made_again(trials, tmp_path):
    trials.seconds = 1.0
    model = RobustPrototypes(**CLEAN, checkpoint=tmp_path / "fit.npz", time_limit=1.0).fit(*IRIS)
    assert (model.stop_reason_, model.n_iter_, len(trials.decays)) == ("time_limit", 0, 1)
    trials.seconds = 0.0
    model.set_params(time_limit=None).fit(*IRIS)
    whole = RobustPrototypes(**CLEAN).fit(*IRIS)
    assert model.decay_ == whole.decay_ < model.cap_
    assert np.array_equal(model.prototypes_, whole.prototypes_)


def test_data_that_cannot_be_held_out_leave_no_checkpoint(tmp_path):
    path = tmp_path / "fit.npz"
    with pytest.raises(InputError, match="objective='clean' holds out a third"):
        RobustPrototypes(**CLEAN | {"n_prototypes": 1}, checkpoint=path).fit(np.eye(4), [0, 0, 1, 1])
    assert not path.exists()


def test_without_an_epoch_to_make_nothing_is_tried(trials):
    model = RobustPrototypes(2, max_iter=2, random_state=0).fit(*IRIS)
    model.set_params(objective="clean", warm_start=True).fit(*IRIS)
    assert (model.n_iter_, model.decay_, trials.decays) == (2, None, [])


def test_decays_that_are_tried_are_told(capsys):
    model = RobustPrototypes(**CLEAN | {"max_iter": 2}, progress=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(IRIS[0][::2], IRIS[1][::2])
    told = capsys.readouterr().err
    assert f"RobustPrototypes tries decay {model.cap_:.3g}" in told
    # Three splits, of two epochs each.
    assert "6/6" in told


def test_shares_that_are_tried_are_told(capsys):
    ExactRadius(max_iter=4, batch_size=30, n_jobs=1, progress=True, random_state=0).fit(*IRIS)
    told = capsys.readouterr().err
    # Three splits, of a quarter of the epochs each.
    for shares in ("0.2 to 0.3", "0.2 to 0.6", "0.5 to 1"):
        assert f"ExactRadius tries shares {shares}" in told
    assert told.count("3/3") >= 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chosen.decay", np.ones(3)),
        ("chosen.decay", np.array(-1.0)),
        ("chosen.decay", np.array(np.nan)),
        ("chosen.decay", np.array("a")),
        ("chosen.other", np.ones(())),
        ("mean.points", np.ones((4, 6))),
        ("square.points", np.ones((6, 4), dtype=np.float32)),
    ],
)
def test_choices_and_moments_that_cannot_be_are_refused(trials, tmp_path, name, value):
    path = tmp_path / "fit.npz"
    model = RobustPrototypes(**CLEAN, checkpoint=path).fit(*IRIS)
    with np.load(path) as archive:
        arrays = dict(archive)
    assert set(arrays) >= {"chosen.decay", "mean.points", "square.points"}
    np.savez(path, **arrays | {name: value})
    with pytest.raises(DataError, match=r"fit.npz: is a damaged checkpoint"):
        model.fit(*IRIS)
