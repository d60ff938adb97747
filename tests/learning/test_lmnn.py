"""LMNN and LMNN-PL: their objectives are those of the definition, and fall."""

import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

import certimetric as cm
from certimetric.exceptions import InputError, InputTypeError
from certimetric.learning import LMNN, PerturbationLoss
from certimetric.learning._base import Labelled
from certimetric.learning._large_margin import AllImpostors, FixedTriplets, find_neighbors
from certimetric.learning._line_descent import along_matrix

seeds = st.integers(0, 2**32 - 1)
fewer = settings(max_examples=settings().max_examples // 3)


def draw(seed, d=3, n=14, n_classes=3):
    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(n_classes), [0], rng.integers(0, n_classes, n - n_classes - 1)])
    rows = rng.normal(size=(n, d))
    return Labelled(rows, codes.astype(np.int64), np.arange(n_classes)), rng.normal(size=(d, d))


def squared(metric, a, b):
    return float((a - b) @ metric @ (a - b))


def targets_by_hand(data, k):
    pairs = []
    for i, row in enumerate(data.rows):
        others = [j for j in np.flatnonzero(data.codes == data.codes[i]) if j != i]
        others.sort(key=lambda j: np.sum((row - data.rows[j]) ** 2))
        pairs += [(i, j) for j in others[:k]]
    return pairs


def all_impostors_by_hand(data, metric, k, pull):
    rows, total = data.rows, 0.0
    for i, j in targets_by_hand(data, k):
        near = squared(metric, rows[i], rows[j])
        total += pull * near
        for other in np.flatnonzero(data.codes != data.codes[i]):
            total += (1 - pull) * max(0.0, 1 + near - squared(metric, rows[i], rows[other]))
    return total


def fixed_triplets_by_hand(data, metric, k, q, pull, weight, tau):
    rows, targets = data.rows, targets_by_hand(data, k)
    triplets = []
    for i, j in targets:
        others = list(np.flatnonzero(data.codes != data.codes[i]))
        others.sort(key=lambda other: np.sum((rows[i] - rows[other]) ** 2))
        triplets += [(i, j, other) for other in others[:q]]
    near, far = (np.array([squared(metric, rows[t[0]], rows[t[side]]) for t in triplets]) for side in (1, 2))
    pulled = np.mean([squared(metric, rows[i], rows[j]) for i, j in targets])
    lost, _ = PerturbationLoss(tau)(metric, rows, np.array(triplets))
    return pull * pulled + (1 - pull) * np.maximum(0, 1 + near - far).mean() + weight * lost


@fewer
@given(seeds, st.integers(1, 4), st.floats(0, 1))
def test_sums_over_all_impostors_are_those_of_the_definition(seed, k, pull):
    data, components = draw(seed)
    near = find_neighbors(data, k, 1, 1)
    value, _ = AllImpostors(data, near.same, pull, 1)(components)
    expected = all_impostors_by_hand(data, components.T @ components, k, pull)
    assert value == pytest.approx(expected, rel=1e-5)


@fewer
@given(
    seeds,
    st.lists(st.floats(-6, 0), min_size=2, max_size=8),
    st.sampled_from([1.0, 3.0, 10.0, 100.0]),
    st.sampled_from([0.0, 1e4]),
)
def test_what_was_asked_before_changes_no_bit(seed, changes, scale, gap):
    data, components = draw(seed, n=100)
    # Two groups of rows far from each other.
    data.rows[::2, 0] += gap
    near, rng = find_neighbors(data, 1, 1, 1), np.random.default_rng(seed)
    followed = AllImpostors(data, near.same, 0.5, 1)
    components = scale * components
    for change in changes:
        components = components * rng.uniform(0.9, 1.2) + scale * 10**change * rng.normal(size=(3, 3))
        value, gradient = followed(components)
        fresh = AllImpostors(data, near.same, 0.5, 1)
        expected, slope = fresh(components)
        assert value == expected
        np.testing.assert_array_equal(gradient, slope)
        assert value >= 0
    if gap == 0:
        expected = all_impostors_by_hand(data, components.T @ components, 1, 0.5)
        assert value == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("scale", "are_few"), [(0.1, False), (30.0, True)])
