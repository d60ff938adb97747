"""States of a fit in a file: npz without pickle, from which a fit goes on to the same bits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certimetric import _formats
from certimetric._files import writing
from certimetric.exceptions import DataError
from certimetric.learning._adam import Adam
from certimetric.learning._descent import Best, State

__all__ = ["load_state", "save_state"]

_FORMAT = "certimetric.checkpoint"


def save_state(path: Path, state: State, fingerprint: str) -> None:
    """Write a state; the fingerprint says to which fit it belongs."""
    head = {
        "format": _FORMAT,
        "version": 1,
        "fingerprint": fingerprint,
        "epoch": state.epoch,
        "stale": state.stale,
        "converged": state.converged,
        "history": state.history,
        "steps": state.adam.count,
        "generator": state.rng.bit_generator.state,
        "best": None if state.best is None else [state.best.score, state.best.epoch],
    }
    arrays = {f"value.{name}": value for name, value in state.values.items()}
    for name, (mean, square) in state.adam.moments.items():
        arrays |= {f"mean.{name}": mean, f"square.{name}": square}
    if state.best is not None:
        arrays |= {f"best.{name}": value for name, value in state.best.values.items()}
    # Before the first epoch nothing hangs on a choice, which may have been made in too little time.
    chosen = state.chosen if state.epoch else {}
    arrays |= {f"chosen.{name}": value for name, value in chosen.items()}
    arrays |= {f"trials.{name}": value for name, value in state.trials.items()}
    with writing(path) as file:
        np.savez(file, allow_pickle=False, head=np.array(json.dumps(head)), **arrays)


def load_state(path: Path, fingerprint: str) -> State:
    """Read a state.

    Raises
    ------
    DataError
        The file is no checkpoint, damaged, or of another fit.
    """
    try:
        with _formats.open_archive(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        head = json.loads(str(arrays.pop("head")))
        known = head["format"] == _FORMAT and head["version"] == 1
    except (*_formats.READ_ERRORS, TypeError, json.JSONDecodeError) as error:
        lacks = isinstance(error, KeyError)
        reason = "it is another file" if lacks else _formats.first_line(error)
        raise DataError(f"{path}: cannot be read as a checkpoint: {reason}") from error
    if not known:
        raise DataError(f"{path}: is not a checkpoint of this version.")
    if head.get("fingerprint") != fingerprint:
        raise DataError(
            f"{path}: is a checkpoint of a fit with other data or other parameters. "
            "Remove it to start anew, or name another file."
        )
    try:
        return _as_state(head, arrays)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: is a damaged checkpoint: {_formats.first_line(error)}") from error


def _as_state(head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> State:
    def part(kind: str) -> dict[str, NDArray[Any]]:
        return {
            name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}.")
        }

    adam, squares = Adam(), part("square")
    adam.count = head["steps"]
    adam.moments = {name: (mean, squares[name]) for name, mean in part("mean").items()}
    rng = np.random.default_rng(0)
    rng.bit_generator.state = head["generator"]
    best = None if head["best"] is None else Best(head["best"][0], head["best"][1], part("best"))
    kept = {name: head[name] for name in ("epoch", "history", "stale", "converged")}
    if not all(isinstance(head[name], int) and head[name] >= 0 for name in ("epoch", "stale", "steps")):
        raise ValueError("its counts are no whole numbers")
    history = {name: np.asarray(numbers, dtype=np.float64) for name, numbers in head["history"].items()}
    if any(numbers.ndim != 1 for numbers in history.values()):
        raise ValueError("its history is no lists of numbers")
    values = part("value")
    if not values:
        raise ValueError("it has no values")
    shapes = {name: value.shape for name, value in values.items()}
    if best is not None and shapes != {name: value.shape for name, value in best.values.items()}:
        raise ValueError("its best values are other arrays than its last ones")
    for value in [*values.values(), *(() if best is None else best.values.values())]:
        if value.dtype != np.float64 or not np.isfinite(value).all():
            raise ValueError("its values are no finite numbers")
    for name, moments in adam.moments.items():
        if any(array.shape != values[name].shape or array.dtype != np.float64 for array in moments):
            raise ValueError(f"the moments of {name} are other arrays than its values")
    return State(values, rng, adam, best=best, chosen=part("chosen"), trials=part("trials"), **kept)
