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
``_tree.py`` follows it. ``_exact.py`` is the arithmetic of all, and ``_format.py`` reads. ``plain.py`` is the
same check without what makes it fast, to be read in one sitting. This folder needs Python and NumPy alone, so
that it may be copied.
"""

import hashlib
import math
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import plain
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
from ._format import decode, encode, key, read, sha256_of_matrix, sha256_of_metric, sha256_of_training
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
    plain : bool, default=False
        Check by the one file ``plain.py``, in integers alone: for training data of up to a million numbers.

    Raises
    ------
    ValueError
        The training data or the metric is none, or another library has set the thread to round in another way
        than to nearest, or to take subnormal numbers for zero. Of certificates nothing is raised.
    """

    def __init__(
        self,
        X_train: ArrayLike,
        y_train: ArrayLike,
        metric: Any = None,
        *,
        matrix: Any = None,
        patience: float = 1.0,
        plain: bool = False,
    ) -> None:
        require_usual_arithmetic()
        self.patience, self.plain = patience, plain
        self.X, labels = matrix_of(X_train, "X_train"), np.asarray(y_train)
        self.metric, self.metric_name = _metric(metric, matrix, self.X.shape[1])
        require(labels.shape == (len(self.X),), "y_train must have one label for each row of X_train")
        keys = [key(label) for label in labels.tolist()]
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
                require_usual_arithmetic()
                claim = read(certificate, self.X.shape, self.metric_name, self.training)
                if self.plain:
                    plain.prove(claim, self.X, self.codes, self.classes, (self.metric.G, self.metric.M))
                else:
                    self._prove(claim)
        except Unproven as error:
            return Verdict(False, str(error))
        return Verdict(True)

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


# As bits, in which no mode of the thread had a part: 1, −1, 1, the least number, the least normal one; what
# is added to them, or multiplied with them; and what comes out.
_BITS = np.array(
    [
        [0x3FF0 << 48, -0x4010 << 48, 0x3FF0 << 48, 1, 1 << 52],
        [0x3CA0 << 48, -0x4360 << 48, 0x3CA8 << 48, 0x43B0 << 48, 0x3FE0 << 48],
        [0x3FF0 << 48, -0x4010 << 48, (0x3FF0 << 48) + 1, 0x0090 << 48, 1 << 51],
    ]
)


def require_usual_arithmetic() -> None:
    """Refuse where the thread does not round to nearest, or takes subnormal numbers for zero.

    The bounds of errors would not hold then, and numbers in decimals would be read as other ones.
    """
    with np.errstate(all="ignore"):
        first, second = _BITS[:2].view(np.float64)
        found = np.concatenate([(first + second)[:3], (first * second)[3:]])
    # Bits again: to compare numbers is arithmetic.
    usual = bool((found.view(np.int64) == _BITS[2]).all())
    require(usual, "another library has changed how this thread rounds, or treats subnormal numbers")


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
