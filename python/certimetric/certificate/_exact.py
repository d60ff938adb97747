"""Arithmetic of the checker: a filter with error bounds in front of integers.

Binary64 numbers are integers times a power of two, and Python's integers decide. Before them products of
matrices settle most rows, with bounds of their errors: γ_n = n u / (1 − n u) times sums of magnitudes,
whatever the order of summation.
"""

import math
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# The filter sees data of magnitudes about 1: what underflow may lose, and lengths that it leaves to integers.
TINY, _FAR = 2.0**-480, 2.0**250

LARGEST = float(np.finfo(np.float64).max)

# Multiplications that one certificate may cost, a minute at worst; and what one of integers counts.
_WORK, _EXACT = 2**35, 512

Array = NDArray[Any]


class Home(Protocol):
    """What places share: the training data, as :class:`certimetric.certificate.Verifier` keeps them."""

    X: Array
    codes: Array
    classes: list[tuple[str, Any]]
    near: "Image"
    far: "Image"
    grid: int
    whole_G: Array | None  # noqa: N815 - G is its name

    @property
    def copies(self) -> dict[int, list[int]]:
        """Rows with the same features as another one, with all of them."""
        ...

    def image(self, points: Array) -> "Image":
        """G(x − mean) of points."""
        ...


class Unproven(ValueError):  # noqa: N818 - a verdict, not a failure
    """The reason of a rejection, or what is wrong with an argument."""


def require(condition: bool, reason: str) -> None:
    """Reject for a reason, unless a condition holds."""
    if not condition:
        raise Unproven(reason)


class Image:
    """Rows of floating point numbers for the filter, each off by at most its doubt, in norm."""

    def __init__(self, rows: Array, doubt: Array) -> None:
        self.rows, self.doubt, self.norms = rows, doubt, norms(rows)

    def times(self, matrix: Array) -> "Image":
        """Products with a matrix: that of x and y is off by at most γ_d ‖x‖ ‖y‖."""
        # Where the squares of its numbers underflow, TINY is above the norm.
        size = (1 + gamma(matrix.size)) * float(norms(matrix.reshape(1, -1))[0]) + TINY
        doubt = size * (self.doubt + gamma(len(matrix)) * self.norms) + TINY
        return Image(self.rows @ matrix, doubt)

    def bounds(self, point: "Image", chosen: Array) -> tuple[Array, Array]:
        """Bounds of the distances of chosen rows to a point, from ‖x‖² − 2⟨x, p⟩ + ‖p‖²."""
        many = 2 * len(chosen) > len(self.rows)
        product = (self.rows @ point.rows[0])[chosen] if many else self.rows[chosen] @ point.rows[0]
        squares = self.norms[chosen] ** 2 - 2 * product + point.norms**2
        slack = gamma(self.rows.shape[1]) * (self.norms[chosen] + point.norms) ** 2
        doubt = self.doubt[chosen] + point.doubt
        low = np.sqrt(np.maximum(squares - slack, 0)) * (1 - gamma(0)) - doubt
        high = np.sqrt(np.maximum(squares + slack, 0)) * (1 + gamma(0)) + doubt
        # Not where they overflow, nor for NaN.
        known = high < _FAR
        return np.where(known, np.maximum(low, 0), 0.0), np.where(known, high, np.inf)


class Place:
    """A point: bounds of its distances to all rows, and exact ones as integers on the grid of both."""

    def __init__(self, home: "Home", point: Array) -> None:
        self.home, self.point, self.work = home, point, _WORK + 64 * home.X.size
        self.image = home.image(point[None])
        self.low, self.high = home.near.bounds(self.image, np.arange(len(home.X)))
        self.grid = min(home.grid, grid_of(point))
        self.origin = integers(point, self.grid)

    def spend(self, amount: int) -> None:
        self.work -= amount
        require(self.work >= 0, "to check it takes too much work")

    def times(self, matrix: Array | None, vector: Array) -> Array:
        """A product in integers; None is the identity."""
        self.spend(_EXACT * (vector.size if matrix is None else matrix.size))
        return vector if matrix is None else np.dot(matrix, vector)

    def embedded(self, row: int) -> Array:
        """G(x − z)."""
        return self.times(self.home.whole_G, integers(self.home.X[row], self.grid) - self.origin)

    def reaches(self, N: int, v: Array, lower: float) -> bool:
        """Whether N > 0 and N² ≥ (2 lower)² ‖v‖², of integers on the grid."""
        if N <= 0 or (lower == math.inf and v.any()):
            return False
        if not v.any():
            return True
        reach = Fraction(lower) / Fraction(2) ** self.grid
        return bool((N * reach.denominator) ** 2 >= (2 * reach.numerator) ** 2 * (v @ v))

    def votes(self, count: int) -> Array:
        """Votes for each class of the nearest rows: those that bounds tell, and others by exact distance."""
        rows = np.flatnonzero(self.low <= np.partition(self.high, count - 1)[count - 1])
        if len(rows) > count:
            # Of a sure row no more than count rows, itself among them, can be as near.
            sure = self.high[rows] < np.partition(self.low[rows], count)[count]
            exact = sorted(((image := self.embedded(row)) @ image, row) for row in rows[~sure].tolist())
            rows = np.array(rows[sure].tolist() + [row for _, row in exact[: count - int(sure.sum())]])
        return np.bincount(self.home.codes[rows], minlength=len(self.home.classes))


