"""Layers that no distance grows through: ‖f(x) − f(y)‖₂ ≤ L ‖x − y‖₂, with L proven from the weights.

A network is a :class:`LipschitzNetwork` of them. Training only keeps L near 1; what is certified comes from a
frozen copy, whose weights are taken as the real numbers that they are, and their norms bounded.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from certimetric.exceptions import InputError

__all__ = [
    "AOLConv2d",
    "Householder",
    "LipschitzNetwork",
    "MaxMin",
    "OrthogonalLinear",
    "PotentialLayer",
    "check_layer",
]


class OrthogonalLinear(nn.Linear):
    """x ↦ W x + b with orthonormal rows, or columns where W has more rows than columns.

    W is the nearest such matrix to the parameter ``weight``. Its gradient is the one along the manifold of
    these matrices, and a forward pass in training moves ``weight`` onto it, so that any optimiser will do;
    ``torch.func`` takes the layer in evaluation mode only.
    It costs a few products with the smaller Gram matrix; the Cayley map of PyTorch's own parametrisation
    solves with a matrix of the larger side.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        nn.init.orthogonal_(self.weight)

    def orthonormal(self) -> Tensor:
        """W."""
        found: Tensor = _Nearest.apply(self.weight)
        return found

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        weight = self.orthonormal()
        if self.training and torch.is_grad_enabled():
            self.weight.data.copy_(weight)
        return nn.functional.linear(values, weight, self.bias)


class _Nearest(torch.autograd.Function):
    """The orthogonal factor of a polar decomposition; its gradient is right where the matrix is one already.

    There the derivative is the projection G − (G Qᵀ + Q Gᵀ) Q / 2 onto the tangent space.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            is_wide = len(weight) <= weight.shape[1]
            return (polar_factor(weight) if is_wide else polar_factor(weight.T).T).clone()

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004 - the protocol's
        context.save_for_backward(output)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (weight,) = context.saved_tensors
        if len(weight) <= weight.shape[1]:
            product = gradient @ weight.T
            return torch.addmm(gradient, product + product.T, weight, alpha=-0.5)
        product = weight.T @ gradient
        return torch.addmm(gradient, weight, product + product.T, alpha=-0.5)


_NEAR = 0.5


def polar_factor(wide: Tensor) -> Tensor:
    """(W Wᵀ)^(−1/2) W of a matrix with no more rows than columns; the same bits where it is one already.

    Newton-Schulz steps W ← 3/2 W − 1/2 W Wᵀ W, which square what is missing; far away, the singular vectors.
    What is not finite stays so, and is found by its loss.
    """
    identity = torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
    # Some times more than what rounding leaves, so that a matrix that is near enough stays so.
    enough = torch.finfo(wide.dtype).eps * max(len(wide) / 2, 32)
    for _ in range(8):
        gram = wide @ wide.T
        missing = float(torch.linalg.matrix_norm(gram - identity))
        if missing <= enough:
            break
        if not missing <= _NEAR:
            largest = float(wide.abs().max())
            if not math.isfinite(largest):
                break
            unit = (wide / (largest or 1.0)).to(torch.promote_types(wide.dtype, torch.float32))
            left, _, right = torch.linalg.svd(unit, full_matrices=False)
            wide = (left @ right).to(wide)
            continue
        wide = torch.addmm(wide, gram, wide, beta=1.5, alpha=-0.5)
        if missing**2 < enough:
            break
    return wide


class AOLConv2d(nn.Conv2d):
    """A convolution whose input channels are scaled so that its norm is 1 at most (Prach & Lampert, 2022).

    W diag(s) with s_j = (Σ_i abs(Wᵀ W)_ij)^(−1/2), the sum over channels and shifts; near to an isometry
    where W is. Stride 1 with zero padding, or non-overlapping patches with stride = kernel_size.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
    stride : int
        1 or ``kernel_size``.
    bias : bool
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, bias: bool = True
    ) -> None:
        sizes = (in_channels, out_channels, kernel_size)
        if not all(isinstance(size, int) and size >= 1 for size in sizes):
            raise InputError(f"channels and kernel_size must be integers, 1 or more, got {sizes}.")
        if stride not in (1, kernel_size):
            raise InputError(f"stride must be 1 or kernel_size = {kernel_size}, got {stride}.")
        padding = (kernel_size - 1) // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        # A delta in space, orthogonal between channels: scales begin near 1.
        nn.init.zeros_(self.weight)
        if stride == 1:
            middle = kernel_size // 2
            nn.init.orthogonal_(self.weight[:, :, middle, middle])
        else:
            nn.init.orthogonal_(self.weight.view(out_channels, -1))

    def scaled(self) -> Tensor:
        """The weight that is applied."""
        sums = gram_sizes(self.weight, self.stride[0]).sum(dim=1)
        scale = torch.where(sums > 0, sums, torch.ones_like(sums)).rsqrt()
        return self.weight * (
            scale[:, None, None] if self.stride[0] == 1 else scale.view(self.weight.shape[1:])
        )

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return nn.functional.conv2d(images, self.scaled(), self.bias, self.stride, self.padding)


