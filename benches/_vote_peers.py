"""Other ways to what the votes of K neighbours are certified for: the published bound, a general solver."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from _data import Data, Skipped

_TESTS = Path(__file__).parents[1] / "tests"


def published_bound(z: NDArray[np.float64], label: int, data: Data, k: int) -> float:
    """The order-statistic bound of the majority rule over all triplets, the way the public NumPy code goes.

    For ``s = ⌈K/2⌉`` it is the s-th smallest over rows x⁻ of other classes of the s-th largest over rows x⁺
    of the class of ``[d²(z, x⁻) − d²(z, x⁺)]₊ / (2 ‖x⁻ − x⁺‖)``; one pass over all x⁺ for each x⁻, hence of
    the order of ``n⁺ n⁻ d`` operations (Wang, Liu, Yi, Chen, Hsieh, arXiv 1906.03972).
    """
    s = (k + 1) // 2
    own, others = data.X[data.y == label], data.X[data.y != label]
    hardest = np.empty(len(others))
    for j, rival in enumerate(others):
        difference = rival - own
        lead = np.maximum(np.sum(difference * (rival + own - 2 * z), axis=1), 0.0)
        apart = 2 * np.linalg.norm(difference, axis=1)
        radii = np.divide(lead, apart, out=np.zeros_like(lead), where=apart > 0)
        hardest[j] = np.partition(radii, -s)[-s]
    return float(np.partition(hardest, s - 1)[s - 1])


def branch_and_bound() -> Callable[..., float]:
    """The exact radius as the tests' oracle has it: Python, every node's program solved by DAQP."""
    missing = [name for name in ("daqp", "clarabel") if importlib.util.find_spec(name) is None]
    if missing or not _TESTS.is_dir():
        raise Skipped("needs the checkout's tests, and daqp and clarabel: pip install 'certimetric[oracles]'")
    if str(_TESTS) not in sys.path:
        sys.path.append(str(_TESTS))
    from oracles.branching import exact_radius

    return exact_radius
