"""What holds on a device beside the processor: nothing mixes the two, and results are the same."""

from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from pytorch_metric_learning.losses import ProxyAnchorLoss
from tests.deep.elsewhere import ELSEWHERE, Device, Elsewhere

from certimetric.deep import (
    PGD,
    AOLConv2d,
    CertifiedEmbeddingClassifier,
    Householder,
    LipschitzNetwork,
    MahalanobisDistance,
    MaxMin,
    OrthogonalLinear,
    Plain,
    PotentialLayer,
    Trainer,
    _device,
    attack_images,
    embed_all,
    make_loss,
    make_scheme,
    random_shifts,
    retrieval_scores,
    robustness_score,
)
from certimetric.learning import ARML

pytestmark = pytest.mark.torch

ATTACK = PGD(eps=0.1, step=0.05, steps=2, random_start=True)
SCHEMES = ["none", "none[D]", "none[M]", "RO[pos]", "RO[anc]", "EST[R]", "ACT[R]", "MM[S]&ICS"]
SCHEMES += ["HM[S,LGA]", "HM[S,LGA]&ICS", "HM[R,M]", "HM[H,-0.1]"]


@pytest.fixture(autouse=True)
def device(monkeypatch):
    # PyTorch has no autocast for it.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with Device():
        yield


def lipschitz():
    torch.manual_seed(2)
    layers = AOLConv2d(1, 4, 3), Householder(4), torch.nn.Flatten(), OrthogonalLinear(144, 12), MaxMin()
    return LipschitzNetwork(*layers, PotentialLayer(12, 8), OrthogonalLinear(12, 6))


def weights(model):
    return [value.cpu().numpy().copy() for value in model.state_dict().values()]


def trained(model, scheme, small, **settings):
    trainer = Trainer(model, scheme, epochs=2, batch_size=16, **settings).fit(*small)
    return [row["loss"] for row in trainer.history_], weights(model)


def is_same(here, there):
    np.testing.assert_array_equal(here[0], there[0])
    for ours, theirs in zip(here[1], there[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_operands_on_two_devices_are_noticed():
    here, there = torch.ones(3), torch.ones(3).to(ELSEWHERE)
    assert isinstance(there, Elsewhere)
    assert there.device == ELSEWHERE
    for mixed in (
        lambda: here + there,
        lambda: here[there.long()],
        lambda: torch.where(there > 0, there, here),
    ):
        with pytest.raises(RuntimeError, match="operands on two devices"):
            mixed()
    assert type((there + 1).cpu()) is torch.Tensor
    assert float((there * 2).sum()) == 6


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_train_to_the_same_bits(name, network, small):
    def scheme():
        return make_scheme(name, attack=None if name.startswith("none") else ATTACK)

    start = {key: value.clone() for key, value in network.state_dict().items()}
    here = trained(network, scheme(), small, clip=1.0)
    network.load_state_dict(start)
    network.to(ELSEWHERE)
    is_same(here, trained(network, scheme(), small, clip=1.0))
    assert all(isinstance(value, Elsewhere) for value in network.parameters())


@pytest.mark.parametrize("name", ["CT[S]", "CP[2]"])
def test_certified_networks_train_to_the_same_bits(name, small):
    here, there = lipschitz(), lipschitz().to(ELSEWHERE)
    found = [
        trained(net, make_scheme(name, margin=0.3), small, augment=random_shifts) for net in (here, there)
    ]
    is_same(*found)
    answers = []
    for model in (here, there):
        certified = CertifiedEmbeddingClassifier(model, n_neighbors=3).fit(*small)
        answers.append(certified.certify(small[0][:9], small[1][:9].numpy()).lower)
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("loss", ["contrastive", "margin"])
def test_losses_train_to_the_same_bits(loss, network, small):
    start = {key: value.clone() for key, value in network.state_dict().items()}
    here = trained(network, Plain(loss=make_loss(loss)), small)
    network.load_state_dict(start)
    network.to(ELSEWHERE)
    is_same(here, trained(network, Plain(loss=make_loss(loss)), small))


def test_learned_distances_and_proxies_train_elsewhere(network, small):
    distance = MahalanobisDistance(8)
    found = trained(network.to(ELSEWHERE), Plain(loss=make_loss("triplet", distance=distance)), small)
    assert np.isfinite(found[0]).all()
    assert isinstance(distance.components, Elsewhere)
    found = trained(network, Plain(loss=ProxyAnchorLoss(4, 8)), small)
    assert np.isfinite(found[0]).all()


def test_a_run_goes_on_elsewhere(network, small, tmp_path):
    start = {key: value.clone() for key, value in network.state_dict().items()}
    scheme = "HM[S,LGA]&ICS"
    whole = trained(network, make_scheme(scheme, attack=ATTACK), small)
    network.load_state_dict(start)
    network.to(ELSEWHERE)
    path = tmp_path / "run.pt"
    Trainer(network, make_scheme(scheme, attack=ATTACK), epochs=1, batch_size=16, checkpoint=path).fit(*small)
    is_same(whole, trained(network, make_scheme(scheme, attack=ATTACK), small, checkpoint=path))


def test_scores_and_attacks_are_the_same(network, small):
    images, codes = small
    attack = PGD(eps=0.05, step=0.02, steps=3)
    here = robustness_score(network, images, codes, attack=attack, points=20)
    attacked = attack_images(network, images, codes, "ES", attack=attack)
    network.to(ELSEWHERE)
    there = robustness_score(network, images, codes, attack=attack, points=20)
    assert there.raw == here.raw
    again = attack_images(network, images, codes, "ES", attack=attack)
    np.testing.assert_array_equal(attacked, again.cpu())
    embeddings = embed_all(network, images)
    assert isinstance(embeddings, Elsewhere)
    assert retrieval_scores(embeddings, codes) == retrieval_scores(embeddings.cpu(), codes)


def test_sorts_of_embeddings_stay_elsewhere():
    rng = np.random.default_rng(0)
    rows, codes, own = rng.normal(size=(60, 3)), np.arange(60) % 4, np.arange(60)
    given = [torch.from_numpy(values) for values in (rows, codes, rows, own)]
    here, there = _device.precisions(*given), _device.precisions(*(values.to(ELSEWHERE) for values in given))
    for ours, theirs in zip(here, there, strict=True):
        assert isinstance(theirs, Elsewhere)
        np.testing.assert_array_equal(ours, theirs.cpu())


def test_metrics_are_learned_elsewhere(small):
    rows, codes = small[0].flatten(1).numpy(), small[1].numpy()
    here, there = (
        ARML(backend="torch", device=device, max_iter=3, random_state=0).fit(rows, codes).components_
        for device in ("cpu", str(ELSEWHERE))
    )
    np.testing.assert_array_equal(here, there)
