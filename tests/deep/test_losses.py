"""Losses and distances before independent NumPy, and their gradients before differences."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from pytorch_metric_learning import losses

import certimetric as cm
from certimetric.deep import (
    EuclideanDistance,
    MahalanobisDistance,
    PrototypeMarginLoss,
    make_loss,
    triplet_margins,
)
from certimetric.deep.losses import hardness, of_triplets
from certimetric.exceptions import InputError

pytestmark = pytest.mark.torch


def data(seed=0, n=9, d=4):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = rng.permutation(n)
    triplets = tuple(order[k::3] for k in range(3))
    labels = np.arange(n)
    labels[triplets[1]] = labels[triplets[0]]
    return rows, labels, triplets


def as_tensors(rows, labels, triplets):
    return torch.from_numpy(rows), torch.from_numpy(labels), tuple(map(torch.from_numpy, triplets))


def expected(name, rows, triplets):
    a, p, n = (rows[part] for part in triplets)
    near, far = np.linalg.norm(a - p, axis=1), np.linalg.norm(a - n, axis=1)
    if name == "triplet":
        return np.maximum(near - far + 0.2, 0).mean()
    if name == "contrastive":
        push = np.maximum(1 - far, 0)
        return near.mean() + (push[push > 0].mean() if (push > 0).any() else 0)
    parts = np.concatenate([np.maximum(near - 1.2 + 0.2, 0), np.maximum(1.2 - far + 0.2, 0)])
    return parts.sum() / max(1, np.count_nonzero(parts))


@pytest.mark.parametrize("name", ["triplet", "contrastive", "margin"])
@pytest.mark.parametrize("seed", range(4))
def test_losses_are_what_the_papers_say(name, seed):
    rows, labels, triplets = data(seed)
    found = make_loss(name)(*as_tensors(rows, labels, triplets))
    np.testing.assert_allclose(float(found), expected(name, rows, triplets), rtol=1e-6)


@pytest.mark.parametrize("name", ["triplet", "contrastive", "margin"])
@pytest.mark.parametrize("is_learned", [False, True])
def test_gradients_are_those_of_differences(name, is_learned):
    rows, labels, triplets = as_tensors(*data(1))
    distance = MahalanobisDistance(components=np.random.default_rng(0).normal(size=(3, 4))).double()
    loss = make_loss(name, distance if is_learned else None)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels, triplets), rows.requires_grad_())
    if is_learned:

        def of_components(G):
            return torch.func.functional_call(distance, {"components": G}, (rows.detach(),))

        start = distance.components.detach().clone().requires_grad_()
        assert torch.autograd.gradcheck(of_components, start)


@pytest.mark.parametrize("function", [hardness, triplet_margins])
def test_gradients_of_triplets_are_those_of_differences(function):
    parts = [torch.from_numpy(data(seed)[0]).requires_grad_() for seed in (2, 3, 4)]
    assert torch.autograd.gradcheck(function, parts)


def test_margins_are_the_radii_of_triplets():
    a, p, n = (data(seed)[0] for seed in (5, 6, 7))
    found = triplet_margins(*map(torch.from_numpy, (a, p, n)))
    np.testing.assert_allclose(found, cm.triplet_radius(a, p, n), rtol=1e-12)
    assert triplet_margins(*map(torch.from_numpy, (a, p, p))).abs().max() == 0


def test_a_loss_of_parts_is_the_loss_of_rows():
    rows, labels, triplets = as_tensors(*data(8))
    loss = make_loss("triplet")
    found = of_triplets(loss, tuple(rows[part] for part in triplets), labels, triplets)
    torch.testing.assert_close(found, loss(rows, labels, triplets))


def test_distances_keep_their_digits_near_zero():
    rows = torch.ones(30, 64) / 8
    rows[1:, 0] += 1e-4
    found = EuclideanDistance()(rows)
    exact = (rows.double()[:, None] - rows.double()).norm(dim=2)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)
    rows.requires_grad_()
    EuclideanDistance()(rows).sum().backward()
    EuclideanDistance().pairwise_distance(rows, rows.detach()).sum().backward()
    assert torch.isfinite(rows.grad).all()


def prototypes(seed=0, margin=0.7):
    torch.manual_seed(seed)
    loss = PrototypeMarginLoss(3, 4, n_prototypes=2, margin=margin).double()
    rows = torch.randn(20, 4, dtype=torch.float64)
    return loss, rows, torch.arange(20) % 3


@pytest.mark.parametrize("seed", range(4))
def test_margins_before_prototypes_are_the_least_radii_of_triplets(seed):
    loss, rows, labels = prototypes(seed)
    found = loss.margins(rows, labels).detach().numpy()
    points, kinds = loss.points.detach().numpy(), loss.labels.numpy()
    for z, label, value in zip(rows.numpy(), labels.numpy(), found, strict=True):
        own = points[kinds == label]
        nearest = own[np.linalg.norm(own - z, axis=1).argmin()]
        others = points[kinds != label]
        d = np.linalg.norm(others - z, axis=1) ** 2 - np.linalg.norm(nearest - z) ** 2
        assert value == pytest.approx((d / (2 * np.linalg.norm(others - nearest, axis=1))).min())
    assert float(loss(rows, labels).detach()) == pytest.approx(np.maximum(0.7 - found, 0).mean())
    # And no larger than the exact radius.
    exact = cm.CertifiedKNeighborsClassifier().fit(points, kinds).certify(rows.numpy(), labels.numpy())
    assert (np.maximum(found, 0) <= exact.upper + 1e-12).all()
    np.testing.assert_array_equal(found < 0, exact.status == "misclassified")


def test_gradients_before_prototypes_are_those_of_differences():
    loss, rows, labels = prototypes(1, margin=3.0)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), rows.requires_grad_())

    def of_points(points):
        return torch.func.functional_call(loss, {"points": points}, (rows.detach(), labels))

    assert torch.autograd.gradcheck(of_points, loss.points.detach().clone().requires_grad_())


def test_prototypes_begin_with_the_means_of_classes():
    loss = PrototypeMarginLoss(2, 3)
    rows, labels = torch.randn(10, 3), torch.arange(10) % 2
    loss.initialize(rows, labels)
    torch.testing.assert_close(loss.points.detach(), torch.stack([rows[0::2].mean(0), rows[1::2].mean(0)]))
    with pytest.raises(InputError, match="class 0 has 5 rows for 6 points"):
        PrototypeMarginLoss(2, 3, 6).initialize(rows, labels)


def test_a_learned_metric_is_trained_by_a_loss_and_certified():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3))
    labels = (rows[:, 0] > 0).astype(int)
    rows[:, 1] *= 5
    distance = MahalanobisDistance(3)
    loss = losses.TripletMarginLoss(margin=0.5, distance=distance)
    optimizer = torch.optim.Adam(distance.parameters(), lr=0.05)
    X, y = torch.from_numpy(rows).float(), torch.from_numpy(labels)
    before = float(loss(X, y).detach())
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(X, y)
        value.backward()
        optimizer.step()
    assert float(value.detach()) < before
    clf = cm.CertifiedKNeighborsClassifier(metric=distance).fit(rows, labels)
    cert = clf.certify(rows + 0.01)
    assert (cert.status == "exact").all()
    assert (cert.lower > 0).any()
    G = distance.components_
    np.testing.assert_allclose(distance.get_mahalanobis_matrix(), G.T @ G)
    embedded = (torch.from_numpy(rows) @ distance.components.double().T).detach()
    np.testing.assert_allclose(
        distance.double()(torch.from_numpy(rows)).detach(),
        np.linalg.norm(embedded[:, None] - embedded, axis=2),
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_loss("angular"), "loss must be 'triplet', 'contrastive' or 'margin', got 'angular'"),
        (lambda: PrototypeMarginLoss(1, 3), "n_classes must be 2 or more, got 1"),
        (lambda: PrototypeMarginLoss(2, 0), "n_components must be 1 or more, got 0"),
        (lambda: PrototypeMarginLoss(2, 3, margin=np.nan), "margin must be positive and finite"),
        (MahalanobisDistance, "n_features must be 1 or more, got None"),
        (lambda: MahalanobisDistance(3, 4), "n_components must be between 1 and n_features = 3, got 4"),
        (lambda: MahalanobisDistance(components=[[np.nan]]), "components must be a finite matrix"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
