"""Near rows and the objective of triplets with PyTorch, on any of its devices."""

from typing import Any

import numpy as np

from certimetric._optional import require
from certimetric._validation import FloatArray, IntArray
from certimetric.exceptions import InputError
from certimetric.learning._triplets import Loss
from certimetric.learning.perturbation import signed_radii

__all__ = ["TorchTriplets"]

_TILE = 2**24
"""Distances that are held at once."""


class TorchTriplets:
    """A :class:`~certimetric.learning._triplets.TripletBackend` whose gradients PyTorch finds by itself.

    Raises
    ------
    MissingDependencyError
        PyTorch is not installed.
    InputError
        The device is not one of PyTorch here.
    """

    def __init__(self, rows: FloatArray, codes: IntArray, k: int, device: str, dtype: str) -> None:
        self.torch = torch = require("torch", extra="torch")
        try:
            self.device = torch.device(device)
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"device {device!r} cannot be used by PyTorch here: {reason}") from error
        self.dtype = getattr(torch, dtype)
        # Differences do not change, and those of centred rows keep more digits.
        centred = rows - rows.mean(axis=0)
        # To magnitude one, so that no square overflows or vanishes; margins are lengths of the data.
        self.unit = 2.0 ** np.frexp(np.abs(centred).max())[1]
        self.rows = self._tensor(centred / self.unit)
        self.codes = torch.as_tensor(codes).to(self.device)
        self.k = k

    def _tensor(self, array: FloatArray) -> Any:
        return self.torch.as_tensor(array, dtype=self.dtype).to(self.device)

    def neighbors(self, components: FloatArray) -> tuple[IntArray, IntArray]:
        """See :class:`~certimetric.learning._triplets.TripletBackend`."""
        with self.torch.no_grad():
            images = self.rows @ self._tensor(components).T
            tile = max(1, _TILE // len(images))
            parts = [self._nearest(images, start, start + tile) for start in range(0, len(images), tile)]
        same, other = (np.concatenate(part) for part in zip(*parts, strict=True))
        return same, other

    def _nearest(self, images: Any, start: int, end: int) -> tuple[IntArray, IntArray]:
        torch = self.torch
        distances = torch.cdist(images[start:end], images)
        is_same = self.codes[start:end, None] == self.codes[None]
        same = distances.masked_fill(~is_same, torch.inf)
        rows = torch.arange(len(same), device=self.device)
        same[rows, rows + start] = torch.inf
        return self._first(same), self._first(distances.masked_fill(is_same, torch.inf))

    def _first(self, distances: Any) -> IntArray:
        k = min(self.k, distances.shape[1])
        found, rows = self.torch.topk(distances, k, largest=False)
        nearest = np.full((len(distances), self.k), -1, dtype=np.int64)
        nearest[:, :k] = self.torch.where(found < self.torch.inf, rows, -1).cpu().numpy()
        return nearest

    def objective(
        self, components: FloatArray, triplets: tuple[IntArray, IntArray, IntArray], loss: Loss
    ) -> tuple[float, FloatArray, FloatArray]:
        """See :class:`~certimetric.learning._triplets.TripletBackend`."""
        torch = self.torch
        G = self._tensor(components).requires_grad_()
        z, same, other = (self.rows[torch.as_tensor(rows).to(self.device)] for rows in triplets)
        # Triplets without a margin do not count, nor those whose lengths have squares that vanish.
        kind = torch.finfo(self.dtype)
        counted = ((other - same) @ G.detach().T @ G.detach()).norm(dim=1) > kind.tiny**0.5 / kind.eps
        margins = self.unit * signed_radii(G, z[counted], same[counted], other[counted])
        value = _loss(torch, margins, loss).sum() / max(1, len(margins))
        value.backward()
        found = np.full(len(z), np.nan)
        found[counted.cpu().numpy()] = _array(margins.detach())
        return float(value.detach()), _array(G.grad), found


def _loss(torch: Any, margins: Any, loss: Loss) -> Any:
    name, edge = loss
    if name == "negative":
        return -margins
    if name == "hinge":
        return torch.clamp(edge - margins, min=0)
    if name == "perturbation":
        return edge**2 - torch.clamp(margins, min=0, max=edge) ** 2
    if name == "exponential":
        return torch.exp(-margins)
    return torch.nn.functional.softplus(-margins)


def _array(tensor: Any) -> FloatArray:
    return np.asarray(tensor.cpu().numpy(), dtype=np.float64)
