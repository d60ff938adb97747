"""One certification of a table, and the folder that keeps those that are finished."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from certimetric._versions import native_build
from certimetric.certificate import sha256_of_training
from certimetric.certification import Certification
from certimetric.exceptions import DataError
from certimetric.neighbors import CertifiedKNeighborsClassifier
from certimetric.reproduce.metrics import TITLES, settings
from certimetric.reproduce.protocol import Split

__all__ = ["Cell", "Store", "kept", "key_of"]


@dataclass(frozen=True)
class Cell:
    """What is asked about each test point of a data set.

    Attributes
    ----------
    n_neighbors : int
        K of the classifier.
    rule, method : str
        As arguments of :meth:`CertifiedKNeighborsClassifier.certify`.
    point_time_limit : float or None
        Seconds for each point.
    metric : str
        Name of the metric.
    """

    n_neighbors: int
    rule: str
    method: str
    point_time_limit: float | None = None
    metric: str = "euclidean"

    def __str__(self) -> str:
        # With one neighbour there is only one way to lose.
        rule = "" if self.n_neighbors == 1 else f", {self.rule}"
        return f"{TITLES[self.metric]}, K = {self.n_neighbors}{rule}, {self.method}"

    def certify(
        self, classifier: CertifiedKNeighborsClassifier, split: Split, *, progress: bool
    ) -> Certification:
        """Certify the test points; the classifier is fitted, for whatever number of neighbours."""
        classifier.set_params(n_neighbors=self.n_neighbors)
        return classifier.certify(
            split.Z,
            split.t,
            rule=self.rule,
            method=self.method,
            point_time_limit=self.point_time_limit,
            progress=progress,
        )


@dataclass(frozen=True)
class Store:
    """A folder of certifications, under names that say what determines them."""

    folder: Path

    def path(self, split: Split, cell: Cell) -> Path:
        """The file of a cell: readable, and with a hash of the settings, the data and the version."""
        asked = {**asdict(cell), "learner": settings(cell.metric, split)}
        key = key_of({**asked, "data": split.digest})
        words = (split.name, cell.metric, f"k{cell.n_neighbors}", cell.rule, cell.method, key)
        return self.folder / ("-".join(words) + ".npz")

    def metric_key(self, split: Split, metric: str) -> str:
        """What determines a learned metric, in short."""
        training = sha256_of_training(split.X, split.y)
        return key_of({"learner": settings(metric, split), "data": training})

    def get(self, split: Split, cell: Cell) -> Certification | None:
        """A finished cell, or None; one that is proven without a limit is so under every limit."""
        for wanted in (replace(cell, point_time_limit=None), cell):
            if (found := kept(self.path(split, wanted))) is not None:
                return found
        return None

    def put(self, split: Split, cell: Cell, cert: Certification) -> None:
        """Keep a finished cell. Where all is proven it does not matter which limit there was."""
        if cert.share_exact == 1:
            cell = replace(cell, point_time_limit=None)
        self.folder.mkdir(parents=True, exist_ok=True)
        cert.save(self.path(split, cell))


def kept(path: Path) -> Certification | None:
    """What an earlier run left there; None where there is nothing, or it is damaged and to be made again."""
    try:
        return Certification.load(path) if path.is_file() else None
    except DataError:
        return None


def key_of(determined: dict[str, Any]) -> str:
    """A hash of what determines a result: that, and the library's version."""
    text = json.dumps({**determined, "certimetric": native_build()["version"]}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
