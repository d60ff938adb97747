"""Triplets: what each strategy may choose, and how often."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from pytorch_metric_learning import losses

from certimetric.deep import TripletMiner
from certimetric.exceptions import InputError

pytestmark = pytest.mark.torch

STRATEGIES = ["random", "semihard", "softhard", "hard", "distance"]


def batch(seed, pairs=12, classes=4, dimensions=6):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(2 * pairs, dimensions))
    labels = np.repeat(rng.integers(classes, size=pairs), 2)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def mined(miner, rows, labels):
    return [part.numpy() for part in miner(torch.from_numpy(rows), torch.from_numpy(labels))]


@pytest.mark.parametrize("anchors", ["pairs", "all"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(8))
def test_triplets_are_what_the_strategy_says(strategy, anchors, seed):
    rows, labels = batch(seed)
    generator = torch.Generator().manual_seed(seed)
    miner = TripletMiner(strategy, margin=0.3, anchors=anchors, generator=generator)
    a, p, n = mined(miner, rows, labels)
    assert (labels[a] == labels[p]).all()
    assert (a != p).all()
    assert (labels[a] != labels[n]).all()
    np.testing.assert_array_equal(a, np.arange(0, 24, 2) if anchors == "pairs" else np.arange(24))
    if anchors == "pairs" and strategy != "softhard":
        np.testing.assert_array_equal(p, a + 1)
    d = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    same = labels[:, None] == labels[None]
    np.fill_diagonal(same, False)
    for i, j, k in zip(a, p, n, strict=True):
        others = d[i][labels != labels[i]]
        if strategy == "hard":
            assert d[i, k] == others.min()
        if strategy == "semihard" and ((others > d[i, j]) & (others < d[i, j] + 0.3)).any():
            assert d[i, j] < d[i, k] < d[i, j] + 0.3
        if strategy == "softhard" and (others < d[i][same[i]].max()).any():
            assert d[i, k] < d[i][same[i]].max()
        if strategy == "softhard" and (d[i][same[i]] > others.min()).any():
            assert d[i, j] > others.min()


def test_distance_weighted_negatives_come_as_often_as_one_over_the_density():
    rows, labels = batch(3, pairs=6, classes=3, dimensions=5)
    miner = TripletMiner("distance", generator=torch.Generator().manual_seed(0))
    found = np.stack([mined(miner, rows, labels)[2] for _ in range(4000)])
    for place, anchor in enumerate(range(0, 12, 2)):
        d = np.maximum(np.linalg.norm(rows - rows[anchor], axis=1), 0.5)
        density = d**3.0 * (1 - d**2 / 4) ** 1.0
        weights = np.where(labels != labels[anchor], 1 / density, 0)
        counts = np.bincount(found[:, place], minlength=12)
        np.testing.assert_allclose(counts / 4000, weights / weights.sum(), atol=0.03)


def test_random_negatives_come_equally_often():
    rows, labels = batch(4, pairs=5, classes=3)
    miner = TripletMiner(generator=torch.Generator().manual_seed(0))
    found = np.stack([mined(miner, rows, labels)[2] for _ in range(4000)])
    for place, anchor in enumerate(range(0, 10, 2)):
        expected = (labels != labels[anchor]) / np.count_nonzero(labels != labels[anchor])
        np.testing.assert_allclose(np.bincount(found[:, place], minlength=10) / 4000, expected, atol=0.03)


def test_losses_of_pytorch_metric_learning_take_the_triplets():
    rows, labels = (torch.from_numpy(part) for part in batch(5))
    triplets = TripletMiner("semihard")(rows, labels)
    for loss in (losses.TripletMarginLoss(), losses.ContrastiveLoss(), losses.MultiSimilarityLoss()):
        assert torch.isfinite(loss(rows.requires_grad_(), labels, triplets))


def test_the_generator_decides_alone():
    rows, labels = batch(6)
    first, again = (
        mined(TripletMiner("softhard", generator=torch.Generator().manual_seed(9)), rows, labels)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_what_has_no_triplet_is_refused():
    rows = torch.randn(4, 3)
    with pytest.raises(InputError, match="no triplet in the batch: it needs two classes"):
        TripletMiner()(rows, torch.tensor([1, 1, 1, 1]))
    with pytest.raises(InputError, match="no triplet in the batch"):
        TripletMiner(anchors="all")(rows, torch.arange(4))
    with pytest.raises(InputError, match="must come in pairs"):
        TripletMiner()(rows, torch.tensor([0, 1, 0, 1]))
    with pytest.raises(InputError, match="strategy must be one of random, semihard"):
        TripletMiner("easy")
    with pytest.raises(InputError, match="anchors must be 'pairs' or 'all', got 'some'"):
        TripletMiner(anchors="some")
    with pytest.raises(InputError, match="from one batch"):
        TripletMiner()(rows, torch.tensor([0, 0, 1, 1]), rows + 1, torch.tensor([0, 0, 1, 1]))
