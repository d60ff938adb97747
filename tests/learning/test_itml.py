"""ITML: pairs that are pairs, bounds that hold, a metric that is positive definite."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from certimetric.exceptions import DataError, InputError, InputTypeError
from certimetric.learning import ITML
from certimetric.learning.itml import draw_pairs


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 4), st.booleans())
def test_pairs_are_distinct_and_of_one_class_or_of_two(seed, n, n_classes, same):
    rng = np.random.RandomState(seed)
    codes = np.unique(rng.randint(n_classes, size=n), return_inverse=True)[1]
    is_same = codes[:, None] == codes[None]
    np.fill_diagonal(is_same, False)
    possible = is_same if same else codes[:, None] != codes[None]
    if not possible.any():
        return
    pairs = draw_pairs(codes, 25, rng, same)
    assert 0 < len(pairs) <= 25
    assert possible[pairs[:, 0], pairs[:, 1]].all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_every_pair_is_drawn_at_last():
    codes = np.array([0, 0, 1, 1, 1, 2])
    for same, count in ((True, 8), (False, 22)):
        found = {
            tuple(pair)
            for seed in range(20)
            for pair in draw_pairs(codes, 30, np.random.RandomState(seed), same)
        }
        assert len(found) == count


@settings(max_examples=settings().max_examples // 3)
@given(st.integers(0, 2**32 - 1))
def test_bounds_that_can_be_met_are_met(seed):
    """Without slack: near pairs of classes on two lines, which a metric can bring together."""
    rng = np.random.default_rng(seed)
    labels = np.arange(20) % 2
    rows = np.c_[4.0 * labels, rng.normal(size=20)]
    learner = ITML(60, gamma=np.inf, bounds=(0.5, 2.0), tol=1e-9, max_iter=5000, random_state=0).fit(
        rows, labels
    )
    squares = ((rows[:, None] - rows[None]) @ learner.components_.T) ** 2
    rng = np.random.RandomState(0)
    near, far = draw_pairs(labels, 60, rng, True), draw_pairs(labels, 60, rng, False)
    assert squares.sum(axis=2)[tuple(near.T)].max() <= 0.5 * (1 + 1e-4)
    assert squares.sum(axis=2)[tuple(far.T)].min() >= 2.0 * (1 - 1e-4)


def test_noise_is_given_less_weight_than_what_tells_classes_apart(blobs):
    learner = ITML(random_state=0, gamma=0.1).fit(*blobs)
    matrix = learner.get_mahalanobis_matrix()
    assert matrix[0, 0] > np.diag(matrix)[1:].max()
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_a_seed_says_everything(blobs):
    first, second = (ITML(random_state=3, gamma=0.1).fit(*blobs) for _ in range(2))
    np.testing.assert_array_equal(first.components_, second.components_)
    assert len(first.history_["change"]) == first.n_iter_


def test_bounds_are_percentiles_of_the_distances(blobs):
    rows, labels = blobs
    bounds = ITML(10_000, random_state=0, max_iter=1, tol=np.inf).fit(rows, labels).bounds_
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.testing.assert_allclose(bounds, np.percentile(distances[np.triu_indices(75, 1)], (5, 95)))


def test_a_fit_that_ends_too_early_warns(blobs):
    with pytest.warns(ConvergenceWarning, match="ITML ends after 2 sweeps with a change of"):
        ITML(max_iter=2, tol=0, random_state=0).fit(*blobs)


def test_rows_that_coincide_bind_nothing():
    learner = ITML(random_state=0).fit(np.ones((6, 2)), [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(learner.get_mahalanobis_matrix(), np.eye(2))
    rows = np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 4, axis=0)
    learner = ITML(random_state=0, gamma=0.1, tol=0.1).fit(rows, [0, 0, 0, 1] * 4)
    assert np.isfinite(learner.components_).all()


def test_more_features_than_rows_and_constant_ones():
    rows = np.random.default_rng(0).normal(size=(6, 9))
    rows[:, 4] = 3.0
    learner = ITML(random_state=0, gamma=0.1, tol=0.1).fit(rows, [0, 0, 0, 1, 1, 2])
    assert learner.components_.shape == (9, 9)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_constraints": 0}, "n_constraints must be at least 1"),
        ({"gamma": 0}, "gamma must be positive"),
        ({"gamma": None}, "gamma must be"),
        ({"gamma": np.nan}, "gamma must be at least 0 and not NaN"),
        ({"bounds": (1.0,)}, "bounds must be two numbers"),
        ({"bounds": (0.0, 1.0)}, "bounds must be positive"),
        ({"bounds": (1.0, np.inf)}, "bounds must be finite"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"tol": -1}, "tol must be at least 0"),
    ],
)
def test_wrong_parameters_are_refused_by_name(blobs, parameters, message):
    with pytest.raises((InputError, InputTypeError), match=message):
        ITML(**parameters).fit(*blobs)


def test_more_constraints_than_pairs_are_all_pairs(blobs):
    begun = time.process_time()
    learner = ITML(n_constraints=10**12, max_iter=2, tol=9.0, random_state=0).fit(*blobs)
    assert np.isfinite(learner.components_).all()
    assert time.process_time() - begun < 10


def test_data_too_large_for_the_metric_it_begins_with_are_refused(blobs):
    with pytest.raises(InputError, match=r"X has differences of .*e\+2\d.* Scale X"):
        ITML(random_state=0).fit(1e20 * blobs[0], blobs[1])


def same_fit(first, second):
    np.testing.assert_array_equal(first.components_, second.components_)
    for name in ("loss", "change"):
        np.testing.assert_array_equal(first.history_[name], second.history_[name])
    return first.stop_reason_ == second.stop_reason_


@pytest.mark.filterwarnings("ignore:ITML ends after 5 sweeps")
@pytest.mark.parametrize("gamma", [0.1, np.inf])
def test_a_checkpoint_goes_on_to_the_same_bits(blobs, tmp_path, gamma):
    path, options = tmp_path / "fit.npz", {"gamma": gamma, "random_state": 0, "max_iter": 40, "tol": 0.02}
    ITML(**options | {"max_iter": 5}, checkpoint=path).fit(*blobs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole = ITML(**options).fit(*blobs)
        assert same_fit(ITML(**options, checkpoint=path).fit(*blobs), whole)
        assert same_fit(ITML(**options, checkpoint=path).fit(*blobs), whole)
    with pytest.raises(DataError, match="other data or other parameters"):
        ITML(**options | {"n_constraints": 30}, checkpoint=path).fit(*blobs)


def test_callbacks_limits_and_interrupts_end_it(blobs):
    options = {"random_state": 0, "gamma": 0.1, "tol": 0.0}
    told = []
    learner = ITML(**options, callback=lambda p: told.append(p) or p.epoch == 3).fit(*blobs)
    assert (learner.stop_reason_, learner.n_iter_) == ("callback", 3)
    assert set(told[-1].record) == {"loss", "change"}
    limited = ITML(**options, max_iter=10**9, time_limit=0.1).fit(*blobs)
    assert limited.stop_reason_ == "time_limit"
    assert 0 < limited.n_iter_ < 10**7

    def interrupt(progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="ITML was interrupted in epoch 4: .* epoch 3 is kept"):
        stopped = ITML(**options, callback=interrupt).fit(*blobs)
    assert stopped.stop_reason_ == "interrupted"
    np.testing.assert_array_equal(stopped.components_, learner.components_)


def test_a_fit_that_converges_in_its_last_sweep_has_converged(blobs):
    options = {"random_state": 0, "gamma": 0.1, "tol": 0.01}
    count = ITML(**options).fit(*blobs).n_iter_
    assert ITML(**options, max_iter=count).fit(*blobs).stop_reason_ == "converged"


def test_the_loss_is_the_objective(blobs):
    rows, labels = blobs
    options = {"random_state": 0, "bounds": (1.0, 9.0), "n_constraints": 30, "max_iter": 1, "tol": 9.0}
    strict, loose = (ITML(**options, gamma=gamma).fit(rows, labels) for gamma in (np.inf, 2.0))
    matrix = strict.get_mahalanobis_matrix()
    expected = np.trace(matrix) - np.linalg.slogdet(matrix)[1] - 4
    np.testing.assert_allclose(strict.history_["loss"], [expected], rtol=1e-9)
    matrix, slack = loose.get_mahalanobis_matrix(), loose._state.values["bounds"]
    ratios = slack / np.repeat([1.0, 9.0], 30)
    expected = np.trace(matrix) - np.linalg.slogdet(matrix)[1] - 4 + 2 * (ratios - np.log(ratios) - 1).sum()
    np.testing.assert_allclose(loose.history_["loss"], [expected], rtol=1e-9)
