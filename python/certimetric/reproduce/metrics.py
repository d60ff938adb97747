"""The metrics of a table: learned from the training rows by the protocol, and kept."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from certimetric import datasets
from certimetric.exceptions import DataError
from certimetric.learning import ARML, ITML, LFDA, LMNN, NCA
from certimetric.learning._base import MetricLearner
from certimetric.metric import Mahalanobis
from certimetric.reproduce.protocol import Split

__all__ = ["METRICS", "MOST_ROWS", "TITLES", "Metrics", "settings"]

_SEED = 42

METRICS: dict[str, Callable[[], MetricLearner] | None] = {
    "euclidean": None,
    "nca": lambda: NCA(init="identity", max_iter=100, tol=1e-9),
    "lmnn": lambda: LMNN(first_step=1e-7, random_state=_SEED),
    "itml": lambda: ITML(random_state=_SEED),
    "lfda": lambda: LFDA(),
    "arml": lambda: ARML(random_state=_SEED),
}
"""By name, how a metric is learned: as published, with one seed for all. None: it is not."""

TITLES = {
    "euclidean": "Euclidean",
    "nca": "NCA",
    "lmnn": "LMNN",
    "itml": "ITML",
    "lfda": "LFDA",
    "arml": "ARML",
}

MOST_ROWS = {"nca": 20_000}
"""Training rows beyond which a learner is left out: its memory grows with their square."""

# What may differ without changing what is learned.
_NOT_OF_THE_RESULT = ("callback", "checkpoint", "n_jobs", "progress", "time_limit", "warm_start")


def settings(metric: str) -> dict[str, Any]:
    """What determines a metric beside the data: the learner's parameters."""
    make = METRICS[metric]
    if make is None:
        return {}
    parameters = make().get_params(deep=False)
    return {name: value for name, value in parameters.items() if name not in _NOT_OF_THE_RESULT}


@dataclass(frozen=True)
class Metrics:
    """A folder of learned metrics, and of the checkpoints of those that are being learned.

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

    def get(self, split: Split, metric: str, key: str) -> Mahalanobis:
        """The metric of a name for a training set; ``key`` says what determines it."""
        make = METRICS[metric]
        if make is None:
            return Mahalanobis.euclidean()
        path = self.folder / f"{split.name}-{metric}-{key}.npz"
        try:
            if path.is_file():
                return datasets.read_metric(path)
        except DataError:
            # Damaged: then it is learned again.
            path.unlink()
        return self._learned(make(), split, path)

    def _learned(self, learner: MetricLearner, split: Split, path: Path) -> Mahalanobis:
        checkpoint = path.with_suffix(".checkpoint.npz")
        shared = {"n_jobs": self.n_jobs, "progress": self.progress, "checkpoint": checkpoint}
        known = learner.get_params(deep=False)
        learner.set_params(**{name: value for name, value in shared.items() if name in known})
        self.folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # It is told below, in other words.
            warnings.filterwarnings("ignore", ".* was interrupted", ConvergenceWarning)
            # Where the published code ends, too.
            warnings.filterwarnings("ignore", "ITML ends", ConvergenceWarning)
            learner.fit(split.X, split.y)
        if getattr(learner, "stop_reason_", "") == "interrupted":
            # The checkpoint goes on from there.
            raise KeyboardInterrupt
        learner.save(path, data=split.name)
        checkpoint.unlink(missing_ok=True)
        return learner.metric_
