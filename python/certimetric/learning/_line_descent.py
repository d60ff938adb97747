"""Steps down that never raise the objective: halved until it falls, and a little longer after each."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from certimetric._validation import FloatArray
from certimetric.learning._descent import State
from certimetric.learning._large_margin import MarginObjective

__all__ = ["LineDescent", "Move", "along_components", "along_matrix"]

_SMALLEST = float(np.finfo(np.float64).eps)
"""Steps that change less than the last digit change nothing."""


@dataclass(frozen=True)
class Move:
    """A way down from components G, given the gradient with respect to M.

    Attributes
    ----------
    to : callable
        ``to(G, gradient, step)``, the components after a step.
    size : callable
        ``size(G, gradient)``, the step that is as long as what it moves.
    """

    to: Callable[[FloatArray, FloatArray, float], FloatArray]
    size: Callable[[FloatArray, FloatArray], float]


def _ratio(value: FloatArray, direction: FloatArray) -> float:
    """Of the lengths; 0 where there is no way to go."""
    length = float(np.linalg.norm(direction))
    return float(np.linalg.norm(value)) / length if length > 0 else 0.0


def _project(components: FloatArray, gradient: FloatArray, step: float) -> FloatArray:
    values, vectors = np.linalg.eigh(components.T @ components - step * gradient)
    kept = np.where(values > 1e-10 * max(values[-1], 0.0), values, 0.0)
    rank = min(components.shape)
    projected = np.zeros_like(components)
    projected[:rank] = (np.sqrt(kept)[:, None] * vectors.T)[::-1][:rank]
    return projected


along_components = Move(
    lambda G, gradient, step: G - 2 * step * (G @ gradient),
    lambda G, gradient: _ratio(G, 2 * G @ gradient),
)
"""G ← G − η ∂J/∂G."""

along_matrix = Move(_project, lambda G, gradient: _ratio(G.T @ G, gradient))
"""M ← M − η ∂J/∂M, projected: eigenvalues below 1e-10 of the largest, and all but the p largest, become 0."""


@dataclass
class LineDescent:
    """Epochs of one step each.

    Parameters
    ----------
    objective : MarginObjective
    move : Move
    first_step : float or None
        None: a tenth of what it moves.
    tol : float
        Share of the objective; a step that lowers it by no more is the last one.
    """

    objective: MarginObjective
    move: Move
    first_step: float | None
    tol: float
    _known: tuple[FloatArray, tuple[float, FloatArray]] | None = field(default=None, init=False)

    def epoch(self, state: State) -> float:
        """Change ``components`` and ``step`` of a state; a step of 0 is one that was never made."""
        components, step = state.values["components"], float(state.values["step"])
        value, gradient = self._at(components)
        longest = self.move.size(components, gradient)
        step = step or self.first_step or longest / 10
        state.converged = True
        while step > _SMALLEST * longest > 0:
            following = self.move.to(components, gradient, step)
            found = self.objective(following)
            if found[0] < value:
                self._known = following, found
                state.values = {"components": following, "step": np.array(1.01 * step)}
                state.converged = value - found[0] <= self.tol * value
                return found[0]
            step /= 2
        return value

    def _at(self, components: FloatArray) -> tuple[float, FloatArray]:
        """The objective, which the last step may have left behind."""
        if self._known is None or not np.array_equal(self._known[0], components):
            self._known = components, self.objective(components)
        return self._known[1]
