"""Learners of radii as scikit-learn sees them."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from certimetric.learning import ExactRadius, RobustPrototypes


# One check skips itself where SciPy's array API is off, with a warning that is not ours.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([ExactRadius(max_iter=5), RobustPrototypes(max_iter=20)])
def test_conventions_of_scikit_learn_hold(estimator, check):
    check(estimator)
