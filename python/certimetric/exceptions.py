"""The errors of the library.

Every mistake that a caller can make raises a :class:`CertimetricError` that is also the built-in error which
fits, so that both ``except CertimetricError`` and ``except ValueError`` catch it. Outcomes of a certification
(a point without a proof, a time limit) are data in the result, never exceptions.
"""

from sklearn.exceptions import NotFittedError

__all__ = [
    "CertimetricError",
    "CollapsedModelError",
    "DataError",
    "InputError",
    "InputTypeError",
    "MetricError",
    "MissingDependencyError",
    "OutputError",
    "UnfittedMetricError",
    "UnknownLabelError",
]


class CertimetricError(Exception):
    """Base class of all errors raised by certimetric."""


class InputError(CertimetricError, ValueError):
    """An argument has a value that is out of range, not finite, or of the wrong shape."""


class InputTypeError(CertimetricError, TypeError):
    """An argument has a type that is not supported, such as a sparse matrix or strings."""


class MetricError(InputError):
    """A metric is not what it should be: not symmetric, indefinite, of the wrong shape, or unknown."""


# scikit-learn has no types: its classes are Any to mypy.
class UnfittedMetricError(MetricError, NotFittedError):  # type: ignore[misc]
    """A metric learner was given before it had been fitted."""


class UnknownLabelError(InputError):
    """Labels were given that are of another type than all that the classifier has seen."""


class CollapsedModelError(InputError):
    """A network gives all images the same embedding, of which no score means anything."""


class DataError(InputError):
    """A file is missing, damaged, of another format than its name says, or lacks what was asked for."""


class OutputError(CertimetricError, OSError):
    """A file cannot be written; under its name is what was there before."""


class MissingDependencyError(CertimetricError, ImportError):
    """An optional library is needed for this call; the message names the extra that installs it."""
