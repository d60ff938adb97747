"""Check certificates of robustness radii: the sceptic's side, which shares nothing with the library's core.

A certificate says of a point z how its K nearest training rows vote, that no perturbation shorter than
``lower`` changes the answer, and that one of at most ``upper`` does. All is meant exactly, on the binary64
numbers given: ``d²(u, v) = ‖G(u − v)‖²``, ties to the lowest index, ties of votes to the smallest label. For
the lower end (K = 1) a witness has rows i of the certified class and weights ``w_i > 0``. With a row j of
another class they have, at ``z + δ``,

    Σ w_i (d²(z + δ, x_j) − d²(z + δ, x_i)) = N − 2 ⟨M v, δ⟩,    M = GᵀG,  v = Σ w_i (x_j − x_i),
    N = Σ w_i (d²(z, x_j) − d²(z, x_i)).

Where ``N > 0`` and ``N² ≥ (2 lower)² ‖M v‖²`` this is positive for all ``‖δ‖ < lower``: one of the rows i is
nearer than j. Where ``N = 0`` and ``M v = 0`` one is nearer, or all are as near and a lower index decides.

Python's integers decide, as binary64 numbers are integers times a power of two. Before them, products of
matrices settle most rows, with bounds of their errors: γ_n = n u / (1 − n u) times sums of magnitudes,
whatever the order of summation. This file needs Python and NumPy alone, so that it may be copied.
"""

import base64
import hashlib
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Verdict", "Verifier", "decode", "encode", "sha256_of_metric", "sha256_of_training", "verify"]

_FIELDS = {"format", "version", "training", "metric", "norm", "n_neighbors", "rule", "index", "point"}
_FIELDS |= {"label", "predicted", "lower", "upper", "adversarial", "witnesses"}

# More than underflow takes from lengths in the filter, and lengths that it leaves to integers.
_TINY, _FAR = 2.0**-480, 2.0**250

# Multiplications that one certificate may cost, some ten seconds; and what one of integers counts.
_WORK, _EXACT = 2**35, 512

Array = NDArray[Any]


@dataclass(frozen=True)
class Verdict:
    """Whether all that a certificate claims was proven, and if not, why, in words. True if it was."""

    accepted: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.accepted


def verify(certificate: Any, X_train: ArrayLike, y_train: ArrayLike, metric: Any = None) -> Verdict:
    """Check one certificate; for several of one training set make a :class:`Verifier`."""
    return Verifier(X_train, y_train, metric).verify(certificate)


