"""Training schemes: what they attack, how far, and what they take the loss of."""

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from pytorch_metric_learning import miners

from certimetric.deep import (
    ACT,
    EST,
    PGD,
    HardnessManipulation,
    Plain,
    RobustOptimization,
    embed,
    make_loss,
    make_scheme,
)
from certimetric.deep.losses import hardness
from certimetric.deep.schemes import intra_class_structure
from certimetric.exceptions import InputError

pytestmark = pytest.mark.torch

ATTACK = PGD(eps=0.2, step=0.02, steps=15)
NAMES = [
    "none",
    "RO[pos]",
    "RO[neg]",
    "RO[anc]",
    "EST[R]",
    "ACT[R]",
    "MM[S]",
    "HM[R,M]",
    "HM[S,-0.1]",
    "HM[S,LGA]&ICS",
]


class Spy:
    """An attack that tells what it was given and what it made of it."""

    def __init__(self, attack=ATTACK):
        self.attack = attack

    def __call__(self, objective, images, generator=None):
        self.images = images
        self.moved = self.attack(objective, images, generator)
        return self.moved


class LossSpy:
    """A loss that tells what it was given."""

    def __init__(self):
        self.loss = make_loss("triplet")

    def __call__(self, embeddings, labels, triplets):
        self.embeddings, self.labels, self.triplets = embeddings, labels, triplets
        return self.loss(embeddings, labels, triplets)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", NAMES)
