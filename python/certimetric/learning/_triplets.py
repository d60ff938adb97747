"""Where near rows and the objective of triplets come from: the Rust core, or PyTorch."""

from typing import Protocol

from certimetric import _native
from certimetric._validation import FloatArray, IntArray, check_word
from certimetric.exceptions import InputError, InputTypeError

__all__ = ["LOSSES", "Loss", "NativeTriplets", "TripletBackend", "check_backend", "make_backend"]

LOSSES = ("negative", "hinge", "exponential", "logistic", "perturbation")

Loss = tuple[str, float]
"""A loss of the margin t, and its c: −t, max(0, c − t), exp(−t), log(1 + exp(−t)), or c² − clip(t, 0, c)²."""


class TripletBackend(Protocol):
    """What a learner of triplets computes with."""

    def neighbors(self, components: FloatArray) -> tuple[IntArray, IntArray]:
        r"""The nearest rows of each row by :math:`\lVert G (u - v) \rVert`: of its class, and of others.

        Two arrays of shape (n, k), nearest first; −1 where there are no more.
        """
        ...

    def objective(
        self, components: FloatArray, triplets: tuple[IntArray, IntArray, IntArray], loss: Loss
    ) -> tuple[float, FloatArray, FloatArray]:
        """Mean loss of triplets (anchor, same, other), its gradient (p, d), and the margins.

        A triplet whose last two coincide in the metric has the margin NaN and does not count.
        """
        ...


class NativeTriplets:
    """The Rust core.

    Memory: (n, p) in binary32, up to 64 n k bytes of candidates, and 128 n k in each thread; more where ties
    are many.
    """

    def __init__(self, rows: FloatArray, codes: IntArray, k: int, n_jobs: int) -> None:
        self.rows, self.n_jobs = rows, n_jobs
        self.neighborhood = _native.Neighborhood(rows, codes, int(codes.max()) + 1, k)

    def neighbors(self, components: FloatArray) -> tuple[IntArray, IntArray]:
        """See :class:`TripletBackend`."""
        return self.neighborhood.find(self.rows, components, self.n_jobs)

    def objective(
        self, components: FloatArray, triplets: tuple[IntArray, IntArray, IntArray], loss: Loss
    ) -> tuple[float, FloatArray, FloatArray]:
        """See :class:`TripletBackend`."""
        return _native.triplet_objective(self.rows, components, *triplets, loss, self.n_jobs)


def check_backend(name: str, device: str | None, dtype: str) -> None:
    """Raise for a backend that is none, or that has no such device or numbers."""
    check_word(name, "backend", ("native", "torch"))
    check_word(dtype, "dtype", ("float32", "float64"))
    if device is not None and not isinstance(device, str):
        raise InputTypeError(f"device must be a name of PyTorch's or None, got {device!r}.")
    if name == "native" and device not in (None, "cpu"):
        raise InputError(f"device={device!r} needs backend='torch': the native one computes on the CPU.")


def make_backend(
    name: str, rows: FloatArray, codes: IntArray, k: int, n_jobs: int, device: str | None, dtype: str
) -> TripletBackend:
    """The backend of a name, ``"native"`` or ``"torch"``."""
    check_backend(name, device, dtype)
    if name == "native":
        return NativeTriplets(rows, codes, k, n_jobs)
    from certimetric.learning._torch import TorchTriplets

    return TorchTriplets(rows, codes, k, device or "cpu", dtype)
