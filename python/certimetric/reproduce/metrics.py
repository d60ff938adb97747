"""The metrics and prototypes of a table: learned from the training rows by the protocol, and kept."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from certimetric import datasets
from certimetric._fit import fit_whole
from certimetric._validation import FloatArray
from certimetric.exceptions import DataError
from certimetric.learning import ARML, ITML, LFDA, LMNN, NCA, ExactRadius, RobustPrototypes
from certimetric.learning._base import MetricLearner
from certimetric.learning._settings import determining
from certimetric.neighbors import CertifiedKNeighborsClassifier
from certimetric.reproduce.protocol import Split

__all__ = ["METRICS", "PROTOTYPES", "TITLES", "Metrics", "learned", "settings", "settings_of"]

_SEED = 42

METRICS: dict[str, Callable[[Split], MetricLearner] | None] = {
    "euclidean": None,
    "nca": lambda _: NCA(init="identity", max_iter=100, tol=1e-9, random_state=_SEED),
    "lmnn": lambda _: LMNN(first_step=1e-7, random_state=_SEED),
    "itml": lambda _: ITML(random_state=_SEED),
    "lfda": lambda _: LFDA(),
    "arml": lambda split: _arml(split),
    "exact-radius": lambda _: ExactRadius(random_state=_SEED),
}
"""By name, how a metric is learned: as published, but for ARML of images. None: it is not."""

PROTOTYPES: dict[str, Callable[[Split], RobustPrototypes]] = {
    "prototypes-clean": lambda split: _prototypes("clean", split),
    "prototypes-area": lambda split: _prototypes("area", split),
    "prototypes-1.58": lambda split: _points(split, eps=1.58),
}
"""By name, classifiers whose few rows are learned."""

TITLES = {
    "euclidean": "Euclidean",
    "nca": "NCA",
    "lmnn": "LMNN",
    "itml": "ITML",
    "lfda": "LFDA",
    "arml": "ARML",
    "exact-radius": "ExactRadius",
    "prototypes-clean": "RobustPrototypes, clean",
    "prototypes-area": "RobustPrototypes, area",
    "prototypes-1.58": "RobustPrototypes, radius 1.58",
}


def _arml(split: Split) -> ARML:
    """1,000 steps as published; of images ten for each search for neighbors, which is most of the work."""
    if split.image is None:
        return ARML(random_state=_SEED)
    return ARML(max_iter=100, batch_size=math.ceil(len(split.X) / 10), random_state=_SEED)


def _prototypes(objective: Literal["area", "clean"], split: Split) -> RobustPrototypes:
    # Of images a metric makes no difference but that of its cost.
    metric = "euclidean" if split.image else ExactRadius(random_state=_SEED)
    return RobustPrototypes(objective=objective, metric=metric, shifts=split.image, random_state=_SEED)


def _points(split: Split, eps: float) -> RobustPrototypes:
    """Many points for one radius, an eighth of what MNIST has; of smaller classes a quarter."""
    smallest = int(np.unique(split.y, return_counts=True)[1].min())
    count = min(800, max(1, smallest // 4))
    shared: dict[str, Any] = {"shifts": split.image, "max_iter": 40, "random_state": _SEED}
    return RobustPrototypes(eps=eps, n_prototypes=count, precision="float16", **shared)


def settings(metric: str, split: Split) -> dict[str, Any]:
    """What determines a metric, or rows, beside the data: the learner's parameters."""
    make = {**METRICS, **PROTOTYPES}[metric]
    return {} if make is None else settings_of(make(split))


def settings_of(learner: BaseEstimator) -> dict[str, Any]:
    """What determines a learner's result; of learners in it their parameters."""
    return {name: v for name, v in determining(learner).items() if not isinstance(v, BaseEstimator)}


def learned(learner: MetricLearner, X: FloatArray, y: NDArray[Any]) -> Any:
    """A learner, fitted to its end: what Ctrl-C left of a fit is no result of a table."""
    with warnings.catch_warnings():
        # What the table says.
        warnings.filterwarnings("ignore", "RobustPrototypes has .* wrong", ConvergenceWarning)
        # Where the published code ends, too.
        warnings.filterwarnings("ignore", "ITML ends", ConvergenceWarning)
        return fit_whole(learner, X, y)


@dataclass(frozen=True)
class Metrics:
    """A folder of what was learned, and of the checkpoints of what is being learned.

    Attributes
    ----------
    folder : Path
    n_jobs : int or None
    progress : bool
        Show a line for each fit.
    """

    folder: Path
    n_jobs: int | None = None
    progress: bool = False

    def classifier(self, split: Split, metric: str, key: str) -> CertifiedKNeighborsClassifier:
        """The fitted classifier of a name for a training set; ``key`` says what determines it."""
        path = self.folder / f"{split.name}-{metric}-{key}.npz"
        if metric in PROTOTYPES:
            make_rows = PROTOTYPES[metric]
            model: RobustPrototypes = self._kept(path, RobustPrototypes.load) or self._learned(
                make_rows, split, path
            )
            model.classifier_.n_jobs = self.n_jobs
            return model.classifier_
        make, found = METRICS[metric], None
        if make is not None:
            found = self._kept(path, datasets.read_metric) or self._learned(make, split, path)
        known = "euclidean" if found is None else found
        return CertifiedKNeighborsClassifier(metric=known, n_jobs=self.n_jobs).fit(split.X, split.y)

    @staticmethod
    def _kept(path: Path, read: Callable[[Path], Any]) -> Any:
        """What an earlier run learned, or None."""
        try:
            return read(path) if path.is_file() else None
        except DataError:
            # Damaged: then it is learned again.
            path.unlink()
            return None

    def _learned(self, make: Callable[[Split], MetricLearner], split: Split, path: Path) -> Any:
        learner = make(split)
        checkpoint = path.with_suffix(".checkpoint.npz")
        shared = {"n_jobs": self.n_jobs, "progress": self.progress, "checkpoint": checkpoint}
        shared["metric__n_jobs"] = self.n_jobs
        known = learner.get_params()
        learner.set_params(**{name: value for name, value in shared.items() if name in known})
        self.folder.mkdir(parents=True, exist_ok=True)
        # After Ctrl-C the checkpoint goes on.
        learned(learner, split.X, split.y)
        learner.save(path, data=split.name)
        checkpoint.unlink(missing_ok=True)
        return learner
