"""Every mistake in data and parameters: an error before any work, which says what is wrong."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError

import certimetric as cm
from certimetric import CertifiedKNeighborsClassifier, metrics
from certimetric.exceptions import (
    CertimetricError,
    InputError,
    InputTypeError,
    MetricError,
    UnknownLabelError,
)

GOOD = np.arange(12.0).reshape(6, 2)
LABELS = np.array([0, 1, 0, 1, 0, 1])


def spoiled(value):
    rows = GOOD.copy()
    rows[2, 1] = value
    return rows


# What may not be given as rows, with a pattern that holds for our own messages and for scikit-learn's.
BAD_ROWS = {
    "NaN": (spoiled(np.nan), ValueError, "contains NaN"),
    "infinity": (spoiled(np.inf), ValueError, "contains infinity"),
    "minus infinity": (spoiled(-np.inf), ValueError, "contains infinity"),
    "too large": (spoiled(-1e151), InputError, "contains the magnitude 1e\\+151"),
    "one dimension": (np.arange(3.0), ValueError, "(must be two-dimensional|Expected 2D array)"),
    "three dimensions": (np.ones((2, 2, 2)), ValueError, "(must be two-dimensional|with dim 3|dim <= 2)"),
    "no rows": (np.empty((0, 2)), ValueError, "(is empty|0 sample)"),
    "no columns": (np.empty((6, 0)), ValueError, "(is empty|0 feature)"),
    "strings": (np.full((6, 2), "1.5"), InputTypeError, "holds strings"),
    "complex": (GOOD + 1j, (TypeError, ValueError), "[Cc]omplex"),
    "sparse": (sparse.csr_matrix(GOOD), TypeError, "[Ss]parse"),
    "objects": (
        np.array([[object(), 1.0]] * 6),
        TypeError,
        "(object array that holds|argument must be a string)",
    ),
    "objects of strings": (np.array([["a", 1.0]] * 6, dtype=object), (TypeError, ValueError), "'a'"),
    "numbers as text": ([["1.5", "2"]] * 6, InputTypeError, "holds strings"),
    "objects that are numbers as text": (np.array([["1.5", 1.0]] * 6, dtype=object), InputTypeError, "'1.5'"),
    "dates": (np.full((6, 2), "2020-01-01", dtype="datetime64[D]"), InputTypeError, "holds dates"),
    "time spans": (np.full((6, 2), 5, dtype="timedelta64[s]"), InputTypeError, "holds time spans"),
    "a huge integer": ([[10**400, 1]] * 6, InputError, "contains a number that is too large for binary64"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "(not a rectangular array|inhomogeneous)"),
}


@pytest.fixture
def model():
    return CertifiedKNeighborsClassifier().fit(GOOD, LABELS)


@pytest.mark.parametrize("case", BAD_ROWS)
def test_functions_refuse_bad_rows_and_name_the_argument(case):
    rows, error, message = BAD_ROWS[case]
    calls = {
        "X": lambda: cm.kneighbors(GOOD, rows),
        "Z": lambda: cm.triplet_radius(rows, GOOD, GOOD),
        "X_other": lambda: cm.triplet_radius(GOOD, GOOD, rows),
        "Y": lambda: cm.pairwise_distances(GOOD, rows),
        "components": lambda: cm.Mahalanobis.from_components(rows),
    }
    for name, call in calls.items():
        with pytest.raises(error, match=rf"^{name} .*{message}") as caught:
            call()
        assert isinstance(caught.value, CertimetricError)


@pytest.mark.parametrize("case", BAD_ROWS)
def test_fit_refuses_bad_rows(case):
    rows, error, message = BAD_ROWS[case]
    with pytest.raises(error, match=message):
        CertifiedKNeighborsClassifier().fit(rows, LABELS)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "kneighbors", "certify"])
@pytest.mark.parametrize("case", BAD_ROWS)
def test_methods_refuse_bad_rows(model, method, case):
    rows, error, message = BAD_ROWS[case]
    with pytest.raises(error, match=message):
        getattr(model, method)(rows)


def test_objects_that_are_numbers_are_accepted(model):
    np.testing.assert_array_equal(model.predict(GOOD.astype(object)), model.predict(GOOD))
    plain, _ = cm.kneighbors(GOOD, GOOD)
    found, _ = cm.kneighbors(GOOD.astype(object), GOOD.tolist())
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("method", ["predict", "kneighbors", "certify"])
def test_another_number_of_features_is_refused(model, method):
    with pytest.raises(
        ValueError, match="X has 3 features, but CertifiedKNeighborsClassifier is expecting 2"
    ):
        getattr(model, method)(np.ones((4, 3)))
    with pytest.raises(InputError, match="Z has 3 features, but 2 are expected"):
        cm.kneighbors(np.ones((4, 3)), GOOD)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "kneighbors", "certify"])
def test_methods_before_fit_are_refused(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(CertifiedKNeighborsClassifier(), method)(GOOD)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:5], r"inconsistent numbers of samples: \[6, 5\]"),
        (np.linspace(0, 1, 6), "Unknown label type"),
        (np.array([0, 1, np.nan, 0, 1, 0]), "y contains NaN"),
        ([0, 1, None, 0, 1, 0], "y has None at row 2, but labels are text or numbers"),
        (["a", "b", None, "a", "b", "a"], "y has None at row 2, but labels are text or numbers"),
        (None, "requires y to be passed"),
    ],
)
def test_fit_refuses_bad_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        CertifiedKNeighborsClassifier().fit(GOOD, labels)


@pytest.mark.parametrize("labels", [LABELS[:5], LABELS[:, None], [0], []])
def test_certify_refuses_labels_of_another_length(model, labels):
    with pytest.raises(InputError, match=r"y must have shape \(6,\), one label for each row of X"):
        model.certify(GOOD, labels)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("method", ["exact", "bound", "attack"])
def test_points_of_labels_never_seen_are_misclassified(k, method):
    model = CertifiedKNeighborsClassifier(k).fit(GOOD, LABELS)
    cert = model.certify(GOOD, [7, -1, 7, 7, 8, 2**40], method=method)
    assert set(cert.status) == {"misclassified"}
    assert not cert.lower.any()
    assert not cert.upper.any()
    np.testing.assert_array_equal(cert.predicted, model.predict(GOOD))
    assert cert.certified_error(0.0) == 1.0


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (["a"] * 6, LABELS, "y must have numbers for labels, as the classifier has; got 'a'"),
        ([*"uvwxyz"], LABELS, r"got 'u', 'v', 'w', 'x', 'y', \.\.\."),
        ([1, 2] * 3, ["a", "b"] * 3, "y must have text for labels, as the classifier has; got 1, 2"),
    ],
)
def test_certify_refuses_text_for_numbers_and_numbers_for_text(labels, classes, message):
    model = CertifiedKNeighborsClassifier().fit(GOOD, classes)
    with pytest.raises(UnknownLabelError, match=message):
        model.certify(GOOD, labels)


def test_certify_refuses_labels_that_are_no_number(model):
    with pytest.raises(InputError, match="y contains NaN"):
        model.certify(GOOD, [0, 1, np.nan, 0, 1, 0])


@pytest.mark.parametrize("classes", [LABELS, ["a", "b"] * 3])
@pytest.mark.parametrize("kind", [list, lambda labels: np.array(labels, dtype=object)])
@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, "y has None at row 2, but labels are text or numbers"),
        (np.nan, "y contains NaN"),
        (object(), "y has <object object at .*> at row 2"),
        (pd.NA, "y has <NA> at row 2"),
    ],
)
def test_certify_refuses_what_no_classifier_has_for_a_label(classes, kind, label, message):
    model = CertifiedKNeighborsClassifier().fit(GOOD, classes)
    labels = [*classes[:2], label, *classes[3:]]
    with pytest.raises(InputError, match=message):
        model.certify(GOOD, kind(labels))


def test_kneighbors_refuses_a_missing_label():
    with pytest.raises(InputError, match="y has None at row 1"):
        cm.kneighbors(GOOD, GOOD, y=[0, None, 0, 1, 0, 1])


def test_kneighbors_refuses_labels_of_another_length():
    with pytest.raises(InputError, match=r"y must have shape \(6,\)"):
        cm.kneighbors(GOOD, GOOD, y=[0, 1])


BAD_COUNTS = [
    (0, InputError, "n_neighbors must be at least 1, got 0"),
    (-3, InputError, "n_neighbors must be at least 1, got -3"),
    (7, InputError, "n_neighbors must be at most n_samples = 6, got 7"),
    (2.0, InputTypeError, r"n_neighbors must be an integer, got 2\.0 of type float"),
    (True, InputTypeError, "n_neighbors must be an integer, got True of type bool"),
    ("1", InputTypeError, "n_neighbors must be an integer, got '1' of type str"),
]


@pytest.mark.parametrize(("count", "error", "message"), BAD_COUNTS)
def test_bad_n_neighbors_is_refused_everywhere(model, count, error, message):
    with pytest.raises(error, match=message):
        CertifiedKNeighborsClassifier(count).fit(GOOD, LABELS)
    with pytest.raises(error, match=message):
        cm.kneighbors(GOOD, GOOD, count)
    with pytest.raises(error, match=message):
        model.kneighbors(GOOD, count)


@pytest.mark.parametrize("count", [6, 7])
def test_neighbors_of_the_training_set_are_one_fewer(model, count):
    with pytest.raises(InputError, match=f"n_neighbors must be at most n_samples - 1 = 5, got {count}"):
        model.kneighbors(n_neighbors=count)


@pytest.mark.parametrize(
    ("metric", "error", "message"),
    [
        ("cosine", MetricError, "metric must be 'euclidean'.*'cosine'"),
        (np.eye(3), MetricError, r"must have shape \(2, 2\); got shape \(3, 3\)"),
        ([1.0, 1.0], MetricError, r"must have shape \(2, 2\); got shape \(2,\)"),
        ([[1.0, 2.0], [0.0, 1.0]], MetricError, "M must be symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], MetricError, "M must be positive semidefinite"),
        ([[np.nan, 0.0], [0.0, 1.0]], InputError, "M contains NaN"),
        (cm.Mahalanobis.from_components([[1e120, 0.0]]), MetricError, "metric .* times X .* passes 1e\\+150"),
        (CertifiedKNeighborsClassifier(), MetricError, "fit it first"),
        (None, MetricError, "metric must be 'euclidean'.*None"),
    ],
)
def test_bad_metrics_are_refused_everywhere(metric, error, message):
    rows = GOOD * 1e40
    with pytest.raises(error, match=message):
        CertifiedKNeighborsClassifier(metric=metric).fit(rows, LABELS)
    with pytest.raises(error, match=message):
        cm.pairwise_distances(rows, metric=metric)
    with pytest.raises(error, match=message):
        cm.kneighbors(rows, rows, metric=metric)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"norm": np.inf}, InputError, r"norm must be 2; got inf\. Leave it out for the default, 2"),
        ({"norm": 1}, InputError, "norm must be 2; got 1"),
        ({"norm": True}, InputError, "norm must be 2; got True"),
        ({"method": "fast"}, InputError, "method must be 'exact' or 'bound' or 'attack'; got 'fast'"),
        ({"method": np.ones(2)}, InputError, "method must be 'exact' or 'bound' or 'attack'; got array"),
        ({"rule": None}, InputError, "rule must be 'plurality' or 'majority'; got None"),
        ({"eps": 0}, InputError, "eps must be positive; 0 is allowed beside other radii"),
        ({"eps": [0.0, 0.0]}, InputError, "eps must be positive; 0 is allowed beside other radii"),
        ({"eps": -0.1}, InputError, r"eps must be at least 0 and not NaN, got -0\.1"),
        ({"eps": [0.1, -0.1]}, InputError, r"eps must be at least 0 and not NaN, got \[ 0\.1 -0\.1\]"),
        ({"eps": np.nan}, InputError, "eps must be at least 0 and not NaN, got nan"),
        ({"eps": [np.nan, 0.1]}, InputError, "eps must be at least 0 and not NaN"),
        ({"eps": np.inf}, InputError, "eps must be finite: no radius is above infinity"),
        ({"eps": [0.1, np.inf]}, InputError, "eps must be finite: no radius is above infinity"),
        ({"eps": []}, InputError, "eps is empty: give a radius, or None"),
        ({"eps": [[0.1, 0.2]]}, InputError, r"eps must be a number or one-dimensional; got shape \(1, 2\)"),
        ({"eps": [0.1, [0.2]]}, InputError, "eps is not a rectangular array of numbers"),
        ({"eps": "0.1"}, InputTypeError, "eps must be a number, a sequence of numbers or None, got '0.1'"),
        ({"eps": ["0.1", "0.2"]}, InputTypeError, "eps holds strings"),
        ({"eps": [0.1, None]}, InputTypeError, "eps is an object array that holds None"),
        ({"eps": {0.1, 0.2}}, InputTypeError, "eps is an object array that holds {"),
        ({"eps": True}, InputTypeError, "eps must be numbers, got True"),
        ({"point_node_limit": -1}, InputError, "point_node_limit must be at least 0, got -1"),
        ({"point_node_limit": 10.0}, InputTypeError, r"point_node_limit must be an integer, got 10\.0 of"),
        ({"point_node_limit": True}, InputTypeError, "point_node_limit must be an integer, got True of"),
        ({"node_limit": -1}, InputError, "node_limit must be at least 0, got -1"),
        ({"node_limit": 10.0}, InputTypeError, r"node_limit must be an integer, got 10\.0 of type float"),
        ({"node_limit": True}, InputTypeError, "node_limit must be an integer, got True of type bool"),
        ({"max_memory": -1}, InputError, "max_memory must be at least 0, got -1"),
        (
            {"max_memory": 0.5},
            InputTypeError,
            r"max_memory must be a whole number of bytes, got 0\.5 of type float",
        ),
        ({"max_memory": "256MB"}, InputTypeError, "max_memory must be a whole number of bytes, got '256MB'"),
        ({"max_memory": None}, InputTypeError, "max_memory must be a whole number of bytes, got None"),
        ({"max_memory": True}, InputTypeError, "max_memory must be a whole number of bytes, got True"),
        ({"point_time_limit": -1}, InputError, r"point_time_limit must be at least 0 and not NaN, got -1\.0"),
        ({"point_time_limit": np.nan}, InputError, "point_time_limit must be at least 0 and not NaN"),
        ({"point_time_limit": "1"}, InputTypeError, "point_time_limit must be a number or None, got '1'"),
        ({"rule": "unanimity"}, InputError, "rule must be 'plurality' or 'majority'; got 'unanimity'"),
        ({"time_limit": -1}, InputError, r"time_limit must be at least 0 and not NaN, got -1\.0"),
        ({"time_limit": np.nan}, InputError, "time_limit must be at least 0 and not NaN"),
        ({"time_limit": 10**400}, InputError, "time_limit contains a number that is too large for binary64"),
        ({"time_limit": "1"}, InputTypeError, "time_limit must be a number or None"),
        ({"n_jobs": 0}, InputError, "n_jobs must not be 0"),
        ({"n_jobs": 1.5}, InputTypeError, "n_jobs must be an integer or None"),
    ],
)
@pytest.mark.parametrize("k", [1, 4])
def test_certify_says_what_is_available(k, arguments, error, message):
    model = CertifiedKNeighborsClassifier(k).fit(GOOD, LABELS)
    with pytest.raises(error, match=message):
        model.certify(GOOD, **arguments)


@pytest.mark.parametrize("weights", ["distance", lambda distances: 1 / distances, None])
def test_weights_other_than_uniform_are_refused_at_fit(weights):
    model = CertifiedKNeighborsClassifier(3, weights=weights)
    with pytest.raises(InputError, match=r"weights must be 'uniform'; got .*the default, 'uniform'"):
        model.fit(GOOD, LABELS)


def test_a_number_of_neighbors_that_was_spoiled_after_fit_is_refused():
    model = CertifiedKNeighborsClassifier(3).fit(GOOD, LABELS).set_params(n_neighbors=7)
    with pytest.raises(InputError, match="n_neighbors must be at most n_samples = 6, got 7"):
        model.certify(GOOD)


@pytest.mark.parametrize(
    "limits",
    [
        {"point_node_limit": 0},
        {"node_limit": 0},
        {"point_time_limit": 0},
        {"point_node_limit": 2**80},
        {"node_limit": 2**80},
        {"max_memory": 2**80},
    ],
)
@pytest.mark.parametrize("rule", ["plurality", "majority"])
def test_limits_of_nothing_and_of_everything_are_ordinary(limits, rule):
    model = CertifiedKNeighborsClassifier(3).fit(GOOD, LABELS)
    radii, cert = model.certify(GOOD, rule=rule), model.certify(GOOD, rule=rule, **limits)
    assert (cert.lower <= radii.upper).all()
    assert (cert.upper >= radii.lower).all()
    assert 2**80 in limits.values() or not cert.nodes.any()


@pytest.mark.parametrize("shape", [(2, 2), (3, 3, 3), (3,)])
def test_pairs_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(InputError, match=r"pairs must have shape \(n_pairs, 2, n_features\)"):
        cm.Mahalanobis.euclidean().pair_distance(np.ones(shape))


@pytest.mark.parametrize("count", [True, "3", 0])
def test_a_metric_of_no_count_of_features_is_refused(count):
    with pytest.raises(ValueError if count == 0 else TypeError, match="n_features must be"):
        cm.Mahalanobis.euclidean(count)


@pytest.mark.parametrize("radii", [True, np.True_, [False, True]])
def test_radii_that_are_no_numbers_are_refused(model, radii):
    with pytest.raises(InputTypeError, match="radii must be numbers"):
        model.certify(GOOD).certified_error(radii)


@pytest.mark.parametrize("radius", [-0.1, np.nan, [0.1, 0.2]])
def test_scorers_refuse_what_is_no_radius(radius):
    with pytest.raises(InputError, match="radius must be"):
        metrics.certified_accuracy_scorer(radius)


def test_scores_refuse_other_estimators_and_infinite_caps(model):
    with pytest.raises(InputTypeError, match="or RobustPrototypes; got object"):
        metrics.certified_accuracy(object(), GOOD, LABELS, 0.1)
    with pytest.raises(InputError, match="cap must be finite"):
        metrics.mean_certified_radius(model, GOOD, LABELS, np.inf)


def test_every_error_is_also_a_built_in_one():
    from certimetric import exceptions

    for name in exceptions.__all__:
        error = getattr(exceptions, name)
        if error is not CertimetricError:
            assert issubclass(error, (ValueError, TypeError, ImportError, OSError))
            assert issubclass(error, CertimetricError)
