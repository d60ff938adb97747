"""Several neighbours: what follows from the definitions of the two rules, whatever the data."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import certimetric as cm
from oracles import quadratic
from properties.data import Array, Labels, Problem, bits, bits_of, make_problem, problems

RULES = ["plurality", "majority"]


@dataclass(frozen=True)
class Election:
    """A problem with several neighbours, and the rule by which they vote."""

    problem: Problem
    rule: str

    def certify(self, **options: Any) -> Any:
        return self.problem.certify(rule=self.rule, **options)

    def against(self, problem: Problem) -> "Election":
        return replace(self, problem=problem)


@st.composite
def elections(draw: st.DrawFn, max_rows: int = 40, most_neighbors: int = 7, **options: Any) -> Election:
    problem = draw(problems(max_rows, **{"max_features": 5, **options}))
    k = draw(st.integers(1, min(most_neighbors, len(problem.rows))))
    return Election(replace(problem, n_neighbors=k), draw(st.sampled_from(RULES)))


def has_lost(election: Election, points: Array, classes: Labels) -> Any:
    """Whether each point's class has lost the vote there, by brute force in extended precision."""
    problem, k = election.problem, election.problem.n_neighbors
    _, nearest = quadratic.extended_neighbors(points, problem.rows, k, problem.components)
    labels = np.unique(problem.labels)
    votes = (problem.labels[nearest][:, :, None] == labels).sum(axis=1)
    if election.rule == "plurality":
        return labels[votes.argmax(axis=1)] != classes
    return 2 * votes[labels == classes[:, None]] <= k


def is_lost(election: Election, clf: Any, points: Array, classes: Labels) -> Any:
    """The same by the library's exact neighbours."""
    if election.rule == "plurality":
        return clf.predict(points) != classes
    neighbors = clf.kneighbors(points, return_distance=False)
    return 2 * (election.problem.labels[neighbors] == classes[:, None]).sum(axis=1) <= neighbors.shape[1]


def assert_no_lower(new: Any, old: Any, where: Any = ...) -> None:
    """Radii of ``new`` are at least those of ``old``, as far as intervals can tell."""
    assert np.all(old.lower[where] <= new.upper[where])


def assert_same(one: Any, other: Any) -> None:
    assert_no_lower(one, other)
    assert_no_lower(other, one)


@given(elections())
def test_bound_is_not_above_the_radius_nor_attack_below(election: Election) -> None:
    exact, bound, attack = (election.certify(method=method) for method in ("exact", "bound", "attack"))
    assert_no_lower(exact, bound)
    assert_no_lower(attack, exact)
    assert_no_lower(attack, bound)


@given(st.sampled_from([3, 5, 7]), st.integers(0, 2**32 - 1))
def test_a_vote_that_is_won_without_a_majority_has_a_bound(k: int, seed: int) -> None:
    """One class has (K − 1)/2 rows near by, and each of the far ones belongs to another class."""
    rng = np.random.default_rng(seed)
    near, far = (k - 1) // 2, (k + 1) // 2 + 3
    place = np.vstack([rng.uniform(-1, 1, size=(near, 2)), rng.normal(size=(far, 2))])
    place[near:] *= (5 + np.arange(far)[:, None]) / np.linalg.norm(place[near:], axis=1, keepdims=True)
    labels = np.r_[np.zeros(near, np.int64), 1 + np.arange(far)]
    model = cm.CertifiedKNeighborsClassifier(k).fit(place, labels)
    assert model.certify(np.zeros((1, 2)), rule="majority").upper == 0
    bound, exact = model.certify(np.zeros((1, 2)), method="bound"), model.certify(np.zeros((1, 2)))
    # With three neighbours a class of one row is ahead by its label alone, wherever the point is.
    assert 0 < bound.lower <= exact.upper
    assert model.certify(np.zeros((1, 2)), point_node_limit=0).lower >= bound.lower * (1 - 1e-12)


@given(st.integers(2, 12), st.sampled_from([21, 51]), st.integers(0, 2**32 - 1))
def test_an_attack_knows_the_rows_at_which_the_vote_is_lost(places: int, k: int, seed: int) -> None:
    """Many rows of all classes in each of a few places."""
    rng = np.random.default_rng(seed)
    rows, labels = np.repeat(rng.normal(size=(places, 3)), 100, axis=0), rng.integers(0, 3, 100 * places)
    model = cm.CertifiedKNeighborsClassifier(k).fit(rows, labels)
    points = rows[::100]
    winners = model.predict(points)
    attack = model.certify(points, method="attack")
    for winner, upper in zip(winners, attack.upper, strict=True):
        assert np.isfinite(upper) or np.all(winners == winner)


