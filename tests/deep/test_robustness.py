"""The ten attacks: their numbers without an attack, their direction with one, and runs that go on."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from certimetric.deep import PGD, attack_images, embed_all, retrieval_scores, robustness, robustness_score
from certimetric.deep._ranking_attacks import ATTACKS
from certimetric.exceptions import CollapsedModelError, DataError, InputError

pytestmark = pytest.mark.torch

STILL = PGD(eps=0.0, step=1.0, steps=1)


def plain_numbers(rows, codes, seed):
    """All raw numbers of embeddings that are not attacked, in NumPy, from their definitions."""
    n = len(rows)
    d = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    others = d + np.diag(np.full(n, np.inf))
    order = others.argsort(axis=1, kind="stable")
    draws = [np.random.default_rng([seed, number]).random(n) for number in range(len(ATTACKS))]
    anyone = [(draw * n).astype(int) for draw in draws]
    top = max(1, n // 100)
    near = [order[np.arange(n), (draw * top).astype(int)] for draw in draws]
    rank = {
        "CA+": [100 * (d[q] < d[q, i]).mean() for i, q in enumerate(anyone[0])],
        "CA-": [100 * (d[q] < d[q, i]).mean() for i, q in enumerate(near[1])],
        "QA+": [100 * (d[i] < d[i, c]).mean() for i, c in enumerate(anyone[2])],
        "QA-": [100 * (d[i] < d[i, c]).mean() for i, c in enumerate(near[3])],
    }
    hit = 100 * (codes[order[:, 0]] == codes)
    rest = {"TMA": (rows * rows[anyone[4]]).sum(axis=1), "ES:D": np.zeros(n), "GTT": np.full(n, 100.0)}
    numbers = {**rank, **rest, "ES:R": hit, "LTM": hit, "GTM": hit}
    return {name: np.mean(values) for name, values in numbers.items()}


@pytest.fixture
def many(small):
    images, codes = small
    rng = torch.Generator().manual_seed(0)
    images = torch.cat([images, (images + 0.2 * torch.rand(images.shape, generator=rng)).clamp(max=1)])
    return images, codes.repeat(2)


def test_raw_numbers_without_an_attack_are_those_of_their_definitions(network, many):
    images, codes = many
    score = robustness_score(network.double(), images.double(), codes, attack=STILL, seed=3)
    rows = embed_all(network, images.double()).numpy()
    expected = plain_numbers(rows, codes.numpy(), seed=3)
    for name, value in expected.items():
        # A rank changes by a place where rounding decides a tie.
        assert score.raw[name] == pytest.approx(value, abs=0.8), name
    assert score.points == 128
    assert score.attack == STILL


def test_scores_are_those_of_the_published_row():
    """CUB without a defence (Zhou & Patel, 2022): raw numbers and their score of 3.8."""
    raw = {"CA+": 0.0, "CA-": 100.0, "QA+": 0.0, "QA-": 99.9, "TMA": 0.883, "ES:D": 1.762, "ES:R": 0.0}
    raw |= {"LTM": 0.0, "GTM": 14.1, "GTT": 0.0}
    scores = [s for kind in ATTACKS for s in kind.scores(*(raw[name] for name in kind.names))]
    assert [name for kind in ATTACKS for name in kind.names] == list(raw)
    assert np.mean(scores) == pytest.approx(3.8, abs=0.05)
    assert all(0 <= s <= 100 for s in scores)


def test_each_attack_moves_its_number_the_way_it_wants(network, many):
    before = robustness_score(network, *many, attack=STILL)
    after = robustness_score(network, *many, attack=PGD(eps=0.3, step=0.02, steps=20))
    for name in ("CA+", "QA+", "ES:R", "LTM", "GTM", "GTT"):
        assert after.raw[name] < before.raw[name], name
    for name in ("CA-", "QA-", "TMA", "ES:D"):
        assert after.raw[name] > before.raw[name], name
    assert after.ers < before.ers
    assert all(0 <= score <= 100 for score in after.scores.values())
    assert after.ers == pytest.approx(np.mean(list(after.scores.values())))
    assert after.clean == before.clean == retrieval_scores(embed_all(network, many[0]), many[1])
    assert "ERS" in str(after)
    assert "mAP" in str(after)


def test_a_stronger_attack_does_not_succeed_less(network, many):
    """Larger balls, then more steps: each of the ten scores falls, but for noise."""
    budgets = [(0.03, 8), (0.1, 8), (0.3, 8), (0.3, 32)]
    found = [
        robustness_score(network, *many, attack=PGD(eps, step=1.25 * eps / steps, steps=steps))
        for eps, steps in budgets
    ]
    for weak, strong in pairwise(found):
        assert strong.ers < weak.ers + 0.5
        for name, score in strong.scores.items():
            assert score < weak.scores[name] + 4, name


def test_batches_do_not_matter(network, many):
    attack = PGD(eps=0.05, step=0.02, steps=3)
    first = robustness_score(network.double(), many[0].double(), many[1], attack=attack, batch_size=50)
    other = robustness_score(network, many[0].double(), many[1], attack=attack, batch_size=128)
    np.testing.assert_allclose(list(first.raw.values()), list(other.raw.values()), atol=0.8)


def test_a_run_that_was_stopped_goes_on(network, many, tmp_path, monkeypatch):
    path = tmp_path / "score.npz"
    call = {"attack": PGD(eps=0.1, steps=2), "points": 100, "batch_size": 32, "checkpoint": path}
    attacked, count = robustness._attacked, 0

    def stopped(*arguments):
        nonlocal count
        count += 1
        if count == 12:
            raise KeyboardInterrupt
        return attacked(*arguments)

    monkeypatch.setattr(robustness, "_attacked", stopped)
    with pytest.raises(KeyboardInterrupt):
        robustness_score(network, *many, **call)
    found = robustness_score(network, *many, **call)
    # 9 attacks of 4 batches, and the one in which it was stopped.
    assert count == 37
    monkeypatch.setattr(robustness, "_attacked", attacked)
    assert found == robustness_score(network, *many, **{**call, "checkpoint": None})
    with pytest.raises(DataError, match="of another model, other images or other settings"):
        robustness_score(network, *many, **{**call, "seed": 1})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read as a checkpoint"):
        robustness_score(network, *many, **call)


def test_attacked_images_are_those_of_the_score(network, many):
    images, codes = many
    attack = PGD(eps=0.2, step=0.05, steps=5)
    score = robustness_score(network, images, codes, attack=attack, points=40)
    embeddings = embed_all(network, images)
    for name in ("ES", "LTM", "GTM"):
        moved = attack_images(network, images, codes, name, attack=attack, points=40, batch_size=13)
        assert ((moved - images[:40]).abs() <= 0.2).all()
        found = retrieval_scores(embeddings, codes, queries=embed_all(network, moved), ks=(1,), nmi=False)
        known = score.raw["ES:R" if name == "ES" else name]
        assert 100 * found.recall[1] == pytest.approx(known, abs=2.6)
    with pytest.raises(InputError, match="name must be one of CA"):
        attack_images(network, images, codes, "FGSM")


def test_random_starts_come_from_the_seed(network, many):
    attack = PGD(eps=0.1, steps=1, step=0.01, random_start=True)
    call = {"attack": attack, "points": 40, "batch_size": 20}
    first, again, other = (robustness_score(network, *many, **call, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.raw["ES:D"] != other.raw["ES:D"]


def test_bad_input_is_refused_before_any_work(network, many):
    images, codes = many
    call = {"attack": STILL}
    for row, value in ((3, 1.5), (2, torch.nan)):
        spoiled = images.clone()
        spoiled[row, 0, 1, 1] = value
        with pytest.raises(
            InputError, match=rf"images must lie in \[0, 1\]; image {row} has the value {value}"
        ):
            robustness_score(network, spoiled, codes, **call)
    with pytest.raises(InputError, match="each class needs 2 images at least"):
        robustness_score(network, images, torch.arange(128), **call)
    with pytest.raises(InputError, match="points and batch_size must be 1 or more"):
        robustness_score(network, images, codes, points=0, **call)
    with pytest.raises(InputError, match=r"model does not take images of shape \(1, 5, 6\)"):
        robustness_score(network, images[:, :, :5], codes, **call)
    with pytest.raises(InputError, match="checkpoint must be in a folder that is there"):
        robustness_score(network, images, codes, checkpoint="/nonexistent/score.npz", **call)
    with pytest.raises(CollapsedModelError, match="model has collapsed"):
        robustness_score(torch.nn.Sequential(*network, torch.nn.Threshold(9, 1)), images, codes, **call)
    with pytest.raises(InputError, match="model gives values that are not finite for image 0"):
        robustness_score(
            torch.nn.Sequential(*network, torch.nn.Threshold(9, torch.nan)), images, codes, **call
        )
    with pytest.raises(InputError, match="model must give one vector for each image"):
        robustness_score(torch.nn.Identity(), images, codes, **call)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_says_the_same_to_tolerance(network, many):
    attack = PGD(eps=0.05, step=0.02, steps=3)
    here = robustness_score(network, *many, attack=attack)
    there = robustness_score(network.cuda(), *many, attack=attack)
    np.testing.assert_allclose(list(here.raw.values()), list(there.raw.values()), atol=2.0)


def test_a_score_is_a_record(network, many):
    score = robustness_score(network, *many, attack=STILL, points=5)
    assert dataclasses.asdict(score)["raw"].keys() == score.scores.keys()
