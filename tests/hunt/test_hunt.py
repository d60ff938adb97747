"""The hunt finds what is planted, finds nothing else, and says how to see it again."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from certimetric import testing
from certimetric.testing import KINDS, make_problem
from hunt.__main__ import hunt, parse, replay
from hunt.disguise import Disguise
from hunt.examine import Scene, examine, examine_some
from hunt.questions import Question
from hunt.tally import Tally
from oracles.promises import Answer
from oracles.rational import RationalNearestNeighbor
from oracles.rational_knn import RationalKNearestNeighbors


def test_nothing_is_broken_on_some_seeds_of_each_kind() -> None:
    tallies = examine_some(range(len(KINDS)), KINDS)
    assert list(tallies) == list(KINDS)
    for tally in tallies.values():
        assert tally.violations == []
        assert tally.counts["data sets"] == 1
        assert tally.counts["cases"] > 20


def test_no_weights_are_needed_where_counts_refute() -> None:
    # By counts of this seed, weights stand for rows that earlier rows put on the other side.
    assert examine(9_000_078, KINDS).violations == []


def longer_lower(answer: Answer) -> Answer:
    return replace(answer, lower=answer.lower * (1 + 1e-8), upper=answer.upper * (1 + 1e-8))


def shorter_upper(answer: Answer) -> Answer:
    return replace(answer, lower=answer.lower * (1 - 1e-8), upper=answer.upper * (1 - 1e-8))


def no_attack(answer: Answer) -> Answer:
    return replace(answer, adversarial=[0.0] * len(answer.adversarial))


def other_class(answer: Answer) -> Answer:
    return replace(answer, predicted=answer.predicted + 1)


@pytest.mark.parametrize("spoil", [longer_lower, shorter_upper, no_attack, other_class])
def test_a_planted_mistake_is_found(monkeypatch, spoil) -> None:
    honest = Question.ask

    def ask(self, *arguments):
        answers, *others = honest(self, *arguments)
        return [spoil(answer) for answer in answers], *others

    monkeypatch.setattr(Question, "ask", ask)
    found = Tally()
    for seed in range(4):
        found.add(examine(seed, ["blobs", "grid"]))
    assert len(found.violations) > 8
    assert {violation.kind for violation in found.violations} == {"blobs", "grid"}
    assert replay(found.violations[0].seed, ["blobs", "grid"]) == 1


def test_a_certificate_that_is_rejected_is_a_violation(monkeypatch) -> None:
    honest = Question.ask

    def ask(self, *arguments):
        *others, certificates = honest(self, *arguments)
        return *others, [line.replace('"norm":2', '"norm":1') for line in certificates]

    monkeypatch.setattr(Question, "ask", ask)
    sentences = {violation.sentence for violation in examine(1, ["blobs"]).violations}
    assert sentences == {"a certificate is rejected: norm is not 2"}


def test_a_panic_is_a_violation(monkeypatch) -> None:
    class PanicError(BaseException):
        pass

    def panic(*_):
        raise PanicError("index out of bounds")

    monkeypatch.setattr(Question, "ask", panic)
    (violation,) = examine(3, ["blobs"]).violations
    assert violation.sentence == "PanicError: index out of bounds"
    assert str(violation).startswith("seed 3 (blobs), crashed")


@pytest.mark.parametrize("disguise", [Disguise(n_constant=3), Disguise(n_far=4)])
@pytest.mark.parametrize("k", [1, 2])
def test_a_disguise_changes_no_radius(disguise: Disguise, k: int) -> None:
    compared = 0
    for seed in range(12):
        tiny = make_problem(seed, 4, 2, "blobs", "euclidean", 3)
        dressed = disguise.apply(tiny, np.random.default_rng(seed))
        plain, clothed = (
            RationalKNearestNeighbors(problem.rows.tolist(), problem.labels.tolist(), k)
            for problem in (tiny, dressed)
        )
        for point, other in zip(tiny.points.tolist(), dressed.points.tolist(), strict=True):
            label, radius = plain.predict(point), plain.squared_radius(point)
            if radius <= Fraction(min(disguise.largest_radius(tiny), 1e300)) ** 2:
                assert clothed.predict(other) == label
                assert clothed.squared_radius(other) == radius
                compared += math.isfinite(radius)
    assert compared > 10


def test_a_disguise_under_a_metric_is_unseen_by_it() -> None:
    tiny = make_problem(1, 5, 3, "blobs", "full", 2)
    dressed = Disguise(n_constant=2).apply(tiny, np.random.default_rng(0))
    squares = [
        RationalNearestNeighbor(
            problem.rows.tolist(), problem.labels.tolist(), problem.components.tolist()
        ).squared_distances(problem.points[0].tolist())
        for problem in (tiny, dressed)
    ]
    assert squares[0] == squares[1]


def test_one_seed_is_one_scene() -> None:
    scenes = [Scene.of(7, KINDS) for _ in range(2)]
    assert scenes[0].dressed.snippet() == scenes[1].dressed.snippet()
    assert {Scene.of(seed, KINDS).disguise != Disguise() for seed in range(60)} == {True, False}


def test_the_report_has_a_table_the_rate_and_the_seed(capsys, monkeypatch) -> None:
    monkeypatch.setattr("hunt.__main__.CHUNK", 2)
    options = parse(["--cases", "100", "--seed", "5", "--jobs", "1", "--kinds", "grid", "lonely"])
    assert hunt(options) == 0
    shown = capsys.readouterr().out
    assert "| grid | " in shown
    assert "| all | " in shown
    assert "from seed 5; violations: 0" in shown


def test_a_replay_prints_lines_that_make_the_arrays(capsys) -> None:
    assert replay(11, ["grid"]) == 0
    names: dict = {}
    exec(capsys.readouterr().out, names)
    expected = testing.random_problem(11, kinds=["grid"], n_points=12)
    np.testing.assert_array_equal(names["rows"][: len(expected.rows)], expected.rows)


def test_digits_are_counted_where_distances_tie() -> None:
    tallies = examine_some(range(6), ["cospherical", "blobs"])
    assert tallies["cospherical"].counts["integers"] > 0
    counts = tallies["blobs"].counts
    assert counts["binary64"] > 0.9 * (counts["doubled"] + counts["integers"])
