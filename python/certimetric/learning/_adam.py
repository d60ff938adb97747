"""Adam (Kingma and Ba, 2015), on any number of arrays."""

import numpy as np

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

    def step(
        self,
        values: dict[str, FloatArray],
        gradients: dict[str, FloatArray],
        rate: float | dict[str, float],
    ) -> dict[str, FloatArray]:
        """The values after one step down; the arrays that were given are left as they are.

        ``rate`` is one for all of them, or one for each.
        """
        self.count += 1
        rates = rate if isinstance(rate, dict) else dict.fromkeys(values, rate)
        return {
            name: self._moved(name, value, gradients[name], rates[name]) for name, value in values.items()
        }

    def _moved(self, name: str, value: FloatArray, gradient: FloatArray, rate: float) -> FloatArray:
        zeros = np.zeros_like(value)
        mean, square = self.moments.get(name, (zeros, zeros))
        first, second = self.decay
        mean = first * mean + (1 - first) * gradient
        square = second * square + (1 - second) * gradient**2
        self.moments[name] = mean, square
        unbiased_mean = mean / (1 - first**self.count)
        unbiased_square = square / (1 - second**self.count)
        return np.asarray(value - rate * unbiased_mean / (np.sqrt(unbiased_square) + self.epsilon))
