"""Scores of retrieval before brute force and before pytorch-metric-learning."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.metrics import normalized_mutual_info_score

from certimetric import _native
from certimetric.deep import _device, retrieval_scores
from certimetric.deep.evaluation import check_spread
from certimetric.exceptions import InputError

pytestmark = pytest.mark.torch


def data(seed, n=60, p=4, classes=5):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.repeat(np.arange(classes), 2), rng.integers(classes, size=n - 2 * classes)])
    return rng.normal(size=(n, p)) + np.eye(classes, p)[labels] * 1.5, labels


def brute_force(rows, labels, queries, own):
    """R@1, R@3, mAP and mAP@R in plain loops."""
    found = []
    for query, row in zip(queries, own, strict=True):
        order = [j for j in np.argsort(np.linalg.norm(rows - query, axis=1), kind="stable") if j != row]
        hits = labels[order] == labels[row]
        count = hits.sum()
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        average = precision[hits].sum() / count
        at_r = (precision * hits)[:count].sum() / count
        found.append([hits[0], hits[:3].any(), average, at_r])
    return np.mean(found, axis=0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("jobs", [1, 2])
def test_scores_are_those_of_their_definitions(seed, jobs):
    rows, labels = data(seed)
    scores = retrieval_scores(rows, labels, ks=(1, 3), n_jobs=jobs)
    found = [scores.recall[1], scores.recall[3], scores.map, scores.map_at_r]
    np.testing.assert_allclose(found, brute_force(rows, labels, rows, np.arange(60)), rtol=1e-12)


def test_queries_may_stand_for_rows():
    rows, labels = data(7)
    own = np.array([4, 50, 12])
    queries = rows[own] + 0.5
    scores = retrieval_scores(rows, labels, queries=queries, own=own, ks=np.array([1, 3]), nmi=False)
    assert scores.nmi is None
    found = [scores.recall[1], scores.recall[3], scores.map, scores.map_at_r]
    np.testing.assert_allclose(found, brute_force(rows, labels, queries, own), rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_pytorch_metric_learning_says_the_same(seed):
    rows, labels = data(seed, n=80)
    wanted = ("precision_at_1", "mean_average_precision_at_r", "mean_average_precision")
    knn = CustomKNN(LpDistance(normalize_embeddings=False))
    calculator = AccuracyCalculator(include=wanted, k=79, knn_func=knn, device=torch.device("cpu"))
    theirs = calculator.get_accuracy(torch.from_numpy(rows), torch.from_numpy(labels))
    ours = retrieval_scores(rows, labels, nmi=False)
    np.testing.assert_allclose([ours.recall[1], ours.map_at_r, ours.map], [theirs[name] for name in wanted])


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-4, 1.0), (1.0, 1e4), (1e-25, 0.0), (1e19, 0.0), (1e-3, 7e3)]
)
def test_points_far_away_or_near_each_other_keep_their_order(scale, offset):
    rows, labels = data(2)
    moved = rows * scale + offset
    scores = retrieval_scores(moved, labels, ks=(1, 3), nmi=False)
    found = [scores.recall[1], scores.recall[3], scores.map, scores.map_at_r]
    np.testing.assert_allclose(found, brute_force(rows, labels, rows, np.arange(60)), rtol=1e-12)


def test_clusters_that_are_the_classes_have_all_the_information():
    labels = np.repeat(["a", "b", "c"], 10)
    rows = np.repeat(np.eye(3), 10, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(30, 3))
    assert retrieval_scores(rows, labels).nmi == pytest.approx(1)
    # Of queries, where there are some: of one class, or where those of another are.
    assert retrieval_scores(rows, labels, queries=rows[:1]).nmi is None
    assert retrieval_scores(rows, labels, queries=np.roll(rows[:20], 5, axis=0)).nmi < 0.5
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(300, 3))
    assert retrieval_scores(noise, rng.integers(3, size=300)).nmi < 0.05
    assert normalized_mutual_info_score([0, 0, 1], [1, 1, 0]) == pytest.approx(1)


def test_ties_count_against_the_query():
    # On a circle about the two queries.
    circle = [[3, 4], [4, 3], [-3, 4], [-5, 0], [0, 5]]
    rows, labels = np.array([[0, 0], *circle, [0, 0]]) + 0.1, np.array([0, 0, 0, 1, 1, 1, 1])
    scores = retrieval_scores(rows, labels, own=np.array([0]), queries=rows[:1], ks=(1, 4, 5), nmi=False)
    # Four of the other class come first, then the two of the own: (1/5 + 2/6) / 2.
    assert scores.recall == {1: 0.0, 4: 0.0, 5: 1.0}
    assert scores.map == pytest.approx((1 / 5 + 2 / 6) / 2)


@pytest.mark.parametrize(("n", "p", "classes", "size"), [(50, 2, 3, 4), (400, 3, 7, 4), (60, 4, 5, 30)])
def test_ties_of_whole_numbers_count_against_the_query(n, p, classes, size):
    rng = np.random.default_rng(n)
    rows, labels = rng.integers(size, size=(n, p)).astype(float), np.arange(n) % classes
    squares = ((rows[:, None] - rows) ** 2).sum(axis=2)
    is_same = labels[:, None] == labels
    np.fill_diagonal(is_same, False)
    precision = []
    for row in range(n):
        order = [j for j in np.lexsort((is_same[row], squares[row])) if j != row]
        hits = is_same[row][order]
        precision.append((np.cumsum(hits) / np.arange(1, n))[hits].mean())
    assert retrieval_scores(rows, labels, nmi=False).map == pytest.approx(np.mean(precision), abs=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1e-5])
def test_what_is_near_in_groups_far_apart_is_told_apart(scale):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 5)
    # Ten places of four classes each, which differ by little there.
    places, own = rng.normal(size=(10, 8)), rng.normal(size=(40, 8))
    rows = places[labels % 10] + scale * (own[labels] + 0.01 * rng.normal(size=(200, 8)))
    assert retrieval_scores(rows, labels, nmi=False).map == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 3e303])
@pytest.mark.parametrize("seed", range(4))
def test_sorts_on_a_device_find_what_the_core_counts(monkeypatch, seed, scale):
    monkeypatch.setattr(_device, "_TILE", 700)
    rng = np.random.default_rng(seed)
    # Whole numbers, of which many are as far away as others.
    rows, codes = rng.integers(8, size=(120, 3)) * scale, np.arange(120) % (seed + 2)
    own = rng.integers(120, size=50)
    queries = rows[own] + rng.integers(2, size=(50, 3)) * scale
    core = _native.average_precision(rows, codes, seed + 2, queries, own)
    there = _device.precisions(*map(torch.from_numpy, (rows, codes, queries, own)))
    for expected, found in zip(core, there, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert core[0].std() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("seed", range(3))
def test_scores_on_cuda_are_those_of_the_processor(seed):
    rows, labels = data(seed, n=500)
    here = retrieval_scores(rows, labels)
    there = retrieval_scores(torch.from_numpy(rows).cuda(), labels)
    assert there.recall == here.recall
    found, expected = [there.map, there.map_at_r, there.nmi], [here.map, here.map_at_r, here.nmi]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_one_row_far_away_changes_little():
    rows, labels = data(3)
    alone = retrieval_scores(rows, labels, nmi=False)
    far = np.vstack([rows, np.full((1, rows.shape[1]), 1e12)])
    found = retrieval_scores(far, np.append(labels, 0), queries=rows, ks=(1, 2), nmi=False)
    assert found.recall[1] == alone.recall[1]


@pytest.mark.parametrize("value", [1e-310, 1e300])
def test_numbers_of_any_size_are_ranked(value):
    rows, labels = data(4)
    expected = retrieval_scores(rows, labels)
    found = retrieval_scores(np.round(rows * 2.0**20) * value * 2.0**-24, labels, nmi=True)
    assert found.recall[1] == expected.recall[1]
    assert found.nmi is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.zeros(3)}, "embeddings must be floating-point numbers of shape"),
        ({"embeddings": np.full((60, 4), np.nan)}, "embeddings must be finite; row 0 is not"),
        ({"labels": np.zeros(60)}, "labels must have two classes at least, got 1"),
        ({"labels": np.arange(60) % 59}, "each class needs 2 images at least; class 1 has 1"),
        ({"labels": np.linspace(0, 1, 60)}, "labels must be classes, not continuous values"),
        ({"labels": np.zeros(3)}, "labels must have shape"),
        ({"ks": (1.5,)}, "ks must be integers, 1 or more"),
        ({"ks": (0, 1)}, "ks must be integers, 1 or more"),
        ({"ks": 1.5}, "ks must be integers, 1 or more"),
        ({"embeddings": np.ones((60, 4))}, "embeddings are 60 times the same"),
        ({"queries": np.zeros((2, 3))}, "queries must have 4 columns, got 3"),
        ({"queries": np.zeros((2, 4)), "own": [0, 99]}, "own must name a row of embeddings"),
        ({"queries": np.zeros((2, 4)), "own": [0.5, 1.0]}, "own must name a row of embeddings"),
        ({"queries": np.zeros((61, 4))}, "own must name a row of embeddings"),
    ],
)
def test_bad_input_is_refused(change, message):
    rows, labels = data(0)
    arguments = {"embeddings": rows, "labels": labels, **change}
    with pytest.raises(InputError, match=message):
        retrieval_scores(arguments.pop("embeddings"), arguments.pop("labels"), **arguments)


def test_collapsed_embeddings_are_noticed():
    check_spread(torch.eye(3))
    with pytest.raises(InputError, match="model has collapsed: it gives 5 images the same embedding"):
        check_spread(torch.ones(5, 3))
