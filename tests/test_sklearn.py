"""The classifier and its scores as scikit-learn sees them."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from certimetric import CertifiedKNeighborsClassifier, Mahalanobis
from certimetric.metrics import certified_accuracy, certified_accuracy_scorer, mean_certified_radius


# One check skips itself where SciPy's array API is off, with a warning that is not ours.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([CertifiedKNeighborsClassifier(), CertifiedKNeighborsClassifier(3)])
def test_conventions_of_scikit_learn_hold(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], 30)
    return rng.normal(size=(90, 3)) + 1.5 * labels[:, None], np.array(["a", "b", "c"])[labels]


def test_clone_keeps_parameters_and_forgets_the_fit(blobs):
    metric = Mahalanobis.from_components(2 * np.eye(3))
    model = CertifiedKNeighborsClassifier(3, metric=metric, n_jobs=2).fit(*blobs)
    other = clone(model)
    assert other.get_params() == model.get_params()
    assert not hasattr(other, "classes_")


def test_cross_validation_agrees_with_scikit_learn(blobs):
    ours = cross_val_score(CertifiedKNeighborsClassifier(5), *blobs, cv=3)
    np.testing.assert_allclose(ours, cross_val_score(KNeighborsClassifier(5), *blobs, cv=3))


def test_pipelines_certify_in_the_space_of_the_last_step(blobs):
    rows, labels = blobs
    model = make_pipeline(StandardScaler(), CertifiedKNeighborsClassifier()).fit(rows, labels)
    cert = model[-1].certify(model[:-1].transform(rows), labels)
    assert certified_accuracy(model, rows, labels, 0.05) == cert.certified_accuracy(0.05)


def test_certified_accuracy_falls_with_the_radius(blobs):
    rows, labels = blobs
    model = CertifiedKNeighborsClassifier().fit(rows[::2], labels[::2])
    shares = [
        certified_accuracy(model, rows[1::2], labels[1::2], radius) for radius in (0.0, 0.1, 0.5, 100.0)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == model.score(rows[1::2], labels[1::2])
    assert shares[-1] == 0.0


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("radius", [0.0, 0.2, 0.5, 100.0, np.inf])
def test_certified_accuracy_is_that_of_their_radii(blobs, k, radius):
    rows, labels = blobs
    model = CertifiedKNeighborsClassifier(k).fit(rows[::2], labels[::2])
    cert = model.certify(rows[1::2], labels[1::2])
    found = certified_accuracy(model, rows[1::2], labels[1::2], radius)
    assert found == (cert.lower > radius).mean()


@pytest.mark.parametrize(("k", "radius", "expected"), [(3, 0.2, 0.2), (3, 0.0, None), (3, np.inf, None)])
def test_scores_of_several_neighbors_only_ask_about_their_radius(blobs, monkeypatch, k, radius, expected):
    asked = []
    certify = CertifiedKNeighborsClassifier.certify

    def listen(self, *arguments, **options):
        asked.append(options.get("eps"))
        return certify(self, *arguments, **options)

    monkeypatch.setattr(CertifiedKNeighborsClassifier, "certify", listen)
    certified_accuracy(CertifiedKNeighborsClassifier(k).fit(*blobs), *blobs, radius)
    assert asked == [expected]


def test_mean_radius_is_capped(blobs):
    rows, labels = blobs
    model = CertifiedKNeighborsClassifier().fit(rows[::2], labels[::2])
    lower = model.certify(rows[1::2], labels[1::2]).lower
    found = mean_certified_radius(model, rows[1::2], labels[1::2], cap=0.2)
    assert found == pytest.approx(np.minimum(lower, 0.2).mean())
    one_class = CertifiedKNeighborsClassifier().fit(rows[:5], labels[:5])
    assert mean_certified_radius(one_class, rows[:5], labels[:5], cap=3.0) == 3.0


def test_labels_that_were_never_seen_count_as_errors(blobs):
    rows, labels = blobs
    model = CertifiedKNeighborsClassifier().fit(rows[:60], labels[:60])
    assert certified_accuracy(model, rows[60:], labels[60:], 0.0) == 0.0
    both = certified_accuracy(model, rows[30:], labels[30:], 0.0)
    assert both == pytest.approx(0.5)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search_picks_the_most_robust_metric(blobs, n_jobs):
    rows, labels = blobs
    # Two of the features are noise: a metric that looks at them is less robust.
    noisy = np.c_[rows[:, :1] * 3, np.random.default_rng(0).normal(size=(90, 2))]
    good, bad = Mahalanobis.from_components([[1.0, 0, 0]]), Mahalanobis.from_components([[0, 1.0, 1.0]])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), CertifiedKNeighborsClassifier()),
        {"certifiedkneighborsclassifier__metric": [bad, good]},
        scoring=certified_accuracy_scorer(0.05),
        error_score="raise",
        cv=3,
        n_jobs=n_jobs,
    ).fit(noisy, labels)
    assert search.best_params_["certifiedkneighborsclassifier__metric"] == good
    assert certified_accuracy(search, noisy, labels, 0.0) > 0.5


def test_feature_names_are_kept_and_checked(blobs):
    import pandas as pd

    rows, labels = blobs
    frame = pd.DataFrame(rows, columns=["x", "y", "z"])
    model = CertifiedKNeighborsClassifier().fit(frame, labels)
    np.testing.assert_array_equal(model.feature_names_in_, ["x", "y", "z"])
    with pytest.raises(ValueError, match="feature names should match"):
        model.certify(frame[["z", "y", "x"]])
    assert len(model.certify(frame)) == 90
