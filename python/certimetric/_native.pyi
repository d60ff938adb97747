"""Types of the Rust core. Arrays must be C-contiguous float64 / int64; the Python layer sees to that."""

from collections.abc import Callable
from typing import Any, TypedDict, final

import numpy as np
from numpy.typing import NDArray

_Progress = Callable[[int, int], object] | None
"""Called from the calling thread, about ten times a second, with (rows done, rows in all)."""

_Metric = tuple[NDArray[np.float64], NDArray[np.float64] | None] | None
"""None: Euclidean; else (p, d) components G. With a symmetric (d, d) matrix M this is the metric, and G a
hint, of which any values are safe."""

class Certificates(TypedDict):
    lower: NDArray[np.float64]  # (m,) proven lower bound on the radius, input-space l2 norm
    upper: NDArray[np.float64]  # (m,) norm of a re-predicted adversarial perturbation; inf: none
    status: NDArray[np.uint8]  # (m,) index into STATUSES
    predicted: NDArray[np.int64]  # (m,) class code; -1: not reached before the time limit
    rival: NDArray[np.int64]  # (m,) row of another class, nearest at the adversarial point; -1: none
    seconds: NDArray[np.float64]  # (m,) processor time spent on the row
    programs: NDArray[np.uint32]  # (m,) quadratic programs begun
    steps: NDArray[np.uint32]  # (m,) active-set steps taken
    nodes: NDArray[np.int64]  # (m,) nodes of the search over sets of neighbours; 0 from ``certify``
    digits: NDArray[np.uint8]  # (m,) index into DIGITS: what the most delicate comparison of distances needed
    adversarial: NDArray[np.float64] | None  # (m, d); a row without one repeats the test point
    # (m,) the lower end that is proven, and by what: the training rows and weights of witnesses, or a tree
    proofs: list[tuple[float, list[tuple[list[int], list[float]]], dict[str, Any] | None]] | None

STATUSES: tuple[str, ...]
"""("exact", "bounded", "misclassified", "unfinished")"""

DIGITS: tuple[str, ...]
"""("binary64", "doubled", "integers")"""

@final
class Index:
    """Training rows, prepared once. Keeps a reference to ``rows``, which must not be changed afterwards."""

    def __new__(
        cls,
        rows: NDArray[np.float64],  # (n, d)
        codes: NDArray[np.int64],  # (n,) class codes 0 … n_classes - 1
        n_classes: int,
        metric: _Metric,
        rotation: NDArray[np.float64]
        | None,  # (p, p) hint: rows = principal axes of the embedded rows, any values are safe
        n_jobs: int = 1,
        progress: _Progress = None,
    ) -> Index: ...
    @property
    def n_samples(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    def kneighbors(
        self,
        queries: NDArray[np.float64],
        k: int,
        squared: bool = False,
        n_jobs: int = 1,
        progress: _Progress = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...  # (m, k), (m, k)
    def kneighbors_per_class(
        self,
        queries: NDArray[np.float64],
        k: int,
        squared: bool = False,
        n_jobs: int = 1,
        progress: _Progress = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...  # (m, n_classes, k), padded with inf and -1
    def certify(
        self,
        queries: NDArray[np.float64],  # (m, d)
        codes: NDArray[np.int64]
        | None,  # (m,) true class codes (-1: a class never seen in training); None: the predicted ones
        adversarial: bool = False,
        proofs: bool = False,
        time_limit: float | None = None,
        n_jobs: int = 1,
        progress: _Progress = None,
    ) -> Certificates: ...
    def certify_votes(
        self,
        queries: NDArray[np.float64],  # (m, d)
        codes: NDArray[np.int64] | None,  # as for ``certify``
        k: int,
        majority: bool,  # the rule; False: plurality
        method: str,  # "exact" | "bound" | "attack"
        beyond: float | None = None,  # only whether the radius is above this
        point_node_limit: int | None = None,  # nodes a row
        max_memory: int | None = None,  # bytes of open nodes a row, beyond which its search is depth first
        point_time_limit: float | None = None,  # seconds a row
        adversarial: bool = False,
        proofs: bool = False,
        node_limit: int | None = None,  # nodes for the call
        time_limit: float | None = None,  # seconds for the call
        n_jobs: int = 1,
        progress: _Progress = None,
    ) -> Certificates: ...

def pairwise_distances(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    metric: _Metric,
    squared: bool = False,
    n_jobs: int = 1,
    progress: _Progress = None,
) -> NDArray[np.float64]: ...
def triplet_radius(
    queries: NDArray[np.float64],
    same: NDArray[np.float64],
    other: NDArray[np.float64],
    metric: _Metric,
    perturbation: bool = False,
    n_jobs: int = 1,
    progress: _Progress = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]: ...  # signed radii (m,), perturbations (m, d)
def average_precision(
    rows: NDArray[np.float64],  # (n, p)
    codes: NDArray[np.int64],  # (n,) class codes 0 … n_classes - 1
    n_classes: int,
    queries: NDArray[np.float64],  # (m, p)
    own: NDArray[np.int64],  # (m,) the row that each query stands for
    n_jobs: int = 1,
    progress: _Progress = None,
) -> tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]
]: ...  # (m,) average precision, that at R, and how many rows come before the first relevant one
def spectral_norm_bound(metric: _Metric, features: int) -> float: ...
def standardise_arithmetic() -> (
    None
): ...  # of the calling thread, which ends with the work: to nearest, subnormals
def build_info() -> dict[str, str]: ...  # version, profile ("release" | "debug"), target, simd

@final
class Neighborhood:
    """Near rows of the own class and of the others, in a metric that changes."""

    def __new__(
        cls,
        rows: NDArray[np.float64],  # (n, d)
        codes: NDArray[np.int64],  # (n,) class codes 0 … n_classes - 1
        n_classes: int,
        k: int,
    ) -> Neighborhood: ...
    def find(
        self,
        rows: NDArray[np.float64],  # those of the constructor
        components: NDArray[np.float64],  # (p, d)
        n_jobs: int = 1,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # (n, k) each: same class, others; -1: no more
        ...

@final
class Impostors:
    """Rows of other classes within limits, in a metric that changes."""

    def find(
        self,
        rows: NDArray[np.float64],  # (n, d), around the origin, and their classes: the same in all calls
        images: NDArray[np.float64],  # (n, p)
        codes: NDArray[np.int64],
        limits: NDArray[np.float64],  # (n, k): squared distances
        n_jobs: int = 1,
    ) -> tuple[
        NDArray[np.int64],  # counts (n, k)
        # where there are few: rows, the first ones in order, how many times, and the sum of their squares
        tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], float] | None,
        NDArray[np.float64] | None,  # else the sum of outer products (d, d)
    ]: ...

