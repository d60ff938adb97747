"""One seed of the hunt: a problem, all questions about it, and every promise checked in exact arithmetic."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import certimetric as cm
from certimetric import testing
from certimetric.certificate import Verifier
from certimetric.testing import Problem
from hunt.disguise import Disguise, Undressed, draw_disguise
from hunt.questions import Question, questions, radius_to_decide
from hunt.tally import Tally, Violation
from oracles.promises import Answer, VoteOracle, is_tight, reach, root, unsound
from oracles.rational import RationalNearestNeighbor
from oracles.rational_knn import RationalKNearestNeighbors

POINTS = 12


def kind_of(seed: int, kinds: Sequence[str]) -> str:
    """Seeds take turns through the kinds."""
    return kinds[seed % len(kinds)]


@dataclass(frozen=True)
class Scene:
    """The tiny problem of a seed, what the library gets to see of it, and its classifier."""

    tiny: Problem
    disguise: Disguise
    dressed: Problem
    labels: np.ndarray
    rng: np.random.Generator

    @classmethod
    def of(cls, seed: int, kinds: Sequence[str]) -> "Scene":
        """What the seed says."""
        tiny = testing.random_problem(seed, kinds=[kind_of(seed, kinds)], n_points=POINTS)
        rng = np.random.default_rng([seed, 2])
        disguise = draw_disguise(rng, tiny)
        labels = rng.choice(tiny.labels, size=len(tiny.points))
        return cls(tiny, disguise, disguise.apply(tiny, rng), labels, rng)

    def fit(self) -> Any:
        """The library's classifier."""
        clf = cm.CertifiedKNeighborsClassifier(metric=self.dressed.metric)
        return clf.fit(self.dressed.rows, self.dressed.labels)

    def oracle(self, question: Question) -> Undressed:
        """The rational classifier for a question; a single neighbour has one of its own.

        But not under a matrix, which may not be semidefinite to the last digit.
        """
        rows, labels, metric = self.tiny.rows.tolist(), self.tiny.labels.tolist(), _metric_of(self.tiny)
        if question.k == 1 and self.tiny.matrix is None:
            return Undressed(RationalNearestNeighbor(rows, labels, *metric), self.tiny, self.dressed)
        votes = VoteOracle(RationalKNearestNeighbors(rows, labels, question.k, *metric), question.rule)
        return Undressed(votes, self.tiny, self.dressed)


def _metric_of(problem: Problem) -> tuple[list[list[float]] | None, list[list[float]] | None]:
    """Components and matrix, as oracles take them."""
    g, m = problem.components, problem.matrix
    return None if g is None else g.tolist(), None if m is None else m.tolist()


def examine(seed: int, kinds: Sequence[str]) -> Tally:
    """Everything about one seed; an error or a panic of the library is a violation too."""
    tally, begun = Tally(), time.perf_counter()
    tally.counts["data sets"] = 1
    try:
        for where, sentence in _broken(Scene.of(seed, kinds), tally):
            tally.violations.append(Violation(seed, kind_of(seed, kinds), where, sentence))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of the core is no Exception
        sentence = f"{type(error).__name__}: {error}"
        tally.violations.append(Violation(seed, kind_of(seed, kinds), "crashed", sentence))
    tally.counts["violations"] = len(tally.violations)
    tally.slowest = (time.perf_counter() - begun, seed)
    return tally


def examine_some(seeds: Sequence[int], kinds: Sequence[str]) -> dict[str, Tally]:
    """The tallies of some seeds by kind."""
    tallies: dict[str, Tally] = {}
    for seed in seeds:
        tallies.setdefault(kind_of(seed, kinds), Tally()).add(examine(seed, kinds))
    return tallies


def _broken(scene: Scene, tally: Tally) -> Iterator[tuple[str, str]]:
    """Broken promises, with the question and the point; counts go to the tally."""
    clf = scene.fit()
    verifier = Verifier(scene.dressed.rows, scene.dressed.labels, scene.dressed.metric)
    yield from _broken_order(scene, clf, tally)
    oracles: dict[tuple[int, str], Undressed] = {}
    eps = 1.0
    for question in questions(scene.rng, len(scene.tiny.rows)):
        key = (question.k, "either" if question.k == 1 else question.rule)
        if key not in oracles:
            oracles[key] = scene.oracle(question)
        answers, truths, certificates = question.ask(clf, scene.dressed.points, scene.labels, eps)
        if question.way == "exact":
            eps = radius_to_decide(scene.rng, answers)
            tally.counts.update(question.digits(clf, scene.dressed.points))
        for number, answer in enumerate(answers):
            case = (oracles[key], scene.dressed.points[number].tolist(), answer, truths[number])
            for sentence in _judge(scene, question, case, tally):
                yield f"point {number}, {question}", sentence
        for number, certificate in enumerate(certificates):
            verdict = verifier.verify(certificate)
            if not verdict:
                yield f"point {number}, {question}", f"a certificate is rejected: {verdict.reason}"


def _judge(
    scene: Scene, question: Question, case: tuple[Undressed, list[float], Answer, int | None], tally: Tally
) -> Iterator[str]:
    """The promises of one case that are broken; the case is counted."""
    oracle, point, answer, truth = case
    radius, largest = oracle.squared_radius(point), scene.disguise.largest_radius(scene.tiny)
    # Beyond it the larger problem has radii and adversarial points of its own.
    if root(radius) > largest or largest < answer.upper < math.inf:
        return
    tally.counts["cases"] += 1
    yield from unsound(oracle, point, answer, truth)
    if question.way == "exact" and answer.status != "misclassified" and 0 < radius < math.inf:
        _count_proof("one" if question.k == 1 else "votes", oracle, point, answer, tally)


def _count_proof(name: str, oracle: Undressed, point: list[float], answer: Answer, tally: Tally) -> None:
    """Whether the radius itself was found; not where the class loses on a face, which is no defect."""
    far = reach(oracle, point)
    if is_tight(answer) or is_tight(answer, far):
        tally.counts[f"proven {name}"] += 1
        # A radius far below the distances has few digits at all, and so have subnormal numbers.
        if answer.lower > max(1e-3 * far, 1e-290):
            tally.widest[name] = max(tally.widest[name], 1 - answer.lower / answer.upper)
    elif oracle.is_thin(point):
        return
    tally.counts[name] += 1


def _broken_order(scene: Scene, clf: Any, tally: Tally) -> Iterator[tuple[str, str]]:
    """The order of all rows and the prediction of every number of neighbours, of each point."""
    tiny, points = scene.tiny, scene.dressed.points
    count = len(tiny.rows)
    exact = RationalNearestNeighbor(tiny.rows.tolist(), tiny.labels.tolist(), *_metric_of(tiny))
    neighbors = clf.kneighbors(points, count, return_distance=False).tolist()
    orders = [exact.order(point) for point in tiny.points.tolist()]
    for number, (found, order) in enumerate(zip(neighbors, orders, strict=True)):
        tally.counts["cases"] += 1
        if found != order:
            yield f"point {number}, order", f"neighbours {found}, exactly {order}"
    for k in range(1, count + 1):
        votes = RationalKNearestNeighbors(tiny.rows.tolist(), tiny.labels.tolist(), k)
        predicted = clf.set_params(n_neighbors=k).predict(points).tolist()
        for number, order in enumerate(orders):
            tally.counts["cases"] += 1
            if predicted[number] != votes.plurality(order[:k]):
                yield f"point {number}, K = {k}", f"predicted {predicted[number]} of {order[:k]}"
