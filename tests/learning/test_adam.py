"""Steps of Adam are those of its paper, whatever the size of the arrays."""

import numpy as np
import pytest

from certimetric.learning._adam import Adam


def published(value, gradients, rate, first=0.9, second=0.999, epsilon=1e-8):
    """Algorithm 1 of Kingma and Ba (2015), line by line."""
    mean = square = np.zeros_like(value)
    for t, gradient in enumerate(gradients, start=1):
        mean = first * mean + (1 - first) * gradient
        square = second * square + (1 - second) * gradient**2
        unbiased, scale = mean / (1 - first**t), np.sqrt(square / (1 - second**t))
        value = value - rate * unbiased / (scale + epsilon)
    return value


@pytest.mark.parametrize("shape", [(3,), (5, 7), (2**16 + 1,), (3, 2**15)])
def test_steps_are_those_of_the_paper(rng, shape):
    start, gradients = rng.normal(size=shape), rng.normal(size=(6, *shape)) * 1e-3
    adam, values = Adam(), {"points": start.copy(), "rest": start.copy()}
    for gradient in gradients:
        # A gradient may come in any order of memory.
        adam.step(values, {"points": np.asfortranarray(gradient)}, {"points": 0.02})
    np.testing.assert_allclose(values["points"], published(start, gradients, 0.02), atol=1e-14)
    np.testing.assert_array_equal(values["rest"], start)


def test_arrays_that_cannot_be_written_to_in_place_are_refused():
    with pytest.raises(ValueError, match="rest is not C-contiguous"):
        Adam().step({"rest": np.zeros((4, 3)).T}, {"rest": np.ones((3, 4))}, 0.1)
    with pytest.raises(ValueError, match=r"rest has the shape \(2, 3\), but its gradient \(3, 2\)"):
        Adam().step({"rest": np.zeros((2, 3))}, {"rest": np.ones((3, 2))}, 0.1)


def test_a_copy_goes_its_own_way(rng):
    gradient = {"points": rng.normal(size=4)}
    adam = Adam()
    adam.step({"points": np.zeros(4)}, gradient, 0.1)
    other = adam.copy()
    before = [array.copy() for array in adam.moments["points"]]
    other.step({"points": np.zeros(4)}, gradient, 0.1)
    assert (adam.count, other.count) == (1, 2)
    np.testing.assert_array_equal(adam.moments["points"], before)
