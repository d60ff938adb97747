"""A Lipschitz network as fixed real numbers: its constant, its values in binary64, and their errors."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from certimetric.deep._norms import gamma, gram_sums_up, matrix_norm_up, perron_up, schur_up, up
from certimetric.deep.lipschitz import (
    AOLConv2d,
    Householder,
    LipschitzNetwork,
    OrthogonalLinear,
    PotentialLayer,
    check_layer,
    gram_sizes,
    is_changed,
)
from certimetric.exceptions import InputError

__all__ = ["Frozen", "freeze"]

_U = 2.0**-53
_LEAST_LOG_Q = -300.0


class _Layer(ABC):
    """``constant`` is a proven L; ``rounding`` bounds ‖computed − true‖₂ for inputs of at most some length.

    ``count`` is the number of values that come out for an image: a bias is added to each of them.
    """

    constant = 1.0

    @abstractmethod
    def __call__(self, values: Tensor) -> Tensor:
        """Values in binary64."""

    def rounding(self, length: float, count: int) -> float:  # noqa: ARG002 - other layers need it
        return 0.0


@dataclass(frozen=True)
class Frozen:
    """x ↦ φ(x), a real function with ‖φ(x) − φ(y)‖₂ ≤ L ‖x − y‖₂.

    Attributes
    ----------
    layers : tuple
    constant : float
        L, rounded up.
    """

    layers: tuple[_Layer, ...]
    constant: float

    def __call__(self, images: Tensor, batch_size: int = 512) -> tuple[np.ndarray, float]:
        """Embeddings in binary64, and a bound of ‖computed − true‖₂ for each of them.

        Parameters
        ----------
        images : tensor of shape (n, C, H, W)
            Binary32 or binary64, taken as they are.

        Returns
        -------
        ndarray of shape (n, p), float64, and float
        """
        with torch.no_grad():
            try:
                self._batch(images[:1])
            except RuntimeError as error:
                shape, reason = tuple(images.shape[1:]), str(error).splitlines()[0]
                raise InputError(f"network does not take images of shape {shape}: {reason}") from error
            parts, errors = zip(*map(self._batch, images.split(batch_size)), strict=True)
        return torch.cat(parts).numpy(), max(errors)

    def _batch(self, images: Tensor) -> tuple[Tensor, float]:
        values, error = images.cpu().double(), 0.0
        for layer in self.layers:
            length = up(float(values.flatten(1).norm(dim=1).max()), values[0].numel())
            values = layer(values)
            own = layer.rounding(length, values[0].numel())
            error = up(up(layer.constant * error) + up(own))
        return values, error


def freeze(network: LipschitzNetwork) -> Frozen:
    """The network with the weights that it has now, as real numbers.

    The cost is a dozen products of each weight's Gram matrix.

    Raises
    ------
    InputError
        A layer of which no constant is known, one with hooks, or weights that are not finite.
    """
    if type(network).forward is not nn.Sequential.forward or is_changed(network):
        raise InputError(f"{type(network).__name__} has a forward of its own, or hooks, whatever they do.")
    for layer in network:
        check_layer(layer)
    with torch.no_grad():
        layers = tuple(_frozen(layer) for layer in network)
    constant = 1.0
    for layer in layers:
        if layer.constant != 1:
            constant = up(constant * layer.constant)
    return Frozen(layers, constant)


def _frozen(layer: nn.Module) -> _Layer:
    if isinstance(layer, OrthogonalLinear):
        return _Linear(layer.orthonormal(), layer.bias)
    if isinstance(layer, AOLConv2d):
        return _Convolution(layer)
    if isinstance(layer, PotentialLayer):
        return _Potential(layer)
    if isinstance(layer, Householder):
        return _Reflection(layer)
    return _Exact(layer)


class _Exact(_Layer):
    """Flatten, PixelUnshuffle, MaxMin: no operation rounds. A new one, whatever is done to the network's."""

    def __init__(self, layer: nn.Module) -> None:
        factor = [layer.downscale_factor] if isinstance(layer, nn.PixelUnshuffle) else []
        self.layer = type(layer)(*factor)

    def __call__(self, values: Tensor) -> Tensor:
        found: Tensor = self.layer.forward(values)
        return found


def _affine_rounding(absolute: float, count: int, length: float, bias: float) -> float:
    """γ (‖ |W| ‖ ‖x‖ + ‖b‖): sums of ``count`` products and a bias."""
    return gamma(count + 2) * (absolute * length + bias) * (1 + 1e-9)


