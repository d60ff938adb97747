"""L-BFGS, an iteration at a time, all of whose memory is in a state: a fit goes on from a file.

Liu, Nocedal: On the limited memory BFGS method for large scale optimization. Mathematical Programming 1989.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from certimetric._validation import FloatArray
from certimetric.learning._descent import State, Values
from certimetric.learning._line_search import wolfe_step

__all__ = ["QuasiNewton"]

_PAIRS = 10
_EPS = float(np.finfo(np.float64).eps)


class _NotFiniteError(Exception):
    """An objective has no finite value, or no such gradient."""


@dataclass
class QuasiNewton:
    """Epochs of one iteration each, down an objective of components.

    Parameters
    ----------
    objective : callable
        ``objective(components)``, value and gradient.
    tol : float
        Share of the objective, or of 1 where it is less; an iteration that lowers it by no more is the last
        one, as is one with no larger entry in the gradient.
    """

    objective: Callable[[FloatArray], tuple[float, FloatArray]]
    tol: float
    _known: tuple[FloatArray, tuple[float, FloatArray]] | None = field(default=None, init=False)

    @staticmethod
    def begin(components: FloatArray) -> Values:
        """What a state has before the first iteration: a step that was never made is zero."""
        steps = np.zeros((_PAIRS, *components.shape))
        return {"components": components, "steps": steps, "changes": steps.copy()}

    def epoch(self, state: State) -> float:
        """Change a state by an iteration; the value of the objective after it, NaN where there is none."""
        try:
            return self._iteration(state)
        except _NotFiniteError:
            return np.nan

    def _iteration(self, state: State) -> float:
        components = state.values["components"]
        value, gradient = self._at(components)
        if self._is_flat(gradient):
            state.converged = True
            return value
        direction, step = self._way(state, components, value, gradient)
        if step == 0:
            state.converged = True
            return value
        moved = components + step * direction
        found, following = self._at(moved)
        state.values["components"] = moved
        _remember(state.values, moved - components, following - gradient, gradient)
        lowered = value - found
        state.converged = lowered <= self.tol * max(abs(value), abs(found), 1.0) or self._is_flat(following)
        return found

    def _way(
        self, state: State, components: FloatArray, value: float, gradient: FloatArray
    ) -> tuple[FloatArray, float]:
        """A direction and a step; 0 where rounding leaves no way down."""

        def search(direction: FloatArray, first: float) -> float:
            def at(step: float) -> tuple[float, float]:
                state.check_time()
                found, slope = self._at(components + step * direction)
                return found, float(np.vdot(slope, direction))

            slope = float(np.vdot(gradient, direction))
            return wolfe_step(at, value, slope, first) if slope < 0 else 0.0

        if state.values["steps"].any():
            direction = -_by_inverse_hessian(state.values, gradient)
            if (step := search(direction, 1.0)) > 0:
                return direction, step
            # What the last steps tell leads nowhere.
            state.values |= self.begin(components)
        return -gradient, search(-gradient, 1.0 / float(np.linalg.norm(gradient)))

    def _is_flat(self, gradient: FloatArray) -> bool:
        return bool(np.abs(gradient).max() <= self.tol)

    def _at(self, components: FloatArray) -> tuple[float, FloatArray]:
        """The objective, which the last step may have left behind."""
        if self._known is None or not np.array_equal(self._known[0], components):
            value, gradient = self.objective(components)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                raise _NotFiniteError
            self._known = components, (value, gradient)
        return self._known[1]


def _by_inverse_hessian(values: Values, gradient: FloatArray) -> FloatArray:
    """H g, of the steps s and the changes y of the gradient that are remembered: the two loops."""
    pairs = [(s, y, float(np.vdot(s, y))) for s, y in zip(values["steps"], values["changes"], strict=True)]
    pairs = [pair for pair in pairs if pair[2] > 0]
    found, shares = gradient.copy(), []
    for s, y, curvature in reversed(pairs):
        shares.append(float(np.vdot(s, found)) / curvature)
        found -= shares[-1] * y
    _, y, curvature = pairs[-1]
    found *= curvature / float(np.vdot(y, y))
    for (s, y, curvature), share in zip(pairs, reversed(shares), strict=True):
        found += (share - float(np.vdot(y, found)) / curvature) * s
    return found


def _remember(values: Values, step: FloatArray, change: FloatArray, gradient: FloatArray) -> None:
    """Put a pair in place of the oldest one, unless its curvature is but rounding."""
    if float(np.vdot(step, change)) <= -_EPS * float(np.vdot(gradient, step)):
        return
    for name, new in (("steps", step), ("changes", change)):
        values[name] = np.concatenate([values[name][1:], new[None]])
