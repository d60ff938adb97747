"""The format of certificates: their fields, well-formed or not, and the hashes in them."""

import base64
import hashlib
import json
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._exact import Array, Unproven, require
from ._tree import as_list

__all__ = ["Trees", "decode", "encode", "key", "read"]
__all__ += ["sha256_of_matrix", "sha256_of_metric", "sha256_of_training"]

_FIELDS = {"format", "version", "training", "metric", "norm", "n_neighbors", "rule", "index", "point"}
_FIELDS |= {"label", "predicted", "lower", "upper", "adversarial", "witnesses", "tree"}


class Trees(NamedTuple):
    """The tree of a certificate: its judges, and the nodes of each way, by rival and own rows."""

    judges: list[int]
    ways: dict[tuple[Any, int], list[Any]]


def read(given: Any, shape: tuple[int, int], metric: str, training: str) -> dict[str, Any]:
    """The fields, decoded, of a certificate about training rows of a shape, and about these hashes.

    ``given`` is a dict, or its text as str or bytes. Labels are keys, and infinite ends math.inf.
    """
    n, d = shape
    data: Any = _parsed(given) if isinstance(given, str | bytes) else given
    require(type(data) is dict, "it is not a JSON object")
    known = {"format": "certimetric.certificate", "version": 1, "norm": 2, "metric": metric}
    for name, right in (known | {"training": training}).items():
        found = data.get(name)
        require(type(found) is type(right) and found == right, f"{name} is not {right!r}")
    require(data.keys() == _FIELDS, "its fields are not those of version 1")
    fine = type(data["rule"]) is str and data["rule"] in ("plurality", "majority")
    require(fine, "rule is unknown")
    claim = {**data, "index": _integer(data["index"], "index", 0, 2**63 - 1)}
    claim["n_neighbors"] = _integer(data["n_neighbors"], "n_neighbors", 1, n)
    for name in ("label", "predicted"):
        claim[name] = key(data[name])
    for name in ("lower", "upper"):
        claim[name] = math.inf if data[name] is None else _number(data[name], name)
    claim["point"] = _point(data["point"], d)
    claim["adversarial"] = None if data["adversarial"] is None else _point(data["adversarial"], d)
    claim["tree"] = None if data["tree"] is None else _trees(data["tree"], n)
    require(type(data["witnesses"]) is list, "witnesses is not a list")
    claim["witnesses"] = [_witness(witness, n) for witness in data["witnesses"]]
    return claim


def _point(text: Any, size: int) -> Array:
    try:
        point = decode(text)
    except (TypeError, ValueError):
        point = np.empty(0)
    fine = len(point) == size and bool(np.isfinite(point).all())
    require(fine, f"a point is not the base64 of {size} finite binary64 numbers")
    return point


def _witness(witness: Any, n: int) -> tuple[Array, Array]:
    fine = type(witness) is list and len(witness) == 2 and all(type(part) is list for part in witness)
    require(fine and 0 < len(witness[0]) == len(witness[1]), "a witness is not rows and as many weights")
    rows = [_integer(row, "a row of a witness", 0, n - 1) for row in witness[0]]
    weights = [_number(weight, "a weight") for weight in witness[1]]
    require(min(weights) > 0, "a weight is not positive")
    return np.array(rows), np.array(weights)


def _trees(tree: Any, n: int) -> Trees:
    require(type(tree) is dict and tree.keys() == {"judges", "ways"}, "tree is not one")
    ways = {}
    for way in as_list(tree["ways"]):
        require(type(way) is dict and way.keys() == {"rival", "own", "nodes"}, "a way is not one")
        fine = type(way["own"]) is int and type(way["rival"]) in (str, int, float, bool, type(None))
        require(fine, "a way is not one")
        ways[way["rival"], way["own"]] = as_list(way["nodes"])
    return Trees([_integer(row, "a judge", 0, n - 1) for row in as_list(tree["judges"])], ways)


def encode(array: ArrayLike) -> str:
    """Base64 of the little-endian binary64 numbers of an array, in C order."""
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f8").tobytes()).decode("ascii")


def decode(text: str) -> NDArray[np.float64]:
    """What :func:`encode` wrote, in one dimension; ValueError or TypeError where it did not."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f8").astype(np.float64)


def sha256_of_training(X: ArrayLike, y: ArrayLike) -> str:
    """SHA-256 of ``{"shape":[n,d],"y":[...]}``, a newline, and X as little-endian binary64."""
    return _sha256({"shape": list(np.shape(X)), "y": np.asarray(y).tolist()}, X)


def sha256_of_metric(G: ArrayLike) -> str:
    """SHA-256 of ``{"shape":[p,d]}``, a newline, and G as little-endian binary64."""
    return _sha256({"shape": list(np.shape(G))}, G)


def sha256_of_matrix(M: ArrayLike) -> str:
    """SHA-256 of ``{"matrix":[d,d]}``, a newline, and M as little-endian binary64."""
    return _sha256({"matrix": list(np.shape(M))}, M)


def _sha256(head: dict[str, Any], array: ArrayLike) -> str:
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=True, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(f"{text}\n".encode())
    digest.update(np.ascontiguousarray(array, dtype="<f8").reshape(-1).data)
    return digest.hexdigest()


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Unproven(f"it is not JSON that can be read: {error}"[:120]) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(pairs)) == len(pairs), "a name occurs twice")
    return dict(pairs)


def key(label: Any) -> tuple[str, Any]:
    """A label in a form that is equal to another one only where it means the same."""
    number = type(label) is int or (type(label) is float and math.isfinite(label))
    require(number or type(label) in (str, bool), "a label is not text, a finite number or a boolean")
    return "number" if number else type(label).__name__, label


def _number(value: Any, name: str) -> float:
    # In this order neither NaN nor an integer that is too large passes.
    fine = type(value) in (int, float) and 0 <= value <= 1.7976931348623157e308 and float(value) == value
    require(fine, f"{name} is not a binary64 number of at least 0")
    return float(value)


def _integer(value: Any, name: str, least: float, most: float) -> int:
    require(type(value) is int and least <= value <= most, f"{name} is not an integer from {least} to {most}")
    return int(value)
