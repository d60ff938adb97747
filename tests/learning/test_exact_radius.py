"""A metric learned on exact radii."""

import time

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import certimetric as cm
from certimetric.learning import ExactRadius, _share
from certimetric.learning._share import usual_shares


def overlapping(seed: int, n: int = 240, d: int = 6):
    """Two classes that two of the features tell apart; the others are noise, and larger."""
    rng = np.random.default_rng(seed)
    rows, labels = rng.normal(size=(n, d)), np.arange(n) % 2
    rows[:, 2:] *= 2
    rows[:, :2] += 1.5 * labels[:, None]
    return rows, labels


def mean_radius(metric, train, test) -> float:
    model = cm.CertifiedKNeighborsClassifier(metric=metric).fit(*train)
    return float(model.certify(*test).lower.mean())


def test_radii_of_new_points_are_larger_than_under_the_euclidean_metric():
    train, test = overlapping(0), overlapping(1)
    learner = ExactRadius(random_state=0).fit(*train)
    assert learner.reference_share_ in ((0.125, 0.3), (0.2, 0.6), (0.5, 1.0))
    assert (learner.batch_size_, learner.n_iter_, learner.max_iter_) == (60, 250, 250)
    assert mean_radius(learner, train, test) > 1.1 * mean_radius("euclidean", train, test)


def test_what_is_left_to_the_data_scales_with_it():
    rows, labels = overlapping(0)
    one, four = (ExactRadius(max_iter=5, random_state=0).fit(scale * rows, labels) for scale in (1, 4))
    assert four.cap_ == 4 * one.cap_
    np.testing.assert_allclose(four.components_, one.components_, atol=1e-5)


def test_given_values_win():
    train = overlapping(0)
    bound = ExactRadius(reference_share=0.5, cap=2.0, batch_size=100, max_iter=3, random_state=0).fit(*train)
    assert (bound.reference_share_, bound.cap_, bound.batch_size_, bound.n_iter_) == ((0.5, 0.5), 2.0, 100, 3)


def test_shares_suit_the_number_of_rows():
    assert usual_shares(60) == (0.5, 0.5)
    assert usual_shares(240) == (0.125, 0.3)
    assert usual_shares(5000) == (0.05, 0.3)
    assert usual_shares(10**6) == (0.02, 0.02)


@pytest.mark.parametrize("few", [True, False])
def test_larger_shares_are_chosen_where_held_out_rows_have_larger_radii_then(monkeypatch, few):
    """Radii that are made up: larger with the share, or smaller; those of rows are other ones by chance."""
    tried = []

    def radii(model, splits, shares, end):
        tried.append(shares)
        assert (model.max_iter, model.callback) == (63, None)
        rng = np.random.default_rng(0)
        return rng.normal(size=240) + (-1.0 if few else 1.0) * shares[0]

    monkeypatch.setattr("certimetric.learning._share._radii", radii)
    learner = ExactRadius(random_state=0, callback=Uncopied()).fit(*overlapping(0))
    assert learner.reference_share_ == ((0.125, 0.3) if few else (0.5, 1.0))
    assert tried == [(0.125, 0.3), (0.2, 0.6), (0.5, 1.0)]
    # Nothing is left to choose, or it is not worth while.
    ExactRadius(reference_share=0.5, max_iter=1, random_state=0).fit(*overlapping(0))
    learner.set_params(warm_start=True, callback=None, max_iter=2).fit(*overlapping(0))
    ExactRadius(max_iter=1, random_state=0).fit(*overlapping(0, n=2502))
    ExactRadius(max_iter=1, random_state=0).fit([[0.0], [1.0], [2.0], [3.0], [4.0]], [0, 0, 0, 1, 1])
    assert len(tried) == 3


class Uncopied:
    """A callback that holds what cannot be copied, such as a file; it ends the fit."""

    def __call__(self, progress):
        return True

    def __deepcopy__(self, _):
        raise TypeError("cannot be copied")


def test_no_share_that_is_tried_is_less_than_the_usual_one(monkeypatch):
    tried = []
    monkeypatch.setattr(_share, "_radii", lambda *given: tried.append(given[2]) or np.ones(20))
    rows, labels = overlapping(0, n=60)
    ExactRadius(max_iter=1, random_state=0).fit(rows, labels)
    assert tried == [(0.5, 0.5), (0.5, 0.6), (0.5, 1.0)]
    ExactRadius(max_iter=1, random_state=0).fit(rows[:30], labels[:30])
    assert len(tried) == 3


