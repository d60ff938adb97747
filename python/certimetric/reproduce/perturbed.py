"""LMNN with the perturbation loss and without, on small data sets: accuracy, exact radii, and noise.

The claim of Yang et al. (TPAMI 2022, arXiv 2006.05945) is that the loss makes LMNN robust to perturbations
and noise at no cost in accuracy. Each learner has its defaults; rows are split at random, 70 % of each class
to learn from, with features scaled to [0, 1] by these. Noise is normal, with a standard deviation of 0.1.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from certimetric import datasets
from certimetric._files import write_text
from certimetric._formats import has_test_split
from certimetric._validation import FloatArray, IntArray
from certimetric.certificate import sha256_of_training
from certimetric.datasets import Scaler
from certimetric.exceptions import DataError
from certimetric.learning import LMNN
from certimetric.neighbors import CertifiedKNeighborsClassifier
from certimetric.reproduce.cells import key_of
from certimetric.reproduce.metrics import learned, settings_of

__all__ = ["LEARNERS", "MEASURES", "SMALL", "Outcome", "Study", "markdown", "means", "text", "write_csv"]

SMALL = ("iris", "wine", "glass", "sonar", "ionosphere", "wdbc", "balance", "vehicle", "pima", "vowel")
"""Data sets by name, as in the folder of the published tables."""

LEARNERS: dict[str, Callable[[], LMNN] | None] = {
    "euclidean": None,
    "lmnn": LMNN,
    "lmnn-triplets": lambda: LMNN(perturbation=0.0),
    "lmnn-pl": lambda: LMNN(perturbation="auto"),
}
"""What is compared; the triplets of the last two are the same, and the last has the loss besides."""

MEASURES = {
    "accuracy": "Accuracy of 1-NN",
    "radius": "Mean exact radius, ℓ2, 0 where it is wrong",
    "noisy": "Accuracy under noise",
}

_NOISE, _TESTED = 0.1, 0.3
_FEWEST = 4


@dataclass(frozen=True)
class Outcome:
    """What came of one learner on one split."""

    data: str
    learner: str
    split: int
    accuracy: float
    radius: float
    noisy: float


@dataclass(frozen=True)
class Study:
    """Rows of one data set, and the folder that keeps what was measured."""

    name: str
    X: FloatArray
    y: IntArray
    folder: Path
    n_jobs: int | None = None

    @classmethod
    def of_file(cls, path: Path, folder: Path, n_jobs: int | None = None) -> "Study":
        """All labelled rows of a file, of both halves where it has two.

        Raises
        ------
        DataError
            There is no data, or there are no labels, or too few rows to split.
        """
        halves = datasets.read_halves(path) if has_test_split(path) else (datasets.read(path),)
        X = np.concatenate([half.X for half in halves])
        classes, y = np.unique(np.concatenate([half.labels() for half in halves]), return_inverse=True)
        sizes = np.bincount(y)
        if sizes.min() < _FEWEST:
            found = f"{classes.tolist()[sizes.argmin()]!r} has {sizes.min()}"
            raise DataError(f"{path}: each class needs {_FEWEST} rows to be split; {found}.")
        return cls(path.stem, X, y, folder, n_jobs)

    def outcome(self, learner: str, split: int) -> Outcome:
        """One measurement, kept from an earlier run or made."""
        make = LEARNERS[learner]
        asked = {"learner": {} if make is None else settings_of(make()), "test": _TESTED, "noise": _NOISE}
        key = key_of({**asked, "data": sha256_of_training(self.X, self.y)})
        path = self.folder / f"{self.name}-{learner}-{split}-{key}.json"
        found = _kept(path)
        if found is None:
            found = self._measured(learner, split)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(asdict(found)))
        return found

    def _measured(self, learner: str, split: int) -> Outcome:
        rows, points, y, t = train_test_split(
            self.X, self.y, test_size=_TESTED, stratify=self.y, random_state=split
        )
        scaler = Scaler.fit(rows, "minmax")
        rows, points = scaler(rows), scaler(points)
        make = LEARNERS[learner]
        metric = "euclidean" if make is None else learned(make().set_params(n_jobs=self.n_jobs), rows, y)
        model = CertifiedKNeighborsClassifier(metric=metric, n_jobs=self.n_jobs).fit(rows, y)
        noise = np.random.default_rng(split).normal(scale=_NOISE, size=points.shape)
        return Outcome(
            self.name,
            learner,
            split,
            accuracy=float(model.score(points, t)),
            radius=float(model.certify(points, t).lower.mean()),
            noisy=float(model.score(points + noise, t)),
        )


def _kept(path: Path) -> Outcome | None:
    """What an earlier run measured; None where it did not, or the file is damaged."""
    try:
        return Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def means(outcomes: list[Outcome], measure: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Mean and standard deviation over the splits, by data set and learner."""
    values: dict[tuple[str, str], list[float]] = {}
    for outcome in outcomes:
        values.setdefault((outcome.data, outcome.learner), []).append(getattr(outcome, measure))
    return {key: (float(np.mean(v)), float(np.std(v))) for key, v in values.items()}


def lines(outcomes: list[Outcome], measure: str) -> Iterator[list[str]]:
    """A table of one measure: data sets by learners."""
    known = means(outcomes, measure)
    yield ["data set", *LEARNERS]
    for data in dict.fromkeys(data for data, _ in known):
        found = (known.get((data, learner)) for learner in LEARNERS)
        yield [data, *("" if pair is None else f"{pair[0]:.3f} ± {pair[1]:.3f}" for pair in found)]


def comparison(outcomes: list[Outcome]) -> Iterator[str]:
    """On how many data sets the loss is better than its absence, and by how much, for each measure."""
    for measure, title in MEASURES.items():
        known = means(outcomes, measure)
        for other in ("lmnn-triplets", "lmnn"):
            gaps = [
                known[data, "lmnn-pl"][0] - known[data, other][0]
                for data in dict.fromkeys(data for data, _ in known)
                if (data, "lmnn-pl") in known and (data, other) in known
            ]
            if gaps:
                better = f"above {other} on {sum(gap > 0 for gap in gaps)} of {len(gaps)}"
                yield f"{title}: lmnn-pl {better}, by {np.mean(gaps):+.3f} in the mean"


def text(outcomes: list[Outcome]) -> str:
    """All tables in columns of characters."""
    parts = []
    for measure, title in MEASURES.items():
        rows = lines(outcomes, measure)
        shown = [f"{row[0]:<12}" + "".join(f"{entry:>18}" for entry in row[1:]) for row in rows]
        parts.append("\n  ".join([title, *shown]))
    return "\n\n".join([*parts, "\n".join(comparison(outcomes))])


def markdown(outcomes: list[Outcome]) -> str:
    """All tables in Markdown."""
    parts = ["# LMNN with the perturbation loss and without", *((__doc__ or "").split("\n\n")[1:])]
    for measure, title in MEASURES.items():
        head, *rows = lines(outcomes, measure)
        table = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
        parts += [f"## {title}", "\n".join(f"| {' | '.join(row)} |" for row in table)]
    return "\n\n".join([*parts, "\n".join(f"- {line}." for line in comparison(outcomes))]) + "\n"


def write_csv(outcomes: list[Outcome], path: Path) -> None:
    """One line for each measurement."""
    found = io.StringIO(newline="")
    writer = csv.DictWriter(found, asdict(outcomes[0]))
    writer.writeheader()
    writer.writerows(map(asdict, outcomes))
    write_text(path, found.getvalue())
