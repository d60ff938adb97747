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

# Entries above which matrices of integers are multiplied by digits.
_LARGE = 2**12

Array = NDArray[Any]


class Home(Protocol):
    """What places share: the training data, as :class:`certimetric.certificate.Verifier` keeps them."""

    X: Array
    codes: Array
    classes: list[tuple[str, Any]]
    near: "Image"
    far: "Image"
    metric: "Metric"
    grid: int
    patience: float

    @property
    def copies(self) -> dict[int, list[int]]:
        """Rows with the same features as another one, with all of them."""
        ...

    def image(self, points: Array) -> "Image":
        """G(x − mean) of points, or x − mean where M is given."""
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

    def doubt_of(self, other: "Image") -> Array:
        """How far inner products with the rows of another image may be from those of what both stand for."""
        size, other_size = self.norms + self.doubt, other.norms + other.doubt
        error = gamma(self.rows.shape[1]) * size * other_size + self.doubt * other_size + size * other.doubt
        return np.asarray(error * (1 + gamma(0)) + TINY)

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


class Whole:
    """A matrix of integers; a large one in digits of so few bits that binary64 sums products exactly."""

    def __init__(self, rows: Array) -> None:
        self.rows, self.bits = rows, (53 - rows.shape[1].bit_length()) // 2
        self.digits = digits(rows, self.bits) if rows.size > _LARGE else None

    def times(self, vector: Array) -> Array:
        """The product with integers of any size."""
        if self.digits is None:
            return np.asarray(np.dot(self.rows, vector))
        columns = np.stack(digits(vector, self.bits), axis=1)
        total = np.zeros(len(self.rows), dtype=object)
        for place, digit in enumerate(self.digits):
            for column, sums in enumerate((digit @ columns).T, place):
                total += sums.astype(np.int64).astype(object) << (self.bits * column)
        return total

    def cost(self, vector: Array) -> int:
        """What a product counts: those of digits are quick, and shifting them together is not."""
        if self.digits is None:
            return int(_EXACT * self.rows.size)
        columns = 1 + int(np.abs(vector).max()).bit_length() // self.bits
        return int(len(self.digits) * columns * (self.rows.size // 2**4 + 2**6 * len(self.rows)))


class Metric:
    """What distances are made of: components G, a symmetric matrix M, or neither where they are Euclidean.

    In integers G maps differences to images t, whose squares are ‖t‖² and whose normals are Gᵀt; of M the
    images are the differences u, with uᵀMu and Mu.
    """

    def __init__(self, G: Array | None, M: Array | None) -> None:
        self.G, self.M = G, M
        self.embedding, self.form = (None if A is None else Whole(integers(A, grid_of(A))) for A in (G, M))
        self.transposed = self.form if self.embedding is None else Whole(self.embedding.rows.T)

    def near(self, rows: Array) -> Image:
        """Images of rows that are differences rounded once, for the filter."""
        image = Image(rows, gamma(0) * norms(rows) + TINY)
        return image if self.G is None else image.times(self.G.T)

    def far(self, near: Image) -> Image:
        """Their normals."""
        matrix = self.G if self.M is None else self.M
        return near if matrix is None else near.times(matrix)

    def squares(self, near: Image, far: Image, point: Image) -> tuple[Array, Array]:
        """Bounds of the squared distances of all rows to a point.

        Of M from xᵀMx − 2 (Mx)ᵀp + pᵀMp, where each product of an image with another one of M is off by what
        they are and by its rounding.
        """
        if self.M is None:
            low, high = near.bounds(point, np.arange(len(near.rows)))
            return low**2 * (1 - gamma(0)), high**2 * (1 + gamma(0))
        normal = self.far(point)
        own = np.einsum("ij,ij->i", near.rows, far.rows)
        values = own - 2 * (far.rows @ point.rows[0]) + float(point.rows[0] @ normal.rows[0])
        slack = near.doubt_of(far) + 2 * point.doubt_of(far) + point.doubt_of(normal)
        # Not where anything overflowed.
        known = np.isfinite(values) & np.isfinite(slack)
        return np.where(known, values - slack, -np.inf), np.where(known, values + slack, np.inf)


class Place:
    """A point: bounds of its squared distances to all rows; exact ones as integers on the grid of both."""

    def __init__(self, home: "Home", point: Array) -> None:
        self.home, self.point = home, point
        self.work = home.patience * (_WORK + 64 * home.X.size)
        self.low, self.high = home.metric.squares(home.near, home.far, home.image(point[None]))
        self.grid = min(home.grid, grid_of(point))
        self.origin = integers(point, self.grid)

    def spend(self, amount: int) -> None:
        self.work -= amount
        require(self.work >= 0, "to check it takes too much work for this patience")

    def times(self, matrix: Whole | None, vector: Array) -> Array:
        """A product in integers; None is the identity."""
        self.spend(_EXACT * vector.size if matrix is None else matrix.cost(vector))
        return vector if matrix is None else matrix.times(vector)

    def embedded(self, row: int) -> Array:
        """The image of x − z."""
        return self.times(self.home.metric.embedding, integers(self.home.X[row], self.grid) - self.origin)

    def square(self, image: Array) -> int:
        """The squared length of an image."""
        form = self.home.metric.form
        return int(image @ (image if form is None else self.times(form, image)))

    def normal(self, image: Array) -> Array:
        """M v, from the image of v."""
        return self.times(self.home.metric.transposed, image)

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
            exact = sorted((self.square(self.embedded(row)), row) for row in rows[~sure].tolist())
            rows = np.array(rows[sure].tolist() + [row for _, row in exact[: count - int(sure.sum())]])
        return np.bincount(self.home.codes[rows], minlength=len(self.home.classes))


class Witness:
    """Rows of the class with weights, before a point."""

    def __init__(self, place: Place, rows: Array, weights: Array) -> None:
        self.place, self.rows, self.weights = place, rows, integers(weights, grid_of(weights))
        self.total = int(self.weights.sum())

    @cached_property
    def sums(self) -> tuple[int, Array]:
        """Σ w d²(z, x) and the sum of images Σ w (x − z) of the rows, in integers."""
        squares, images = 0, np.array(0, dtype=object)
        for row, weight in zip(self.rows.tolist(), self.weights.tolist(), strict=True):
            image = self.place.embedded(row)
            squares, images = squares + weight * self.place.square(image), images + weight * image
        return squares, images

    def surely(self, left: Array, lower: float) -> Array:
        """For which rows the filter proves the lower end; here N and v are divided by the total weight."""
        place, far = self.place, self.place.home.far
        place.spend(2**14 + (len(left) + len(self.rows)) * far.rows.shape[1])
        shares, share = np.array([weight / self.total for weight in self.weights]), gamma(len(self.rows))
        doubt = shares @ (far.doubt[self.rows] + share * far.norms[self.rows]) * (1 + share) + TINY
        _, length = far.bounds(Image((shares @ far.rows[self.rows])[None], np.array([doubt])), left)
        high, low, pull = place.high[self.rows], place.low[left], 2 * (lower + TINY) * length
        slack = share * (shares @ np.abs(high) + np.abs(low) + pull) * (1 + share) + TINY
        return np.asarray(low > shares @ high + pull + slack)

    def maybe(self, left: Array, lower: float) -> Array:
        """For which rows integers might prove the lower end, of a witness that is a single row."""
        place, row = self.place, self.rows[0]
        low, _ = place.home.far.bounds(Image(place.home.far.rows[[row]], place.home.far.doubt[[row]]), left)
        reach = lower if math.isfinite(lower) else 0.0
        high, own = place.high[left], place.low[row]
        slack = gamma(0) * (np.abs(high) + abs(own)) + TINY
        return np.asarray(~(high - own + slack < 2 * reach * low * (1 - gamma(0))))

    def proves(self, row: int, lower: float) -> bool:
        """Whether N and v prove the lower end for a row, in integers."""
        place, image, (squares, images) = self.place, self.place.embedded(row), self.sums
        N = self.total * place.square(image) - squares
        v = place.normal(self.total * image - images)
        ties = N == 0 and not v.any() and self.rows.min() < row
        return bool(ties) or place.reaches(N, v, lower)


def matrix_of(values: Any, name: str) -> Array:
    """A C-contiguous float64 matrix of finite numbers."""
    array = np.asarray(values)
    fine = array.dtype.kind in "biuf" and array.ndim == 2 and array.size > 0
    require(fine, f"{name} must be a matrix of numbers, got {array.dtype} of shape {array.shape}")
    array = np.ascontiguousarray(array, dtype=np.float64)
    require(bool(np.isfinite(array).all()), f"{name} contains NaN or infinity")
    return array


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


def digits(whole: Array, bits: int) -> list[Array]:
    """Integers as a sum of so many binary64 arrays, times 2^(bits k), of magnitudes below 2^bits."""
    sign, size = np.where(whole < 0, -1.0, 1.0), np.abs(whole)
    count, mask = max(1, -(-int(size.max()).bit_length() // bits)), 2**bits - 1
    return [((size >> (bits * k)) & mask).astype(np.float64) * sign for k in range(count)]
