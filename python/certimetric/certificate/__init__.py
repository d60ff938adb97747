"""Check certificates of robustness radii: the sceptic's side, which shares nothing with the library's core.

A certificate says of a point z how its K nearest training rows vote, that no perturbation shorter than
``lower`` changes the answer, and that one of at most ``upper`` does. All is meant exactly, on the binary64
numbers given: ``d²(u, v) = (u − v)ᵀM(u − v)``, where M is given, or is ``GᵀG`` for components G that are;
ties to the lowest index, ties of votes to the smallest label. For the lower end (K = 1) a witness has rows i
of the certified class and weights ``w_i > 0``. With a row j of another class they have, at ``z + δ``,

    Σ w_i (d²(z + δ, x_j) − d²(z + δ, x_i)) = N − 2 ⟨M v, δ⟩,    v = Σ w_i (x_j − x_i),
    N = Σ w_i (d²(z, x_j) − d²(z, x_i)).

Where ``N > 0`` and ``N² ≥ (2 lower)² ‖M v‖²`` this is positive for all ``‖δ‖ < lower``: one of the rows i is
nearer than j. Where ``N = 0`` and ``M v = 0`` one is nearer, or all are as near and a lower index decides.

For several neighbours there is a tree in place of witnesses: ``_votes.py`` says what it has to show, and
``_tree.py`` follows it. ``_exact.py`` is the arithmetic of all. This folder needs Python and NumPy alone, so
that it may be copied.
"""

import base64
import hashlib
import json
import math
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._exact import (
    Array,
    Image,
    Metric,
    Place,
    Unproven,
    Witness,
    grid_of,
    integers,
    matrix_of,
    require,
)
from ._votes import VoteProof

__all__ = [
    "Verdict",
    "Verifier",
    "decode",
    "encode",
    "sha256_of_matrix",
    "sha256_of_metric",
    "sha256_of_training",
    "verify",
]

_FIELDS = {"format", "version", "training", "metric", "norm", "n_neighbors", "rule", "index", "point"}
_FIELDS |= {"label", "predicted", "lower", "upper", "adversarial", "witnesses", "tree"}


@dataclass(frozen=True)
class Verdict:
    """Whether all that a certificate claims was proven, and if not, why, in words. True if it was."""

    accepted: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.accepted


def verify(certificate: Any, X_train: ArrayLike, y_train: ArrayLike, *metric: Any, **options: Any) -> Verdict:
    """Check one certificate; the other arguments are those of a :class:`Verifier`, which several share."""
    return Verifier(X_train, y_train, *metric, **options).verify(certificate)


