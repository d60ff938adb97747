"""Damage to certificates: each kind makes another certificate of one, which may by chance be true."""

import copy
import math
import random
import struct
from collections.abc import Callable
from typing import Any

from certimetric.certificate import decode, encode
from oracles.certificates import Certificate, exact_oracle, others
from oracles.tiny import TinyCase

Damage = Callable[[Certificate, TinyCase, random.Random], Certificate | None]
"""None: the certificate has nothing to damage in this way."""


def flip(value: float, bit: int) -> float:
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    (flipped,) = struct.unpack("<d", struct.pack("<Q", bits ^ (1 << bit)))
    return flipped


def bit_of_a_weight(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    if not certificate["witnesses"]:
        return None
    _, weights = rng.choice(certificate["witnesses"])
    k = rng.randrange(len(weights))
    weights[k] = flip(weights[k], rng.randrange(64))
    return certificate


def an_index(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    if not certificate["witnesses"]:
        return None
    rows, _ = rng.choice(certificate["witnesses"])
    rows[rng.randrange(len(rows))] = rng.randrange(-1, len(case.rows) + 1)
    return certificate


def an_index_of_another_class(
    certificate: Certificate, case: TinyCase, rng: random.Random
) -> Certificate | None:
    if not certificate["witnesses"]:
        return None
    rows, _ = rng.choice(certificate["witnesses"])
    rows[rng.randrange(len(rows))] = rng.choice(others(exact_oracle(case), certificate["label"]))
    return certificate


def a_missing_witness(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    if not certificate["witnesses"]:
        return None
    del certificate["witnesses"][rng.randrange(len(certificate["witnesses"]))]
    return certificate


def a_weight_more_or_less(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    if not certificate["witnesses"]:
        return None
    _, weights = rng.choice(certificate["witnesses"])
    weights.pop() if rng.random() < 0.5 else weights.append(1.0)
    return certificate


def an_end_by_a_few_steps(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    end = rng.choice(["lower", "upper"])
    if certificate[end] is None:
        return None
    for _ in range(rng.randint(1, 4)):
        certificate[end] = math.nextafter(certificate[end], math.inf if end == "lower" else 0.0)
    return certificate


def an_end_by_a_factor(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    end = rng.choice(["lower", "upper"])
    factor = rng.choice([0.0, 0.5, 1 - 1e-9, 1 + 1e-9, 2.0, 1e9, math.inf])
    value = 1.0 if certificate[end] is None else certificate[end] * factor
    certificate[end] = None if math.isinf(value) or math.isnan(value) else value
    return certificate


def bit_of_the_point(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    return bit_of_numbers(certificate, "point", rng)


def bit_of_the_adversarial_point(
    certificate: Certificate, case: TinyCase, rng: random.Random
) -> Certificate | None:
    return None if certificate["adversarial"] is None else bit_of_numbers(certificate, "adversarial", rng)


def bit_of_numbers(certificate: Certificate, name: str, rng: random.Random) -> Certificate:
    numbers = decode(certificate[name])
    k = rng.randrange(len(numbers))
    numbers[k] = flip(numbers[k], rng.randrange(64))
    return certificate | {name: encode(numbers)}


def another_label(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    certificate[rng.choice(["label", "predicted"])] = rng.choice([0, 1, 2, 3, -1, "0"])
    return certificate


def another_vote(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    rule = rng.choice(["plurality", "majority"])
    return certificate | {"n_neighbors": rng.randint(0, min(3, len(case.rows) + 1)), "rule": rule}


def a_hash(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    text = certificate["training"]
    k = rng.randrange(len(text))
    return certificate | {"training": text[:k] + ("0" if text[k] != "0" else "1") + text[k + 1 :]}


def another_metric(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    return certificate | {"metric": "euclidean" if certificate["metric"] != "euclidean" else "0" * 64}


def a_missing_field(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    del certificate[rng.choice(sorted(certificate))]
    return certificate


def a_strange_field(certificate: Certificate, case: TinyCase, rng: random.Random) -> Certificate | None:
    strange: list[Any] = [True, [], {}, -1, "", 1e308, float("nan"), math.inf, 10**400, [[[]]], [[0], [1.0]]]
    name = rng.choice(sorted(certificate.keys() - {"index"}))
    return certificate | {name: rng.choice(strange)}


ALWAYS_WRONG: list[Damage] = [
    a_hash,
    another_metric,
    a_missing_field,
    an_index_of_another_class,
    a_weight_more_or_less,
]
"""Damage after which no certificate may be accepted, true or not."""

DAMAGES: list[Damage] = [
    *ALWAYS_WRONG,
    bit_of_a_weight,
    an_index,
    a_missing_witness,
    an_end_by_a_few_steps,
    an_end_by_a_factor,
    bit_of_the_point,
    bit_of_the_adversarial_point,
    another_label,
    another_vote,
    a_strange_field,
]


def damaged(
    certificate: Certificate, case: TinyCase, rng: random.Random, damage: Damage
) -> Certificate | None:
    """A damaged copy; None where there is nothing to damage, or where it came out the same."""
    mutant = damage(copy.deepcopy(certificate), case, rng)
    return None if mutant is None or repr(mutant) == repr(certificate) else mutant