@given(elections(most_neighbors=11))
def test_bound_is_the_order_statistic_of_all_triplets(election: Election) -> None:
    """The s-th smallest over other rows of the (K // 2 + 1)-th largest over the class's; s = K - K // 2."""
    problem, k = replace(election.problem), election.problem.n_neighbors
    if k == 1 or len(np.unique(problem.labels)) == 1 or k == len(problem.rows):
        return
    cert = replace(election, rule="majority").certify(method="bound")
    for point, predicted, lower in zip(problem.points, cert.predicted, cert.lower, strict=True):
        own, others = problem.rows[problem.labels == predicted], problem.rows[problem.labels != predicted]
        if lower == 0 or len(own) <= k // 2 or len(others) < k - k // 2:
            continue
        same, other = np.repeat(own, len(others), axis=0), np.tile(others, (len(own), 1))
        points = np.broadcast_to(point, same.shape)
        triplets = cm.triplet_radius(points, same, other, metric=problem.metric).reshape(len(own), -1)
        each = np.sort(np.nan_to_num(triplets, posinf=np.inf, neginf=-np.inf), axis=0)[-(k // 2 + 1)]
        expected = np.sort(each)[k - k // 2 - 1]
        assert lower == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(elections(), st.integers(0, 30))
def test_interval_of_a_limited_search_contains_the_radius(election: Election, nodes: int) -> None:
    limited = election.certify(point_node_limit=nodes)
    assert_same(limited, election.certify())
    assert np.all(limited.lower <= limited.upper)


@given(elections(), st.sampled_from([0, 2_000]))
def test_depth_first_search_finds_the_same_radius(election: Election, memory: int) -> None:
    thrifty, usual = election.certify(max_memory=memory), election.certify()
    assert_same(thrifty, usual)
    assert thrifty.status.tolist() == usual.status.tolist()


@given(elections())
def test_majority_is_not_above_plurality(election: Election) -> None:
    majority, plurality = (election.problem.certify(rule=rule) for rule in ("majority", "plurality"))
    assert_no_lower(plurality, majority)
    if len(np.unique(election.problem.labels)) < 3 and election.problem.n_neighbors % 2:
        assert_same(plurality, majority)


@given(elections(most_neighbors=1))
def test_one_neighbor_has_one_radius_whatever_is_asked(election: Election) -> None:
    exact = election.certify()
    for options in ({"method": "bound"}, {"method": "attack"}, {"eps": [0.25, 1e9]}):
        other = election.certify(**options)
        assert other.predicted.tolist() == exact.predicted.tolist()
        assert_same(other, exact)


@given(elections(most_neighbors=1, kinds=["blobs", "uniform", "curved"]), st.integers(2, 5))
def test_a_vote_of_copies_is_that_of_one_neighbor(election: Election, copies: int) -> None:
    """The search over sets of neighbours and the one over cells are programs of their own."""
    problem = election.problem
    rows, labels = np.repeat(problem.rows, copies, axis=0), np.repeat(problem.labels, copies)
    many = replace(problem, rows=rows, labels=labels, n_neighbors=copies)
    assert_same(election.against(many).certify(), election.certify())


@given(elections())
def test_adversarial_point_loses_the_vote_and_lies_at_upper(election: Election) -> None:
    cert = election.certify(return_adversarial=True)
    found = np.isfinite(cert.upper)
    moved = cert.adversarial[found]
    if found.any():
        assert is_lost(election, election.problem.fit(), moved, cert.predicted[found]).all()
    lengths = np.linalg.norm(moved - election.problem.points[found], axis=1)
    np.testing.assert_allclose(lengths, cert.upper[found], rtol=1e-9)


@given(elections(), st.integers(0, 2**32 - 1))
def test_no_perturbation_shorter_than_lower_loses_the_vote(election: Election, seed: int) -> None:
    """Random directions, those of the adversarial points, and the way towards every row."""
    rng = np.random.default_rng(seed)
    cert = election.certify(return_adversarial=True)
    for z, own, lower, worst in zip(
        election.problem.points, cert.predicted, cert.lower, cert.adversarial, strict=True
    ):
        rays = np.vstack([rng.normal(size=(100, len(z))), election.problem.rows - z, [worst - z]])
        norms = np.linalg.norm(rays, axis=1)
        rays = rays[norms > 0] / norms[norms > 0, None]
        lengths = min(lower, 1e6) * np.append(0.999 * rng.random(len(rays) - 1) ** (1 / len(z)), 0.999)
        # A length that the rounding of z + length·ray hides is none.
        rays, lengths = rays[lengths > 1e-9], lengths[lengths > 1e-9, None]
        if len(rays):
            assert not has_lost(election, z + lengths * rays, np.full(len(rays), own)).any()


@pytest.mark.parametrize("rule", RULES)
def test_no_point_of_ten_thousand_inside_lower_loses_the_vote(digits, rng, rule: str) -> None:
    rows, labels, points, _ = digits
    election = Election(Problem(rows, labels, points[:5], n_neighbors=5), rule)
    clf, cert = election.problem.fit(), election.certify(return_adversarial=True)
    assert np.all(cert.lower > 0)
    columns = (election.problem.points, cert.predicted, cert.lower, cert.adversarial)
    for z, own, lower, worst in zip(*columns, strict=True):
        # Around the way to the nearest adversarial point, where the walls are, from near it to all sides.
        spread = np.geomspace(1e-3, 10, 2_000)[:, None]
        rays = (worst - z) / lower + spread * rng.normal(size=(2_000, len(z))) / np.sqrt(len(z))
        moved = z + 0.999 * lower * rays / np.linalg.norm(rays, axis=1)[:, None]
        assert not is_lost(election, clf, moved, np.full(2_000, own)).any()


def with_row(election: Election, row: Array, label: int) -> Election:
    """One more row, which loses all ties of distance."""
    old = election.problem
    rows, labels = np.vstack([old.rows, row]), np.append(old.labels, label)
    return election.against(replace(old, rows=rows, labels=labels))


def some_row(problem: Problem, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    row: Array = problem.rows[rng.integers(len(problem.rows))] + rng.normal(size=problem.rows.shape[1])
    return row if rng.random() < 0.5 else problem.points[rng.integers(len(problem.points))]


@given(elections(), st.integers(0, 2**32 - 1))
def test_another_row_of_the_class_does_not_lower_its_radius(election: Election, seed: int) -> None:
    """It takes the place of one that is not better for the class: under either rule."""
    old = election.certify()
    for label in np.unique(old.predicted):
        new = with_row(election, some_row(election.problem, seed), label).certify(y=old.predicted)
        assert_no_lower(new, old, old.predicted == label)


@given(elections(), st.integers(0, 2**32 - 1))
def test_another_row_of_another_class_does_not_raise_the_majority_radius(
    election: Election, seed: int
) -> None:
    """By plurality it may: it can take the place of a row of a third class that was about to win."""
    majority = replace(election, rule="majority")
    old = majority.certify()
    new = with_row(majority, some_row(majority.problem, seed), 99).certify(y=old.predicted)
    assert_no_lower(old, new)


@given(elections())
def test_merging_the_other_classes_changes_no_majority_radius(election: Election) -> None:
    majority = replace(election, rule="majority")
    old = majority.certify()
    for label in np.unique(old.predicted):
        merged = np.where(majority.problem.labels == label, label, -1)
        new = majority.against(replace(majority.problem, labels=merged)).certify(y=old.predicted)
        own = old.predicted == label
        assert_no_lower(new, old, own)
        assert_no_lower(old, new, own)


@given(elections(), st.floats(0.01, 3.0))
def test_answer_about_one_radius_agrees_with_the_radius(election: Election, share: float) -> None:
    exact = election.certify()
    finite = exact.upper[np.isfinite(exact.upper) & (exact.upper > 0)]
    eps = share * (float(np.median(finite)) if len(finite) else 1.0)
    asked = election.certify(eps=eps)
    assert_same(asked, exact)
    decided = exact.lower > eps * (1 + 1e-6)
    np.testing.assert_array_equal(asked.lower[decided] > eps, True)
    assert np.all(asked.lower[exact.upper <= eps] <= eps)


@given(elections(), st.lists(st.floats(0.01, 3.0), min_size=2, max_size=4))
def test_answers_about_some_radii_agree_with_the_radius(election: Election, shares: list[float]) -> None:
    exact = election.certify()
    finite = exact.upper[np.isfinite(exact.upper) & (exact.upper > 0)]
    levels = np.array(shares) * (float(np.median(finite)) if len(finite) else 1.0)
    asked = election.certify(eps=levels)
    assert_same(asked, exact)
    for eps in levels:
        np.testing.assert_array_equal(asked.lower[exact.lower > eps * (1 + 1e-6)] > eps, True)
        assert np.all(asked.lower[exact.upper <= eps] <= eps)


@settings(max_examples=25)
@given(elections(max_rows=80), st.integers(0, 2**32 - 1), st.sampled_from([None, 20]))
def test_threads_and_order_of_test_rows_do_not_change_a_bit(
    election: Election, seed: int, nodes: int | None
) -> None:
    problem = election.problem
    points = np.vstack([problem.points, problem.points + 0.1, problem.points - 0.3])
    order = np.random.default_rng(seed).permutation(len(points))
    clf = problem.fit()
    options = {"rule": election.rule, "point_node_limit": nodes, "return_adversarial": True}
    here = clf.certify(points, **options)
    assert bits_of(clf.certify(points, n_jobs=3, **options)) == bits_of(here)
    assert bits_of(clf.certify(points[order], **options)) == bits_of(here[order])
    alone = clf.certify(points[:1], **{**options, "return_adversarial": False})
    assert bits(alone.lower) == bits(here.lower[:1])
    assert bits(alone.upper) == bits(here.upper[:1])


@given(elections(kinds=["blobs", "uniform", "curved"]), st.integers(0, 2**32 - 1))
def test_order_of_training_rows_does_not_change_the_radius(election: Election, seed: int) -> None:
    problem = election.problem
    order = np.random.default_rng(seed).permutation(len(problem.rows))
    shuffled = replace(problem, rows=problem.rows[order], labels=problem.labels[order])
    assert_same(election.against(shuffled).certify(), election.certify())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("k", [2, 3, 10])
def test_radii_of_digits_are_proven(digits, k: int, rule: str) -> None:
    rows, labels, points, truth = digits
    cert = Problem(rows, labels, points, n_neighbors=k).certify(y=truth, rule=rule)
    assert cert.share_exact == 1.0
    assert cert.nodes.any()
    assert (cert.run.n_neighbors, cert.run.rule, cert.run.eps) == (k, rule, None)


@pytest.mark.parametrize("rule", RULES)
def test_a_class_too_small_for_a_majority_has_radius_zero(rule: str) -> None:
    """Two rows of four votes are no majority; by plurality they may win."""
    problem = make_problem(3, 30, 2, "blobs", "euclidean")
    cert = replace(problem, labels=np.arange(30) // 2, n_neighbors=4).certify(rule=rule)
    assert cert.upper.any() == (rule == "plurality")
    assert set(cert.status) == {"exact"}


def test_length_far_below_the_extent_of_the_data_is_not_rounded_to_zero() -> None:
    rows = np.array([[0.0], [0.0], [1e-175], [1e-175], [1e149]])
    classifier = cm.CertifiedKNeighborsClassifier(3).fit(rows, [0, 0, 1, 1, 1])
    cert = classifier.certify([[0.0]], return_adversarial=True)
    assert classifier.predict(cert.adversarial) == 1
    assert cert.lower[0] <= 5e-176 <= cert.adversarial[0, 0] <= cert.upper[0]


@pytest.mark.parametrize("eps", [1e-170, 1e-150, 1e-148])
def test_tiny_radii_are_not_proven_by_rounding(eps: float) -> None:
    """Squares of these radii are far below what bounds round up by."""
    rows = np.array([[0.0], [0.0], [1e-147], [1e-147], [1.0]])
    classifier = cm.CertifiedKNeighborsClassifier(3).fit(rows, [0, 0, 1, 1, 1])
    assert classifier.certify([[0.0]], eps=eps).lower[0] <= 5e-148


def test_a_feature_that_the_metric_does_not_see_does_not_hinder_the_attack() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    metric = cm.Mahalanobis.from_components(rng.normal(size=(2, 3)) * [1, 1, 0])
    classifier = cm.CertifiedKNeighborsClassifier(5, metric=metric).fit(rows, labels)
    near, far = rng.normal(size=(4, 3)), np.array([1.0, 1.0, 1e100])
    cert, moved = classifier.certify(near), classifier.certify(near * far)
    assert set(moved.status) == {"exact"}
    np.testing.assert_allclose(moved.upper, cert.upper, rtol=1e-9)
