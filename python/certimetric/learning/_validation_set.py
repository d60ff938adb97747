"""A part of the training data that says when to stop: by its certified radii."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from certimetric._validation import FloatArray
from certimetric.exceptions import InputError
from certimetric.learning._base import Labelled
from certimetric.metric import Mahalanobis
from certimetric.neighbors import CertifiedKNeighborsClassifier

__all__ = ["Validation", "hold_out"]


@dataclass(frozen=True)
class Validation:
    """The score of a metric: the mean certified radius of held out rows before the 1-NN of the others."""

    train: Labelled
    held_out: Labelled
    n_jobs: int

    def score(self, components: FloatArray) -> float:
        """Mean of the radii."""
        return float(self.radii(components).mean())

    def radii(self, components: FloatArray) -> FloatArray:
        """Proven radii, 0 where misclassified; none counts for more than ``cap``."""
        metric = Mahalanobis.from_components(components)
        model = CertifiedKNeighborsClassifier(metric=metric, n_jobs=self.n_jobs)
        lower = model.fit(self.train.rows, self.train.codes).certify(*self.held_out[:2]).lower
        return np.minimum(lower, self.cap)

    @property
    def cap(self) -> float:
        """The median distance to the mean: a few rows far away do not decide."""
        rows = self.train.rows
        return float(np.median(np.linalg.norm(rows - rows.mean(axis=0), axis=1)))


def hold_out(
    data: Labelled, fraction: float, rng: np.random.Generator, n_jobs: int, why: str = "early_stopping"
) -> Validation:
    """Split off a stratified fraction of the rows.

    Raises
    ------
    InputError
        A class is too small to have a part in both.
    """
    seed = int(rng.integers(2**31))
    single = data.classes[np.bincount(data.codes, minlength=len(data.classes)) == 1].tolist()
    if single:
        raise InputError(
            f"{why} holds out a part of the rows of each class, but y has the label {single[0]!r} once."
        )
    try:
        parts = train_test_split(
            data.rows, data.codes, test_size=fraction, stratify=data.codes, random_state=seed
        )
    except ValueError as error:
        raise InputError(
            f"{why} needs classes large enough for a validation set of {fraction:.0%} of X: {error}"
        ) from error
    rows, held_out, codes, held_out_codes = parts
    train = Labelled(np.ascontiguousarray(rows), codes, data.classes)
    return Validation(train, Labelled(np.ascontiguousarray(held_out), held_out_codes, data.classes), n_jobs)
