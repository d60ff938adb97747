"""ARML: what it learns, and what it says of data that it cannot learn from."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, minmax_scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from certimetric import CertifiedKNeighborsClassifier, Mahalanobis
from certimetric.exceptions import InputError, InputTypeError, MissingDependencyError
from certimetric.learning import ARML
from certimetric.metrics import certified_accuracy_scorer


# One check skips itself where SciPy's array API is off, with a warning that is not ours.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([ARML(max_iter=3), ARML(2, max_iter=2, batch_size=5, loss="logistic")])
def test_conventions_of_scikit_learn_hold(estimator, check):
    check(estimator)


def radii(rows, labels, metric):
    """Certified radii of every other row before the rest."""
    model = CertifiedKNeighborsClassifier(metric=metric).fit(rows[::2], labels[::2])
    return model.certify(rows[1::2], labels[1::2]).lower


def test_radii_grow_where_features_say_nothing(blobs):
    rows, labels = blobs
    learner = ARML(max_iter=300, learning_rate=0.01, random_state=0).fit(rows[::2], labels[::2])
    assert radii(rows, labels, learner).mean() > 1.1 * radii(rows, labels, "euclidean").mean()
    # The feature that tells the classes apart counts most.
    assert np.diag(learner.get_mahalanobis_matrix()).argmax() == 0
    assert learner.history_["loss"][-50:].mean() < learner.history_["loss"][:5].mean()


def test_the_fit_is_determined_by_the_seed_and_not_by_threads(blobs):
    first, second, other = (
        ARML(max_iter=20, random_state=seed, n_jobs=jobs).fit(*blobs).components_
        for seed, jobs in ((3, 1), (3, 2), (4, 1))
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_result_is_a_metric_everywhere(blobs):
    rows, labels = blobs
    learner = ARML(3, max_iter=5, random_state=0).fit(rows, labels)
    assert learner.components_.shape == (3, 4)
    assert learner.metric_ == Mahalanobis.from_components(learner.components_)
    np.testing.assert_allclose(learner.get_mahalanobis_matrix(), learner.components_.T @ learner.components_)
    np.testing.assert_allclose(learner.transform(rows), rows @ learner.components_.T)
    pairs = rows.reshape(-1, 3, 4)[:, :2]
    gaps = learner.transform(pairs[:, 0]) - learner.transform(pairs[:, 1])
    np.testing.assert_allclose(learner.pair_distance(pairs), np.linalg.norm(gaps, axis=1))
    assert learner.get_feature_names_out().tolist() == ["arml0", "arml1", "arml2"]
    assert learner.set_output(transform="pandas").transform(rows).shape == (75, 3)


def test_low_rank_begins_with_the_principal_axes(blobs):
    rows, labels = blobs
    rows = rows * [0.1, 0.1, 5.0, 0.1]
    learner = ARML(1, max_iter=1, learning_rate=1e-9).fit(rows, labels)
    assert np.abs(learner.components_).argmax() == 2
    np.testing.assert_allclose(
        ARML(2, init="identity", max_iter=1, learning_rate=1e-9).fit(rows, labels).components_,
        np.eye(2, 4),
        atol=1e-6,
    )


@pytest.mark.parametrize("loss", ["negative", "hinge", "exponential", "logistic"])
@pytest.mark.parametrize("batch_size", [None, 16])
def test_every_loss_goes_down(blobs, loss, batch_size):
    learner = ARML(loss=loss, batch_size=batch_size, max_iter=60, learning_rate=0.005, random_state=0).fit(
        *blobs
    )
    losses = learner.history_["loss"]
    assert len(losses) == learner.n_iter_ == 60
    assert losses[-20:].mean() < losses[:5].mean()


def test_a_grid_search_scores_by_certified_accuracy():
    X, y = load_iris(return_X_y=True)
    X = minmax_scale(X)
    model = CertifiedKNeighborsClassifier(metric=ARML(max_iter=5, random_state=0))
    search = GridSearchCV(
        model, {"metric__learning_rate": [1e-3, 1e-2]}, scoring=certified_accuracy_scorer(0.05), cv=2
    ).fit(X, y)
    assert search.best_score_ > 0.5
    assert search.best_estimator_.metric_ != Mahalanobis.euclidean(4)
    # The learner that was given is left unfitted.
    assert not hasattr(model.metric, "components_")


def test_a_pipeline_transforms_and_clones(blobs):
    rows, labels = blobs
    model = make_pipeline(MinMaxScaler(), ARML(max_iter=2, random_state=0), CertifiedKNeighborsClassifier())
    assert model.fit(rows, labels).score(rows, labels) == 1.0
    assert not hasattr(clone(model)[1], "components_")


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([[0.0], [1.0], [2.0]], [1, 1, 1], "y has one class, 1, but ARML needs two or more"),
        ([[0.0], [1.0], [2.0]], [0, 1, 2], "y has one sample of each class"),
        ([[0.0], [1.0], [2.0]], [0.5, 1.25, 2.0], "Unknown label type: continuous"),
        ([[0.0], [np.nan], [2.0]], [0, 1, 1], "NaN"),
        ([[0.0], [1e200], [2.0]], [0, 1, 1], "1e\\+200"),
        ([[0.0], [1.0]], [0, 1, 1], "inconsistent numbers of samples"),
    ],
)
def test_data_without_anything_to_learn_is_an_error(rows, labels, message):
    with pytest.raises(ValueError, match=message):
        ARML(max_iter=2).fit(rows, labels)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"max_iter": 0}, InputError, "max_iter must be at least 1"),
        ({"max_iter": 1.5}, InputTypeError, "max_iter must be an integer"),
        ({"learning_rate": 0.0}, InputError, "learning_rate must be positive"),
        ({"learning_rate": np.inf}, InputError, "learning_rate must be a finite number"),
        ({"n_neighbors": 0}, InputError, "n_neighbors must be at least 1"),
        ({"n_components": 5}, InputError, "n_components must be at most n_features = 4"),
        ({"n_components": 2, "init": np.eye(4)}, InputError, "n_components is 2, but init has 4 rows"),
        ({"init": "random"}, InputError, "init must be 'auto'"),
        ({"init": np.eye(3)}, InputError, "init has 3 features, but 4"),
        ({"loss": "square"}, InputError, "loss must be 'negative', 'hinge'"),
        ({"hinge": -1.0}, InputError, "hinge must be at least 0"),
        ({"batch_size": 0}, InputError, "batch_size must be at least 1"),
        ({"backend": "jax"}, InputError, "backend must be 'native' or 'torch'"),
        ({"device": "cuda"}, InputError, "device='cuda' needs backend='torch'"),
        ({"dtype": "float99"}, InputError, "dtype must be 'float32' or 'float64'"),
        ({"dtype": "float99", "backend": "torch"}, InputError, "dtype must be 'float32' or 'float64'"),
        ({"validation_fraction": 1.0}, InputError, "validation_fraction must be between 0 and 1"),
        ({"n_iter_no_change": 0}, InputError, "n_iter_no_change must be at least 1"),
        ({"tol": -1.0}, InputError, "tol must be at least 0"),
        ({"time_limit": 0}, InputError, "time_limit must be positive"),
        ({"callback": 3}, InputTypeError, "callback must be callable"),
        ({"checkpoint": "x.npz"}, InputError, "checkpoint needs an integer as random_state"),
    ],
)
def test_parameters_out_of_range_are_named(blobs, parameters, error, message):
    with pytest.raises(error, match=message):
        ARML(**parameters).fit(*blobs)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_the_native_backend_is_on_the_cpu(blobs, device):
    assert ARML(max_iter=1, device=device, dtype="float32").fit(*blobs).n_iter_ == 1


def test_torch_that_is_not_there_names_the_extra(blobs, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"certimetric\[torch\]"):
        ARML(backend="torch").fit(*blobs)


def degenerate_sets():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(12, 3))
    labels = np.repeat([0, 1, 2], 4)
    yield "duplicates", np.repeat(rows[:4], 3, axis=0), np.arange(12) % 3
    yield "all rows the same", np.ones((12, 3)), labels
    yield "a constant feature", rows * [1, 0, 1], labels
    yield "a class of one row", rows, np.array([0] * 11 + [1])
    yield "fewer rows than features", rows.T, np.array([0, 0, 1])
    yield "far from the origin", rows + 1e8, labels
    yield "tiny", rows * 1e-150, labels
    yield "large", rows * 1e140, labels


@pytest.mark.parametrize("case", degenerate_sets(), ids=lambda case: case[0])
def test_odd_data_give_a_finite_metric(case):
    _, rows, labels = case
    learner = ARML(max_iter=5, random_state=0).fit(rows, labels)
    assert np.isfinite(learner.components_).all()
    assert learner.n_iter_ == 5


@pytest.mark.torch
@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e19, 1e25])
def test_single_precision_takes_data_of_any_size(blobs, scale):
    pytest.importorskip("torch")
    rows, labels = blobs
    losses = [
        ARML(max_iter=3, random_state=0, backend="torch", dtype=kind)
        .fit(scale * rows, labels)
        .history_["loss"]
        for kind in ("float32", "float64")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.torch
def test_both_backends_learn_the_same(blobs):
    pytest.importorskip("torch")
    native, torch = (ARML(max_iter=30, random_state=0, backend=b).fit(*blobs) for b in ("native", "torch"))
    np.testing.assert_allclose(native.components_, torch.components_, rtol=1e-6, atol=1e-9)
    single = ARML(max_iter=30, random_state=0, backend="torch", dtype="float32").fit(*blobs)
    np.testing.assert_allclose(native.history_["loss"], single.history_["loss"], rtol=1e-3)
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        ARML(max_iter=1, backend="torch", device="abacus").fit(*blobs)
    with pytest.raises(InputError, match="dtype must be"):
        ARML(max_iter=1, backend="torch", dtype="float16").fit(*blobs)