def test_impostors_are_given_one_by_one_where_they_are_few(scale, are_few):
    data, components = draw(0, n=200)
    targets = find_neighbors(data, 1, 1, 1).same
    objective = AllImpostors(data, targets, 0.5, 1)
    images = objective.rows @ (scale * components).T
    limits = np.full((200, 1), 1.0)
    _, few, outer = objective.impostors.find(objective.rows, images, data.codes, limits, 1)
    assert (few is not None) == are_few
    assert (outer is None) == are_few


@fewer
@given(seeds, st.integers(1, 4), st.integers(1, 5), st.floats(0, 1), st.floats(0, 10), st.floats(0.1, 2))
def test_means_over_fixed_triplets_are_those_of_the_definition(seed, k, q, pull, weight, tau):
    data, components = draw(seed)
    near = find_neighbors(data, k, q, 1)
    value, _ = FixedTriplets(data, near, pull, weight, tau, 1)(components)
    expected = fixed_triplets_by_hand(data, components.T @ components, k, q, pull, weight, tau)
    assert value == pytest.approx(expected, rel=1e-7)


@fewer
@given(seeds, st.sampled_from(["all", "fixed"]))
def test_gradients_are_those_of_finite_differences(seed, kind):
    data, components = draw(seed)
    near = find_neighbors(data, 2, 4, 1)
    if kind == "all":
        objective, step = AllImpostors(data, near.same, 0.3, 1), 1e-4
    else:
        objective, step = FixedTriplets(data, near, 0.3, 2.0, 0.5, 1), 1e-6
    _, gradient = objective(components)
    direction = np.random.default_rng(seed).normal(size=components.shape)
    above, below = (objective(components + s * direction)[0] for s in (step, -step))
    # A kink between the two would make a difference; there is none where the halves agree.
    middle = objective(components)[0]
    assume(
        abs(above + below - 2 * middle) < 30 * step**2 * np.abs(gradient).max() * np.sum(direction**2) + 1e-9
    )
    slope = np.sum(2 * components @ gradient * direction)
    assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-2, abs=1e-2 * np.abs(gradient).max())


@pytest.mark.parametrize("perturbation", [None, 0.0, 5.0])
def test_the_objective_never_rises(blobs, perturbation):
    losses = LMNN(perturbation=perturbation, max_iter=40).fit(*blobs).history_["loss"]
    assert len(losses) > 10
    assert (np.diff(losses) <= 0).all()
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize(("perturbation", "kind"), [(None, AllImpostors), (3.0, FixedTriplets)])
def test_what_the_last_step_left_behind_is_not_computed_again(blobs, monkeypatch, perturbation, kind):
    asked, objective = [], kind.__call__

    def counted(self, components):
        asked.append(components.tobytes())
        return objective(self, components)

    monkeypatch.setattr(kind, "__call__", counted)
    LMNN(perturbation=perturbation, max_iter=20).fit(*blobs)
    assert len(set(asked)) == len(asked) >= 20


@given(seeds, st.floats(0.01, 100))
def test_projections_are_semidefinite_and_nearest(seed, step):
    rng = np.random.default_rng(seed)
    components, gradient = rng.normal(size=(2, 4, 4))
    gradient += gradient.T
    target = components.T @ components - step * gradient
    G = along_matrix.to(components, gradient, step)
    assert G.shape == (4, 4)
    values, vectors = np.linalg.eigh(target)
    nearest = vectors * np.maximum(values, 0) @ vectors.T
    np.testing.assert_allclose(G.T @ G, nearest, atol=1e-9 * np.abs(values).max())


def test_small_eigenvalues_become_zero():
    G = along_matrix.to(np.eye(3), np.diag([0.0, 1 - 1e-12, 2.0]), 1.0)
    np.testing.assert_array_equal(G.T @ G, np.diag([1.0, 0, 0]))


