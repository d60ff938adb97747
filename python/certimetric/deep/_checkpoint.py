"""States of a training run in a file of PyTorch, read without running code from it."""

import hashlib
import pickle
import re
import zipfile
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certimetric._files import writing
from certimetric.deep._run import Run
from certimetric.exceptions import DataError

__all__ = ["digest_of", "load_model", "load_run", "read_about", "read_prototypes", "save_run"]

_FORMAT, _VERSION = "certimetric.deep", 3
_PARTS = {"key", "layers", "shape", "about", "weights", "place"}
_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    TypeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def save_run(path: Path, key: str, run: Run, about: dict[str, Any]) -> None:
    """Write the state of a run; the key says of which."""
    known = {"key": key, "layers": layers_of(run.model), "shape": shape_of(run.model), "about": about}
    _write(path, {**known, **run.state()})


def load_run(path: Path, key: str, run: Run) -> None:
    """Bring a run to where it was.

    Raises
    ------
    DataError
        The file cannot be read, or is of a run with another model, other images or other settings.
    """
    state = _read(path)
    _check_model(run.model, state, path)
    if state["key"] != key:
        raise DataError(f"{path}: is of a run with other images or settings. Remove it to begin anew.")
    run.load(state)


def _write(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; the file is whole or not there."""
    with writing(path) as file:
        torch.save({"format": _FORMAT, "version": _VERSION, **state}, file)


def _read(path: Path) -> dict[str, Any]:
    """Read them.

    Raises
    ------
    DataError
        No such file, not one of this library, damaged, or with more inside than tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise DataError(f"{path}: is damaged: {damaged} has another checksum.")
        state = torch.load(path, map_location="cpu", weights_only=True)
        known = state["format"] == _FORMAT and state["version"] == _VERSION and state.keys() >= _PARTS
    except _ERRORS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path}: cannot be read as a checkpoint: {lines[0]}") from error
    if not known:
        raise DataError(f"{path}: is no checkpoint of this version of certimetric.")
    return dict(state)


def load_model(model: nn.Module, path: str | Path) -> nn.Module:
    """Put the weights of a checkpoint into a model: the best ones, where the run chose some.

    Parameters
    ----------
    model : torch.nn.Module
        Of the same layers as the one that was trained.
    path : path
        Written by :class:`~certimetric.deep.Trainer`.

    Returns
    -------
    torch.nn.Module
        The same one.

    Raises
    ------
    DataError
        The file cannot be read, or is of another model; the message names the first difference.
    """
    state = _read(Path(path))
    _check_model(model, state, path)
    best = state["place"]["best_state"]
    model.load_state_dict(best[0] if best else state["weights"])
    return model


def read_prototypes(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """The points that a run by :class:`~certimetric.deep.CertifiedPrototypes` learned.

    Parameters
    ----------
    path : path
        Written by :class:`~certimetric.deep.Trainer`.

    Returns
    -------
    points : ndarray of shape (p, n_components)
    codes : ndarray of shape (p,)
        Their classes. None in place of both: the run has none.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    state = _read(Path(path))
    best = state["place"]["best_state"]
    found = best[1] if best else state["loss"]
    if not {"points", "labels"} <= found.keys():
        return None
    return found["points"].numpy(), found["labels"].numpy()


def read_about(path: str | Path) -> dict[str, Any]:
    """What a checkpoint tells of its run: the ``about`` of :class:`~certimetric.deep.Trainer`.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    return dict(_read(Path(path))["about"])


def shape_of(model: nn.Module) -> dict[str, list[int]]:
    """Names and shapes of all weights."""
    return {name: list(value.shape) for name, value in model.state_dict().items()}


def layers_of(model: nn.Module) -> list[str]:
    """Names and types of its parts, and what those of PyTorch say of themselves, but for what may change."""
    varying = (nn.ParameterList, nn.ParameterDict, nn.modules.dropout._DropoutNd)
    found = []
    for name, part in model.named_modules():
        is_known = type(part).__module__.startswith("torch.nn.") and not isinstance(part, varying)
        found.append(f"{name}: {type(part).__name__}({part.extra_repr() if is_known else ''})")
    # Its own name does not matter.
    return found[1:]


def _check_model(model: nn.Module, state: dict[str, Any], path: str | Path) -> None:
    """Refuse weights of another model."""
    own, known = shape_of(model), state["shape"]
    for name in sorted(own.keys() | known.keys()):
        if own.get(name) != known.get(name):
            raise DataError(
                f"{path}: is of another model: {name} has shape {known.get(name, 'none')} there and "
                f"{own.get(name, 'none')} here."
            )
    for there, here in zip_longest(state["layers"], layers_of(model), fillvalue="nothing"):
        if there != here:
            raise DataError(f"{path}: is of another model: {there} there and {here} here.")


def digest_of(tensors: tuple[Tensor, ...], settings: object) -> str:
    """A hash of values and settings."""
    # Where something is in memory is no setting.
    digest = hashlib.sha256(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(settings)).encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
