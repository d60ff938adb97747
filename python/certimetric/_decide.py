"""Some radii that are to be decided: one question for each, about the points that it still leaves open."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from certimetric import _native
from certimetric._batches import PROVEN, Budget, ask
from certimetric._question import Question
from certimetric._validation import FloatArray, IntArray

if TYPE_CHECKING:
    from certimetric._native import Certificates

__all__ = ["decide"]


def decide(
    question: Question,
    index: _native.Index,
    rows: FloatArray,
    codes: IntArray | None,
    n_neighbors: int,
    *,
    budget: Budget,
    **options: Any,
) -> "Certificates":
    """One answer for each point, whose ends decide all radii of the question as far as the limits allow.

    Parameters
    ----------
    question, index, rows, codes, n_neighbors, **options
        As for :func:`certimetric._batches.ask`.
    budget : Budget
        For all radii together.
    """
    run: Callable[..., Certificates] = partial(
        ask, question, index, n_neighbors=n_neighbors, budget=budget, **options
    )
    levels = question.levels(n_neighbors)
    if len(levels) < 2:
        return run(rows, codes, beyond=next(iter(levels), None))
    total = run(rows, codes, beyond=levels[0], label=_label(levels[0]))
    for level in levels[1:]:
        asked = _open(total, level)
        if len(asked):
            labels = None if codes is None else codes[asked]
            answer = run(rows[asked], labels, beyond=level, label=_label(level))
            total = _merged(total, asked, answer)
    return total


def _label(level: float) -> str:
    return f"certify r > {level:g}"


def _open(answer: "Certificates", level: float) -> NDArray[np.intp]:
    """Points of which it is not known whether their radius is above a level; another search could tell."""
    known = np.isin(answer["status"], PROVEN) | (answer["lower"] > level) | (answer["upper"] <= level)
    return np.flatnonzero(~known)


def _merged(total: "Certificates", asked: NDArray[np.intp], answer: "Certificates") -> "Certificates":
    """What is known after another answer about some of the points."""
    old, new = cast("dict[str, Any]", total), cast("dict[str, Any]", answer)
    arrays: dict[str, Any] = {name: None if array is None else array.copy() for name, array in old.items()}
    for name in ("seconds", "programs", "steps", "nodes"):
        arrays[name][asked] += new[name]
    farther = new["lower"] > arrays["lower"][asked]
    if arrays["proofs"] is not None:
        for point in np.flatnonzero(farther):
            arrays["proofs"][asked[point]] = new["proofs"][point]
    arrays["lower"][asked] = np.maximum(arrays["lower"][asked], new["lower"])
    arrays["status"][asked] = new["status"]
    closer = new["upper"] < arrays["upper"][asked]
    # A point that this question did not reach in time keeps the prediction that an earlier one brought.
    reached = new["predicted"] >= 0
    better = {"upper": closer, "rival": closer, "adversarial": closer, "predicted": reached}
    for name, rows in better.items():
        if arrays[name] is not None:
            arrays[name][asked[rows]] = new[name][rows]
    return cast("Certificates", arrays)
