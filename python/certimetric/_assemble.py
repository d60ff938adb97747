"""From the Rust core's arrays to a :class:`Certification`: codes become labels, numbers become words."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certimetric import _native
from certimetric._validation import IntArray, as_labels
from certimetric.certification import Certification, RunInfo
from certimetric.exceptions import UnknownLabelError

if TYPE_CHECKING:
    from certimetric._native import Certificates

__all__ = ["as_certification", "label_codes"]


def label_codes(
    y: ArrayLike, classes: NDArray[Any], count: int, name: str = "y"
) -> tuple[NDArray[Any], IntArray]:
    """Labels as an array, and their positions in ``classes``; -1 for one that is not there.

    Text where the classes are numbers, or numbers where they are text, is a mistake and no label: an error
    that names some of it.
    """
    labels = as_labels(y, count)
    code = {label: number for number, label in enumerate(classes.tolist())}
    given = labels.tolist()
    is_text = isinstance(next(iter(code)), str)
    foreign = list(dict.fromkeys(label for label in given if isinstance(label, str) != is_text))
    if foreign:
        names = ", ".join(map(repr, foreign[:5])) + (", ..." if len(foreign) > 5 else "")
        kind = "text" if is_text else "numbers"
        raise UnknownLabelError(f"{name} must have {kind} for labels, as the classifier has; got {names}.")
    return labels, np.array([code.get(label, -1) for label in given], dtype=np.int64)


def as_certification(
    found: "Certificates", classes: NDArray[Any], labels: NDArray[Any] | None, run: RunInfo
) -> Certification:
    """The result of a run of the core."""
    return Certification(
        lower=found["lower"],
        upper=found["upper"],
        status=np.array(_native.STATUSES)[found["status"]],
        predicted=_predicted(found["predicted"], classes),
        y=labels,
        rival=found["rival"],
        adversarial=found["adversarial"],
        seconds=found["seconds"],
        programs=found["programs"].astype(np.int64),
        steps=found["steps"].astype(np.int64),
        nodes=found["nodes"],
        run=run,
    )


def _predicted(codes: IntArray, classes: NDArray[Any]) -> NDArray[Any]:
    reached = codes >= 0
    if reached.all():
        return classes[codes]
    labels = np.full(len(codes), None, dtype=object)
    labels[reached] = classes[codes[reached]].tolist()
    return labels
