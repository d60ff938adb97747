"""Settings from TOML: what is meant, and what is refused."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")

from certimetric.deep import PGD, PRESETS, Configuration, ConvNet28, HardnessManipulation, LipschitzNet28
from certimetric.deep.schemes import CertifiedTriplets
from certimetric.exceptions import DataError, InputError

pytestmark = pytest.mark.torch


def test_a_file_says_what_differs_from_the_preset(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[train]\nscheme = "HM[R,M]"\nepochs = 2\n[attack]\neps = 1\nsteps = 4\n')
    found = Configuration.from_toml(path, PRESETS["28"]).assigned(
        ["model.n_components=16", "train.margin=0.3"]
    )
    assert (found.train.epochs, found.train.batch_size, found.attack.eps) == (2, 128, 1)
    assert found.score == PRESETS["28"].score
    scheme = found.make_scheme()
    assert isinstance(scheme, HardnessManipulation)
    assert scheme.attack == PGD(1, 3 / 255, 4)
    assert (scheme.margin, scheme.loss.margin, scheme.miner.strategy) == (0.3, 0.3, "random")
    assert Configuration().updated(found.to_dict()) == found


def test_models_are_drawn_with_the_seed_of_the_run():
    first, again, other = (
        Configuration().assigned([f"train.seed={seed}"]).make_model() for seed in (1, 1, 2)
    )
    assert isinstance(first, ConvNet28)
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    certified = Configuration().assigned(
        ["model.name=lipschitz", "model.n_components=8", "train.scheme=CT[S]"]
    )
    assert isinstance(certified.make_model(), LipschitzNet28)
    assert isinstance(certified.make_scheme(), CertifiedTriplets)


def test_presets_are_those_of_the_papers():
    assert PRESETS["28"].make_scheme().attack == PGD(77 / 255, 3 / 255, 32)
    assert PRESETS["224"].make_scheme().attack == PGD(8 / 255, 1 / 255, 32)
    panum = PRESETS["panum"].make_scheme()
    assert (panum.role, panum.attack, panum.miner.strategy) == (
        "positive",
        PGD(0.01, None, 5, random_start=True),
        "distance",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trian]\nepochs = 2\n", r"sections are attack, model, score, train; got 'trian'"),
        ("train = 3\n", "sections are"),
        ("[train]\nepoch = 2\n", "train has no key 'epoch'; it has scheme, loss"),
        ('[train]\nepochs = "2"\n', "train.epochs must be an integer, got '2'"),
        ("[train]\nepochs = 2.5\n", "train.epochs must be an integer, got 2.5"),
        ("[train]\nepochs = true\n", "train.epochs must be an integer, got True"),
        ("[attack]\neps = true\n", "attack.eps must be a number, got True"),
        ("[model]\nname = 3\n", "model.name must be text, got 3"),
    ],
)
def test_what_is_not_known_is_named(text, message, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Configuration.from_toml(path)


def test_files_that_are_no_toml_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"missing.toml: cannot be read as TOML"):
        Configuration.from_toml(tmp_path / "missing.toml")
    for content in (b"[train", b"\xff\xfe"):
        (tmp_path / "a.toml").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as TOML"):
            Configuration.from_toml(tmp_path / "a.toml")
    with pytest.raises(InputError, match=r"--set must be like train.epochs=2, got 'epochs'"):
        Configuration().assigned(["epochs"])
