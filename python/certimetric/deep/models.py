"""The networks of the papers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from certimetric._optional import require
from certimetric.deep.lipschitz import LipschitzNetwork, MaxMin, OrthogonalLinear
from certimetric.exceptions import InputError

__all__ = ["ConvNet28", "LeNet28", "LipschitzNet28", "make_model"]


class ConvNet28(nn.Sequential):
    """C2F2, the small network of the papers for 28 × 28 (Madry et al., 2018; Zhou et al., 2020).

    Two convolutions 5 × 5 of 32 and 64 maps with ReLU and 2 × 2 pooling, a layer of 1,024, an embedding.

    Parameters
    ----------
    n_components : int
        Dimensions of the embedding.
    channels : int
    """

    def __init__(self, n_components: int = 512, channels: int = 1) -> None:
        self.channels = channels
        super().__init__(
            nn.Conv2d(channels, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 1024),
            nn.ReLU(),
            nn.Linear(1024, n_components),
        )


class LeNet28(nn.Sequential):
    """LeNet for 28 × 28: two convolutions of 20 and 50 maps with pooling, a layer of 500, an embedding.

    Parameters
    ----------
    n_components : int
    channels : int
    """

    def __init__(self, n_components: int = 128, channels: int = 1) -> None:
        self.channels = channels
        super().__init__(
            nn.Conv2d(channels, 20, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(800, 500),
            nn.ReLU(),
            nn.Linear(500, n_components),
        )


class LipschitzNet28(LipschitzNetwork):
    """Orthogonal layers with MaxMin between them, for 28 × 28: no distance grows through it.

    Parameters
    ----------
    n_components : int
        Width of all layers, an even number.
    channels : int
    depth : int
        Hidden layers.
    """

    def __init__(self, n_components: int = 256, channels: int = 1, depth: int = 3) -> None:
        if n_components % 2:
            raise InputError(f"n_components of a Lipschitz network must be even, got {n_components}.")
        self.channels = channels
        layers: list[nn.Module] = [nn.Flatten(), OrthogonalLinear(channels * 28 * 28, n_components)]
        for _ in range(depth):
            layers += [MaxMin(), OrthogonalLinear(n_components, n_components)]
        super().__init__(*layers)

    def initialize(self, images: Tensor) -> None:
        """Let the first layer begin with the directions in which images differ most.

        Where there are as many components as pixels nothing is lost anyway, and it stays as it is.

        Parameters
        ----------
        images : tensor of shape (n, C, 28, 28)

        Raises
        ------
        InputError
            Images of another size.
        """
        first = self[1]
        rows = images.flatten(1).to(first.weight)
        if rows.shape[1] != first.in_features:
            expected = f"(n, {self.channels}, 28, 28)"
            raise InputError(f"images must have shape {expected}, got {tuple(images.shape)}.")
        if first.out_features >= first.in_features:
            return
        with torch.no_grad():
            centred = rows - rows.mean(dim=0)
            _, directions = torch.linalg.eigh(centred.T @ centred / len(rows))
            first.weight.copy_(directions.flip(1)[:, : first.out_features].T)


class _Normalized(nn.Module):
    """A network of torchvision behind the means and deviations of ImageNet, with a linear embedding."""

    channels = 3

    def __init__(self, backbone: Any, n_components: int) -> None:
        super().__init__()
        backbone.fc = nn.Linear(backbone.fc.in_features, n_components)
        self.normalize = require("torchvision.transforms", extra="vision").Normalize(
            mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
        )
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings, shape (n, p)."""
        found: Tensor = self.backbone(self.normalize(images))
        return found


_SMALL: dict[str, Callable[[int, int], nn.Module]] = {
    "c2f2": ConvNet28,
    "lenet": LeNet28,
    "lipschitz": LipschitzNet28,
}


def make_model(
    name: str, n_components: int = 512, channels: int = 1, weights: str | None = None
) -> nn.Module:
    """A network by name.

    Parameters
    ----------
    name : {"c2f2", "lenet", "lipschitz", "resnet18", "resnet50"}
        The last two are those of torchvision, for images of three channels; the others are for 28 × 28.
    n_components : int
        Dimensions of the embedding.
    channels : int
        Of the first three.
    weights : str, optional
        Of torchvision, such as ``"DEFAULT"``; it downloads them. Default: random.

    Raises
    ------
    InputError
        An unknown name, or weights for a network that has none.
    MissingDependencyError
        torchvision is not installed.
    """
    for what, value in (("n_components", n_components), ("channels", channels)):
        if value < 1:
            raise InputError(f"{what} must be 1 or more, got {value}.")
    if name in _SMALL:
        if weights is not None:
            raise InputError(f"weights are those of torchvision's networks; {name!r} has none.")
        return _SMALL[name](n_components, channels)
    if name in ("resnet18", "resnet50"):
        known = require("torchvision.models", extra="vision")
        try:
            backbone = getattr(known, name)(weights=weights)
        except (KeyError, ValueError) as error:
            raise InputError(f"weights {weights!r} are not known to torchvision for {name}.") from error
        return _Normalized(backbone, n_components)
    raise InputError(f"model must be {', '.join(map(repr, _SMALL))}, 'resnet18' or 'resnet50', got {name!r}.")
