"""Schemes by their published names: ``HM[S,LGA]&ICS``, ``ACT[R]``, ``EST[R]``, …."""

import math
import re
from typing import Any, Literal

from certimetric.deep.attacks import PGD
from certimetric.deep.losses import Loss, make_loss
from certimetric.deep.mining import Strategy, TripletMiner
from certimetric.deep.schemes import (
    ACT,
    EST,
    CertifiedPrototypes,
    CertifiedTriplets,
    HardnessManipulation,
    Plain,
    RobustOptimization,
    Scheme,
)
from certimetric.exceptions import InputError

__all__ = ["make_scheme"]

_STRATEGIES: dict[str, Strategy] = {
    "R": "random",
    "M": "semihard",
    "S": "softhard",
    "H": "hard",
    "D": "distance",
}
_NAME = re.compile(r"(?P<kind>[A-Za-z]+)(\[(?P<source>[RMSHD])(,(?P<other>[^\]]+))?\])?(?P<ics>&ICS)?")
_HELP = (
    "use 'none', 'RO[pos]', 'RO[neg]', 'RO[anc]', 'CT[S]', 'CP[20]', 'EST[R]', 'ACT[R]', 'MM[S]', "
    "'HM[S,LGA]', 'HM[S,LGA]&ICS', 'HM[R,M]' or 'HM[S,-0.1]'; R, M, S, H and D stand for random, "
    "semi-hard, soft-hard, hard and distance-weighted triplets"
)
_HARDEST = 2.0
"""d(a, p) − d(a, n) of unit embeddings is no larger: min-max training."""
_ROLES: dict[str, Literal["positive", "negative", "anchor"]] = {
    "pos": "positive",
    "neg": "negative",
    "anc": "anchor",
}


def make_scheme(
    name: str,
    *,
    attack: PGD | None = None,
    loss: Loss | None = None,
    margin: float = 0.2,
    ics: float = 0.5,
) -> Scheme:
    """A training scheme by its published name.

    ``HM[S,LGA]&ICS`` is hardness manipulation of soft-hard triplets towards the linear gradual adversary,
    with intra-class structure; the second entry may be another kind of triplets or a constant, such as in
    ``HM[R,M]`` and ``HM[S,-0.1]``. ``MM[S]`` is min-max training, ``none`` none; ``none[S]`` mines soft-hard
    triplets. ``CT[S]`` are certified triplets, of margin ``margin``, for a network of a known constant.
    ``CP[20]`` are twenty certified prototypes of each class, of margin ``margin`` as well. ``RO[pos]`` is
    robust optimisation of the positives of distance-weighted triplets.

    Parameters
    ----------
    name : str
    attack : PGD, optional
        Default: ℓ∞ 77/255, 32 steps of 3/255; of ``RO`` 0.01 and five random-start steps, as published.
    loss : callable, optional
        Default: the triplet loss with ``margin``.
    margin : float
        γ of the triplet loss, of semi-hard triplets and of the linear gradual adversary.
    ics : float
        λ of ``&ICS``.

    Raises
    ------
    InputError
        An unknown name; the message has those that are known.
    """
    if not 0 < margin < math.inf:
        raise InputError(f"margin must be positive and finite, got {margin}.")
    if not 0 <= ics < math.inf:
        raise InputError(f"ics must be 0 or more, and finite, got {ics}.")
    shared: dict[str, Any] = {"loss": make_loss("triplet", margin=margin) if loss is None else loss}
    robust = re.fullmatch(r"RO\[(pos|neg|anc)\]", name)
    if robust:
        shared["miner"] = TripletMiner("distance", margin=margin)
        given = attack or PGD(eps=0.01, steps=5, random_start=True)
        return RobustOptimization(**shared, attack=given, role=_ROLES[robust[1]])
    certified = re.fullmatch(r"CT\[([RMSHD])\]", name)
    if certified:
        return CertifiedTriplets(miner=TripletMiner(_STRATEGIES[certified[1]], margin=margin), margin=margin)
    prototypes = re.fullmatch(r"CP\[(\d+)\]", name)
    if prototypes:
        return CertifiedPrototypes(n_prototypes=int(prototypes[1]), margin=margin)
    match = _NAME.fullmatch(name)
    parts = match.groupdict() if match else {"kind": ""}
    kind = parts["kind"]
    is_hm = kind == "HM"
    if kind not in ("none", "EST", "ACT", "MM", "HM") or is_hm != bool(parts["other"]):
        raise InputError(f"unknown scheme {name!r}: {_HELP}.")
    if parts["ics"] and kind not in ("MM", "HM"):
        raise InputError(f"unknown scheme {name!r}: &ICS goes with MM and HM, which attack anchors.")
    strategy = _STRATEGIES[parts["source"] or "R"]
    shared["miner"] = TripletMiner(strategy, margin=margin)
    if kind == "none":
        return Plain(**shared)
    if attack is not None:
        shared["attack"] = attack
    if kind in ("EST", "ACT"):
        return {"EST": EST, "ACT": ACT}[kind](**shared)
    shared["ics"] = ics if parts["ics"] else 0.0
    destination = _HARDEST if kind == "MM" else _destination(parts["other"] or "", name)
    return HardnessManipulation(**shared, margin=margin, destination=destination)


def _destination(text: str, name: str) -> Any:
    if text.upper() == "LGA":
        return "lga"
    if text in _STRATEGIES:
        return _STRATEGIES[text]
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"unknown scheme {name!r}: {_HELP}.")
    return found
