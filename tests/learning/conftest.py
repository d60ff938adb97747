"""Data for learners: small, of three classes, with two features that say nothing."""

import numpy as np
import pytest


@pytest.fixture
def blobs():
    rng = np.random.default_rng(7)
    labels = np.repeat(["a", "b", "c"], 25)
    rows = rng.normal(size=(75, 4))
    rows[:, 0] += 1.5 * np.repeat([0, 1, 2], 25)
    return rows, labels
