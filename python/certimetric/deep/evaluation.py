"""Retrieval: recall at k, mean average precision and clusters, without a matrix of all distances."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from certimetric._native import average_precision
from certimetric._validation import effective_jobs
from certimetric.deep import _device
from certimetric.deep.embedding import check_labels
from certimetric.exceptions import CollapsedModelError, InputError

__all__ = ["RetrievalScores", "check_spread", "retrieval_scores"]

_COLLAPSED = 1e-6
"""Unit embeddings that are all within this distance of each other are one point."""


@dataclass(frozen=True)
class RetrievalScores:
    """How well rows of a class find each other; all between 0 and 1.

    Attributes
    ----------
    recall : dict of int to float
        R@k: share of queries with a row of their class among the k nearest others.
    map : float
        Mean over queries of the average precision over all relevant rows.
    map_at_r : float
        mAP@R (Musgrave et al., 2020): the same over the R nearest, R the number of relevant rows.
    nmi : float or None
        Normalised mutual information of classes and k-means clusters of the queries; None: not asked for, or
        all are of one class.
    """

    recall: dict[int, float]
    map: float
    map_at_r: float
    nmi: float | None = None

    def __str__(self) -> str:
        parts = [f"R@{k} {value:.3f}" for k, value in self.recall.items()]
        parts += [f"mAP {self.map:.3f}", f"mAP@R {self.map_at_r:.3f}"]
        return "  ".join(parts if self.nmi is None else [*parts, f"NMI {self.nmi:.3f}"])


def retrieval_scores(
    embeddings: Tensor | NDArray[np.floating],
    labels: object,
    *,
    queries: Tensor | NDArray[np.floating] | None = None,
    own: NDArray[np.integer] | None = None,
    ks: Sequence[int] = (1, 2, 4, 8),
    nmi: bool = True,
    seed: int = 0,
    n_jobs: int | None = None,
) -> RetrievalScores:
    """Scores of retrieval among the rows themselves, each query without its own row.

    Rows are ranked by Euclidean distance in binary64; rows at the same distance, to some p 2⁻⁵² of their
    squared distances from the median, count against the query. The cost is n m p for the distances; how many
    rows come before each relevant one is counted, without a sort. Memory is that of the embeddings in
    binary64, and of a tile of distances for each thread. Embeddings on a CUDA device are ranked there, with
    sorts; the same rows tie, but for rounding, and clusters are always sought on the processor.

    Parameters
    ----------
    embeddings : tensor or array of shape (n, p)
        On any device; on CUDA the ranking runs there.
    labels : array-like of shape (n,)
    queries : tensor or array of shape (m, p), optional
        What stands for rows of the gallery when they ask, such as embeddings under attack; default: the rows.
    own : array of shape (m,), optional
        Which row of the gallery each query is; default: the first m.
    ks : sequence of int
    nmi : bool
        Also cluster the queries, into as many clusters as they have classes.
    seed : int
        Of the clusters.
    n_jobs : int, optional
        Threads; default: one.

    Raises
    ------
    InputError
        Shapes that do not fit, values that are not finite, a class with one row only, or k below 1.
    CollapsedModelError
        All embeddings are the same.
    """
    gallery = _matrix(embeddings, "embeddings")
    codes, _ = check_labels(labels, len(gallery), each=2)
    asked = gallery if queries is None else _matrix(queries, "queries")
    if asked.shape[1] != gallery.shape[1]:
        raise InputError(f"queries must have {gallery.shape[1]} columns, got {asked.shape[1]}.")
    rows = np.arange(len(asked)) if own is None else np.asarray(own)
    if (
        rows.shape != (len(asked),)
        or rows.dtype.kind not in "iu"
        or not 0 <= rows.min() <= rows.max() < len(gallery)
    ):
        raise InputError(f"own must name a row of embeddings for each of {len(asked)} queries.")
    ks = tuple(ks) if isinstance(ks, Iterable) else (ks,)
    if not ks or not all(isinstance(k, int | np.integer) and k >= 1 for k in ks):
        raise InputError(f"ks must be integers, 1 or more, got {ks}.")
    if (gallery == gallery[0]).all():
        raise CollapsedModelError(
            f"embeddings are {len(gallery)} times the same: no score of them means anything."
        )
    average, average_at_r, first = _precisions(gallery, codes, asked, rows.astype(np.int64), n_jobs)
    found = _clusters(asked.cpu().numpy(), codes.numpy()[rows], seed) if nmi else None
    recall = {int(k): float(np.mean(first < k)) for k in ks}
    return RetrievalScores(recall, float(average.mean()), float(average_at_r.mean()), found)


def _precisions(
    gallery: Tensor, codes: Tensor, asked: Tensor, own: NDArray[np.int64], n_jobs: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Of each query: average precision, that of the R nearest, and rows before the first relevant one."""
    if gallery.is_cuda:
        there = gallery.device
        found = _device.precisions(gallery, codes.to(there), asked.to(there), torch.from_numpy(own).to(there))
        return tuple(part.cpu().numpy() for part in found)
    classes = int(codes.max()) + 1
    return average_precision(
        gallery.numpy(), codes.numpy(), classes, asked.cpu().numpy(), own, effective_jobs(n_jobs)
    )


def _matrix(values: Tensor | NDArray[np.floating], name: str) -> Tensor:
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    if tensor.ndim != 2 or 0 in tensor.shape or not tensor.is_floating_point():
        raise InputError(
            f"{name} must be floating-point numbers of shape (n, p), not empty; got {tuple(tensor.shape)}."
        )
    if not torch.isfinite(tensor).all():
        row = int((~torch.isfinite(tensor).all(dim=1)).nonzero()[0])
        raise InputError(f"{name} must be finite; row {row} is not.")
    # Other devices than these two lack binary64.
    tensor = tensor.detach() if tensor.is_cuda else tensor.detach().cpu()
    return tensor.double().contiguous()


def _clusters(rows: NDArray[np.float64], codes: NDArray[np.int64], seed: int) -> float | None:
    classes = len(np.unique(codes))
    if classes == 1:
        return None
    near = rows / (np.abs(rows).max() or 1.0)
    near = (near - near.mean(axis=0)).astype(np.float32)
    means = KMeans(n_clusters=classes, n_init=1, random_state=seed).fit(near)
    return float(normalized_mutual_info_score(codes, means.labels_))


def check_spread(embeddings: Tensor, name: str = "model") -> None:
    """Refuse embeddings that are one point.

    Raises
    ------
    CollapsedModelError
        All embeddings are within 10⁻⁶ of the first one.
    """
    if (embeddings - embeddings[0]).norm(dim=1).max() < _COLLAPSED:
        raise CollapsedModelError(
            f"{name} has collapsed: it gives {len(embeddings)} images the same embedding, and no score means "
            "anything. A smaller learning rate, easier triplets or a weaker attack may help."
        )
