"""Adam (Kingma and Ba, 2015), on any number of arrays."""

import math

import numpy as np

from certimetric import _native
from certimetric._validation import FloatArray

__all__ = ["Adam"]


class Adam:
    """First and second moments of the gradients of named arrays.

    Parameters
    ----------
    decay : tuple of 2 floats, default=(0.9, 0.999)
    epsilon : float, default=1e-8
    """

    def __init__(self, decay: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> None:
        self.decay, self.epsilon = decay, epsilon
        self.count = 0
        self.moments: dict[str, tuple[FloatArray, FloatArray]] = {}

    def copy(self) -> "Adam":
        """The same with arrays of its own."""
        adam = Adam(self.decay, self.epsilon)
        adam.count = self.count
        adam.moments = {name: (mean.copy(), square.copy()) for name, (mean, square) in self.moments.items()}
        return adam

    def step(
        self,
        values: dict[str, FloatArray],
        gradients: dict[str, FloatArray],
        rate: float | dict[str, float],
        n_jobs: int = 1,
    ) -> None:
        """One step down, which is written into the values of which there are gradients: C-contiguous arrays.

        ``rate`` is one for all of them, or one for each. Threads change no bit.
        """
        self.count += 1
        first, second = self.decay
        unit = math.sqrt(1 - second**self.count)
        for name, gradient in gradients.items():
            value = values[name]
            if not value.flags.c_contiguous:
                raise ValueError(f"{name} is not C-contiguous")
            if gradient.shape != value.shape:
                raise ValueError(f"{name} has the shape {value.shape}, but its gradient {gradient.shape}")
            if name not in self.moments:
                self.moments[name] = np.zeros(value.shape), np.zeros(value.shape)
            pace = rate[name] if isinstance(rate, dict) else rate
            mean, square = self.moments[name]
            # η m̂ / (√v̂ + ε) with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ), by one division.
            _native.adam_step(
                value.reshape(-1),
                np.ascontiguousarray(gradient, dtype=np.float64).reshape(-1),
                mean.reshape(-1),
                square.reshape(-1),
                self.decay,
                pace * unit / (1 - first**self.count),
                unit * self.epsilon,
                n_jobs,
            )