class Verifier:
    """What checks of certificates of one classifier share.

    Parameters
    ----------
    X_train : array-like of shape (n, d)
        Finite numbers. Not copied where it is C-contiguous float64, and must not change then.
    y_train : array-like of shape (n,)
        Text, finite numbers or booleans.
    metric : None, "euclidean", array-like of shape (p, d), or object with ``components_``
        Components G. An object whose ``is_euclidean`` is True is the Euclidean metric.

    Raises
    ------
    ValueError
        The training data or the metric is none. Of certificates nothing is raised.
    """

    def __init__(self, X_train: ArrayLike, y_train: ArrayLike, metric: Any = None) -> None:
        self.X, labels = _matrix(X_train, "X_train"), np.asarray(y_train)
        plain = metric is None or (isinstance(metric, str) and metric == "euclidean")
        plain = plain or getattr(metric, "is_euclidean", False) is True
        self.G = None if plain else _matrix(getattr(metric, "components_", metric), "metric")
        _require(self.G is None or self.G.shape[1] == self.X.shape[1], "metric must have X_train's features")
        _require(labels.shape == (len(self.X),), "y_train must have one label for each row of X_train")
        keys = [_key(label) for label in labels.tolist()]
        _require(len({kind for kind, _ in keys}) == 1, "y_train must not mix text, numbers and booleans")
        self.classes = sorted(set(keys))
        code = {key: number for number, key in enumerate(self.classes)}
        self.codes = np.array([code[key] for key in keys])
        self.training = sha256_of_training(self.X, labels)
        self.metric = "euclidean" if self.G is None else sha256_of_metric(self.G)
        self.grid = min(map(_grid, np.array_split(self.X, 1 + self.X.size // 2**16)))
        self.integer_G = None if self.G is None else _integers(self.G, _grid(self.G))
        with np.errstate(all="ignore"):
            self.mean = self.X.mean(axis=0)
            self.near = self.image(self.X)
            self.far = self.near if self.G is None else self.near.times(self.G)

    def image(self, points: Array) -> "_Image":
        """G(x − mean) of points; of the training rows ``near`` is that, and ``far`` is M(x − mean)."""
        rows = points - self.mean
        image = _Image(rows, _gamma(0) * _norms(rows) + _TINY)
        return image if self.G is None else image.times(self.G.T)

    def verify(self, certificate: Any) -> Verdict:
        """Check a certificate: a dict, or its text as str or bytes. Whatever it is, a verdict comes back."""
        try:
            with np.errstate(all="ignore"):
                self._prove(self._read(certificate))
        except _UnprovenError as error:
            return Verdict(False, str(error))
        return Verdict(True)

    def _read(self, given: Any) -> dict[str, Any]:
        """The fields, decoded, of a certificate that is well-formed and about this classifier."""
        data: Any = _parsed(given) if isinstance(given, str | bytes) else given
        _require(isinstance(data, dict), "it is not a JSON object")
        known = {"format": "certimetric.certificate", "version": 1, "norm": 2, "metric": self.metric}
        for name, right in (known | {"training": self.training}).items():
            found = data.get(name)
            _require(type(found) is type(right) and found == right, f"{name} is not {right!r}")
        _require(data.keys() == _FIELDS, "its fields are not those of version 1")
        fine = type(data["rule"]) is str and data["rule"] in ("plurality", "majority")
        _require(fine, "rule is neither plurality nor majority")
        read = {**data, "index": _integer(data["index"], "index", 0, math.inf)}
        read["n_neighbors"] = _integer(data["n_neighbors"], "n_neighbors", 1, len(self.X))
        for name in ("label", "predicted"):
            read[name] = _key(data[name])
        for name in ("lower", "upper"):
            read[name] = math.inf if data[name] is None else _number(data[name], name)
        read["point"] = self._point(data["point"])
        read["adversarial"] = None if data["adversarial"] is None else self._point(data["adversarial"])
        _require(type(data["witnesses"]) is list, "witnesses is not a list")
        read["witnesses"] = [self._witness(witness) for witness in data["witnesses"]]
        return read

    def _point(self, text: Any) -> Array:
        try:
            point = decode(text)
        except (TypeError, ValueError):
            point = np.empty(0)
        fine = len(point) == self.X.shape[1] and bool(np.isfinite(point).all())
        _require(fine, f"a point is not the base64 of {self.X.shape[1]} finite binary64 numbers")
        return point

    def _witness(self, witness: Any) -> tuple[Array, Array]:
        fine = type(witness) is list and len(witness) == 2 and all(type(part) is list for part in witness)
        _require(fine and 0 < len(witness[0]) == len(witness[1]), "a witness is not rows and as many weights")
        rows = [_integer(row, "a row of a witness", 0, len(self.X) - 1) for row in witness[0]]
        weights = [_number(weight, "a weight") for weight in witness[1]]
        _require(min(weights) > 0, "a weight is not positive")
        return np.array(rows), np.array(weights)

    def _prove(self, claim: dict[str, Any]) -> None:
        place, count, p = _Place(self, claim["point"]), claim["n_neighbors"], claim["adversarial"]
        own = int(place.votes(count).argmax())
        _require(claim["predicted"] == self.classes[own], "predicted is not what the nearest rows say")
        right = claim["predicted"] == claim["label"]
        _require(right or claim["lower"] == claim["upper"] == 0, "the label is missed, but the ends not 0")
        _require(p is not None or not right or claim["upper"] == math.inf, "upper has no adversarial point")
        if p is not None:
            grid = min(_grid(p), _grid(place.point))
            gaps = _integers(p, grid) - _integers(place.point, grid)
            reach = math.inf if claim["upper"] == math.inf else Fraction(claim["upper"]) / Fraction(2) ** grid
            _require(int(gaps @ gaps) <= reach * reach, "the adversarial point is beyond upper")
            votes = _Place(self, p).votes(count)
            kept = votes.argmax() == own if claim["rule"] == "plurality" else 2 * votes[own] > count
            _require(not (right and kept), "the adversarial point does not change the answer")
        if claim["lower"] > 0 and len(self.classes) > 1:
            _require(count == 1, "version 1 has no proofs of a lower end for several neighbours")
            self._cover(place, own, claim["lower"], claim["witnesses"])

    def _cover(self, place: "_Place", own: int, lower: float, pairs: list[tuple[Array, Array]]) -> None:
        """Each row of another class needs a witness, or the same row in the class at a lower index."""
        _require(all((self.codes[rows] == own).all() for rows, _ in pairs), "a witness has another class")
        left, witnesses = np.flatnonzero(self.codes != own), [_Witness(place, *pair) for pair in pairs]
        for witness in witnesses:
            left = left[~witness.surely(left, lower)]
        for row in left.tolist():
            proven = any(witness.proves(row, lower) for witness in witnesses)
            _require(proven or self._repeats(place, row, own), f"no witness proves lower of row {row}")

    def _repeats(self, place: "_Place", row: int, own: int) -> bool:
        place.spend(self.X.size)
        same = np.flatnonzero(self.codes[:row] == own)
        for column in range(self.X.shape[1]):
            same = same[self.X[same, column] == self.X[row, column]]
        return len(same) > 0


class _Image:
    """Rows of floating point numbers for the filter, each off by at most its doubt, in norm."""

    def __init__(self, rows: Array, doubt: Array) -> None:
        self.rows, self.doubt, self.norms = rows, doubt, _norms(rows)

    def times(self, matrix: Array) -> "_Image":
        """Products with a matrix: that of x and y is off by at most γ_d ‖x‖ ‖y‖."""
        size = (1 + _gamma(matrix.size)) * float(_norms(matrix.reshape(1, -1))[0])
        doubt = size * (self.doubt + _gamma(len(matrix)) * self.norms) + _TINY
        return _Image(self.rows @ matrix, doubt)

    def bounds(self, point: "_Image", chosen: Array) -> tuple[Array, Array]:
        """Bounds of the distances of chosen rows to a point, from ‖x‖² − 2⟨x, p⟩ + ‖p‖²."""
        many = 2 * len(chosen) > len(self.rows)
        product = (self.rows @ point.rows[0])[chosen] if many else self.rows[chosen] @ point.rows[0]
        squares = self.norms[chosen] ** 2 - 2 * product + point.norms**2
        slack = _gamma(self.rows.shape[1]) * (self.norms[chosen] + point.norms) ** 2
        doubt = self.doubt[chosen] + point.doubt
        low = np.sqrt(np.maximum(squares - slack, 0)) * (1 - _gamma(0)) - doubt
        high = np.sqrt(np.maximum(squares + slack, 0)) * (1 + _gamma(0)) + doubt
        # Not where they overflow, nor for NaN.
        known = high < _FAR
        return np.where(known, np.maximum(low, 0), 0.0), np.where(known, high, np.inf)


class _Place:
    """A point: bounds of its distances to all rows, and exact ones as integers on the grid of both."""

    def __init__(self, home: Verifier, point: Array) -> None:
        self.home, self.point, self.work = home, point, _WORK
        self.image = home.image(point[None])
        self.low, self.high = home.near.bounds(self.image, np.arange(len(home.X)))
        self.grid = min(home.grid, _grid(point))
        self.origin = _integers(point, self.grid)

    def spend(self, amount: int) -> None:
        self.work -= amount
        _require(self.work >= 0, "to check it takes too much work")

    def times(self, matrix: Array | None, vector: Array) -> Array:
        """A product in integers; None is the identity."""
        self.spend(_EXACT * (vector.size if matrix is None else matrix.size))
        return vector if matrix is None else np.dot(matrix, vector)

    def embedded(self, row: int) -> Array:
        """G(x − z)."""
        return self.times(self.home.integer_G, _integers(self.home.X[row], self.grid) - self.origin)

    def votes(self, count: int) -> Array:
        """Votes for each class of the nearest rows: those that bounds tell, and others by exact distance."""
        rows = np.flatnonzero(self.low <= np.partition(self.high, count - 1)[count - 1])
        if len(rows) > count:
            # Of a sure row no more than count rows, itself among them, can be as near.
            sure = self.high[rows] < np.partition(self.low[rows], count)[count]
            exact = sorted(((image := self.embedded(row)) @ image, row) for row in rows[~sure].tolist())
            rows = np.array(rows[sure].tolist() + [row for _, row in exact[: count - int(sure.sum())]])
        return np.bincount(self.home.codes[rows], minlength=len(self.home.classes))


class _Witness:
    """Rows of the class with weights, before a point."""

    def __init__(self, place: _Place, rows: Array, weights: Array) -> None:
        self.place, self.rows, self.weights = place, rows, _integers(weights, _grid(weights))
        self.total, self.images = int(self.weights.sum()), np.empty(0)

    def surely(self, left: Array, lower: float) -> Array:
        """For which rows the filter proves the lower end; here N and v are divided by the total weight."""
        place, far = self.place, self.place.home.far
        place.spend(2**14 + (len(left) + len(self.rows)) * far.rows.shape[1])
        shares, share = np.array([weight / self.total for weight in self.weights]), _gamma(len(self.rows))
        doubt = shares @ (far.doubt[self.rows] + share * far.norms[self.rows]) * (1 + share) + _TINY
        _, length = far.bounds(_Image((shares @ far.rows[self.rows])[None], np.array([doubt])), left)
        needed = (1 + share) * (shares @ place.high[self.rows] ** 2) + 2 * (lower + _TINY) * length
        return np.asarray(place.low[left] ** 2 * (1 - _gamma(0)) > needed * (1 + _gamma(0)) + _TINY)

    def proves(self, row: int, lower: float) -> bool:
        """Whether N and v prove the lower end for a row, in integers."""
        place, G = self.place, self.place.home.integer_G
        if not self.images.size:
            self.images = np.array([place.embedded(i) for i in self.rows.tolist()])
        image = place.embedded(row)
        N = self.total * (image @ image) - self.weights @ (self.images**2).sum(axis=1)
        v = place.times(None if G is None else G.T, self.total * image - self.weights @ self.images)
        if not v.any():
            return bool(N > 0 or (N == 0 and self.rows.min() < row))
        if N <= 0 or lower == math.inf:
            return False
        reach = Fraction(lower) / Fraction(2) ** place.grid
        return bool((N * reach.denominator) ** 2 >= (2 * reach.numerator) ** 2 * (v @ v))


def encode(array: ArrayLike) -> str:
    """Base64 of the little-endian binary64 numbers of an array, in C order."""
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f8").tobytes()).decode("ascii")


def decode(text: str) -> NDArray[np.float64]:
    """What :func:`encode` wrote, in one dimension; ValueError or TypeError where it did not."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f8").astype(np.float64)


def sha256_of_training(X: ArrayLike, y: ArrayLike) -> str:
    """SHA-256 of ``{"shape":[n,d],"y":[...]}``, a newline, and X as little-endian binary64."""
    return _sha256({"shape": list(np.shape(X)), "y": np.asarray(y).tolist()}, X)


def sha256_of_metric(G: ArrayLike) -> str:
    """SHA-256 of ``{"shape":[p,d]}``, a newline, and G as little-endian binary64."""
    return _sha256({"shape": list(np.shape(G))}, G)


def _sha256(head: dict[str, Any], array: ArrayLike) -> str:
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=True, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(f"{text}\n".encode())
    digest.update(np.ascontiguousarray(array, dtype="<f8").reshape(-1).data)
    return digest.hexdigest()


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _UnprovenError(f"it is not JSON that can be read: {error}"[:120]) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _require(len(dict(pairs)) == len(pairs), "a name occurs twice")
    return dict(pairs)


def _matrix(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values)
    fine = array.dtype.kind in "biuf" and array.ndim == 2 and array.size > 0
    _require(fine, f"{name} must be a matrix of numbers, got {array.dtype} of shape {array.shape}")
    array = np.ascontiguousarray(array, dtype=np.float64)
    _require(bool(np.isfinite(array).all()), f"{name} contains NaN or infinity")
    return array


def _key(label: Any) -> tuple[str, Any]:
    """A label in a form that is equal to another one only where it means the same."""
    number = type(label) is int or (type(label) is float and math.isfinite(label))
    _require(number or type(label) in (str, bool), "a label is not text, a finite number or a boolean")
    return "number" if number else type(label).__name__, label


def _number(value: Any, name: str) -> float:
    # In this order neither NaN nor an integer that is too large passes.
    fine = type(value) in (int, float) and 0 <= value <= 1.7976931348623157e308 and float(value) == value
    _require(fine, f"{name} is not a binary64 number of at least 0")
    return float(value)


def _integer(value: Any, name: str, least: float, most: float) -> int:
    _require(
        type(value) is int and least <= value <= most, f"{name} is not an integer from {least} to {most}"
    )
    return int(value)


def _gamma(n: int) -> float:
    """Above γ_{n+15}: the roundings in the evaluation of a bound are covered as well."""
    return 1.01 * (n + 16) * 2.0**-53


def _norms(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def _grid(numbers: Array) -> int:
    """An exponent g such that all numbers are integers times 2^g."""
    magnitudes = np.abs(numbers)
    return int(np.frexp(magnitudes[magnitudes > 0].min(initial=1.0))[1]) - 53


def _integers(numbers: Array, grid: int) -> Array:
    """The numbers divided by 2^grid, as Python's integers."""
    mantissas, exponents = np.frexp(numbers.ravel())
    pairs = zip(np.ldexp(mantissas, 53).astype(np.int64).tolist(), exponents.tolist(), strict=True)
    whole = [mantissa << (exponent - 53 - grid) if mantissa else 0 for mantissa, exponent in pairs]
    return np.array(whole, dtype=object).reshape(numbers.shape)


class _UnprovenError(ValueError):
    """The reason of a rejection, or what is wrong with an argument."""


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise _UnprovenError(reason)
