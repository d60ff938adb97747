"""Fixtures for all tests, and how hard hypothesis tries: CERTIMETRIC_HYPOTHESIS=fast|balanced|expensive."""

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import certimetric as cm
from certimetric import datasets

mpl.use("Agg")

_EXAMPLES = {"fast": 100, "balanced": 1_000, "expensive": 10_000}
for _name, _count in _EXAMPLES.items():
    settings.register_profile(
        _name,
        max_examples=_count,
        deadline=None,
        # The fast suite says the same on every machine; the larger profiles look at new examples each time.
        derandomize=_name == "fast",
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("CERTIMETRIC_HYPOTHESIS", "fast"))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets, or a skip."""
    folder = os.environ.get("CERTIMETRIC_DATA")
    if not folder:
        pytest.skip("CERTIMETRIC_DATA does not name a folder of data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def digits():
    """Training and test half of scikit-learn's digits; the test half has 60 points."""
    train, test = datasets.load_digits_split(0)
    return train.X, train.y, test.X[:60], test.y[:60]


@pytest.fixture(scope="session")
def classifier(digits):
    rows, labels, _, _ = digits
    return cm.CertifiedKNeighborsClassifier().fit(rows, labels)


@pytest.fixture(scope="session")
def certification(classifier, digits):
    _, _, points, labels = digits
    return classifier.certify(points, labels, return_adversarial=True)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
