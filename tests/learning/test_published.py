"""Published rows of learners again: certified errors of 1-NN on real data."""

from dataclasses import replace

import numpy as np
import pytest

import certimetric as cm
from certimetric.learning import ITML, LMNN, NCA, lfda
from certimetric.learning._base import Labelled
from certimetric.reproduce.metrics import METRICS, PROTOTYPES
from certimetric.reproduce.protocol import PROTOCOLS, Source, load
from certimetric.reproduce.published import ARML_TABLE_1

pytestmark = [pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(7200)]

# Splice has its test rows in another order, which alone makes a difference of up to 0.025.
SPLICE = 0.03

SMALL = [("satimage", 0.01), ("pendigits", 0.01), ("usps", 0.01)]


def differences(data_folder, name, metric, make):
    """Certified errors less the published ones; ``make`` learns from rows and labels."""
    split = load(Source(name, data_folder / f"{name}.npz", protocol=PROTOCOLS[name]))
    clf = cm.CertifiedKNeighborsClassifier(metric=make(split.X, split.y), n_jobs=-1).fit(split.X, split.y)
    errors = clf.certify(split.Z, split.t).certified_error(ARML_TABLE_1.radii[name])
    return np.abs(errors - ARML_TABLE_1.errors[metric][name]).max()


@pytest.mark.parametrize(("name", "most"), [("splice", SPLICE), ("satimage", 0.01), ("pendigits", 0.01)])
def test_lmnn(data_folder, name, most):
    learner = LMNN(first_step=1e-7, n_jobs=-1)
    assert differences(data_folder, name, "lmnn", learner.fit) <= most


@pytest.mark.parametrize(("name", "most"), [("splice", SPLICE), ("satimage", 0.01)])
def test_nca(data_folder, name, most):
    learner = NCA(init="identity", max_iter=100, tol=1e-9)
    assert differences(data_folder, name, "nca", learner.fit) <= most


# Pairs are drawn: five seeds of the published code differ by as much.
@pytest.mark.filterwarnings("ignore:ITML ends")
@pytest.mark.parametrize("name", ["splice", "satimage", "pendigits"])
def test_itml(data_folder, name):
    assert differences(data_folder, name, "itml", ITML(random_state=0).fit) <= 0.05


@pytest.mark.parametrize(("name", "most"), [("splice", SPLICE), ("satimage", 0.01), ("pendigits", 0.015)])
def test_lfda_with_the_scales_and_the_lengths_of_the_published_code(data_folder, monkeypatch, name, most):
    # A column where a row is meant, in the order of a partial sort, which differs between versions of NumPy.
    monkeypatch.setattr(
        lfda, "_near_squares", lambda squares, near: np.partition(squares, near, axis=0)[:, near]
    )

    def learn(rows, labels):
        classes, codes = np.unique(labels, return_inverse=True)
        centred = Labelled(rows - rows.mean(axis=0), codes, classes)
        values, directions = lfda._discriminants(*lfda._scatters(centred, 7))
        return cm.Mahalanobis.from_components(np.sqrt(values + 2)[:, None] * directions)

    assert differences(data_folder, name, "lfda", learn) <= most


def above_arml(data_folder, name, learner, seed=0):
    """By how much certified errors are above ARML's published row at each radius; defaults of the tables."""
    split = load(Source(name, data_folder / f"{name}.npz", protocol=PROTOCOLS[name]))
    model = {**METRICS, **PROTOTYPES}[learner](split).set_params(n_jobs=-1)
    seeds = {key: seed for key in model.get_params() if key.split("__")[-1] == "random_state"}
    model.set_params(**seeds).fit(split.X, split.y)
    if learner in METRICS:
        model = cm.CertifiedKNeighborsClassifier(metric=model, n_jobs=-1).fit(split.X, split.y)
    errors = model.certify(split.Z, split.t).certified_error(ARML_TABLE_1.radii[name])
    return errors - ARML_TABLE_1.errors["arml"][name]


@pytest.mark.parametrize(
    ("name", "most"), [("splice", SPLICE), *SMALL, ("mnist", 0.01), ("fashion_mnist", 0.01)]
)
def test_arml(data_folder, name, most):
    assert np.abs(above_arml(data_folder, name, "arml")).max() <= most


@pytest.mark.parametrize("name", ["splice", "satimage", "pendigits", "usps", "mnist"])
def test_exact_radius_is_below_arml_in_the_mean_and_nowhere_far_above(data_folder, name):
    above = above_arml(data_folder, name, "exact-radius")
    assert above.mean() < 0
    assert above.max() <= 0.005


# One seed settles on one of a few trades: means over five are in the README.
@pytest.mark.filterwarnings("ignore:RobustPrototypes has")
@pytest.mark.parametrize("name", ["splice", "satimage", "pendigits", "usps", "mnist", "fashion_mnist"])
def test_clean_prototypes_are_far_below_arml_in_the_mean_and_nowhere_far_above(data_folder, name):
    above = above_arml(data_folder, name, "prototypes-clean")
    assert above.mean() <= -0.02
    assert above[0] <= 0.01
    assert above.max() <= 0.02


@pytest.mark.parametrize("name", ["usps", "mnist", "fashion_mnist"])
def test_prototypes_for_the_area_are_far_below_arml_at_large_radii(data_folder, name):
    assert above_arml(data_folder, name, "prototypes-area")[3:].max() <= -0.1


def test_mnist_is_certified_at_1_58(data_folder):
    split = load(
        Source("mnist", data_folder / "mnist.npz", protocol=replace(PROTOCOLS["mnist"], points=None))
    )
    model = PROTOTYPES["prototypes-1.58"](split).set_params(n_jobs=-1).fit(split.X, split.y)
    cert = model.certify(split.Z, split.t)
    assert len(cert) == 10_000
    assert (cert.status != "unfinished").all()
    clean, robust = 1 - cert.certified_error([0.0, 1.58])
    assert clean >= 0.965
    assert robust >= 0.70