class Witness:
    """Rows of the class with weights, before a point."""

    def __init__(self, place: Place, rows: Array, weights: Array) -> None:
        self.place, self.rows, self.weights = place, rows, integers(weights, grid_of(weights))
        self.total = int(self.weights.sum())

    @cached_property
    def sums(self) -> tuple[int, Array]:
        """Σ w ‖G(x − z)‖² and Σ w G(x − z) of the rows, in integers."""
        squares, images = 0, np.array(0, dtype=object)
        for row, weight in zip(self.rows.tolist(), self.weights.tolist(), strict=True):
            image = self.place.embedded(row)
            squares, images = squares + weight * int(image @ image), images + weight * image
        return squares, images

    def surely(self, left: Array, lower: float) -> Array:
        """For which rows the filter proves the lower end; here N and v are divided by the total weight."""
        place, far = self.place, self.place.home.far
        place.spend(2**14 + (len(left) + len(self.rows)) * far.rows.shape[1])
        shares, share = np.array([weight / self.total for weight in self.weights]), gamma(len(self.rows))
        doubt = shares @ (far.doubt[self.rows] + share * far.norms[self.rows]) * (1 + share) + TINY
        _, length = far.bounds(Image((shares @ far.rows[self.rows])[None], np.array([doubt])), left)
        needed = (1 + share) * (shares @ place.high[self.rows] ** 2) + 2 * (lower + TINY) * length
        return np.asarray(place.low[left] ** 2 * (1 - gamma(0)) > needed * (1 + gamma(0)) + TINY)

    def maybe(self, left: Array, lower: float) -> Array:
        """For which rows integers might prove the lower end, of a witness that is a single row."""
        place, row = self.place, self.rows[0]
        low, _ = place.home.far.bounds(Image(place.home.far.rows[[row]], place.home.far.doubt[[row]]), left)
        reach = lower if math.isfinite(lower) else 0.0
        most = place.high[left] ** 2 - place.low[row] ** 2
        return np.asarray(~(most * (1 + gamma(0)) + TINY < 2 * reach * low * (1 - gamma(0))))

    def proves(self, row: int, lower: float) -> bool:
        """Whether N and v prove the lower end for a row, in integers."""
        place, G = self.place, self.place.home.whole_G
        image, (squares, images) = place.embedded(row), self.sums
        N = self.total * int(image @ image) - squares
        v = place.times(None if G is None else G.T, self.total * image - images)
        ties = N == 0 and not v.any() and self.rows.min() < row
        return bool(ties) or place.reaches(N, v, lower)


def gamma(n: int) -> float:
    """Above γ_{n+15}: the roundings in the evaluation of a bound are covered as well."""
    return 1.01 * (n + 16) * 2.0**-53


def norms(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def grid_of(numbers: Array) -> int:
    """An exponent g such that all numbers are integers times 2^g."""
    magnitudes = np.abs(numbers)
    return int(np.frexp(magnitudes[magnitudes > 0].min(initial=1.0))[1]) - 53


def integers(numbers: Array, grid: int) -> Array:
    """The numbers divided by 2^grid, as Python's integers."""
    mantissas, exponents = np.frexp(numbers.ravel())
    pairs = zip(np.ldexp(mantissas, 53).astype(np.int64).tolist(), exponents.tolist(), strict=True)
    whole = [mantissa << (exponent - 53 - grid) if mantissa else 0 for mantissa, exponent in pairs]
    return np.array(whole, dtype=object).reshape(numbers.shape)
