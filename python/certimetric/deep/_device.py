"""Places of relevant rows in rankings, on the device that the embeddings are on."""

import torch
from torch import Tensor

__all__ = ["precisions"]

_TILE = 1 << 22
"""Distances of a tile, of which some ten numbers each are held."""


def precisions(gallery: Tensor, codes: Tensor, queries: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Average precision, the same over the R nearest rows, and rows before the first relevant one; all (m,).

    What the core finds on the processor, by the same intervals of distances in binary64, but with sorts,
    which suit devices of many threads: O(m n (p + log n)), in tiles.
    """
    largest = max(gallery.abs().max(), queries.abs().max())
    scale = torch.exp2(-torch.frexp(largest).exponent.double().clamp(-1000, 1000))
    centre = (gallery * scale).sort(dim=0).values[len(gallery) // 2]
    rows, asked = gallery * scale - centre, queries * scale - centre
    squares = rows.square().sum(dim=1)
    # Of products, squares and centred coordinates, in any order of their sums.
    unit = (rows.shape[1] + 8) * 2.0**-53
    rounding = 2 * unit / (1 - unit)
    classes = codes[own]
    parts = []
    for tile in torch.arange(len(asked), device=rows.device).split(max(1, _TILE // len(rows))):
        sizes = asked[tile].square().sum(dim=1, keepdim=True) + squares
        distances = sizes - 2 * asked[tile] @ rows.T
        same = codes == classes[tile, None]
        others = (distances - rounding * sizes).masked_fill(same, torch.inf)
        same[torch.arange(len(tile), device=rows.device), own[tile]] = False
        relevant = (distances + rounding * sizes).masked_fill(~same, torch.inf)
        parts.append(_tile(relevant.sort(dim=1).values, others.sort(dim=1).values, same.sum(dim=1)))
    average, at_r, first = (torch.cat(part) for part in zip(*parts, strict=True))
    return average, at_r, first


def _tile(relevant: Tensor, others: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each row ``counts`` relevant distances come first; what is of the other kind is infinite."""
    most = int(counts.max())
    steps = relevant[:, :most].contiguous()
    before = torch.searchsorted(others, steps, right=True)
    hits = torch.arange(1, most + 1, device=steps.device)
    places = before + hits
    share = (hits / places.double()).masked_fill(hits > counts[:, None], 0.0)
    near = share.masked_fill(places > counts[:, None], 0.0)
    return share.sum(dim=1) / counts, near.sum(dim=1) / counts, before[:, 0]
