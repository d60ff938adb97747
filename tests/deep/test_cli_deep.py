"""The commands of deep metric learning, as a user types them."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

import certimetric as cm
from certimetric import deep
from certimetric._cli_app import app
from certimetric.reproduce import certified

pytestmark = pytest.mark.torch

SMALL = [
    "--set",
    "train.epochs=2",
    "--set",
    "train.batch_size=32",
    "--set",
    "attack.steps=1",
    "--set",
    "score.steps=2",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Grey images of 28 × 28 with a bright quarter, 4 classes."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 32)
    images = rng.integers(0, 100, (128, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[14 * (label // 2) :, 14 * (label % 2) :][:14, :14] += 100
    path = tmp_path_factory.mktemp("deep") / "quarters.npz"
    flat = images.reshape(128, -1)
    np.savez(path, X_train=flat[:96], y_train=labels[:96], X_test=flat[96:], y_test=labels[96:])
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["deep", *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(data):
    out = data.with_name("run.pt")
    found = run("train", "--data", data, "--out", out, *SMALL, "--set", "model.n_components=8", "-q")
    assert found.exit_code == 0, found.output
    assert re.search(r"run.pt: HM\[S,LGA\]&ICS, 2 epochs, loss 0\.\d+", found.output)
    return out


def test_a_trained_network_is_evaluated_and_attacked(trained, data):
    found = run("evaluate", trained, "--data", data, "--out", data.with_name("clean.json"), "--jobs", 1)
    assert found.exit_code == 0, found.output
    assert "mAP@R" in found.output
    clean = json.loads(data.with_name("clean.json").read_text())
    found = run("evaluate", trained, "--data", data, "--under", "ES", "--points", 8)
    assert found.exit_code == 0, found.output
    assert "mAP@R" in found.output
    assert "NMI" in found.output
    assert run("evaluate", trained, "--data", data, "--points", 8).exit_code == 2
    out = data.with_name("score.json")
    found = run("attack", trained, "--data", data, "--points", 8, "--out", out, "-q")
    assert found.exit_code == 0, found.output
    score = json.loads(out.read_text())
    assert "ERS" in found.output
    assert score["clean"]["map"] == pytest.approx(clean["map"])
    assert score["points"] == 8
    assert score["attack"]["steps"] == 2
    assert not out.with_name("score.part.npz").exists()


def test_the_same_command_goes_on_and_other_settings_are_refused(trained, data):
    before = trained.read_bytes()
    call = ["train", "--data", data, "--out", trained, "--set", "model.n_components=8", "-q"]
    assert run(*call, *SMALL).exit_code == 0
    assert torch.load(trained, weights_only=True)["history"][-1]["epoch"] == 2
    refused = run(*call, *SMALL, "--set", "train.seed=5")
    assert refused.exit_code == 2
    assert "is of a run with other images or settings" in refused.output
    trained.write_bytes(before)


def test_a_network_of_a_known_constant_is_certified(data):
    out = data.with_name("certified.pt")
    settings = [
        "--set",
        "model.name=lipschitz",
        "--set",
        "model.n_components=16",
        "--set",
        "train.schedule=one-cycle",
        "--set",
        "train.shifts=1",
        "--scheme",
        "CT[R]",
        *SMALL,
    ]
    assert run("train", "--data", data, "--out", out, *settings, "-q").exit_code == 0
    result = data.with_name("certified.parquet")
    found = run("certify", out, "--data", data, "--eps", "0,0.5", "--points", 20, "--out", result, "-q")
    assert found.exit_code == 0, found.output
    assert re.search(r"L ≤ 1\.0000\d+, 20 images before 96 training images", found.output)
    cert = cm.load_certification(result)
    assert len(cert) == 20
    assert f"certified at 0.5    {1 - cert.certified_error(0.5):.4f}" in found.output


def test_prototypes_are_learned_with_a_network_and_certified(data):
    out = data.with_name("points.pt")
    settings = ["--set", "model.n_components=16", "--scheme", "CP[2]", "--set", "train.held_out=20", *SMALL]
    assert run("train", "--preset", "certified", "--data", data, "--out", out, *settings, "-q").exit_code == 0
    found = run("certify", out, "--data", data, "--eps", "0,0.5", "-q")
    assert found.exit_code == 0, found.output
    points, codes = deep.read_prototypes(out)
    assert "32 images before 8 prototypes" in found.output
    assert points.shape == (8, 16)
    images, network = deep.read_images(data, "test"), deep.load_model(deep.LipschitzNet28(16), out)
    clf = deep.CertifiedEmbeddingClassifier(network).fit_embeddings(points, codes)
    error = clf.certify(images.images, images.codes).certified_error(0.5)
    assert f"certified at 0.5    {1 - error:.4f}" in found.output
    other = run("certify", out, "--data", data, "--rows", "training", "-q")
    assert "before 96 training images" in other.output


def test_prototypes_that_are_not_there_are_not_certified(data):
    out = data.with_name("triplets.pt")
    settings = ["--set", "model.n_components=16", "--scheme", "CT[R]", *SMALL]
    assert run("train", "--preset", "certified", "--data", data, "--out", out, *settings, "-q").exit_code == 0
    assert deep.read_prototypes(out) is None
    found = run("certify", out, "--data", data, "--rows", "prototypes", "-q")
    assert found.exit_code == 2
    assert "has no prototypes; train.scheme=CP[20] learns some" in found.output


def test_a_network_without_a_known_constant_is_not(trained, data):
    found = run("certify", trained, "--data", data)
    assert found.exit_code == 2
    assert "'c2f2' has no known constant; train --preset certified" in found.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "32"], "--preset must be 28, 224, panum, certified, got '32'"),
        (["--scheme", "HM"], "unknown scheme 'HM'"),
        (
            ["--set", "train.learning_rate=-1"],
            "train.learning_rate must be positive and at most 1e+30, got -1",
        ),
        (["--set", "train.learning_rate=1e38"], "train.learning_rate must be positive and at most 1e+30"),
        (["--set", "model.size=0"], "model.size must be 1 or more, got 0"),
        (
            ["--set", "train.schedule=cosine"],
            "train.schedule must be 'constant' or 'one-cycle', got 'cosine'",
        ),
        (["--set", "train.weight_decay=-1"], "train.weight_decay must be between 0 and 1e+30"),
        (["--set", "train.shift_share=2"], "train.shift_share must be between 0 and 1, got 2"),
        (["--set", "train.seed=-1"], "train.seed must be between 0 and 2^32 - 1, got -1"),
        (["--set", "train.margin=nan"], "margin must be positive and finite, got nan"),
        (["--set", "score.steps=0"], "score: steps must be an integer, 1 or more, got 0"),
        (["--set", "model.name=resnet7"], "model must be 'c2f2'"),
        (["--log", "nowhere/log.csv"], "log must be in a folder that is there"),
        (["--set", "train.epochs=x"], "train.epochs must be an integer, got 'x'"),
        (["--set", "model.channels=3"], "images have 1 channel(s), model.channels is 3"),
        (["--out", "run.npz"], "--out must be a file .pt, got run.npz"),
        (["--data", "nothing.npz"], "nothing.npz"),
        (["--device", "abacus"], "--device 'abacus' cannot be used here"),
        (["--config", "nothing.toml"], "nothing.toml: cannot be read as TOML"),
    ],
)
def test_mistakes_are_one_line(arguments, message, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run("train", "--data", data, "--out", "x.pt", *arguments, "-q")
    assert found.exit_code == 2
    assert message in found.output
    assert len(found.output.strip().splitlines()) == 1


def test_no_result_takes_the_place_of_what_is_read(trained, data, tmp_path):
    linked = tmp_path / "result.csv"
    linked.symlink_to(data)
    state, arrays = trained.read_bytes(), data.read_bytes()
    for arguments, message in (
        (["train", "--data", data, "--out", "x.pt", "--log", data], "--log is the same file as --data"),
        (["train", "--data", data, "--out", "x.pt", "--log", "x.pt"], "--log is the same file as --out"),
        (["evaluate", trained, "--data", data, "--out", trained], "--out is the same file as the run"),
        (["attack", trained, "--data", data, "--out", data], "--out is the same file as --data"),
        (["certify", trained, "--data", data, "--out", linked], "--out is the same file as --data"),
    ):
        found = run(*arguments)
        assert found.exit_code == 2
        assert message in found.output.replace("\n", " ")
    assert (trained.read_bytes(), data.read_bytes()) == (state, arrays)


def test_files_of_others_are_refused(data, tmp_path):
    path = tmp_path / "other.pt"
    for content in (
        {"weights": torch.ones(3)},
        torch.ones(3),
        [1],
        {"format": "certimetric.deep", "version": 1},
    ):
        torch.save(content, path)
        found = run("evaluate", path, "--data", data)
        assert found.exit_code == 2
        assert "checkpoint" in found.output


def test_a_run_that_is_not_finite_leaves_what_it_says(data, tmp_path):
    out = tmp_path / "x.pt"
    found = run("train", "--data", data, "--out", out, *SMALL, "--set", "train.learning_rate=1e30", "-q")
    assert found.exit_code == 1
    assert "the loss of epoch 1 is not finite: the model is that of the epoch before" in found.output
    assert "x.pt is of that epoch" in found.output
    network = deep.load_model(deep.ConvNet28(512), out)
    assert all(torch.isfinite(value).all() for value in network.parameters())


def test_a_class_with_one_image_is_named_as_in_the_file(data, tmp_path):
    with np.load(data) as arrays:
        X, y = arrays["X_train"], arrays["y_train"] * 3
    y[0] = 10
    np.savez(tmp_path / "rare.npz", X_train=X, y_train=y)
    found = run("train", "--data", tmp_path / "rare.npz", "--out", tmp_path / "x.pt", *SMALL, "-q")
    assert found.exit_code == 2
    assert "class 10 has 1" in found.output
    np.savez(tmp_path / "odd.npz", X_train=X, y_train=np.linspace(0, 1, len(X)))
    found = run("train", "--data", tmp_path / "odd.npz", "--out", tmp_path / "x.pt", *SMALL, "-q")
    assert found.exit_code == 2
    assert "odd.npz: labels must be classes" in found.output.replace("\n", "")


def test_a_network_that_has_collapsed_has_no_scores(trained, data, tmp_path):
    state = torch.load(trained, weights_only=True)
    for part in (state["weights"], *(best for best in state["place"]["best_state"])):
        for value in part.values():
            value.zero_()
    torch.save(state, tmp_path / "zero.pt")
    found = run("evaluate", tmp_path / "zero.pt", "--data", data)
    assert found.exit_code == 2
    assert "times the same" in found.output or "collapsed" in found.output


def test_images_of_one_class_are_certified(data, tmp_path):
    with np.load(data) as arrays:
        parts = dict(arrays)
    is_first = parts["y_test"] == parts["y_test"][0]
    np.savez(
        tmp_path / "one.npz",
        **{**parts, "X_test": parts["X_test"][is_first], "y_test": parts["y_test"][is_first]},
    )
    out = tmp_path / "certified.pt"
    few = ["--set", "train.epochs=1", "--set", "train.batch_size=32", "--set", "train.held_out=0"]
    found = run("train", "--data", data, "--preset", "certified", "--out", out, *few, "-q")
    assert found.exit_code == 0, found.output
    found = run("certify", out, "--data", tmp_path / "one.npz", "-q")
    assert found.exit_code == 0, found.output


def test_held_out_images_choose_the_epoch(data, tmp_path):
    out, log = tmp_path / "x.pt", tmp_path / "log.csv"
    values = ["train.held_out=24", "train.patience=1", "model.n_components=8"]
    settings = [word for value in values for word in ("--set", value)]
    found = run("train", "--data", data, "--out", out, "--log", log, *SMALL, *settings, "-q")
    assert found.exit_code == 0, found.output
    assert log.read_text().startswith("epoch,loss,seconds,validation\n")
    refused = run("train", "--data", data, "--out", tmp_path / "y.pt", *SMALL, "--set", "train.patience=1")
    assert refused.exit_code == 2
    assert "train.patience needs some" in refused.output


def test_a_folder_without_test_images_is_no_test_set(trained, tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    found = run("evaluate", trained, "--data", tmp_path)
    assert found.exit_code == 2
    assert "has a folder train, but none test" in found.output


def test_images_of_another_size_are_refused(trained, tmp_path):
    path = tmp_path / "small.npz"
    np.savez(path, X_test=np.zeros((8, 25), dtype=np.uint8), y_test=np.tile([0, 1], 4))
    found = run("evaluate", trained, "--data", path)
    assert found.exit_code == 2
    assert "model does not take images of shape (1, 5, 5)" in found.output


def test_all_rows_of_certified_accuracies_are_about_the_same_images(data, tmp_path):
    with np.load(data) as archive:
        parts = dict(archive)
    # Test images without the first class: codes of the two parts are not the same.
    chosen = parts["y_test"] > 0
    parts |= {
        "X_test": parts["X_test"][chosen],
        "y_test": parts["y_test"][chosen] + 5,
        "y_train": parts["y_train"] + 5,
    }
    np.savez(tmp_path / "mnist.npz", **{name: np.concatenate([part] * 3) for name, part in parts.items()})
    experiment = certified.Experiment(tmp_path / "mnist.npz", tmp_path, epochs=8, points=7)
    _, test = experiment.images
    np.testing.assert_allclose(experiment.split.Z, test.images.flatten(1), rtol=1e-7)
    np.testing.assert_array_equal(experiment.split.t, test.classes[test.codes])
    for row in ("pixels", "network", "network-points"):
        assert certified.ROWS[row].certify(experiment).certified_error(0.0) < 0.5


@pytest.mark.parametrize("table", ["deep-fashion", "deep-certified"])
def test_a_table_of_one_data_set_is_not_asked_for_two(tmp_path, table):
    call = ["reproduce", table, "--data", str(tmp_path), "--only", "mnist,fashion_mnist"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 2
    assert "--only must be fashion_mnist or mnist, got 'mnist,fashion_mnist'" in result.stderr


def test_the_table_of_certified_accuracies_is_made_and_goes_on(data, tmp_path):
    with np.load(data) as archive:
        parts = {name: np.concatenate([archive[name]] * 4) for name in archive.files}
    np.savez(tmp_path / "mnist.npz", **parts)
    call = ["reproduce", "deep-certified", "--data", tmp_path, "--epochs", "2", "--points", "12"]
    call += ["--row", "pixels", "pixels-knn", "pixels-points", "network", "network-knn"]
    call += ["network-edited", "network-points"]
    call += ["--out", tmp_path / "out", "-q"]
    first = CliRunner().invoke(app, list(map(str, call)))
    assert first.exit_code == 0, first.output
    lines = [line.rsplit(maxsplit=4) for line in first.output.splitlines()[:8]]
    assert lines[0] == ["certified at", "0", "0.5", "1", "1.58"]
    kinds = ("1-NN", "11-NN", "learned points")
    titles = [f"{what}, {kind}" for what in ("pixels", "network") for kind in kinds]
    assert [line[0] for line in lines[1:]] == [*titles[:-1], "network, 1-NN, edited", titles[-1]]
    for line in lines[1:]:
        shares = [float(share) for share in line[1:]]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > 0.5
    for suffix in ("md", "csv", "png"):
        assert (tmp_path / "out" / f"deep-certified-mnist.{suffix}").stat().st_size > 200
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()}
    assert sum(path.suffix == ".npz" for path in kept) == 7
    again = CliRunner().invoke(app, list(map(str, call)))
    assert again.output == first.output
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()}
    other = CliRunner().invoke(app, [*map(str, call), "--row", "pixel"])
    assert other.exit_code == 2
    assert "--row must be one of pixels, pixels-knn" in other.output


def test_the_table_of_defences_is_made_and_goes_on(data, tmp_path):
    call = [
        "reproduce",
        "deep-fashion",
        "--data",
        data,
        "--scheme",
        "none",
        "ACT[R]",
        "--points",
        "4",
    ]
    call += ["--epochs", "1", "--steps", "1", "--out", tmp_path / "out", "-q"]
    data_of_256 = tmp_path / "fashion_mnist.npz"
    with np.load(data) as archive:
        parts = {name: np.concatenate([archive[name]] * 2) for name in archive.files}
    np.savez(data_of_256, **parts)
    call[call.index(data)] = tmp_path
    first = CliRunner().invoke(app, list(map(str, call)))
    assert first.exit_code == 0, first.output
    lines = first.output.splitlines()
    assert lines[0].split()[:3] == ["defence", "R@1", "R@2"]
    assert [line.split("  ")[0] for line in lines[1:5]] == [
        "none",
        "none, published",
        "ACT[R]",
        "ACT[R], published",
    ]
    for suffix in ("md", "csv", "png"):
        assert (tmp_path / "out" / f"deep-fashion_mnist.{suffix}").stat().st_size > 200
    again = CliRunner().invoke(app, list(map(str, call)))
    assert again.output == first.output
    # What is damaged is made again.
    for content in ("{", "{}"):
        next((tmp_path / "out" / "cells").glob("*.json")).write_text(content)
        again = CliRunner().invoke(app, list(map(str, call)))
        assert again.exit_code == 0, again.output
        assert again.output.splitlines()[:5:2] == first.output.splitlines()[:5:2]