class Verifier:
    """What checks of certificates of one classifier share.

    Parameters
    ----------
    X_train : array-like of shape (n, d)
        Finite numbers. Not copied where it is C-contiguous float64, and must not change then.
    y_train : array-like of shape (n,)
        Text, finite numbers or booleans.
    metric : None, "euclidean", array-like of shape (p, d), or object with ``components_`` or ``matrix_``
        Components G. An object whose ``is_euclidean`` is True is the Euclidean metric, and one whose
        ``matrix_`` is not None that of this matrix.
    matrix : array-like of shape (d, d), optional
        In place of ``metric``: a symmetric M.
    patience : float, default=1.0
        A certificate that takes more work than this, in units of a minute at worst, is rejected.

    Raises
    ------
    ValueError
        The training data or the metric is none. Of certificates nothing is raised.
    """

    def __init__(
        self,
        X_train: ArrayLike,
        y_train: ArrayLike,
        metric: Any = None,
        *,
        matrix: Any = None,
        patience: float = 1.0,
    ) -> None:
        self.patience = patience
        self.X, labels = matrix_of(X_train, "X_train"), np.asarray(y_train)
        self.metric, self.metric_name = _metric(metric, matrix, self.X.shape[1])
        require(labels.shape == (len(self.X),), "y_train must have one label for each row of X_train")
        keys = [_key(label) for label in labels.tolist()]
        require(len({kind for kind, _ in keys}) == 1, "y_train must not mix text, numbers and booleans")
        self.classes = sorted(set(keys))
        code = {key: number for number, key in enumerate(self.classes)}
        self.codes = np.array([code[key] for key in keys])
        self.training = sha256_of_training(self.X, labels)
        self.grid = min(map(grid_of, np.array_split(self.X, 1 + self.X.size // 2**16)))
        with np.errstate(all="ignore"):
            self.mean = self.X.mean(axis=0)
            self.near = self.image(self.X)
            self.far = self.metric.far(self.near)

    @cached_property
    def copies(self) -> dict[int, list[int]]:
        """Rows with the same features as another one, with all of them."""
        places = defaultdict(list)
        for row, features in enumerate(self.X + 0.0):
            places[hashlib.sha256(features.tobytes()).digest()].append(row)
        return {row: place for place in places.values() if len(place) > 1 for row in place}

    def image(self, points: Array) -> Image:
        """G(x − mean) of points, or x − mean; of the rows ``near`` is that, and ``far`` is M(x − mean)."""
        return self.metric.near(points - self.mean)

    def verify(self, certificate: Any) -> Verdict:
        """Check a certificate: a dict, or its text as str or bytes. Whatever it is, a verdict comes back."""
        try:
            with np.errstate(all="ignore"):
                self._prove(self._read(certificate))
        except Unproven as error:
            return Verdict(False, str(error))
        return Verdict(True)

    def _read(self, given: Any) -> dict[str, Any]:
        """The fields, decoded, of a certificate that is well-formed and about this classifier."""
        data: Any = _parsed(given) if isinstance(given, str | bytes) else given
        require(type(data) is dict, "it is not a JSON object")
        known = {"format": "certimetric.certificate", "version": 1, "norm": 2, "metric": self.metric_name}
        for name, right in (known | {"training": self.training}).items():
            found = data.get(name)
            require(type(found) is type(right) and found == right, f"{name} is not {right!r}")
        require(data.keys() == _FIELDS, "its fields are not those of version 1")
        fine = type(data["rule"]) is str and data["rule"] in ("plurality", "majority")
        require(fine, "rule is unknown")
        read = {**data, "index": _integer(data["index"], "index", 0, math.inf)}
        read["n_neighbors"] = _integer(data["n_neighbors"], "n_neighbors", 1, len(self.X))
        for name in ("label", "predicted"):
            read[name] = _key(data[name])
        for name in ("lower", "upper"):
            read[name] = math.inf if data[name] is None else _number(data[name], name)
        read["point"] = self._point(data["point"])
        read["adversarial"] = None if data["adversarial"] is None else self._point(data["adversarial"])
        require(type(data["witnesses"]) is list, "witnesses is not a list")
        read["witnesses"] = [self._witness(witness) for witness in data["witnesses"]]
        return read

    def _point(self, text: Any) -> Array:
        try:
            point = decode(text)
        except (TypeError, ValueError):
            point = np.empty(0)
        fine = len(point) == self.X.shape[1] and bool(np.isfinite(point).all())
        require(fine, f"a point is not the base64 of {self.X.shape[1]} finite binary64 numbers")
        return point

    def _witness(self, witness: Any) -> tuple[Array, Array]:
        fine = type(witness) is list and len(witness) == 2 and all(type(part) is list for part in witness)
        require(fine and 0 < len(witness[0]) == len(witness[1]), "a witness is not rows and as many weights")
        rows = [_integer(row, "a row of a witness", 0, len(self.X) - 1) for row in witness[0]]
        weights = [_number(weight, "a weight") for weight in witness[1]]
        require(min(weights) > 0, "a weight is not positive")
        return np.array(rows), np.array(weights)

    def _prove(self, claim: dict[str, Any]) -> None:
        place, count, p = Place(self, claim["point"]), claim["n_neighbors"], claim["adversarial"]
        own = int(place.votes(count).argmax())
        require(claim["predicted"] == self.classes[own], "predicted is not what the nearest rows say")
        right = claim["predicted"] == claim["label"]
        require(right or claim["lower"] == claim["upper"] == 0, "the label is missed, but the ends not 0")
        require(p is not None or not right or claim["upper"] == math.inf, "upper has no adversarial point")
        if p is not None:
            grid = min(grid_of(p), grid_of(place.point))
            gaps = integers(p, grid) - integers(place.point, grid)
            reach = math.inf if claim["upper"] == math.inf else Fraction(claim["upper"]) / Fraction(2) ** grid
            require(int(gaps @ gaps) <= reach * reach, "the adversarial point is beyond upper")
            votes = Place(self, p).votes(count)
            kept = votes.argmax() == own if claim["rule"] == "plurality" else 2 * votes[own] > count
            require(not (right and kept), "the adversarial point does not change the answer")
        if claim["lower"] > 0 and len(self.classes) > 1:
            if claim["tree"] is not None:
                VoteProof(place, own, count, claim["lower"]).prove(claim["tree"], claim["rule"])
            else:
                require(count == 1, "lower of several neighbours has no tree")
                self._cover(place, own, claim["lower"], claim["witnesses"])

    def _cover(self, place: Place, own: int, lower: float, pairs: list[tuple[Array, Array]]) -> None:
        """Each row of another class needs a witness, or the same row in the class at a lower index."""
        require(all((self.codes[rows] == own).all() for rows, _ in pairs), "a witness has another class")
        left, witnesses = np.flatnonzero(self.codes != own), [Witness(place, *pair) for pair in pairs]
        for witness in witnesses:
            left = left[~witness.surely(left, lower)]
        for row in left.tolist():
            repeats = any(copy < row and self.codes[copy] == own for copy in self.copies.get(row, ()))
            proven = repeats or any(witness.proves(row, lower) for witness in witnesses)
            require(proven, f"no witness proves lower of row {row}")


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


def sha256_of_matrix(M: ArrayLike) -> str:
    """SHA-256 of ``{"matrix":[d,d]}``, a newline, and M as little-endian binary64."""
    return _sha256({"matrix": list(np.shape(M))}, M)


def _sha256(head: dict[str, Any], array: ArrayLike) -> str:
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=True, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(f"{text}\n".encode())
    digest.update(np.ascontiguousarray(array, dtype="<f8").reshape(-1).data)
    return digest.hexdigest()


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Unproven(f"it is not JSON that can be read: {error}"[:120]) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(pairs)) == len(pairs), "a name occurs twice")
    return dict(pairs)


def _metric(given: Any, matrix: Any, n_features: int) -> tuple[Metric, str]:
    """What a caller means, and its name in certificates."""
    require(given is None or matrix is None, "metric and matrix must not both be given")
    if matrix is None:
        matrix = getattr(given, "matrix_", None)
    if matrix is not None:
        M = matrix_of(matrix, "matrix")
        fine = M.shape == (n_features, n_features) and bool((M.T == M).all())
        require(fine, "matrix must be symmetric, with a row for each of X_train's features")
        return Metric(None, M), sha256_of_matrix(M)
    plain = given is None or (isinstance(given, str) and given == "euclidean")
    if plain or getattr(given, "is_euclidean", False) is True:
        return Metric(None, None), "euclidean"
    G = matrix_of(getattr(given, "components_", given), "metric")
    require(G.shape[1] == n_features, "metric must have X_train's features")
    return Metric(G, None), sha256_of_metric(G)


def _key(label: Any) -> tuple[str, Any]:
    """A label in a form that is equal to another one only where it means the same."""
    number = type(label) is int or (type(label) is float and math.isfinite(label))
    require(number or type(label) in (str, bool), "a label is not text, a finite number or a boolean")
    return "number" if number else type(label).__name__, label


def _number(value: Any, name: str) -> float:
    # In this order neither NaN nor an integer that is too large passes.
    fine = type(value) in (int, float) and 0 <= value <= 1.7976931348623157e308 and float(value) == value
    require(fine, f"{name} is not a binary64 number of at least 0")
    return float(value)


def _integer(value: Any, name: str, least: float, most: float) -> int:
    require(type(value) is int and least <= value <= most, f"{name} is not an integer from {least} to {most}")
    return int(value)