def _fixed(tensor: Tensor) -> Tensor:
    """A copy, whatever the network does afterwards."""
    return tensor.detach().to("cpu", torch.float64, copy=True)


def _double(tensor: Tensor | None, shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64) if tensor is None else _fixed(tensor)


class _Linear(_Layer):
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = _fixed(weight)
        self.bias = _double(bias, len(weight))
        self.constant = matrix_norm_up(self.weight.numpy())
        self.absolute, self.bias_length = schur_up(self.weight), up(float(self.bias.norm()), len(self.bias))

    def __call__(self, values: Tensor) -> Tensor:
        return nn.functional.linear(values, self.weight, self.bias)

    def rounding(self, length: float, count: int) -> float:
        bias = self.bias_length * math.sqrt(count / len(self.bias))
        return _affine_rounding(self.absolute, self.weight.shape[1], length, bias)


class _Convolution(_Layer):
    """‖A‖₂² ≤ ‖H‖ for H = |AᵀA| summed over shifts; zero padding only cuts rows and columns of A."""

    def __init__(self, layer: AOLConv2d) -> None:
        self.weight = _fixed(layer.scaled())
        self.bias = _double(layer.bias, len(self.weight))
        self.stride, self.padding = layer.stride, layer.padding
        self.count = self.weight[0].numel()
        terms = self.weight.numel() * 4
        if self.stride[0] > 1:
            self.constant = matrix_norm_up(self.weight.flatten(1).numpy())
        else:
            sizes, absolute = gram_sizes(self.weight, 1), gram_sizes(self.weight.abs(), 1)
            self.constant = up(math.sqrt(perron_up((sizes + 2 * gamma(terms) * absolute).numpy(), terms)))
        flat = self.weight.flatten(1) if self.stride[0] > 1 else self.weight
        self.absolute = schur_up(flat)
        self.bias_length = up(float(self.bias.norm()), len(self.bias))

    def __call__(self, values: Tensor) -> Tensor:
        return nn.functional.conv2d(values, self.weight, self.bias, self.stride, self.padding)

    def rounding(self, length: float, count: int) -> float:
        bias = self.bias_length * math.sqrt(count / len(self.bias))
        return _affine_rounding(self.absolute, self.count, length, bias)


class _Potential(_Layer):
    """T is chosen from above, so that T − W Wᵀ is diagonally dominant for these very numbers: L = 1."""

    def __init__(self, layer: PotentialLayer) -> None:
        self.weight, self.bias = _fixed(layer.weight), _fixed(layer.bias)
        # Any q > 0 will do for the proof; these neither overflow nor vanish.
        log_q = _fixed(layer.log_q)
        q = (log_q - log_q.max()).clamp(min=_LEAST_LOG_Q).exp().numpy()
        gram = gram_sums_up(self.weight.numpy())
        sums = (gram * q).sum(axis=1) / q * (1 + (len(q) + 8) * 4 * _U)
        # A unit whose row is 0 does nothing.
        step = np.where(sums > 0, 2 / np.where(sums > 0, sums, 1) * (1 - 4 * _U), 0.0)
        self.step = torch.from_numpy(step)
        self.absolute, self.longest = schur_up(self.weight), float(step.max())
        self.bias_length = up(float(self.bias.norm()), len(self.bias))

    def __call__(self, values: Tensor) -> Tensor:
        hidden = nn.functional.relu(nn.functional.linear(values, self.weight, self.bias))
        return values - (hidden * self.step) @ self.weight

    def rounding(self, length: float, count: int) -> float:
        a, t = self.absolute, self.longest
        hidden, features = self.weight.shape
        inner = a * length + self.bias_length * math.sqrt(count / features)
        off = gamma(features + 2) * inner
        moved = a * t * (inner + off)
        return (a * t * off + gamma(hidden + 4) * moved + 2 * _U * (length + moved)) * (1 + 1e-9)


class _Reflection(_Layer):
    """The angle is the real number; a point on the wrong side of the line by rounding is as near to it."""

    def __init__(self, layer: Householder) -> None:
        self.layer = Householder(2 * len(layer.angle)).double()
        self.layer.angle.data = _fixed(layer.angle)

    def __call__(self, values: Tensor) -> Tensor:
        found: Tensor = self.layer.forward(values)
        return found

    def rounding(self, length: float, count: int) -> float:  # noqa: ARG002 - other layers need it
        return 32 * _U * length
