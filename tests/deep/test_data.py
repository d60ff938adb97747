"""Images from files, and batches of pairs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from certimetric.deep import (
    ConvNet28,
    ImageSet,
    LeNet28,
    LipschitzNet28,
    PairSampler,
    make_model,
    random_shifts,
    read_images,
)
from certimetric.exceptions import DataError, InputError, InputTypeError

pytestmark = pytest.mark.torch


def test_bytes_rows_and_colours_become_images(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.array(["b", "a", "b", "c"])
    cases = {
        "rows": (rng.integers(0, 256, (4, 16), dtype=np.uint8), (4, 1, 4, 4)),
        "grey": (rng.random((4, 5, 6)), (4, 1, 5, 6)),
        "first": (rng.random((4, 3, 5, 6)), (4, 3, 5, 6)),
        "last": (rng.random((4, 5, 6, 3)), (4, 3, 5, 6)),
    }
    for name, (values, shape) in cases.items():
        path = tmp_path / f"{name}.npz"
        np.savez(path, X_train=values, y_train=labels, X_test=values[:2], y_test=labels[:2])
        found = read_images(path)
        assert found.images.shape == shape
        assert found.images.dtype == (torch.float32 if name == "rows" else torch.float64)
        assert found.codes.tolist() == [1, 0, 1, 2]
        assert found.classes.tolist() == ["a", "b", "c"]
        assert len(read_images(path, "test").images) == 2
        image, code = found.dataset()[3]
        assert image.shape == shape[1:]
        assert code == 2
        assert len(found.first(3).codes) == 3
    first = read_images(tmp_path / "rows.npz").images[0, 0].numpy()
    np.testing.assert_array_equal(first, cases["rows"][0][0].reshape(4, 4) / np.float32(255))
    coloured = read_images(tmp_path / "last.npz").images
    np.testing.assert_allclose(coloured[1, 2], cases["last"][0][1, :, :, 2], rtol=1e-6)
    assert read_images(tmp_path / "rows.npz", shape=(1, 2, 8)).images.shape == (4, 1, 2, 8)


def test_some_images_are_held_out():
    codes = torch.arange(60) % 3
    images = ImageSet(torch.arange(60.0).reshape(60, 1, 1, 1) / 60, codes, np.arange(3))
    rest, held_out = images.split(20, seed=1)
    assert len(rest.codes) == 40
    values = torch.cat([rest.images, held_out.images]).flatten()
    assert torch.equal(values.sort().values, images.images.flatten())
    assert torch.equal((held_out.images.flatten() * 60).round().long() % 3, held_out.codes)
    assert images.split(0, seed=1) == (images, None)
    with pytest.raises(InputError, match="2 held out images of 60 leave or make a class with one image"):
        images.split(2, seed=1)


def test_files_that_are_no_images_are_refused(tmp_path):
    def written(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz"

    labels = np.array([0, 1])
    with pytest.raises(DataError, match=r"missing.npz"):
        read_images(tmp_path / "missing.npz")
    with pytest.raises(DataError, match="has no labels"):
        read_images(written(X=np.zeros((2, 4))))
    with pytest.raises(DataError, match="has no array 'X_train' or 'X'"):
        read_images(written(Z=np.zeros((2, 4))))
    with pytest.raises(InputError, match=r"rows of 5 values are no squares: give shape=\(C, H, W\)"):
        read_images(written(X=np.zeros((2, 5)), y=labels))
    with pytest.raises(InputError, match="a row has 4 values"):
        read_images(written(X=np.zeros((2, 4)), y=labels), shape=(1, 3, 3))
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]; image 1 has the value 255"):
        read_images(written(X=np.array([[0.0] * 4, [255.0] * 4]), y=labels))
    with pytest.raises(InputTypeError, match="divide bytes by 255"):
        read_images(written(X=np.zeros((2, 4), dtype=np.int64), y=labels))
    with pytest.raises(InputError, match="part must be 'train' or 'test'"):
        read_images(written(X=np.zeros((2, 4)), y=labels), "both")
    path = written(X=np.zeros((2, 4)), y=labels)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be read as npz"):
        read_images(path)


@pytest.mark.parametrize("seed", range(3))
def test_an_epoch_has_each_image_once_in_pairs_of_a_class(seed):
    rng = np.random.default_rng(seed)
    codes = torch.from_numpy(np.concatenate([np.repeat(np.arange(5), 2), rng.integers(5, size=90)]))
    sampler = PairSampler(codes, 10, seed=seed)
    batches = list(sampler)
    rows = np.concatenate(batches)
    assert len(batches) == len(sampler)
    assert all(len(batch) == 10 for batch in batches)
    assert len(set(rows)) == len(rows)
    pairs = codes[rows].reshape(-1, 2)
    assert torch.equal(pairs[:, 0], pairs[:, 1])
    assert list(sampler) == batches
    sampler.set_epoch(1)
    assert list(sampler) != batches


@pytest.mark.parametrize("seed", range(20))
def test_each_batch_has_two_classes(seed):
    codes = torch.tensor([0] * 32 + [1] * 28 + [2] * 4)
    sampler = PairSampler(codes, 4, seed=seed)
    batches = list(sampler)
    assert all(len(set(codes[batch].tolist())) > 1 for batch in batches)
    assert len(np.unique(np.concatenate(batches))) == 64
    with pytest.raises(InputError, match="too many images of one class for two classes in each batch of 4"):
        PairSampler(torch.tensor([0] * 46 + [1] * 2), 4)


def test_shifts_move_each_image_by_a_pixel_at_most():
    images = torch.rand(200, 2, 5, 4)
    moved = random_shifts(images, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, [1] * 4)
    found = []
    for before, after in zip(padded, moved, strict=True):
        places = [
            (i, j) for i in range(3) for j in range(3) if torch.equal(before[:, i : i + 5, j : j + 4], after)
        ]
        assert len(places) == 1
        found += places
    assert len(set(found)) == 9


def test_a_share_of_images_moves():
    images = torch.rand(2000, 1, 5, 4)
    moved = random_shifts(images, torch.Generator().manual_seed(0), pixels=2, share=0.25)
    is_same = (images == moved).flatten(1).all(dim=1)
    assert 0.7 < is_same.float().mean() < 0.82
    still = random_shifts(images, torch.Generator().manual_seed(0), share=0.0)
    assert torch.equal(still, images)
    with pytest.raises(InputError, match="share between 0 and 1, got 1 and 2"):
        random_shifts(images, torch.Generator(), share=2)


def test_a_lipschitz_network_may_begin_with_principal_directions():
    torch.manual_seed(0)
    network = LipschitzNet28(4, depth=0)
    images = torch.rand(300, 1, 28, 28) * 0.01
    images[:, 0, :4, 0] += torch.rand(300, 4)
    network.initialize(images)
    kept = network[1].weight.detach().reshape(4, 28, 28)[:, :4, 0]
    assert float(torch.linalg.matrix_norm(kept)) ** 2 > 3.9
    torch.testing.assert_close(network[1].weight @ network[1].weight.T, torch.eye(4), atol=1e-5, rtol=0)
    wide = LipschitzNet28(1000, depth=0)
    before = wide[1].weight.detach().clone()
    wide.initialize(images)
    assert torch.equal(wide[1].weight, before)
    with pytest.raises(InputError, match=r"images must have shape \(n, 1, 28, 28\), got \(300, 1, 5, 5\)"):
        network.initialize(images[:, :, :5, :5])


def test_networks_of_the_papers():
    images = torch.rand(2, 1, 28, 28)
    assert ConvNet28()(images).shape == (2, 512)
    assert LeNet28(64)(images).shape == (2, 64)
    assert sum(value.numel() for value in ConvNet28().parameters()) == 832 + 51_264 + 3_212_288 + 524_800
    assert make_model("lenet", 32, channels=3)(torch.rand(2, 3, 28, 28)).shape == (2, 32)
    with pytest.raises(
        InputError, match="model must be 'c2f2', 'lenet', 'lipschitz', 'resnet18' or 'resnet50', got 'vgg'"
    ):
        make_model("vgg")
    with pytest.raises(InputError, match="n_components must be 1 or more"):
        make_model("c2f2", 0)
    with pytest.raises(InputError, match="'c2f2' has none"):
        make_model("c2f2", weights="DEFAULT")


def test_networks_of_torchvision_where_it_is_installed():
    pytest.importorskip("torchvision", reason="needs torchvision: the extra vision")
    model = make_model("resnet18", 16).eval()
    with torch.no_grad():
        assert model(torch.rand(2, 3, 64, 64)).shape == (2, 16)
    assert model.channels == 3