def triplet_objective(
    rows: NDArray[np.float64],  # (n, d)
    components: NDArray[np.float64],  # (p, d)
    anchors: NDArray[np.int64],  # (t,) rows of the triplets, and of the two others
    same: NDArray[np.int64],
    other: NDArray[np.int64],
    loss: tuple[str, float],  # its name, and the place of the hinge or of the perturbation loss
    n_jobs: int = 1,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:  # mean loss, gradient (p, d), margins (t,)
    ...
def neighbor_chances(
    rows: NDArray[np.float64],  # (n, d), around the origin, of magnitude 1
    codes: NDArray[np.int64],  # (n,) classes
    components: NDArray[np.float64],  # (p, d)
    n_jobs: int = 1,
) -> tuple[
    float, NDArray[np.float64]
]:  # the sum of the chances of a neighbour of the own class, gradient (p, d)
    ...
def pair_squares(
    images: NDArray[np.float64],  # (n, p)
    first: NDArray[np.int64],  # (m,) rows, in order
    second: NDArray[np.int64],
    n_jobs: int = 1,
) -> NDArray[np.float64]:  # (m,) squared distances
    ...
def pair_outer(
    rows: NDArray[np.float64],  # (n, d), around the origin
    lists: list[
        tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
    ],  # rows, the first ones in order, and weights, (m,) each
    n_jobs: int = 1,
) -> NDArray[np.float64]:  # (d, d): sum of w (a - b)(a - b)ᵀ
    ...
def adam_step(
    values: NDArray[np.float64],  # as many numbers as the next three; all but the gradient are written to
    gradient: NDArray[np.float64],
    mean: NDArray[np.float64],
    square: NDArray[np.float64],
    decay: tuple[float, float],  # of the moments
    pace: float,  # η √(1 - β₂ᵗ) / (1 - β₁ᵗ)
    floor: float,  # ε √(1 - β₂ᵗ)
    n_jobs: int,
) -> None: ...
def bregman_sweep(
    metric: NDArray[np.float64],  # (d, d)
    differences: NDArray[np.float64],  # (m, d)
    signs: NDArray[np.float64],  # 1: near, -1: far
    bounds: NDArray[np.float64],
    multipliers: NDArray[np.float64],
    gamma: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:  # metric, bounds, multipliers
    ...
def radius_objective(
    points: NDArray[np.float64],  # (n, d)
    codes: NDArray[np.int64],  # (n,) class codes
    components: NDArray[np.float64] | None,  # (p, d) G; None: Euclidean
    anchors: NDArray[np.float64],  # (m, d)
    anchor_codes: NDArray[np.int64],  # (m,)
    worth: tuple[float, float, float],  # low, cap and decay of the weight of a radius; any may be infinite
    itself: NDArray[np.int64] | None = None,  # (m,) a point to leave out, -1: none
    nearest: int | None = None,  # points of each kind that an anchor is measured against; None: all
    by_components: bool = False,
    by_points: bool = False,
    n_jobs: int = 1,
) -> tuple[
    float,  # mean loss
    NDArray[np.float64],  # (m,) signed radii, at most the cap; NaN: none
    NDArray[np.float64] | None,  # (p, d) gradient by G
    NDArray[np.float64] | None,  # (n, d) gradient by the points
]: ...
