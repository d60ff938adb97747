"""Small images and networks for what needs PyTorch."""

import numpy as np
import pytest


@pytest.fixture
def small():
    """64 images of 6 × 6 with 4 classes, each a bright quarter, in pairs of a class."""
    import torch

    rng = np.random.default_rng(3)
    codes = np.repeat(np.tile(np.arange(4), 8), 2)
    images = 0.5 * rng.random((64, 1, 6, 6), dtype=np.float32)
    for image, code in zip(images, codes, strict=True):
        top, left = 3 * (code // 2), 3 * (code % 2)
        image[0, top : top + 3, left : left + 3] += 0.3
    return torch.from_numpy(images), torch.from_numpy(codes)


@pytest.fixture
def network():
    """A small smooth network of fixed weights."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(36, 16), torch.nn.Tanh(), torch.nn.Linear(16, 8)
    )