@pytest.mark.parametrize("perturbation", [None, 5.0])
def test_noise_is_given_less_weight_than_what_tells_classes_apart(rng, perturbation):
    labels = np.arange(90) % 3
    rows = rng.normal(size=(90, 4)) * [0.3, 1, 1, 1] + [[2.0, 0, 0, 0]] * labels[:, None]
    matrix = LMNN(perturbation=perturbation).fit(rows, labels).get_mahalanobis_matrix()
    assert matrix[0, 0] > 2 * np.diag(matrix)[1:].max()


def test_the_perturbation_loss_makes_radii_larger(blobs):
    rows, labels = blobs
    means = []
    for weight in (0.0, 20.0):
        learner = LMNN(perturbation=weight, radius=0.5).fit(rows[::2], labels[::2])
        clf = cm.CertifiedKNeighborsClassifier(metric=learner).fit(rows[::2], labels[::2])
        means.append(np.minimum(clf.certify(rows[1::2], labels[1::2]).lower, 0.5).mean())
    assert means[1] > means[0]


@pytest.mark.parametrize("perturbation", [None, 1.0])
@pytest.mark.parametrize("n_jobs", [2, -1])
def test_threads_change_no_bit(blobs, perturbation, n_jobs):
    one, many = (
        LMNN(perturbation=perturbation, max_iter=10, n_jobs=jobs).fit(*blobs) for jobs in (1, n_jobs)
    )
    np.testing.assert_array_equal(one.components_, many.components_)


