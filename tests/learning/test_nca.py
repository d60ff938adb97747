"""NCA is scikit-learn's, checked, and ends when it is told to."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from certimetric.exceptions import InputError, InputTypeError
from certimetric.learning import NCA


def test_it_is_that_of_scikit_learn(blobs):
    rows, labels = blobs
    ours = NCA(2, max_iter=7, random_state=0).fit(rows, labels)
    theirs = NeighborhoodComponentsAnalysis(2, max_iter=7, random_state=0).fit(
        rows - rows.mean(axis=0), labels
    )
    np.testing.assert_array_equal(ours.components_, theirs.components_)
    assert ours.n_iter_ == 7
    with pytest.raises(ValueError, match="n_components"):
        NCA(5).fit(rows, labels)


def test_it_refuses_rows_by_its_own_messages():
    with pytest.raises(InputError, match="NCA needs two or more"):
        NCA().fit(np.eye(3), [1, 1, 1])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 5}, "n_components must be at most n_features = 4"),
        ({"n_components": 0}, "n_components must be at least 1"),
        ({"n_components": 3, "init": "lda"}, "init='lda' has 2 components here, but n_components is 3"),
        ({"init": "foo"}, "init must be 'auto', .* got 'foo'"),
        ({"init": np.eye(3)}, "init has 3 features"),
        ({"init": np.ones((5, 4))}, "init has 5 rows"),
        ({"init": np.eye(4), "n_components": 2}, "init has 4 rows"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"tol": -1}, "tol must be at least 0"),
        ({"tol": np.inf}, "tol must be finite"),
        ({"time_limit": 0}, "time_limit must be positive"),
        ({"callback": 3}, "callback must be callable or None, got 3"),
    ],
)
def test_it_refuses_parameters_by_its_own_messages(blobs, parameters, message):
    with pytest.raises((InputError, InputTypeError), match=message):
        NCA(**parameters).fit(*blobs)


@pytest.mark.parametrize("init", ["auto", "pca", "lda", "identity", "random", np.eye(2, 4).tolist()])
def test_it_takes_every_start(blobs, init):
    assert NCA(2, init=init, max_iter=2, random_state=0).fit(*blobs).components_.shape == (2, 4)


def test_it_has_as_many_components_as_it_is_asked_for(blobs):
    rows, _ = blobs
    five = np.arange(len(rows)) % 5
    for last in (np.ones(len(rows)), rows[:, 1]):
        learner = NCA(3, max_iter=2, random_state=0).fit(np.column_stack([rows[:, :2], last]), five)
        assert learner.components_.shape == (3, 3)
    with pytest.raises(InputError, match="init='lda' has 2 components here, but n_components is 3"):
        NCA(3, init="lda").fit(np.column_stack([rows[:, :2], np.ones(len(rows))]), five)


def test_data_out_of_proportion_is_told(rng):
    rows, labels = rng.normal(size=(60, 3)), np.arange(60) % 2
    with pytest.warns(ConvergenceWarning, match=r"NCA has converged in its first iteration: .* Scale X"):
        learner = NCA(max_iter=20, random_state=0).fit(1e6 * rows, labels)
    assert learner.stop_reason_ == "converged"


def test_a_callback_is_told_and_may_stop(blobs):
    told = []

    def callback(progress):
        told.append(progress)
        return progress.epoch == 4

    learner = NCA(max_iter=20, random_state=0, callback=callback).fit(*blobs)
    assert (learner.stop_reason_, learner.n_iter_) == ("callback", 4)
    assert [(progress.epoch, progress.max_iter) for progress in told] == [(n, 20) for n in (1, 2, 3, 4)]
    np.testing.assert_array_equal(told[-1].values["components"], learner.components_)
    whole = NCA(max_iter=4, random_state=0).fit(*blobs)
    assert whole.stop_reason_ == "max_iter"
    np.testing.assert_array_equal(learner.components_, whole.components_)
    assert NCA(random_state=0, tol=1.0).fit(*blobs).stop_reason_ == "converged"


@pytest.mark.parametrize("raised", [StopIteration, RuntimeError])
def test_what_a_callback_raises_is_no_end_of_the_fit(blobs, raised):
    def callback(progress):
        raise raised("callback raised")

    with pytest.raises(RuntimeError, match="callback raised"):
        NCA(max_iter=3, random_state=0, callback=callback).fit(*blobs)


def test_a_time_limit_ends_the_fit(blobs):
    learner = NCA(max_iter=50, random_state=0, time_limit=1e-6).fit(*blobs)
    assert (learner.stop_reason_, learner.n_iter_) == ("time_limit", 1)


def test_interrupts_leave_what_was_learned(blobs):
    def interrupt(progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learner = NCA(max_iter=20, random_state=0, callback=interrupt).fit(*blobs)
    assert [(str(w.message), w.category) for w in caught] == [
        (
            "NCA was interrupted in iteration 4: what was learned by the end of iteration 3 is kept.",
            ConvergenceWarning,
        )
    ]
    assert (learner.stop_reason_, learner.n_iter_) == ("interrupted", 3)
    np.testing.assert_array_equal(
        learner.components_, NCA(max_iter=3, random_state=0).fit(*blobs).components_
    )


def test_an_interrupt_before_anything_is_learned_is_one(blobs, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(NeighborhoodComponentsAnalysis, "_initialize", interrupt)
    with pytest.raises(KeyboardInterrupt):
        NCA(random_state=0).fit(*blobs)


def test_progress_is_a_line_on_standard_error(blobs, capsys):
    NCA(max_iter=6, random_state=0, progress=True).fit(*blobs)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "NCA" in streams.err
    assert "6/6" in streams.err
