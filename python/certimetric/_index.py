"""An index that survives pickling: the Rust object is left out and built again when it is first needed."""

import threading
from typing import Any

from numpy.typing import NDArray

from certimetric import _native
from certimetric._validation import FloatArray, IntArray
from certimetric.certificate import sha256_of_matrix, sha256_of_metric, sha256_of_training
from certimetric.metric import Mahalanobis
from certimetric.search import build_index

__all__ = ["LazyIndex"]


class LazyIndex:
    """Training rows with the Rust index of them, built once, by whichever thread asks first.

    Parameters
    ----------
    rows : ndarray of shape (n, d), float64, C-contiguous
        Borrowed, not copied.
    codes : ndarray of shape (n,), int64
    n_classes : int
    metric : Mahalanobis
    """

    def __init__(self, rows: FloatArray, codes: IntArray, n_classes: int, metric: Mahalanobis) -> None:
        self.rows = rows
        self.codes = codes
        self.n_classes = n_classes
        self.metric = metric
        self._sha256: dict[str, str] | None = None
        self._index: _native.Index | None = None
        self._lock = threading.Lock()

    def get(self, n_jobs: int = 1) -> _native.Index:
        """The index; the first call builds it with this many threads, which do not change it."""
        index = self._index
        if index is not None:
            return index
        with self._lock:
            if self._index is None:
                self._index = build_index(self.rows, self.codes, self.n_classes, self.metric, n_jobs)
            return self._index

    def sha256(self, classes: NDArray[Any]) -> dict[str, str]:
        """Hashes of the training data with labels for the codes, and of the metric; made once."""
        if self._sha256 is None:
            self._sha256 = {
                "training": sha256_of_training(self.rows, classes[self.codes]),
                "metric": self._metric_sha256(),
            }
        return self._sha256

    def _metric_sha256(self) -> str:
        if self.metric.is_euclidean:
            return "euclidean"
        if self.metric.matrix_ is not None:
            return sha256_of_matrix(self.metric.matrix_)
        return sha256_of_metric(self.metric.components_)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_index", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._index = None
        self._lock = threading.Lock()
