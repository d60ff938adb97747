"""The exact radius in binary64 by a general QP solver, and neighbours in extended precision.

For every row ``j`` of another class, ``r_j = min ‖δ‖ s.t. a_iᵀδ ≤ b_i`` over *all* rows ``i`` of the class,
without merging or screening of constraints. A row is left out only if the crude bound ``(d_j −
d_1)/(2‖G‖₂)`` shows it beyond the best radius so far. Each solution is judged by its own residual and
duality gap, whatever the solver's status says.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GAP = 1e-9
"""Largest relative duality gap and constraint violation at which a solution counts."""

BEYOND = 1e6
"""Times the distance of the farthest single half-space: a program whose value is larger has no solution."""


def exact_radius(
    z: Array, label: int, rows: Array, labels: NDArray[np.int64], components: Array | None = None
) -> float:
    """``r*`` of a point that is predicted as ``label``, to a relative 1e-8; inf if nothing flips it."""
    g = np.eye(rows.shape[1]) if components is None else components
    own_index, other_index = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
    own, others = rows[own_index], rows[other_index]
    if not len(others):
        return float("inf")
    # Moved to z and divided by a typical radius, since solvers stop at absolute tolerances.
    own, others = own - z, others - z
    d_own, d_others = np.linalg.norm(own @ g.T, axis=1), np.linalg.norm(others @ g.T, axis=1)
    crude = (1 - 1e-6) * (d_others - d_own.min()) / (2 * np.linalg.norm(g, 2))
    best = float("inf")
    for j in np.argsort(crude, kind="stable"):
        if crude[j] > best:
            break
        # Rows that coincide in the metric: the lower index wins everywhere.
        coinciding = ~((own - others[j]) @ g.T).any(axis=1)
        if not np.any(own_index[coinciding] < other_index[j]):
            best = min(best, cell_distance(own, others[j], g))
    return best


def cell_distance(own: Array, rival: Array, g: Array) -> float:
    """Distance from the origin to the cell of ``rival`` among ``own``, in the metric of components ``g``."""
    differences = (own - rival) @ g.T
    normals = 2 * differences @ g
    # The difference of two squared distances as an inner product, which does not cancel.
    offsets = np.einsum("ij,ij->i", differences, (own + rival) @ g.T)
    lengths = np.linalg.norm(normals, axis=1)
    keep = lengths > 0
    normals, offsets = normals[keep] / lengths[keep, None], offsets[keep] / lengths[keep]
    return float(np.linalg.norm(least_norm(normals, offsets).delta))


class LeastNorm(NamedTuple):
    """A point δ of least norm, and weights λ ≥ 0 that prove ``‖δ‖ ≥ bound``; where bound is inf, no point."""

    delta: Array
    weights: Array
    bound: float


def least_norm(normals: Array, offsets: Array) -> LeastNorm:
    """``min ‖δ‖ s.t. Aδ ≤ b`` for rows of length 1, judged by residual and weak duality.

    Every λ ≥ 0 merges the half-spaces into one, hence ``‖δ‖ ≥ −bᵀλ/‖Aᵀλ‖``. Where this bound is BEYOND
    times the distance of the farthest single half-space, the program counts as infeasible.
    """
    scale = max(0.0, float(-offsets.min(initial=0.0)))
    if scale == 0.0:
        return LeastNorm(np.zeros(normals.shape[1]), np.zeros(len(offsets)), 0.0)
    for solve in (_daqp, _clarabel, _nnls):
        delta, weights = solve(normals, offsets / scale)
        length = float(np.linalg.norm(delta))
        violation = float(np.max(normals @ delta - offsets / scale))
        merged = float(np.linalg.norm(weights @ normals))
        bound = -float(offsets @ weights) / scale / max(merged, 1e-300)
        if bound >= BEYOND:
            return LeastNorm(delta, weights, float("inf"))
        if violation <= GAP and abs(length - bound) <= GAP * length:
            return LeastNorm(scale * delta, weights, scale * bound)
    raise ArithmeticError(f"no solver closed the gap: length {length}, dual {bound}, violation {violation}")


def _daqp(normals: Array, offsets: Array) -> tuple[Array, Array]:
    import daqp

    n_rows, n_features = normals.shape
    delta, _, flag, info = daqp.solve(
        np.eye(n_features),
        np.zeros(n_features),
        np.ascontiguousarray(normals),
        np.ascontiguousarray(offsets),
        np.full(n_rows, -1e30),
        np.zeros(n_rows, dtype=np.intc),
        primal_tol=1e-11,
        dual_tol=1e-12,
    )
    # Without a solution the weights are left as the memory was.
    weights = np.asarray(info["lam"]) if flag > 0 else np.zeros(n_rows)
    return np.asarray(delta), np.maximum(weights, 0.0)


def _clarabel(normals: Array, offsets: Array) -> tuple[Array, Array]:
    import clarabel
    from scipy import sparse

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    n_rows, n_features = normals.shape
    identity, constraints = sparse.eye(n_features, format="csc"), sparse.csc_matrix(normals)
    cones = [clarabel.NonnegativeConeT(n_rows)]
    solution = clarabel.DefaultSolver(
        identity, np.zeros(n_features), constraints, offsets, cones, settings
    ).solve()
    return np.asarray(solution.x), np.maximum(np.asarray(solution.z), 0.0)


def _nnls(normals: Array, offsets: Array) -> tuple[Array, Array]:
    """Lawson and Hanson's least-distance programming: slow, and sure where there is no point at all.

    The λ ≥ 0 that minimise ``‖Aᵀλ‖² + (bᵀλ + 1)²`` make this 0 exactly where ``Aδ ≤ b`` has no point.
    """
    from scipy.optimize import nnls

    n_features = normals.shape[1]
    weights, _ = nnls(np.vstack([normals.T, offsets]), np.append(np.zeros(n_features), -1.0))
    excess = float(offsets @ weights) + 1.0
    return -(weights @ normals) / (excess or 1.0), weights


def extended_distances(points: Array, rows: Array, components: Array | None = None) -> NDArray[np.longdouble]:
    """Squared distances (m, n), differences first, every operation in ``numpy.longdouble``."""
    g = None if components is None else components.astype(np.longdouble)
    squared = np.empty((len(points), len(rows)), dtype=np.longdouble)
    for k, point in enumerate(points.astype(np.longdouble)):
        difference = rows - point
        embedded = difference if g is None else difference @ g.T
        squared[k] = np.einsum("ij,ij->i", embedded, embedded)
    return squared


def extended_neighbors(
    points: Array, rows: Array, k: int, components: Array | None = None
) -> tuple[NDArray[np.longdouble], NDArray[np.int64]]:
    """Squared distances and indices (m, k) of the nearest rows, ties to the lowest index."""
    squared = extended_distances(points, rows, components)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(squared, order, axis=1), order


def triplet_floor(
    z: Array, label: int, rows: Array, labels: NDArray[np.int64], components: Array | None = None
) -> float:
    """``min_j max_i`` of the closed-form triplet radii over all pairs: a lower bound on ``r*``."""
    g = np.eye(rows.shape[1]) if components is None else components
    own, others = (rows[labels == label] - z) @ g.T, (rows[labels != label] - z) @ g.T
    floor = float("inf")
    for rival in others:
        difference = rival - own
        numerator = np.einsum("ij,ij->i", difference, rival + own)
        length = 2 * np.linalg.norm(difference @ g, axis=1)
        ratio = np.divide(numerator, length, out=np.zeros_like(length), where=length > 0)
        floor = min(floor, max(0.0, float(ratio.max())))
    return floor
