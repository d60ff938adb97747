"""Adam (Kingma and Ba, 2015), on any number of arrays."""

import math

import numpy as np

from certimetric._validation import FloatArray

__all__ = ["Adam"]

_PIECE = 1 << 14
"""Numbers that are worked on at a time, so that what lies between is in the processor's cache."""


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
    ) -> None:
        """One step down, which is written into the values of which there are gradients: contiguous arrays.

        ``rate`` is one for all of them, or one for each.
        """
        self.count += 1
        for name, gradient in gradients.items():
            if name not in self.moments:
                self.moments[name] = np.zeros(gradient.shape), np.zeros(gradient.shape)
            pace = rate[name] if isinstance(rate, dict) else rate
            arrays = [array.reshape(-1) for array in (values[name], gradient, *self.moments[name])]
            for start in range(0, gradient.size, _PIECE):
                value, slope, mean, square = (array[start : start + _PIECE] for array in arrays)
                self._move(value, slope, mean, square, pace)

    def _move(
        self, value: FloatArray, gradient: FloatArray, mean: FloatArray, square: FloatArray, rate: float
    ) -> None:
        first, second = self.decay
        mean *= first
        mean += (1 - first) * gradient
        square *= second
        square += (1 - second) * gradient**2
        # value −= rate m̂ / (√v̂ + ε) with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ), by one division.
        unit = math.sqrt(1 - second**self.count)
        size = np.sqrt(square)
        size += unit * self.epsilon
        value -= mean * (rate * unit / (1 - first**self.count)) / size
