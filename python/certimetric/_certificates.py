"""Certificates of a run: what the core proved, in the words that :mod:`certimetric.certificate` checks."""

import json
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certimetric._index import LazyIndex
from certimetric._jsonl import write_lines
from certimetric._validation import FloatArray
from certimetric.certificate import encode
from certimetric.certification import Certification
from certimetric.exceptions import InputError

__all__ = ["numbered", "save", "with_certificates"]

Proof = tuple[float, list[Any], dict[str, Any] | None]
"""The lower end that is proven; the rows and weights of witnesses; and under a vote a tree in their place."""


def with_certificates(
    cert: Certification,
    proofs: Sequence[Proof],
    points: FloatArray,
    classes: NDArray[Any],
    index: LazyIndex,
) -> Certification:
    """The result with a line of JSON for each point that was reached.

    Parameters
    ----------
    cert : Certification
        With adversarial points.
    proofs : sequence of (lower, witnesses, tree)
        From the core.
    points : ndarray of shape (m, d)
    classes : ndarray of shape (n_classes,)
        Labels.
    index : LazyIndex
    """
    shared = {
        "format": "certimetric.certificate",
        "version": 1,
        **index.sha256(classes),
        "norm": cert.run.norm,
        "n_neighbors": cert.run.n_neighbors,
        "rule": cert.run.rule,
    }
    lines = np.full(len(cert), None, dtype=object)
    for i, proof in enumerate(proofs):
        if cert.predicted[i] is not None:
            own = _own(cert, i, proof, points[i], classes.tolist())
            lines[i] = _line({**shared, **own})
    return replace(cert, certificates=lines)


def _own(cert: Certification, i: int, proof: Proof, point: FloatArray, classes: list[Any]) -> dict[str, Any]:
    predicted = cert.predicted[i : i + 1].tolist()[0]
    label = predicted if cert.y is None else cert.y[i : i + 1].tolist()[0]
    lower, witnesses, tree = proof
    upper = float(cert.upper[i])
    found = None if cert.adversarial is None else cert.adversarial[i]
    if upper == np.inf or label != predicted:
        found = None
    return {
        "index": i,
        "point": encode(point),
        "label": label,
        "predicted": predicted,
        "lower": _number(lower),
        "upper": _number(upper),
        "adversarial": None if found is None else encode(found),
        "witnesses": witnesses,
        "tree": None if tree is None else _named(tree, classes),
    }


def _named(tree: dict[str, Any], classes: list[Any]) -> dict[str, Any]:
    """A tree with labels for the codes of classes."""
    ways = [{**way, "rival": None if way["rival"] is None else classes[way["rival"]]} for way in tree["ways"]]
    return {**tree, "ways": ways}


def _number(end: float) -> float | None:
    """JSON has no infinity."""
    return end if np.isfinite(end) else None


def numbered(cert: Certification, start: int) -> Certification:
    """The same with certificates that count their points from ``start`` on."""
    if cert.certificates is None:
        return cert
    lines = cert.certificates.copy()
    for i, line in enumerate(lines):
        if line is not None:
            lines[i] = _line({**json.loads(line), "index": start + i})
    return replace(cert, certificates=lines)


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, allow_nan=False, separators=(",", ":"))


def save(cert: Certification, path: str | PathLike[str]) -> None:
    """Write the certificates, a line each."""
    if cert.certificates is None:
        raise InputError("there are no certificates to save: certify with return_certificates=True.")
    write_lines(Path(path), [line for line in cert.certificates if line is not None])
