"""Certificates of several neighbours: what the core proves is accepted, nothing beyond the truth ever is."""

import copy
import json
import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import certimetric as cm
from certimetric.certificate._exact import Place
from certimetric.certificate._votes import VoteProof
from oracles.certificates import BothCheckers
from oracles.mutations import flip
from oracles.promises import fit_case, root
from oracles.test_rational_knn_oracle import Asked, asked_cases, integer_asked, random_asked

Certificate = dict[str, Any]

QUESTIONS = [
    {},
    {"method": "bound"},
    {"method": "attack"},
    {"point_node_limit": 0},
    {"point_node_limit": 3},
    {"max_memory": 0},
    {"eps": [0.1, 1.0]},
]


def certificates(asked: Asked, **question: Any) -> tuple[cm.Certification, list[Certificate]]:
    case = asked.case
    clf = fit_case(case, asked.k)
    cert = clf.certify(case.points, rule=asked.rule, return_certificates=True, **question)
    return cert, [json.loads(line) for line in cert.certificates]


def verifier_of(asked: Asked) -> BothCheckers:
    return BothCheckers(asked.case.rows, asked.case.labels, asked.case.components, matrix=asked.case.matrix)


@given(asked_cases(), st.sampled_from(QUESTIONS))
def test_what_the_core_proves_is_accepted(asked: Asked, question: dict[str, Any]) -> None:
    cert, found = certificates(asked, **question)
    for certificate, lower, upper in zip(found, cert.lower, cert.upper, strict=True):
        assert (number(certificate["lower"]), number(certificate["upper"])) == (lower, upper)
        verdict = verifier_of(asked).verify(certificate)
        assert verdict, verdict.reason


def number(end: float | None) -> float:
    return math.inf if end is None else end


def beyond(asked: Asked, point: list[float]) -> float | None:
    """The least binary64 number above the radius."""
    squared = asked.oracle().squared_radius(point)
    radius = root(squared)
    if radius == math.inf:
        return None
    while Fraction(radius) ** 2 <= squared:
        radius = math.nextafter(radius, math.inf)
    return radius


def places(value: Any) -> list[tuple[Any, Any]]:
    """All elements of nested lists and dictionaries: where they are, and their names there."""
    found = []
    if isinstance(value, dict | list):
        for name in list(value) if isinstance(value, dict) else range(len(value)):
            found += [(value, name), *places(value[name])]
    return found


def damaged(certificate: Certificate, rng: random.Random, n_rows: int) -> Certificate:
    """The same with something else, or nothing, in one place of the tree."""
    certificate = copy.deepcopy(certificate)
    found = places(certificate["tree"])
    if not found:
        return certificate
    where, name = rng.choice(found)
    value = where[name]
    if isinstance(value, float):
        where[name] = rng.choice([flip(value, rng.randrange(64)), -value, 2 * value])
    elif isinstance(value, int):
        where[name] = rng.randrange(-1, n_rows + 1)
    elif value in ("in", "out"):
        where[name] = "out" if value == "in" else "in"
    elif isinstance(value, list) and value and rng.random() < 0.5:
        value[rng.randrange(len(value))] = copy.deepcopy(rng.choice(value))
    else:
        del where[name]
    return certificate


def check_damage(asked: Asked, rng: random.Random, tries: int) -> int:
    """How many damaged certificates that claim more than the truth were rejected: all of them."""
    verifier, checked = verifier_of(asked), 0
    _, found = certificates(asked, **rng.choice(QUESTIONS))
    for certificate, point in zip(found, asked.case.points, strict=True):
        lower = beyond(asked, point)
        if lower is None or certificate["tree"] is None:
            continue
        false = certificate | {"lower": lower, "upper": None, "adversarial": None}
        assert not verifier.verify_leniently(false)
        for _ in range(tries):
            false = damaged(false, rng, len(asked.case.rows))
            assert not verifier.verify_leniently(false), false
            checked += 1
    return checked


@given(asked_cases(), st.randoms(use_true_random=False))
def test_no_damage_proves_more_than_the_truth(asked: Asked, rng: random.Random) -> None:
    check_damage(asked, rng, 5)


@given(asked_cases(), st.randoms(use_true_random=False))
def test_a_damaged_tree_is_a_proof_or_is_rejected(asked: Asked, rng: random.Random) -> None:
    """Without a word but in the verdict, whatever the damage."""
    _, found = certificates(asked)
    for certificate in found:
        if certificate["tree"] is not None:
            for _ in range(5):
                certificate = damaged(certificate, rng, len(asked.case.rows))
                verifier_of(asked).verify(certificate)


@given(asked_cases(), st.randoms(use_true_random=False))
def test_what_the_filter_of_weights_proves_integers_prove(asked: Asked, rng: random.Random) -> None:
    """Whether the weights have a sum of zero or not, and however close the lower end is."""
    verifier, (point, *_) = verifier_of(asked), asked.case.points
    place = Place(verifier.fast, np.array(point, dtype=float))
    rows = [rng.randrange(len(asked.case.rows)) for _ in range(rng.randint(2, 4))]
    weights = [rng.choice([1.0, rng.uniform(0, 2)]) * rng.choice([-1, 1]) for _ in rows]
    if rng.random() < 0.7:
        weights[-1] = -math.fsum(weights[:-1]) or 1.0
    squares = [sum((a - b) ** 2 for a, b in zip(asked.case.rows[row], point, strict=True)) for row in rows]
    scale = 1.0 + max(squares) ** 0.5
    for share in (0.0, 1e-9, 1e-3, 0.1, 0.3, 1.0):
        proof = VoteProof(place, 0, asked.k, share * scale)
        with np.errstate(all="ignore"):
            assert not proof.surely_reaches_lower(rows, weights) or proof.reaches_lower(rows, weights)


@pytest.mark.slow
def test_none_of_twenty_thousand_damaged_trees_proves_more_than_the_truth() -> None:
    rng, checked = random.Random(20), 0
    while checked < 20_000:
        checked += check_damage(rng.choice([random_asked, integer_asked])(rng), rng, 8)
