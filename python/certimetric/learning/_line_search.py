"""A step along a descent direction that is neither too long nor too short: the search of Moré and Thuente.

Moré, Thuente: Line search algorithms with guaranteed sufficient decrease. ACM TOMS 1994; with the numbers of
L-BFGS-B, so that iterates are those of SciPy's to rounding.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["wolfe_step"]

_DECREASE = 1e-3
_CURVATURE = 0.9
_WIDTH = 0.1
_LONGEST = 1e10
_MOST = 20
"""Values of the function in one search."""


class _Point(NamedTuple):
    """A step, with the value and the slope there."""

    step: float
    value: float
    slope: float

    def under(self, slope: float) -> "_Point":
        """The same of the function less a line of this slope."""
        return _Point(self.step, self.value - self.step * slope, self.slope - slope)


def wolfe_step(at: Callable[[float], tuple[float, float]], value: float, slope: float, step: float) -> float:
    """A step t with f(t) ≤ f(0) + 10⁻³ t f'(0) and |f'(t)| ≤ 0.9 |f'(0)|, or 0 where none is found.

    Parameters
    ----------
    at : callable
        ``at(t)``, value and slope of f at t > 0.
    value, slope : float
        f(0), and f'(0) < 0.
    step : float
        The first one to try. What is returned is always the one that ``at`` was last asked for, or 0.
    """
    line = _DECREASE * slope
    origin = _Point(0.0, value, slope)
    bracket = _Bracket(origin, origin)
    least, most = 0.0, 5 * step
    is_early = True
    width, width_before = _LONGEST, 2 * _LONGEST
    for _ in range(_MOST):
        here = _Point(step, *at(step))
        enough = value + step * line
        if here.value <= enough and abs(here.slope) <= -_CURVATURE * slope:
            return step
        if bracket.is_closed and (not least < step < most or most - least <= _WIDTH * most):
            # Rounding, or an interval in which all steps are the same: of these the best one.
            return step if here.value <= enough else 0.0
        if step == _LONGEST and here.value <= enough and here.slope <= line:
            return step
        is_early = is_early and not (here.value <= enough and here.slope >= 0)
        # Until a step is long enough it is the minimum of the function less the line that is sought.
        is_tilted = is_early and enough < here.value <= bracket.best.value
        step = bracket.narrowed(here, line if is_tilted else 0.0, least, most)
        if bracket.is_closed:
            size = abs(bracket.other.step - bracket.best.step)
            if size >= 0.66 * width_before:
                step = bracket.best.step + 0.5 * (bracket.other.step - bracket.best.step)
            width, width_before = size, width
            least, most = sorted((bracket.best.step, bracket.other.step))
        else:
            least = step + 1.1 * (step - bracket.best.step)
            most = step + 4 * (step - bracket.best.step)
        step = min(max(step, 0.0), _LONGEST)
        if bracket.is_closed and (not least < step < most or most - least <= _WIDTH * most):
            step = bracket.best.step
        if step == 0:
            break
    return 0.0


@dataclass
class _Bracket:
    """Two steps: the best one so far, and another; once it is closed there is a minimum between them."""

    best: _Point
    other: _Point
    is_closed: bool = False

    def narrowed(self, here: _Point, slope: float, least: float, most: float) -> float:
        """Take in a point; the step to try next. All of the function less a line of this slope."""
        step = self._next(here.under(slope), self.best.under(slope), self.other.under(slope), least, most)
        if here.under(slope).value > self.best.under(slope).value:
            self.other = here
        else:
            if (here.slope - slope) * (self.best.slope - slope) < 0:
                self.other = self.best
            self.best = here
        return step

    def _next(self, here: _Point, best: _Point, other: _Point, least: float, most: float) -> float:
        if here.value > best.value:
            self.is_closed = True
            cubic, square = _cubic(best, here), _by_value(best, here)
            return cubic if abs(cubic - best.step) < abs(square - best.step) else (cubic + square) / 2
        if here.slope * best.slope < 0:
            self.is_closed = True
            return max(_by_slopes(here, best), _cubic(here, best), key=lambda step: abs(step - here.step))
        end = most if here.step > best.step else least
        if abs(here.slope) >= abs(best.slope):
            return _cubic(here, other) if self.is_closed else end
        cubic, secant = _cubic(here, best, end=end), _by_slopes(here, best)
        choose = min if self.is_closed else max
        step = choose(secant, cubic, key=lambda step: abs(step - here.step))
        if not self.is_closed:
            return min(max(step, least), most)
        farthest = here.step + 0.66 * (other.step - here.step)
        return min(farthest, step) if here.step > best.step else max(farthest, step)


def _cubic(a: _Point, b: _Point, *, end: float | None = None) -> float:
    """The minimum of the cubic through two points with their slopes; ``end`` where it is not beyond ``a``."""
    theta = 3 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope
    size = max(abs(theta), abs(a.slope), abs(b.slope)) or 1.0
    gamma = size * math.sqrt(max(0.0, (theta / size) ** 2 - (a.slope / size) * (b.slope / size)))
    if b.step < a.step:
        gamma = -gamma
    above = (gamma - a.slope) + theta
    if end is None:
        below = ((gamma - a.slope) + gamma) + b.slope
        # Half of the way where rounding has left nothing of the cubic.
        return a.step + (above / below if below else 0.5) * (b.step - a.step)
    below = (gamma + (b.slope - a.slope)) + gamma
    is_beyond = gamma != 0 and above * below < 0
    return a.step + above / below * (b.step - a.step) if is_beyond else end


def _by_value(a: _Point, b: _Point) -> float:
    """The minimum of the parabola through two points, with the slope of the first one."""
    return a.step + a.slope / ((a.value - b.value) / (b.step - a.step) + a.slope) / 2 * (b.step - a.step)


def _by_slopes(a: _Point, b: _Point) -> float:
    """The minimum of a parabola with the slopes of two points."""
    return a.step + a.slope / (a.slope - b.slope) * (b.step - a.step)