def test_a_fit_that_goes_on_keeps_its_share(tmp_path, monkeypatch):
    train, tried = overlapping(0), []
    made = {(0.125, 0.3): 1.0, (0.2, 0.6): 2.0, (0.5, 1.0): 1.5}
    monkeypatch.setattr(
        _share, "_radii", lambda *given: tried.append(1) or np.linspace(1, 2, 240) * made[given[2]]
    )
    options = {"max_iter": 6, "random_state": 0, "checkpoint": tmp_path / "fit.npz"}
    first = ExactRadius(**options, callback=lambda progress: progress.epoch == 3).fit(*train)
    whole = ExactRadius(**options | {"checkpoint": None}).fit(*train)
    made[0.5, 1.0] = 9.0
    tried.clear()
    rest = ExactRadius(**options).fit(*train)
    assert first.reference_share_ == rest.reference_share_ == (0.2, 0.6)
    assert np.array_equal(rest.components_, whole.components_)
    warm = first.set_params(warm_start=True, callback=None, checkpoint=None).fit(*train)
    assert np.array_equal(warm.components_, whole.components_)
    assert not tried


def test_the_choice_of_shares_is_determined_by_the_seed_and_ends_in_time():
    train = overlapping(0, n=120)
    options = {"max_iter": 40, "random_state": 3}
    first, second = (ExactRadius(**options, n_jobs=jobs).fit(*train) for jobs in (1, 2))
    assert first.reference_share_ == second.reference_share_
    assert np.array_equal(first.components_, second.components_)
    begun = time.process_time()
    limited = ExactRadius(max_iter=10**6, random_state=3, time_limit=0.4).fit(*train)
    assert (limited.stop_reason_, limited.reference_share_) == ("time_limit", (0.25, 0.3))
    assert limited.n_iter_ > 0
    assert time.process_time() - begun < 2


def test_an_interrupt_while_shares_are_tried_leaves_the_beginning(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_share, "_radii", interrupt)
    with pytest.warns(ConvergenceWarning, match="interrupted before epoch 1: what it began with is kept"):
        learner = ExactRadius(max_iter=2, random_state=0).fit(*overlapping(0))
    assert (learner.stop_reason_, learner.n_iter_, learner.reference_share_) == ("interrupted", 0, None)
    assert np.array_equal(learner.components_, np.eye(6))


def test_few_components_are_better_than_the_axes_that_they_begin_with():
    train, test = overlapping(0), overlapping(1)
    learner = ExactRadius(3, reference_share=(0.2, 0.6), max_iter=100, random_state=0).fit(*train)
    assert learner.components_.shape == (3, 6)
    axes = np.linalg.svd(train[0] - train[0].mean(axis=0), full_matrices=False)[2][:3]
    assert mean_radius(learner, train, test) > mean_radius(cm.Mahalanobis.from_components(axes), train, test)


def test_threads_change_no_bit():
    train = overlapping(0, n=600)
    one, two = (ExactRadius(max_iter=2, n_jobs=jobs, random_state=0).fit(*train) for jobs in (1, 2))
    assert np.array_equal(one.components_, two.components_)


def test_a_fit_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path):
    train, path = overlapping(0), tmp_path / "fit.npz"
    whole = ExactRadius(max_iter=6, random_state=0).fit(*train)
    kept = {"max_iter": 6, "checkpoint": path, "random_state": 0}
    ExactRadius(**kept, callback=lambda progress: progress.epoch == 4).fit(*train)
    rest = ExactRadius(**kept).fit(*train)
    assert rest.n_iter_ == 6
    assert np.array_equal(rest.components_, whole.components_)


def test_degenerate_data_gives_a_metric():
    rows, labels = np.repeat([[0.0, 0.0], [1.0, 0.0]], 6, axis=0), np.arange(12) % 2
    learner = ExactRadius(max_iter=3, random_state=0).fit(rows, labels)
    assert np.isfinite(learner.components_).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reference_share", 0),
        ("reference_share", 1.5),
        ("reference_share", (0.1, 0.2, 0.3)),
        ("reference_share", "none"),
        ("cap", 0),
        ("cap", "large"),
        ("max_iter", 0),
        ("batch_size", 2.5),
        ("learning_rate", 0.0),
        ("init", np.zeros((2, 6))),
    ],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        ExactRadius(**{name: value}).fit(*overlapping(0))