def test_every_scheme_makes_a_loss_that_trains_and_leaves_the_model_as_it_is(name, network, small):
    network.insert(1, torch.nn.Dropout(0.5))
    network.train()
    network[1].eval()
    scheme = make_scheme(name, attack=ATTACK)
    loss = scheme(network, *small, generator())
    assert network.training
    assert not network[1].training
    assert loss.ndim == 0
    assert loss > 0
    assert all(value.grad is None for value in network.parameters())
    loss.backward()
    assert all(torch.isfinite(value.grad).all() for value in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_decides_alone(name, network, small):
    first, again = (make_scheme(name, attack=ATTACK)(network, *small, generator(5)) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", NAMES)
def test_without_room_an_attack_leaves_the_plain_loss(name, network, small):
    """All schemes are the plain one, over the same triplets, where the ball is a point."""
    scheme = make_scheme(name, attack=PGD(eps=0.0, step=1.0, steps=2))
    plain = Plain(miner=copy.deepcopy(scheme.miner))
    g = generator(1)
    if name.startswith("RO"):
        # It draws which triplets are attacked behind them.
        scheme.rate = 1.0
    expected = plain(network, *small, generator(1))
    found = scheme(network, *small, g)
    if name.startswith("EST"):
        # Its noise is drawn before.
        g = generator(1)
        torch.randint(-1, 2, (64, 8), generator=g)
        expected = plain(network, *small, g)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("role", ["positive", "negative", "anchor"])
def test_robust_optimisation_moves_one_role_and_points_to_it(role, network, small):
    images, labels = small
    attack, loss = Spy(), LossSpy()
    scheme = RobustOptimization(loss=loss, attack=attack, role=role)
    scheme(network, images, labels, generator())
    place = ("anchor", "positive", "negative").index(role)
    clean = embed(network, images)
    rows = [part.clone() for part in loss.triplets]
    assert (rows[place] >= 64).all()
    assert all((rows[k] < 64).all() for k in range(3) if k != place)
    torch.testing.assert_close(loss.embeddings[:64], clean)
    torch.testing.assert_close(loss.embeddings[rows[place]], embed(network, attack.moved))
    assert torch.equal(loss.labels[:64], labels)
    moved, still = embed(network, attack.moved).detach(), embed(network, attack.images).detach()
    a, p, n = (clean[part.clamp(max=63)].detach() for part in rows)
    if role == "positive":
        assert ((moved - a).norm(dim=1) >= (still - a).norm(dim=1) - 1e-3).all()
    elif role == "negative":
        assert ((moved - a).norm(dim=1) <= (still - a).norm(dim=1) + 1e-3).all()
    else:
        assert (hardness(moved, p, n) >= hardness(still, p, n) - 1e-3).all()


def test_robust_optimisation_attacks_a_share_of_the_triplets(network, small):
    for rate, expected in ((0.0, 0), (0.5, 16)):
        loss = LossSpy()
        RobustOptimization(loss=loss, attack=ATTACK, rate=rate)(network, *small, generator(2))
        assert abs(int((loss.triplets[1] >= 64).sum()) - expected) <= 5
    assert len(loss.embeddings) == 64 + int((loss.triplets[1] >= 64).sum())


def test_shifted_embeddings_are_far_from_their_own(network, small):
    attack = Spy()
    EST(attack=attack)(network, *small, generator())
    shift = (embed(network, attack.moved) - embed(network, small[0])).norm(dim=1)
    assert (shift > 0.1).all()


def test_anti_collapse_draws_positives_and_negatives_together(network, small):
    attack, loss = Spy(), LossSpy()
    ACT(loss=loss, attack=attack)(network, *small, generator())
    (before_p, before_n), (p, n) = (
        embed(network, x).detach().chunk(2) for x in (attack.images, attack.moved)
    )
    assert ((p - n).norm(dim=1) < (before_p - before_n).norm(dim=1)).all()
    a = loss.embeddings[: len(p)]
    torch.testing.assert_close(a, embed(network, small[0])[0::2])
    torch.testing.assert_close(loss.embeddings[len(p) :].detach(), torch.cat([p, n]))


def hardness_of(network, images):
    return hardness(*embed(network, images).detach().chunk(3))


@pytest.mark.parametrize("destination", [-0.5, -0.1, 0.05])
def test_hardness_reaches_its_destination_and_stops(destination, network, small):
    """Steps so small that one of them changes the hardness by little: beyond H_D is at most that little."""
    attack = Spy(PGD(eps=0.4, step=0.002, steps=200))
    HardnessManipulation(attack=attack, destination=destination)(network, *small, generator())
    before, after = hardness_of(network, attack.images), hardness_of(network, attack.moved)
    is_harder = before >= destination
    torch.testing.assert_close(after[is_harder], before[is_harder])
    step = 0.05
    assert (after[~is_harder] <= destination + step).all()
    assert (after[~is_harder] >= destination - step).float().mean() > 0.9


def test_the_destination_may_be_the_hardness_of_another_triplet(network, small):
    attack = Spy(PGD(eps=0.4, step=0.002, steps=200))
    scheme = HardnessManipulation(attack=attack, destination="hard")
    scheme(network, *small, generator())
    images, labels = small
    d = torch.cdist(embed(network, images), embed(network, images)).detach()
    nearest = d.masked_fill(labels[:, None] == labels, math.inf).amin(dim=1)
    expected = (d[torch.arange(0, 64, 2), torch.arange(1, 64, 2)] - nearest[0::2]).clamp(min=-2)
    after, before = hardness_of(network, attack.moved), hardness_of(network, attack.images)
    reached = torch.maximum(before, expected)
    assert (after <= reached + 0.05).all()
    assert (after >= reached - 0.05).float().mean() > 0.9


def test_plain_and_min_max_training_are_the_ends_of_the_range(network, small):
    low = HardnessManipulation(attack=ATTACK, destination=-2.0)(network, *small, generator(3))
    torch.testing.assert_close(low, Plain()(network, *small, generator(3)))
    high = HardnessManipulation(attack=ATTACK, destination=2.0)(network, *small, generator(3))
    attack = Spy()
    make_scheme("MM[R]", attack=attack)(network, *small, generator(3))
    found = PGD(ATTACK.eps, ATTACK.step, ATTACK.steps)(
        lambda x: hardness(*embed(network, x).chunk(3)), attack.images
    )
    torch.testing.assert_close(attack.moved, found)
    assert high > low


def test_the_linear_gradual_adversary_follows_the_loss_of_the_batch_before(network, small):
    scheme = make_scheme("HM[S,LGA]&ICS", attack=ATTACK)
    without = make_scheme("HM[S,LGA]", attack=ATTACK)
    # H_D = −γ min(γ, ℓ) / γ: at first, and while ℓ is above γ, it is −γ.
    assert scheme._destination(*small) == -0.2
    with_structure = float(scheme(network, *small, generator()).detach())
    loss = float(without(network, *small, generator()).detach())
    assert scheme.state_dict() == {"previous": pytest.approx(loss)}
    assert with_structure > loss or with_structure == pytest.approx(loss)
    assert scheme._destination(*small) == pytest.approx(-min(0.2, loss))
    other = make_scheme("HM[S,LGA]", attack=ATTACK)
    other.load_state_dict({"previous": 0.05})
    assert other._destination(*small) == -0.05


def test_intra_class_structure_is_zero_without_an_attack_and_counts_what_is_too_far():
    rng = np.random.default_rng(0)
    a, moved, p = (torch.from_numpy(rng.normal(size=(7, 3))) for _ in range(3))
    assert intra_class_structure(a, a, p) == 0
    own, other = ((a - x).norm(dim=1).numpy() for x in (moved, p))
    assert float(intra_class_structure(a, moved, p)) == pytest.approx(np.maximum(own - other, 0).mean())


@pytest.mark.parametrize(
    ("name", "kind", "strategy"),
    [
        ("none", Plain, "random"),
        ("none[S]", Plain, "softhard"),
        ("EST[R]", EST, "random"),
        ("ACT[D]", ACT, "distance"),
        ("MM[H]&ICS", HardnessManipulation, "hard"),
        ("HM[S,M]", HardnessManipulation, "softhard"),
        ("HM[M,0.3]", HardnessManipulation, "semihard"),
        ("RO[neg]", RobustOptimization, "distance"),
    ],
)
def test_published_names(name, kind, strategy):
    scheme = make_scheme(name)
    assert type(scheme) is kind
    assert scheme.miner.strategy == strategy
    assert getattr(scheme, "ics", 0) == (0.5 if "ICS" in name else 0)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "HM",
        "HM[S]",
        "HM[S,X]",
        "HM[Q,LGA]",
        "EST[R,M]",
        "EST[R]&ICS",
        "RO[all]",
        "hm[s,lga]",
        "HM[S,nan]",
        "HM[S,1e400]",
        "HM[S,LGA]&",
    ],
)
def test_unknown_names_are_refused_with_those_that_are_known(name):
    with pytest.raises(InputError, match=r"unknown scheme .*"):
        make_scheme(name)


