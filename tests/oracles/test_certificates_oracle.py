"""The checker accepts what is proven, to the last bit, and nothing untrue, on tiny and nasty data."""

import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from certimetric.certificate import encode
from oracles.certificates import (
    BothCheckers,
    Certificate,
    ceil_root,
    exact_oracle,
    frame,
    is_true,
    make_certificate,
)
from oracles.mutations import ALWAYS_WRONG, DAMAGES, damaged
from oracles.rational import squared_distance
from oracles.tiny import TinyCase, random_case, tiny_cases

SCALES = [1.0, 1.0, 1.0, 1e-300, 1e-308, 5e-324, 1e-160, 1e100, 1e150]


def verifier_of(case: TinyCase) -> BothCheckers:
    components = None if case.components is None else np.array(case.components)
    return BothCheckers(np.array(case.rows), np.array(case.labels), components, matrix=case.matrix)


def scaled(case: TinyCase, scale: float, scale_of_metric: float) -> TinyCase:
    """The numbers times a scale, with whatever rounding that takes at the ends of binary64."""

    def times(rows: list[list[float]], factor: float) -> list[list[float]]:
        return [[value * factor for value in row] for row in rows]

    components = None if case.components is None else times(case.components, scale_of_metric)
    if components is not None and not any(map(any, components)):
        components = case.components
    rows, points = times(case.rows, scale), times(case.points, scale)
    # A power of two keeps a matrix semidefinite.
    matrix = None if case.matrix is None else times(case.matrix, 2.0 ** round(math.log2(scale_of_metric)))
    if matrix is not None and not any(map(any, matrix)):
        matrix = case.matrix
    return TinyCase(rows, case.labels, components, points, matrix)


@st.composite
def nasty_cases(draw: st.DrawFn) -> TinyCase:
    scale, scale_of_metric = draw(st.sampled_from(SCALES)), draw(st.sampled_from(SCALES))
    return scaled(draw(tiny_cases(matrices=True)), scale, scale_of_metric)


@given(nasty_cases(), st.data())
def test_certificates_of_rational_arithmetic_are_accepted(case: TinyCase, data: st.DataObject) -> None:
    label = data.draw(st.none() | st.sampled_from([*case.labels, 7]), label="label")
    certificate = make_certificate(case, case.points[0], label)
    verdict = verifier_of(case).verify(certificate)
    assert verdict, verdict.reason
    assert is_true(certificate, case)


@given(nasty_cases())
def test_a_lower_end_one_step_beyond_the_witnesses_is_rejected(case: TinyCase) -> None:
    certificate = make_certificate(case, case.points[0])
    lower = certificate["lower"]
    assume(lower is not None and certificate["witnesses"])
    verdict = verifier_of(case).verify(certificate | {"lower": math.nextafter(lower, math.inf)})
    assert "no witness proves" in verdict.reason


@given(nasty_cases())
def test_an_upper_end_one_step_below_the_adversarial_point_is_rejected(case: TinyCase) -> None:
    certificate = make_certificate(case, case.points[0])
    assume(certificate["upper"])
    verdict = verifier_of(case).verify(certificate | {"upper": math.nextafter(certificate["upper"], 0.0)})
    assert "beyond upper" in verdict.reason


@given(nasty_cases(), st.integers(1, 8))
def test_votes_are_those_of_the_exact_order(case: TinyCase, k: int) -> None:
    order = exact_oracle(case).order(case.points[0])[: min(k, len(case.rows))]
    counts = Counter(case.labels[i] for i in order)
    winner = min(counts, key=lambda label: (-counts[label], label))
    verifier = verifier_of(case)
    for label in set(case.labels):
        # Nothing but the label is claimed.
        certificate = frame(case, case.points[0], label, label) | {"n_neighbors": len(order)}
        assert bool(verifier.verify(certificate)) == (label == winner)


@given(nasty_cases(), st.integers(1, 8), st.sampled_from(["plurality", "majority"]))
def test_an_adversarial_point_counts_where_the_exact_vote_is_lost(case: TinyCase, k: int, rule: str) -> None:
    oracle, point, there = exact_oracle(case), case.points[0], case.rows[-1]
    k = min(k, len(case.rows))

    def counts(place: list[float]) -> Counter[int]:
        return Counter(case.labels[i] for i in oracle.order(place)[:k])

    def winner(votes: Counter[int]) -> int:
        return min(votes, key=lambda label: (-votes[label], label))

    predicted, votes = winner(counts(point)), counts(there)
    lost = winner(votes) != predicted if rule == "plurality" else 2 * votes[predicted] <= k
    certificate = frame(case, point, predicted, predicted) | {"n_neighbors": k, "rule": rule}
    certificate |= {"adversarial": encode(there), "upper": ceil_root(squared_distance(point, there))}
    assert bool(verifier_of(case).verify(certificate)) == lost


def damage_many(seed: int, count: int) -> Counter[str]:
    """Damaged certificates: how many were tried, rejected, and accepted because they are true."""
    rng, tally = random.Random(seed), Counter[str]()
    while tally["tried"] < count:
        case = scaled(random_case(rng, n_points=2, matrices=True), rng.choice(SCALES), rng.choice(SCALES))
        verifier = verifier_of(case)
        for point in case.points:
            label = rng.choice(case.labels) if rng.random() < 0.2 else None
            certificate = make_certificate(case, point, label)
            assert verifier.verify(certificate)
            for damage in DAMAGES:
                mutant = damaged(certificate, case, rng, damage)
                if mutant is not None:
                    tally += judge(verifier, case, mutant, damage in ALWAYS_WRONG)
    return tally


def judge(verifier: BothCheckers, case: TinyCase, mutant: Certificate, wrong: bool) -> Counter[str]:
    verdict = verifier.verify_leniently(mutant)
    if verdict:
        assert not wrong, f"accepted {mutant} of {case}"
        assert is_true(mutant, case), f"accepted {mutant} of {case}"
        return Counter(tried=1, accepted=1)
    assert verdict.reason
    return Counter(tried=1, rejected=1)


def test_no_damaged_certificate_is_accepted_that_is_not_true() -> None:
    tally = damage_many(seed=1, count=600)
    assert tally["rejected"] > 300
    # The damage is not all gross: some of it leaves a true certificate.
    assert tally["accepted"] > 20


@pytest.mark.slow
def test_no_damaged_certificate_of_twenty_thousand_is_accepted_that_is_not_true() -> None:
    tally = damage_many(seed=2, count=20_000)
    print(tally)
    assert tally["rejected"] > 10_000


@settings(max_examples=40)
@given(nasty_cases(), nasty_cases())
def test_another_training_set_or_metric_is_rejected(case: TinyCase, other: TinyCase) -> None:
    same = replace(case, points=[]) == replace(other, points=[])
    assume(not same and len(case.points[0]) == len(other.points[0]))
    assert not verifier_of(other).verify(make_certificate(case, case.points[0]))
