"""Networks that no distance grows through, and what is certified behind them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

import certimetric as cm
from certimetric.deep import (
    AOLConv2d,
    CertifiedEmbeddingClassifier,
    Householder,
    LipschitzNet28,
    LipschitzNetwork,
    MaxMin,
    OrthogonalLinear,
    PotentialLayer,
)
from certimetric.deep._frozen import freeze
from certimetric.deep._norms import matrix_norm_up, schur_up
from certimetric.exceptions import InputError, InputTypeError

pytestmark = pytest.mark.torch


def networks(seed):
    """One of each kind of layer, with weights as after some training."""
    torch.manual_seed(seed)
    dense = LipschitzNetwork(
        torch.nn.Flatten(),
        OrthogonalLinear(36, 40),
        MaxMin(),
        PotentialLayer(40, 30),
        OrthogonalLinear(40, 12),
    )
    maps = LipschitzNetwork(
        AOLConv2d(1, 6, 3),
        Householder(6),
        torch.nn.PixelUnshuffle(2),
        AOLConv2d(24, 16, 3, stride=3),
        MaxMin(),
        torch.nn.Flatten(),
        PotentialLayer(16),
    )
    for network in (dense, maps):
        for value in network.parameters():
            value.data += 0.3 * torch.randn_like(value)
        yield network.eval()


@pytest.mark.parametrize(("inputs", "outputs"), [(7, 4), (4, 7), (5, 5)])
def test_orthogonal_layers_follow_their_gradient_on_the_manifold(inputs, outputs):
    torch.manual_seed(0)
    layer = OrthogonalLinear(inputs, outputs).double().eval()
    layer.weight.data.copy_(layer.orthonormal())
    x, away = torch.randn(6, inputs, dtype=torch.float64), torch.randn(6, outputs, dtype=torch.float64)

    def loss(weight):
        layer.weight.data.copy_(weight)
        return float((layer(x).detach() * away).sum())

    (layer(x) * away).sum().backward()
    found, start, step = layer.weight.grad.clone(), layer.weight.data.clone(), 1e-6
    for row, column in np.ndindex(outputs, inputs):
        unit = torch.zeros_like(start)
        unit[row, column] = step
        slope = (loss(start + unit) - loss(start - unit)) / (2 * step)
        assert slope == pytest.approx(float(found[row, column]), abs=1e-7)


@pytest.mark.parametrize("shape", [(4, 784), (2, 2), (8, 784), (784, 3), (40, 60), (256, 256)])
def test_an_orthonormal_weight_stays_as_it_is_to_the_last_bit(shape):
    for seed in range(20):
        torch.manual_seed(seed)
        layer = OrthogonalLinear(*shape)
        layer.weight.data += 0.02 * torch.rand(()) * torch.randn_like(layer.weight)
        once = layer.orthonormal().detach()
        layer.weight.data.copy_(once)
        again = layer.orthonormal().detach()
        assert torch.equal(again, once)
        assert again.data_ptr() != layer.weight.data_ptr()


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e25, 1e160])
def test_the_length_of_a_weight_does_not_matter(scale):
    layer = OrthogonalLinear(7, 5).double()
    expected = layer.orthonormal().detach()
    layer.weight.data *= scale
    torch.testing.assert_close(layer.orthonormal().detach(), expected)


@pytest.mark.parametrize(("inputs", "outputs"), [(20, 12), (12, 20)])
@pytest.mark.parametrize("rate", [1e-3, 0.1, 10.0])
def test_steps_of_any_length_leave_weights_orthonormal(rate, inputs, outputs):
    torch.manual_seed(0)
    layer = OrthogonalLinear(inputs, outputs)
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9)
    x, y = torch.randn(64, inputs), torch.randn(64, outputs)
    for _ in range(20):
        optimizer.zero_grad()
        (layer(x) - y).square().mean().backward()
        optimizer.step()
    layer(x)
    weight = layer.weight.detach()
    gram = weight @ weight.T if inputs > outputs else weight.T @ weight
    assert float((gram - torch.eye(12)).abs().max()) < 1e-5
    assert freeze(LipschitzNetwork(layer)).constant < 1.00001


@pytest.mark.parametrize("seed", range(6))
def test_no_distance_grows(seed):
    for network in networks(seed):
        function = freeze(network)
        x = torch.rand(40, 1, 6, 6, dtype=torch.float64)
        for length in (1e-6, 1e-2, 1.0):
            away = torch.randn_like(x)
            y = x + length * away / away.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
            (first, e), (second, f) = function(x), function(y)
            grown = np.linalg.norm(first - second, axis=1)
            moved = (x - y).flatten(1).norm(dim=1).numpy()
            assert (grown <= function.constant * moved * (1 + 1e-12) + e + f).all()
        assert 0.3 < function.constant < 1.001
        assert e < 1e-11


@pytest.mark.parametrize("seed", range(4))
def test_the_steepest_direction_found_by_ascent_is_below_the_constant(seed):
    for network in networks(seed):
        jacobian = torch.func.jacrev(lambda x, network=network: network(x[None])[0])
        for point in torch.rand(5, 1, 6, 6):
            matrix = jacobian(point).reshape(-1, 36).double().detach()
            assert float(torch.linalg.matrix_norm(matrix, 2)) <= freeze(network).constant + 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_what_is_computed_is_the_function_that_was_trained(seed):
    for network in networks(seed):
        x = torch.rand(7, 1, 6, 6)
        found, _ = freeze(network)(x)
        np.testing.assert_allclose(found, network(x).detach(), atol=2e-5)


def test_the_rounding_error_holds_before_exact_arithmetic():
    """A dense network in rational numbers: how far binary64 really is from it."""
    torch.manual_seed(0)
    network = LipschitzNetwork(torch.nn.Flatten(), OrthogonalLinear(9, 8), MaxMin(), PotentialLayer(8, 6))
    network[3].bias.data.normal_()
    function = freeze(network)
    x = torch.rand(5, 1, 3, 3)
    found, error = function(x)
    linear, potential = function.layers[1], function.layers[3]

    def rational(array):
        return [[Fraction(float(v)) for v in row] for row in np.atleast_2d(array)]

    def product(rows, weights):
        return [[sum(a * b for a, b in zip(row, w, strict=True)) for w in weights] for row in rows]

    values = product(rational(x.flatten(1).double()), rational(linear.weight))
    (bias,) = rational(linear.bias)
    values = [[v + b for v, b in zip(row, bias, strict=True)] for row in values]
    values = [
        [max(a, b) for a, b in zip(row[:4], row[4:], strict=True)]
        + [min(a, b) for a, b in zip(row[:4], row[4:], strict=True)]
        for row in values
    ]
    W, (b,), (t,) = (rational(part) for part in (potential.weight, potential.bias, potential.step))
    hidden = [[max(v + c, 0) * s for v, c, s in zip(row, b, t, strict=True)] for row in product(values, W)]
    back = product(hidden, list(map(list, zip(*W, strict=True))))
    exact = [
        [v - m for v, m in zip(row, moved, strict=True)] for row, moved in zip(values, back, strict=True)
    ]
    for row, computed in zip(exact, found, strict=True):
        off = math.sqrt(sum((v - Fraction(float(c))) ** 2 for v, c in zip(row, computed, strict=True)))
        assert 0 < off <= error < 1e-12
    # And L = 1 of the last layer is that of these numbers: 2 / t_i ≥ Σ_j |W Wᵀ|_ij q_j / q_i, with q = 1.
    gram = product(W, W)
    assert all(2 / s >= sum(map(abs, row)) for s, row in zip(t, gram, strict=True))


def test_what_was_fitted_stays_when_the_network_goes_on(small):
    images, codes = small
    network = LipschitzNetwork(
        torch.nn.Flatten(), PotentialLayer(36, 8), Householder(36), OrthogonalLinear(36, 8)
    ).double()
    clf = CertifiedEmbeddingClassifier(network).fit(images.double(), codes)
    before = clf.transform(images).copy()
    with torch.no_grad():
        for value in network.parameters():
            value.mul_(10).add_(1)
    np.testing.assert_array_equal(clf.transform(images), before)


@pytest.mark.parametrize("array", [lambda x: x, lambda x: x.numpy(), lambda x: x.float()])
def test_images_are_taken_as_they_are(array):
    network = LipschitzNetwork(torch.nn.Flatten(), OrthogonalLinear(2, 2))
    clf = CertifiedEmbeddingClassifier(network).fit(torch.tensor([[[[0.0, 0.0]]], [[[1.0, 0.0]]]]), [0, 1])
    point = array(torch.tensor([[[[0.5 - 2.0**-26 - 1e-12, 0.0]]]], dtype=torch.float64))
    exact = abs(0.5 - float(point[0, 0, 0, 0]))
    assert clf.certify(point).lower[0] <= exact


@pytest.mark.parametrize("low", [-1000.0, -744.5, -735.0, -100.0, 0.0])
@pytest.mark.parametrize("high", [0.0, 700.0, 1000.0])
def test_potentials_of_any_weights_between_units_are_lipschitz(low, high):
    torch.manual_seed(0)
    layer = PotentialLayer(3, 5)
    layer.log_q.data = torch.tensor([low, high, low / 2, 0.0, high / 2])
    layer.weight.data *= 3
    layer.weight.data[1] = 0
    function = freeze(LipschitzNetwork(torch.nn.Flatten(), layer))
    x, y = torch.randn(2, 200, 3, 1, 1, dtype=torch.float64)
    (first, e), (second, f) = function(x), function(y)
    moved = (x - y).flatten(1).norm(dim=1).numpy()
    assert (np.linalg.norm(first - second, axis=1) <= function.constant * moved * (1 + 1e-12) + e + f).all()
    one = PotentialLayer(1, 1)
    one.weight.data[:], one.log_q.data[:] = 1.4**0.5, low
    step = freeze(LipschitzNetwork(one)).layers[0].step
    assert 0 <= Fraction(float(step)) * Fraction(float(one.weight.detach())) ** 2 <= 2


def test_units_of_zero_weights_train():
    layer = PotentialLayer(3, 4)
    layer.weight.data[1] = 0
    layer(torch.randn(5, 3)).sum().backward()
    assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("kind", ["linear", "potential"])
def test_the_rounding_of_each_value_counts_of_maps_too(kind):
    if kind == "linear":
        layer = OrthogonalLinear(1, 1).double()
        layer.bias.data[:] = 1e6 + 0.1
    else:
        layer = PotentialLayer(1, 1).double()
        layer.bias.data[:] = 1e6 + 0.1
    function = freeze(LipschitzNetwork(layer, torch.nn.Flatten()))
    x = torch.rand(1, 4096, 1, 1, dtype=torch.float64)
    found, error = function(x)
    part = function.layers[0]
    w, b = Fraction(float(part.weight)), Fraction(float(part.bias))
    exact = []
    for value in map(Fraction, x.double().flatten().tolist()):
        inner = w * value + b
        exact.append(inner if kind == "linear" else value - w * Fraction(float(part.step)) * max(inner, 0))
    squares = sum((v - Fraction(float(c))) ** 2 for v, c in zip(exact, found[0], strict=True))
    assert 0 < math.sqrt(squares) <= error


def test_layers_that_do_something_else_are_refused(fitted):
    clf, images, codes = fitted

    class Tenfold(OrthogonalLinear):
        def forward(self, values):
            return 10 * super().forward(values)

    class Other(LipschitzNetwork):
        def forward(self, values):
            return 10 * super().forward(values)

    with pytest.raises(InputError, match="Tenfold is no layer with a known constant"):
        LipschitzNetwork(Tenfold(3, 3))
    with pytest.raises(InputError, match="Flatten must flatten each image"):
        LipschitzNetwork(torch.nn.Flatten(0, 1))
    with pytest.raises(InputError, match="Other has a forward of its own"):
        CertifiedEmbeddingClassifier(Other(torch.nn.Flatten(), OrthogonalLinear(36, 4))).fit(images, codes)
    hooked = LipschitzNetwork(torch.nn.Flatten(), OrthogonalLinear(36, 4))
    hooked[1].register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match="OrthogonalLinear has hooks"):
        CertifiedEmbeddingClassifier(hooked).fit(images, codes)
    replaced = LipschitzNetwork(torch.nn.Flatten(), OrthogonalLinear(36, 4))
    replaced[1].forward = lambda values: 10 * values
    with pytest.raises(InputError, match="OrthogonalLinear has hooks or another forward"):
        CertifiedEmbeddingClassifier(replaced).fit(images, codes)
    clf.network.append(torch.nn.Linear(10, 10))
    with pytest.raises(InputError, match="Linear is no layer with a known constant"):
        clf.fit(images, codes)


@pytest.mark.parametrize(("width", "channels"), [(2, 64), (3, 2), (4, 8), (8, 4)])
def test_reflections_of_another_number_of_channels_are_refused(width, channels, small):
    network = LipschitzNetwork(torch.nn.Flatten(), OrthogonalLinear(36, width), Householder(channels))
    with pytest.raises(InputError, match=f"Householder was made for {channels} channels, got {width}"):
        CertifiedEmbeddingClassifier(network).fit(*small)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stride", (2, 2)),
        ("dilation", (2, 2)),
        ("groups", 2),
        ("padding_mode", "reflect"),
        ("stride", (1, 3)),
    ],
)
def test_convolutions_that_were_changed_are_refused(name, value, small):
    network = LipschitzNetwork(AOLConv2d(1, 2, 3), torch.nn.Flatten())
    setattr(network[0], name, value)
    with pytest.raises(InputError, match="AOLConv2d must have a square kernel"):
        CertifiedEmbeddingClassifier(network).fit(*small)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: setattr(net[0], "downscale_factor", 3),
        lambda net: setattr(net[1], "start_dim", 2),
        lambda net: net[3].register_forward_hook(lambda _m, _i, o: 10 * o),
        lambda net: setattr(net[3], "forward", lambda values: 10 * values),
    ],
)
def test_layers_without_weights_stay_as_they_were_too(change, small):
    images, codes = small
    layers = (torch.nn.PixelUnshuffle(2), torch.nn.Flatten(), OrthogonalLinear(36, 8), MaxMin())
    network = LipschitzNetwork(*layers)
    clf = CertifiedEmbeddingClassifier(network).fit(images, codes)
    before = clf.transform(images).copy()
    change(network)
    np.testing.assert_array_equal(clf.transform(images), before)


@pytest.mark.parametrize(
    "make", [lambda: AOLConv2d(1, 2, 3), lambda: PotentialLayer(36), lambda: Householder(36)]
)
def test_weights_that_are_not_finite_are_named(make, small):
    layer = make()
    next(layer.parameters()).data.fill_(torch.nan)
    network = LipschitzNetwork(*([] if isinstance(layer, AOLConv2d) else [torch.nn.Flatten()]))
    network.append(layer)
    with pytest.raises(InputError, match=f"{type(layer).__name__} has weights that are not finite: "):
        CertifiedEmbeddingClassifier(network).fit(*small)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 12), m=st.integers(1, 12), kind=st.sampled_from("goslz"))
def test_norms_are_above_and_near(seed, n, m, kind):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, m))
    if kind == "o":
        A = np.linalg.qr(rng.normal(size=(max(n, m), min(n, m))))[0].astype(np.float32).astype(float)
    if kind == "s":
        A *= 1e-200
    if kind == "l":
        A = np.outer(A[:, 0], A[0])
    if kind == "z":
        A[:] = 0
    bound, exact = matrix_norm_up(A), np.linalg.norm(A, 2)
    assert exact * (1 - 1e-14) <= bound <= exact * (1 + 1e-3) + 1e-300
    if kind == "o":
        assert bound < 1 + 1e-6
    assert schur_up(torch.from_numpy(A)) >= np.linalg.norm(np.abs(A), 2) * (1 - 1e-14)


def test_norms_of_convolutions_are_those_of_their_matrices():
    for stride, seed in ((1, 0), (3, 1)):
        torch.manual_seed(seed)
        layer = AOLConv2d(2, 4, 3, stride=stride, bias=False)
        layer.weight.data += 0.2 * torch.randn_like(layer.weight)
        frozen = freeze(LipschitzNetwork(layer)).layers[0]
        units = torch.eye(2 * 36, dtype=torch.float64).reshape(-1, 2, 6, 6)
        matrix = frozen(units).flatten(1).numpy()
        norm = np.linalg.norm(matrix, 2)
        assert 0.5 < norm <= frozen.constant <= 1 + 1e-6
        assert np.linalg.norm(np.abs(matrix), 2) <= frozen.absolute


def test_activations_are_what_the_papers_say():
    values = torch.randn(5, 6, 2, 2)
    first, second = values.chunk(2, dim=1)
    found = MaxMin()(values)
    assert torch.equal(found, torch.cat([torch.maximum(first, second), torch.minimum(first, second)], dim=1))
    torch.testing.assert_close(Householder(6)(values), found)
    assert torch.autograd.gradcheck(
        Householder(4).double(), torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    )


@pytest.fixture
def fitted(small):
    images, codes = small
    torch.manual_seed(0)
    network = LipschitzNetwork(
        torch.nn.Flatten(), OrthogonalLinear(36, 20), MaxMin(), OrthogonalLinear(20, 10)
    )
    return CertifiedEmbeddingClassifier(network).fit(images[:40], codes[:40]), images[40:], codes[40:]


def test_radii_of_images_are_those_of_embeddings_over_the_constant(fitted):
    clf, images, codes = fitted
    cert = clf.certify(images, codes)
    inside = clf.classifier_.certify(clf.transform(images), codes.numpy())
    np.testing.assert_allclose(cert.lower, inside.lower / clf.lipschitz_, rtol=1e-9)
    assert (cert.lower <= inside.lower / clf.lipschitz_).all()
    assert (cert.lower > 0).any()
    is_wrong = clf.predict(images) != codes.numpy()
    np.testing.assert_array_equal(cert.status == "misclassified", is_wrong)
    assert (cert.upper == np.where(is_wrong, 0, np.inf)).all()
    assert "L ≤ 1.0" in cert.run.metric
    assert cert.run.n_features == 36
    assert cert.certified_error(0.0) == is_wrong.mean()


@pytest.mark.parametrize("n_neighbors", [1, 3])
def test_radii_that_are_asked_about_are_those_of_images(n_neighbors, small):
    images, codes = small
    network = LipschitzNetwork(torch.nn.Flatten(), OrthogonalLinear(36, 10), PotentialLayer(10))
    clf = CertifiedEmbeddingClassifier(network, n_neighbors).fit(images[:40], codes[:40])
    full = clf.certify(images[40:], codes[40:])
    radii = [0.0, 0.5 * float(np.median(full.lower)), float(np.quantile(full.lower, 0.7))]
    asked = clf.certify(images[40:], codes[40:], eps=radii)
    np.testing.assert_array_equal(asked.certified_error(radii), full.certified_error(radii))
    assert 0 < asked.certified_error(radii[1]) < 1 or asked.certified_error(radii[2]) > 0
    assert asked.run.eps == tuple(radii)


def test_no_image_within_the_radius_has_another_label(fitted):
    clf, images, _ = fitted
    cert, labels = clf.certify(images), clf.predict(images)
    rng = np.random.default_rng(0)
    for _ in range(50):
        away = rng.normal(size=images.shape)
        away *= (
            0.999 * cert.lower[:, None, None, None] / np.sqrt((away**2).sum(axis=(1, 2, 3), keepdims=True))
        )
        rows, _ = clf._function(images.double() + torch.from_numpy(away))
        np.testing.assert_array_equal(clf.classifier_.predict(rows), labels)


def test_neighbours_and_prototypes_in_embedding_space(fitted, small):
    clf, images, codes = fitted
    several = CertifiedEmbeddingClassifier(clf.network, n_neighbors=3).fit(*(part[:40] for part in small))
    cert = several.certify(images, codes, rule="majority", eps=0.05)
    assert cert.run.n_neighbors == 3
    assert cert.run.rule == "majority"
    rows = np.stack([clf.transform(small[0][:40])[small[1][:40] == c].mean(axis=0) for c in range(4)])
    means = CertifiedEmbeddingClassifier(clf.network).fit_embeddings(rows, np.arange(4))
    assert (means.predict(images) == codes.numpy()).mean() > 0.8


def test_bad_input_is_refused(fitted):
    clf, images, _ = fitted
    with pytest.raises(
        InputTypeError, match="network must be a LipschitzNetwork, whose constant is known, got Linear"
    ):
        CertifiedEmbeddingClassifier(torch.nn.Linear(3, 3))
    with pytest.raises(InputError, match="ReLU is no layer with a known constant; use OrthogonalLinear"):
        LipschitzNetwork(torch.nn.ReLU())
    with pytest.raises(InputError, match="is not fitted"):
        CertifiedEmbeddingClassifier(clf.network).predict(images)
    with pytest.raises(InputError, match="return_adversarial must be False"):
        clf.certify(images, return_adversarial=True)
    with pytest.raises(InputError, match=r"images must lie in \[0, 1\]"):
        clf.certify(images + 1)
    with pytest.raises(InputError, match=r"network does not take images of shape \(1, 5, 5\)"):
        CertifiedEmbeddingClassifier(clf.network).fit(torch.rand(2, 1, 5, 5), [0, 1])
    with pytest.raises(InputError, match="channels and kernel_size must be integers, 1 or more"):
        AOLConv2d(1, 2, 0)
    with pytest.raises(InputError, match="n_components of a Lipschitz network must be even, got 7"):
        LipschitzNet28(7)
    with pytest.raises(InputError, match="stride must be 1 or kernel_size = 3, got 2"):
        AOLConv2d(1, 2, 3, stride=2)
    with pytest.raises(InputError, match="MaxMin needs an even number of channels, got 3"):
        MaxMin()(torch.ones(1, 3))
    with pytest.raises(InputError, match="channels must be even"):
        Householder(3)
    assert isinstance(clf.certify(images), cm.Certification)


def test_images_and_embeddings_of_another_size_are_refused(small):
    images, codes = small
    network = LipschitzNetwork(torch.nn.Flatten(), OrthogonalLinear(36, 8))
    clf = CertifiedEmbeddingClassifier(network).fit(images, codes)
    with pytest.raises(InputError, match=r"images must have shape \(n, 1, 6, 6\), got \(3, 4, 3, 3\)"):
        clf.certify(torch.rand(3, 4, 3, 3))
    points = torch.randn(8, 5, requires_grad=True)
    clf.fit_embeddings(points, np.arange(8))
    with pytest.raises(InputError, match=r"network gives 8 numbers .* that were fitted have 5"):
        clf.certify(images)