def gram_sizes(weight: Tensor, stride: int) -> Tensor:
    """|Wᵀ W| of input channels, summed over shifts (stride 1), or of the values of a patch; shape (c, c)."""
    if stride == 1:
        swapped = weight.transpose(0, 1)
        gram = nn.functional.conv2d(swapped, swapped, padding=weight.shape[2] - 1)
        return gram.abs().sum(dim=(2, 3))
    flat = weight.flatten(1)
    return (flat.T @ flat).abs()


class MaxMin(nn.Module):
    """Sorts pairs of channels (GroupSort of two; Anil et al., 2019): an isometry piece by piece.

    The channels are halved; the first half becomes the larger ones.
    """

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        if values.shape[1] % 2:
            raise InputError(f"MaxMin needs an even number of channels, got {values.shape[1]}.")
        first, second = values.chunk(2, dim=1)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], dim=1)


class Householder(nn.Module):
    """Reflects pairs of channels behind a learned line (Singla et al., 2022); at angle π/2 it is MaxMin.

    Parameters
    ----------
    channels : int
        An even number.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 2:
            raise InputError(f"channels must be even, got {channels}.")
        self.angle = nn.Parameter(torch.full((channels // 2,), math.pi / 2))

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        if values.shape[1] != 2 * self.angle.numel():
            raise InputError(
                f"Householder was made for {2 * self.angle.numel()} channels, got {values.shape[1]}."
            )
        angle = self.angle.reshape(-1, *[1] * (values.ndim - 2))
        first, second = values.chunk(2, dim=1)
        side = torch.sin(angle / 2) * first - torch.cos(angle / 2) * second
        sine, cosine = torch.sin(angle), torch.cos(angle)
        is_before = side > 0
        return torch.cat(
            [
                torch.where(is_before, first, cosine * first + sine * second),
                torch.where(is_before, second, sine * first - cosine * second),
            ],
            dim=1,
        )


class PotentialLayer(nn.Module):
    """x ↦ x − 2 W T⁻¹ ReLU(Wᵀ x + b) with T = diag(Σ_j abs(Wᵀ W)_ij q_j / q_i) (SLL; Araujo et al., 2023).

    A step down a convex potential: no distance grows. It begins near the identity where W is small against b.

    Parameters
    ----------
    features, hidden : int
    """

    def __init__(self, features: int, hidden: int | None = None) -> None:
        super().__init__()
        count = features if hidden is None else hidden
        self.weight = nn.Parameter(torch.empty(count, features))
        self.bias = nn.Parameter(torch.zeros(count))
        self.log_q = nn.Parameter(torch.zeros(count))
        nn.init.xavier_normal_(self.weight)

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        q = self.log_q.exp()
        sums = ((self.weight @ self.weight.T).abs() * q).sum(dim=1) / q
        # A unit whose row is 0 does nothing.
        sums = torch.where(sums > 0, sums, torch.ones_like(sums))
        hidden = nn.functional.relu(nn.functional.linear(values, self.weight, self.bias))
        return values - 2 * (hidden / sums) @ self.weight


class LipschitzNetwork(nn.Sequential):
    """Layers of this module, ``Flatten`` and ``PixelUnshuffle`` one behind the other.

    Raises
    ------
    InputError
        A layer of which no constant is known.
    """

    def __init__(self, *layers: nn.Module) -> None:
        for layer in layers:
            check_layer(layer)
        super().__init__(*layers)


KNOWN = (OrthogonalLinear, AOLConv2d, MaxMin, Householder, PotentialLayer, nn.Flatten, nn.PixelUnshuffle)
"""Layers that a network may have."""


def check_layer(layer: nn.Module) -> None:
    """Refuse a layer of which no constant is known, subclasses and layers with hooks among them."""
    kind = type(layer)
    name = kind.__name__
    if kind not in KNOWN:
        names = ", ".join(kind.__name__ for kind in KNOWN)
        raise InputError(f"{name} is no layer with a known constant; use {names}.")
    if is_changed(layer):
        raise InputError(f"{name} has hooks or another forward, whatever they do; remove them.")
    if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1):
        raise InputError("Flatten must flatten each image, start_dim=1 and end_dim=-1.")
    if isinstance(layer, AOLConv2d):
        _check_convolution(layer)
    for what, value in (*layer.named_parameters(), *layer.named_buffers()):
        if not torch.isfinite(value).all():
            raise InputError(f"{name} has weights that are not finite: {what}.")


def is_changed(module: nn.Module) -> bool:
    """Whether a call of a module does something besides its class's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _check_convolution(layer: AOLConv2d) -> None:
    """Refuse what the scale of its weights is not about."""
    height, width = layer.weight.shape[2:]
    plain = (layer.dilation, layer.groups, layer.padding_mode) == ((1, 1), 1, "zeros")
    if height != width or layer.stride not in ((1, 1), (height, width)) or not plain:
        raise InputError(
            "AOLConv2d must have a square kernel, a stride of 1 or of its size, padding by zeros, and "
            f"neither dilation nor groups; got {layer}."
        )
