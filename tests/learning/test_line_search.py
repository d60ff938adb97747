"""Steps along a line are those of Moré and Thuente, as SciPy takes them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from certimetric.learning._descent import State
from certimetric.learning._line_search import wolfe_step
from certimetric.learning._quasi_newton import QuasiNewton


def rosenbrock(x):
    x = x.ravel()
    value = 100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2
    gradient = np.zeros_like(x)
    gradient[1:] = 200 * (x[1:] - x[:-1] ** 2)
    gradient[:-1] += -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    return value.sum(), gradient


def waves(x):
    x = x.ravel()
    return (np.sin(3 * x) + 0.1 * x**2).sum(), 3 * np.cos(3 * x) + 0.2 * x


def quartic(x):
    x = x.ravel()
    return ((x - 1) ** 4 * (1 + np.arange(len(x)))).sum(), 4 * (x - 1) ** 3 * (1 + np.arange(len(x)))


@pytest.mark.parametrize("function", [rosenbrock, waves, quartic])
@pytest.mark.parametrize("seed", range(8))
def test_iterates_are_those_of_scipy(function, seed):
    start = 2 * np.random.default_rng(seed).normal(size=6)
    theirs = []
    options = {"maxiter": 12, "ftol": 1e-12, "gtol": 1e-9}
    minimize(function, start, jac=True, method="L-BFGS-B", callback=theirs.append, options=options)

    def objective(components):
        value, gradient = function(components)
        return value, gradient.reshape(components.shape)

    newton = QuasiNewton(objective, 1e-12)
    state = State(newton.begin(start.reshape(2, 3)), np.random.default_rng(0))
    for expected in theirs:
        newton.epoch(state)
        np.testing.assert_allclose(state.values["components"].ravel(), expected, rtol=1e-5, atol=1e-6)


@given(
    st.floats(0.1, 10),
    st.floats(-3, 3),
    st.floats(-3, 3),
    st.floats(1e-3, 1e3),
)
def test_a_step_lowers_the_value_and_the_slope(scale, phase, tilt, first):
    def at(step):
        asked.append(step)
        x = scale * step
        return math.cos(x + phase) + tilt * x + x**2 / 20, scale * (-math.sin(x + phase) + tilt + x / 10)

    asked = []
    value, slope = at(0.0)
    if slope >= -1e-3:
        return
    step = wolfe_step(at, value, slope, first)
    assert len(asked) <= 21
    if step > 0:
        assert step == asked[-1]
        found, there = at(step)
        assert found <= value + 1e-3 * step * slope
        # Where an interval has become narrow its best step is taken, whatever the slope.
        assert abs(there) <= 0.9 * abs(slope) or len(asked) > 3


def test_no_step_leads_where_rounding_hides_the_way():
    assert wolfe_step(lambda step: (1.0 + step, -1.0), 1.0, -1.0, 1.0) == 0
