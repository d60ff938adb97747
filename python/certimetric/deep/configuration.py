"""What a run is made of, as a file of TOML: sections, their defaults, and the settings of the papers."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from certimetric.deep.attacks import PGD
from certimetric.deep.data import random_shifts
from certimetric.deep.losses import make_loss
from certimetric.deep.models import LipschitzNet28, make_model
from certimetric.deep.presets import make_scheme
from certimetric.deep.schemes import Scheme
from certimetric.deep.trainer import Trainer
from certimetric.exceptions import DataError, InputError

__all__ = ["PRESETS", "Configuration"]

_LARGEST = 1e30
"""Of what single precision must hold with room to spare: the first steps of Adam are ten times a rate."""


@dataclass(frozen=True)
class _Model:
    """Of :func:`certimetric.deep.make_model`; ``size`` is that of images of a folder."""

    name: str = "c2f2"
    n_components: int = 512
    channels: int = 1
    weights: str | None = None
    size: int = 28


@dataclass(frozen=True)
class _Train:
    """Of :class:`certimetric.deep.Trainer` and of :func:`certimetric.deep.make_scheme`; Adam.

    ``shifts`` and ``shift_share`` are pixels and share of :func:`certimetric.deep.random_shifts`.

    ``held_out`` images, drawn with the seed, are not trained on: the model of the epoch with the best mAP@R
    of them, or loss before prototypes, is kept, and ``patience`` epochs without a better one end the run.
    """

    scheme: str = "HM[S,LGA]&ICS"
    loss: str = "triplet"
    margin: float = 0.2
    ics: float = 0.5
    epochs: int = 16
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: str = "constant"
    shifts: int = 0
    shift_share: float = 1.0
    weight_decay: float = 1e-7
    clip: float | None = None
    seed: int = 0
    time_limit: float | None = None
    held_out: int = 0
    patience: int | None = None
    checkpoint_minutes: float = 5.0
    mixed_precision: bool = False


@dataclass(frozen=True)
class _Attack:
    """Of :class:`certimetric.deep.PGD`."""

    eps: float = 77 / 255
    step: float | None = 3 / 255
    steps: int = 32
    norm: str = "linf"
    random_start: bool = False


@dataclass(frozen=True)
class Configuration:
    """All settings of a run.

    Attributes
    ----------
    model, train : sections
    attack : section
        In training.
    score : section
        Of the robustness score.
    """

    model: _Model = field(default_factory=_Model)
    train: _Train = field(default_factory=_Train)
    attack: _Attack = field(default_factory=_Attack)
    score: _Attack = field(default_factory=_Attack)

    @classmethod
    def from_toml(cls, path: str | Path, start: "Configuration | None" = None) -> "Configuration":
        """Read a file; what it does not say is as in ``start``, or the default.

        Raises
        ------
        DataError
            No such file, or not TOML.
        InputError
            A section, a key or a type that is not known; the message names it.
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DataError(f"{path}: cannot be read as TOML: {error}") from error
        return (start or cls()).updated(values, str(path))

    def updated(self, values: Mapping[str, Any], source: str = "settings") -> "Configuration":
        """With some values in place of those here.

        Raises
        ------
        InputError
            As for :meth:`from_toml`.
        """
        known = {f.name for f in fields(self)}
        changed: dict[str, Any] = {}
        for name, section in values.items():
            if name not in known or not isinstance(section, Mapping):
                raise InputError(f"{source}: sections are {', '.join(sorted(known))}; got {name!r}.")
            changed[name] = _section(getattr(self, name), section, f"{source}: {name}")
        return replace(self, **changed)

    def assigned(self, texts: Iterable[str]) -> "Configuration":
        """With some values given as ``train.epochs=2``.

        Raises
        ------
        InputError
            As for :meth:`from_toml`.
        """
        found = self
        for text in texts:
            place, equals, value = text.partition("=")
            section, dot, key = place.strip().partition(".")
            if not equals or not dot:
                raise InputError(f"--set must be like train.epochs=2, got {text!r}.")
            found = found.updated({section: {key: _value(value.strip())}}, "--set")
        return found

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values."""
        return asdict(self)

    def check(self) -> None:
        """See that all of it makes sense, before any work.

        Raises
        ------
        InputError
            A value that is out of range, or an unknown name; the message names it.
        """
        for name in ("attack", "score"):
            try:
                PGD(**asdict(getattr(self, name)))
            except InputError as error:
                raise InputError(f"{name}: {error}") from error
        values = self.train
        if self.model.size < 1:
            raise InputError(f"model.size must be 1 or more, got {self.model.size}.")
        if not 0 < values.learning_rate <= _LARGEST:
            raise InputError(
                f"train.learning_rate must be positive and at most {_LARGEST:g}, got {values.learning_rate}."
            )
        if not 0 <= values.weight_decay <= _LARGEST:
            raise InputError(
                f"train.weight_decay must be between 0 and {_LARGEST:g}, got {values.weight_decay}."
            )
        if not 0 <= values.seed < 2**32:
            raise InputError(f"train.seed must be between 0 and 2^32 - 1, got {values.seed}.")
        if values.schedule not in ("constant", "one-cycle"):
            raise InputError(f"train.schedule must be 'constant' or 'one-cycle', got {values.schedule!r}.")
        if values.shifts < 0:
            raise InputError(f"train.shifts must be 0 or more, got {values.shifts}.")
        if not 0 <= values.shift_share <= 1:
            raise InputError(f"train.shift_share must be between 0 and 1, got {values.shift_share}.")
        if values.held_out < 0 or (values.patience is not None and not values.held_out):
            raise InputError("train.held_out must be 0 or more, and train.patience needs some.")
        self.make_scheme()

    def make_model(self, images: Tensor | None = None) -> nn.Module:
        """The network, its weights drawn with the seed of the run.

        With images, a network that can begins with the directions in which they differ most.
        """
        torch.manual_seed(self.train.seed)
        values = self.model
        model = make_model(values.name, values.n_components, values.channels, values.weights)
        if images is not None and isinstance(model, LipschitzNet28):
            model.initialize(images)
        return model

    def make_trainer(self, model: nn.Module, **settings: Any) -> Trainer:
        """The training of a model, which tells these settings in its checkpoint.

        Parameters
        ----------
        model : torch.nn.Module
        **settings
            Of :class:`~certimetric.deep.Trainer`, besides those of a section.
        """
        values = self.train
        shifted = partial(random_shifts, pixels=values.shifts, share=values.shift_share)
        return Trainer(
            model,
            self.make_scheme(),
            partial(torch.optim.Adam, lr=values.learning_rate, weight_decay=values.weight_decay),
            epochs=values.epochs,
            batch_size=values.batch_size,
            seed=values.seed,
            schedule=values.schedule,
            augment=shifted if values.shifts else None,
            clip=values.clip,
            time_limit=values.time_limit,
            checkpoint_minutes=values.checkpoint_minutes,
            mixed_precision=values.mixed_precision,
            **settings,
        )

    def make_scheme(self) -> Scheme:
        """The training scheme."""
        values = self.train
        margin = {} if values.loss == "contrastive" else {"margin": values.margin}
        return make_scheme(
            values.scheme,
            attack=PGD(**asdict(self.attack)),
            loss=make_loss(values.loss, **margin),
            margin=values.margin,
            ics=values.ics,
        )


_WORDS = {"int": "an integer", "float": "a number", "str": "text", "bool": "true or false"}


def _section(section: Any, values: Mapping[str, Any], source: str) -> Any:
    types = {f.name: f.type for f in fields(section)}
    for key, value in values.items():
        if key not in types:
            raise InputError(f"{source} has no key {key!r}; it has {', '.join(types)}.")
        if not _fits(value, types[key]):
            raise InputError(f"{source}.{key} must be {_words(types[key])}, got {value!r}.")
    return replace(section, **values)


def _fits(value: Any, kind: Any) -> bool:
    kinds = get_args(kind) or (kind,)
    # A bool is an int to Python, and no number of epochs.
    return type(value) in kinds or (float in kinds and type(value) is int)


def _words(kind: Any) -> str:
    names = [k.__name__ for k in get_args(kind) or (kind,) if k is not type(None)]
    return " or ".join(_WORDS[name] for name in names)


def _value(text: str) -> Any:
    """A value of TOML, or else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


PRESETS = {
    "28": Configuration(),
    "224": Configuration(
        _Model("resnet18", 512, 3, None, 224),
        _Train(epochs=150, batch_size=112, learning_rate=1e-5, weight_decay=4e-4),
        _Attack(8 / 255, 1 / 255, 32),
        _Attack(8 / 255, 3 / 255, 32),
    ),
    "panum": Configuration(
        _Model("resnet50", 128, 3, None, 224),
        _Train("RO[pos]", "contrastive", batch_size=112, epochs=150, learning_rate=1e-5, weight_decay=4e-4),
        _Attack(0.01, None, 5, random_start=True),
        _Attack(0.01, None, 5, random_start=True),
    ),
    "certified": Configuration(
        _Model("lipschitz", 256),
        _Train(
            "CP[20]",
            margin=2.2,
            epochs=150,
            batch_size=256,
            learning_rate=2e-3,
            schedule="one-cycle",
            shifts=1,
            shift_share=0.3,
            weight_decay=0.0,
        ),
    ),
}
"""Settings of Zhou & Patel (2022) for 28 × 28 and 224 × 224, of Panum et al. (2021), and of our own."""
