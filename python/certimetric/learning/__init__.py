"""Learners of metrics: transformers whose result goes straight into the certifier.

>>> from sklearn.datasets import load_iris
>>> from certimetric import CertifiedKNeighborsClassifier
>>> from certimetric.learning import ARML
>>> X, y = load_iris(return_X_y=True)
>>> learner = ARML(max_iter=20, random_state=0).fit(X, y)
>>> clf = CertifiedKNeighborsClassifier(metric=learner).fit(X, y)
"""

from certimetric.learning._descent import FitProgress
from certimetric.learning.arml import ARML
from certimetric.learning.exact_radius import ExactRadius
from certimetric.learning.itml import ITML
from certimetric.learning.lfda import LFDA
from certimetric.learning.lmnn import LMNN
from certimetric.learning.nca import NCA
from certimetric.learning.perturbation import PerturbationLoss, perturbation_loss
from certimetric.learning.prototypes import RobustPrototypes

__all__ = [
    "ARML",
    "ITML",
    "LFDA",
    "LMNN",
    "NCA",
    "ExactRadius",
    "FitProgress",
    "PerturbationLoss",
    "RobustPrototypes",
    "perturbation_loss",
]
