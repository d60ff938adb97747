"""K-NN radii of the library on real data against branch and bound over a general QP solver."""

from typing import Any

import numpy as np
import pytest

import certimetric as cm
from oracles import branching
from oracles.rational_knn import Rule
from oracles.real import BUNDLED, Array, Split, bundled, from_file

pytest.importorskip("daqp")
pytest.importorskip("clarabel")
pytestmark = pytest.mark.oracle

RULES: list[Rule] = ["majority", "plurality"]
NEIGHBORS = [1, 2, 3, 4, 5, 7]
FILES = ["pima", "pendigits", "satimage"]
# Relative, of the oracle's solver; data are scaled to [0, 1].
TOLERANCE = 1e-7


def fitted(split: Split, k: int, components: Array | None = None) -> Any:
    metric = "euclidean" if components is None else cm.Mahalanobis.from_components(components)
    return cm.CertifiedKNeighborsClassifier(n_neighbors=k, metric=metric).fit(split.rows, split.labels)


def oracle_radii(split: Split, predicted: Any, k: int, rule: Rule, components: Array | None = None) -> Array:
    """The oracle's radii of all test points for their predicted labels."""
    return np.array(
        [
            branching.exact_radius(z, label, split.rows, split.labels, k, rule, components)
            for z, label in zip(split.points, predicted, strict=True)
        ]
    )


def assert_radii_agree(split: Split, k: int, rule: Rule, components: Array | None = None) -> None:
    """Intervals contain the oracle's radius, and are as narrow as a proof makes them."""
    cert = fitted(split, k, components).certify(split.points, rule=rule)
    radii = oracle_radii(split, cert.predicted, k, rule, components)
    slack = TOLERANCE * radii + 1e-12
    assert np.isfinite(radii).all()
    assert radii.any()
    assert (cert.lower <= radii + slack).all(), f"lower {cert.lower}, oracle {radii}"
    assert (cert.upper >= radii - slack).all(), f"upper {cert.upper}, oracle {radii}"
    assert set(cert.status) == {"exact"}
    assert (cert.upper - cert.lower <= slack).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("k", NEIGHBORS)
@pytest.mark.parametrize("name", BUNDLED)
def test_radius_is_that_of_branch_and_bound(name: str, k: int, rule: Rule) -> None:
    assert_radii_agree(bundled(name).sample(n_rows=50, n_points=3), k, rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("height", [2, 4])
def test_radius_is_that_of_branch_and_bound_under_a_metric(height: int, rule: Rule) -> None:
    """Components G of rank 2, and of full rank."""
    components = np.random.default_rng(5).normal(size=(height, 4))
    assert_radii_agree(bundled("iris").sample(n_rows=60, n_points=5), 3, rule, components)


@pytest.mark.parametrize("name", BUNDLED)
def test_bound_and_attack_enclose_the_radius_of_branch_and_bound(name: str) -> None:
    split = bundled(name).sample(n_rows=60, n_points=5)
    classifier = fitted(split, 3)
    bound, attack = (classifier.certify(split.points, method=method) for method in ("bound", "attack"))
    radii = oracle_radii(split, bound.predicted, 3, "plurality")
    assert (bound.lower <= radii * (1 + TOLERANCE)).all()
    assert (attack.upper >= radii * (1 - TOLERANCE)).all()
    # Each near enough to its radius to be worth the name, at some point.
    assert (bound.lower >= 0.8 * radii).any()
    assert (attack.upper <= 1.2 * radii).any()


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("k", NEIGHBORS)
@pytest.mark.parametrize("name", BUNDLED)
def test_radius_is_that_of_branch_and_bound_with_more_rows(name: str, k: int, rule: Rule) -> None:
    assert_radii_agree(bundled(name).sample(n_rows=150, n_points=10), k, rule)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("k", NEIGHBORS)
@pytest.mark.parametrize("name", FILES)
def test_radius_is_that_of_branch_and_bound_on_files(name: str, k: int, rule: Rule) -> None:
    assert_radii_agree(from_file(name, 10).sample(n_rows=250, n_points=10), k, rule)
