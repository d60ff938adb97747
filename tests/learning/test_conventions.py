"""The learners that stand beside ARML, as scikit-learn, the certifier and the command line see them."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from typer.testing import CliRunner

import certimetric as cm
from certimetric import datasets
from certimetric._cli_app import app
from certimetric.exceptions import InputTypeError
from certimetric.learning import ITML, LFDA, LMNN, NCA

LEARNERS = [
    LMNN(max_iter=5),
    LMNN(max_iter=5, perturbation=1.0),
    ITML(gamma=0.1, tol=0.1, random_state=0),
    LFDA(),
    NCA(max_iter=5, random_state=0),
]
every_learner = pytest.mark.parametrize("learner", LEARNERS, ids=str)


# One check skips itself where SciPy's array API is off, with a warning that is not ours.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(LEARNERS)
def test_conventions_of_scikit_learn_hold(estimator, check):
    check(estimator)


@every_learner
def test_a_fitted_learner_is_a_metric(blobs, learner):
    rows, labels = blobs
    fitted = clone(learner).fit(rows, labels)
    clf = cm.CertifiedKNeighborsClassifier(metric=fitted).fit(rows, labels)
    expected = cm.CertifiedKNeighborsClassifier(metric=fitted.metric_).fit(rows, labels)
    np.testing.assert_array_equal(clf.certify(rows).lower, expected.certify(rows).lower)
    pairs = rows.reshape(-1, 3, 4)[:, :2]
    distances = np.linalg.norm(
        np.diff(fitted.transform(pairs.reshape(-1, 4)).reshape(-1, 2, 4), axis=1), axis=2
    )
    np.testing.assert_allclose(fitted.pair_distance(pairs), distances.ravel())
    matrix = fitted.get_mahalanobis_matrix()
    np.testing.assert_allclose(matrix, fitted.components_.T @ fitted.components_)


@every_learner
@pytest.mark.parametrize("rows", [[["1.5", "2"]] * 4, np.array([["1.5", 1.0]] * 4, dtype=object)])
def test_text_is_no_number(learner, rows):
    with pytest.raises(InputTypeError, match="X holds"):
        clone(learner).fit(rows, [0, 0, 1, 1])


@every_learner
def test_pickles_and_clones_keep_what_they_should(blobs, learner):
    fitted = clone(learner).fit(*blobs)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.components_, fitted.components_)
    assert clone(fitted).get_params() == learner.get_params()
    assert not hasattr(clone(fitted), "components_")


@every_learner
def test_pipelines_classify(blobs, learner):
    model = make_pipeline(StandardScaler(), clone(learner), cm.CertifiedKNeighborsClassifier(5)).fit(*blobs)
    assert model.score(*blobs) > 0.6


@every_learner
@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.eye(4), [0, 0, 0, 0], "y has one class, 0"),
        (np.eye(3), [0, 1, 2], "y has one sample of each class"),
        (np.array([[0.0], [1.0], [np.nan]]), [0, 0, 1], "NaN"),
        (np.array([[0.0], [1.0], [1e200]]), [0, 0, 1], "1e\\+200"),
    ],
)
def test_data_without_an_answer_is_refused_before_any_work(learner, rows, labels, message):
    with pytest.raises(ValueError, match=message):
        clone(learner).fit(rows, labels)


@pytest.mark.parametrize("name", ["itml", "lfda", "lmnn", "nca"])
def test_each_has_a_command(tmp_path, blobs, name):
    np.savez(tmp_path / "data.npz", X_train=blobs[0], y_train=blobs[1])
    out = tmp_path / "metric.npz"
    result = CliRunner().invoke(
        app, ["learn", name, "--train", str(tmp_path / "data.npz"), "--out", str(out), "--seed", "1", "-q"]
    )
    assert result.exit_code == 0, result.output
    learner = {"itml": ITML, "lfda": LFDA, "lmnn": LMNN, "nca": NCA}[name]()
    if "random_state" in learner.get_params():
        learner.set_params(random_state=1)
    np.testing.assert_array_equal(datasets.read_metric(out).components_, learner.fit(*blobs).components_)