def test_miners_that_give_pairs_are_taken_and_those_that_find_nothing_are_not(network, small):
    small = tuple(part[:12] for part in small)
    for name in ("none", "RO[pos]", "ACT[R]", "HM[S,LGA]", "CT[S]"):
        scheme = make_scheme(name, attack=ATTACK)
        scheme.miner = miners.MultiSimilarityMiner()
        assert torch.isfinite(scheme(network, *small, generator()))
        scheme.miner = miners.TripletMarginMiner(margin=-5)
        with pytest.raises(InputError, match="no triplet in the batch: TripletMarginMiner found none"):
            scheme(network, *small, generator())


@pytest.mark.parametrize("values", [{"margin": math.nan}, {"margin": -1}, {"ics": -1}, {"ics": math.inf}])
@pytest.mark.parametrize("name", ["none", "CT[S]", "HM[S,LGA]"])
def test_numbers_that_make_no_sense_are_refused(name, values):
    with pytest.raises(InputError, match=f"{next(iter(values))} must be"):
        make_scheme(name, **values)


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="role must be 'positive', 'negative' or 'anchor'"):
        RobustOptimization(role="both")
    with pytest.raises(InputError, match="rate must be between 0 and 1, got 2"):
        RobustOptimization(rate=2)
    with pytest.raises(InputError, match="margin must be positive"):
        HardnessManipulation(margin=0)
    with pytest.raises(InputError, match="ics must be 0 or more"):
        HardnessManipulation(ics=-1)
    with pytest.raises(InputError, match="only where miner is a TripletMiner"):
        HardnessManipulation(miner=lambda x, y: None, destination="hard")
    with pytest.raises(InputError, match="Plain keeps nothing between batches"):
        Plain().load_state_dict({"previous": 1.0})