@pytest.mark.parametrize("perturbation", [None, 1.0])
def test_radii_do_not_depend_on_where_the_rows_are_nor_on_the_names_of_classes(blobs, perturbation):
    rows, labels = blobs
    here = LMNN(perturbation=perturbation, max_iter=15).fit(rows, labels)
    there = LMNN(perturbation=perturbation, max_iter=15).fit(rows + 8.0, np.char.add("class ", labels))
    np.testing.assert_allclose(
        there.get_mahalanobis_matrix(), here.get_mahalanobis_matrix(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("perturbation", [None, 1.0])
def test_a_fit_goes_on_as_if_it_had_not_stopped(blobs, perturbation, tmp_path):
    parameters = {"perturbation": perturbation, "random_state": 0}
    whole = LMNN(max_iter=12, **parameters).fit(*blobs)
    warm = pickle.loads(pickle.dumps(LMNN(max_iter=5, warm_start=True, **parameters).fit(*blobs)))
    kept = LMNN(max_iter=5, checkpoint=tmp_path / "fit.npz", **parameters).fit(*blobs)
    for learner in (warm, kept):
        learner.set_params(max_iter=12).fit(*blobs)
        np.testing.assert_array_equal(learner.components_, whole.components_)
        np.testing.assert_array_equal(learner.history_["loss"], whole.history_["loss"])


def test_a_fit_that_has_converged_says_so(blobs):
    learner = LMNN(perturbation=1.0, convergence_tol=1e-3).fit(*blobs)
    assert learner.stop_reason_ == "converged"
    assert learner.n_iter_ < 1000


def test_a_metric_that_tells_no_rows_apart_is_told(rng):
    rows = 100 * rng.normal(size=(60, 4))
    with pytest.warns(ConvergenceWarning, match="LMNN has learned M = 0") as caught:
        learner = LMNN(perturbation="auto").fit(rows, np.arange(60) % 3)
    assert not learner.components_.any()
    assert caught[0].filename == __file__


def test_data_out_of_proportion_is_told(blobs):
    rows, labels = blobs
    with pytest.warns(ConvergenceWarning, match=r"LMNN has converged in its first epoch: .* Scale X"):
        LMNN(max_iter=20).fit(1e-10 * rows, labels)


def test_a_first_step_of_ones_own_is_taken(blobs):
    rows, labels = blobs
    learner = LMNN(first_step=1e-7, max_iter=1).fit(rows, labels)
    assert 0 < np.abs(learner.components_ - np.eye(4)).max() < 1e-3


@pytest.mark.parametrize("perturbation", [None, 1.0])
class TestDegenerateData:
    def fit(self, rows, labels, **parameters):
        learner = LMNN(max_iter=20, **parameters).fit(np.asarray(rows, dtype=float), labels)
        assert np.isfinite(learner.components_).all()
        return learner

    def test_classes_that_are_far_apart_have_no_impostors(self, perturbation):
        rows = [[0.0, 0], [1e-3, 0], [1e3, 0], [1e3, 1e-3]]
        learner = self.fit(rows, [0, 0, 1, 1], perturbation=perturbation, radius=1.0)
        assert learner.history_["loss"][-1] <= 1e-5

    def test_classes_smaller_than_the_number_of_neighbors(self, perturbation):
        rows = np.random.default_rng(0).normal(size=(7, 2))
        self.fit(rows, [0, 0, 1, 1, 1, 2, 3], n_neighbors=5, n_impostors=50, perturbation=perturbation)

    def test_duplicates_in_one_class_and_in_two(self, perturbation):
        rows = np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 4, axis=0)
        self.fit(rows, [0, 0, 0, 1] * 4, perturbation=perturbation)

    @pytest.mark.filterwarnings("ignore:LMNN has converged in its first epoch")
    def test_rows_that_are_all_the_same(self, perturbation):
        learner = self.fit(np.ones((6, 2)), [0, 0, 0, 1, 1, 1], perturbation=perturbation)
        assert learner.stop_reason_ == "converged"
        np.testing.assert_array_equal(learner.components_, np.eye(2))

    def test_constant_features_and_more_features_than_rows(self, perturbation):
        rows = np.random.default_rng(0).normal(size=(6, 9))
        rows[:, 4] = 3.0
        self.fit(rows, [0, 0, 0, 1, 1, 1], perturbation=perturbation)

    @pytest.mark.filterwarnings("ignore:LMNN has converged in its first epoch")
    @pytest.mark.parametrize("scale", [1e-120, 1e-8, 1e8, 1e59])
    def test_extreme_scales(self, perturbation, scale):
        rows = np.random.default_rng(0).normal(size=(30, 3)) + 2 * np.repeat([[0], [1]], 15, axis=0)
        self.fit(scale * rows, np.repeat([0, 1], 15), perturbation=perturbation)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors must be at least 1"),
        ({"n_impostors": 2.5}, "n_impostors must be an integer"),
        ({"pull": 1.5}, "pull must be between 0 and 1"),
        ({"perturbation": -1.0}, "perturbation must be at least 0"),
        ({"perturbation": np.inf}, "perturbation must be a finite number"),
        ({"radius": 0.0}, "radius must be positive"),
        ({"radius": np.inf}, "radius must be a finite number"),
        ({"first_step": np.inf}, "first_step must be a finite number"),
        ({"convergence_tol": -1}, "convergence_tol must be at least 0"),
        ({"n_components": 5}, "n_components must be at most n_features = 4"),
    ],
)
def test_wrong_parameters_are_refused_by_name(blobs, parameters, message):
    with pytest.raises((InputError, InputTypeError), match=message):
        LMNN(**parameters).fit(*blobs)


@pytest.mark.parametrize("perturbation", [None, 1.0])
def test_fewer_components_than_features_and_more(blobs, perturbation):
    for size, init in ((2, "auto"), (5, np.eye(5, 4))):
        learner = LMNN(size, init=init, perturbation=perturbation, max_iter=10).fit(*blobs)
        assert learner.components_.shape == (size, 4)
        assert learner.history_["loss"][-1] < learner.history_["loss"][0]


def test_data_too_large_for_a_margin_of_one_is_refused(blobs):
    with pytest.raises(InputError, match=r"X spans .* Rescale the data"):
        LMNN().fit(1e62 * blobs[0], blobs[1])


@pytest.mark.parametrize(("scale", "radius", "found"), [(1, 1e-160, "given"), (1e-160, None, "median")])
def test_a_radius_whose_weight_is_no_number_is_refused(scale, radius, found):
    rows = scale * np.array([[0.0], [1.0], [3.0], [4.0]])
    with pytest.raises(InputError, match=f"radius must be at least 1e-150.*{found}"):
        LMNN(perturbation="auto", radius=radius).fit(rows, [0, 0, 1, 1])
