"""The state of a training run: one step of it, what a step may be taken back to, and Ctrl-C between steps."""

import copy
import json
import math
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from certimetric.deep._log import check_log
from certimetric.deep.embedding import place_of
from certimetric.deep.schemes import Scheme
from certimetric.exceptions import InputError

__all__ = [
    "Make",
    "Place",
    "Run",
    "Wish",
    "check_settings",
    "one_cycle",
    "patient",
    "warn_of",
]


Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""What makes an optimiser of parameters."""

_FIRST, _UP = 1 / 25, 0.1


@dataclass
class Place:
    """Where a run is: the next batch, what was summed in its epoch, the best so far."""

    epoch: int = 0
    batch: int = 0
    total: float = 0.0
    seconds: float = 0.0
    best: float = -math.inf
    best_epoch: int = 0
    best_state: list[dict[str, Tensor]] = field(default_factory=list)

    def is_last(self, patience: int | None, epochs: int) -> bool:
        """Whether no epoch is to follow."""
        is_stale = patience is not None and self.epoch - self.best_epoch >= patience
        return is_stale or self.epoch >= epochs


class Run:
    """All that changes with each step: the model, parameters of the loss, the optimiser, and what is drawn.

    Parameters
    ----------
    model, scheme, optimizer
        As for :class:`~certimetric.deep.Trainer`.
    seed : int
    """

    def __init__(
        self, model: nn.Module, scheme: Scheme, optimizer: torch.optim.Optimizer | Make | None, seed: int
    ) -> None:
        self.model, self.scheme = model, scheme
        self.loss = scheme.loss if isinstance(scheme.loss, nn.Module) else nn.Module()
        self.loss.to(place_of(model)["device"])
        self.parameters = [*model.parameters(), *self.loss.parameters()]
        make = partial(torch.optim.Adam, lr=1e-3) if optimizer is None else optimizer
        self.optimizer = make if isinstance(make, torch.optim.Optimizer) else make(self.parameters)
        _check_optimizer(self.optimizer, model, self.loss)
        self.open: Callable[[], AbstractContextManager[None]] = nullcontext
        self.generator = torch.Generator().manual_seed(seed)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.place, self.history = Place(), list[dict[str, float]]()
        scheme.reset()
        self.keep()

    def settings(self) -> tuple[Any, ...]:
        """What tells this run from others: the scheme, the optimiser and its first settings."""
        groups = [{**group, "params": len(group["params"])} for group in self.optimizer.param_groups]
        return self.scheme.settings(), type(self.optimizer).__name__, groups

    def set_rate(self, share: float) -> None:
        """Learning rates are this share of the first ones."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = share * rate

    def keep(self) -> None:
        """Weights to go back to, should a loss not be finite."""
        self.good = copy.deepcopy((self.model.state_dict(), self.loss.state_dict()))

    def go_back(self) -> None:
        """To the weights that were kept, at the first batch of the epoch."""
        self.model.load_state_dict(self.good[0])
        self.loss.load_state_dict(self.good[1])
        self.place.batch, self.place.total = 0, 0.0

    def end_epoch(self, row: dict[str, float]) -> None:
        """Note an epoch, and its state where it is the best so far."""
        place = self.place
        self.keep()
        self.history.append(row)
        place.epoch, place.batch, place.total, place.seconds = place.epoch + 1, 0, 0.0, 0.0
        if row.get("validation", -math.inf) > place.best:
            place.best, place.best_epoch, place.best_state = row["validation"], place.epoch, list(self.good)

    def take_best(self) -> None:
        """Go to the weights of the best epoch, where some were noted."""
        if self.place.best_state:
            self.good = self.place.best_state[0], self.place.best_state[1]
            self.go_back()

    def step(
        self,
        images: Tensor,
        labels: Tensor,
        clip: float | None = None,
        is_mixed: bool = False,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> float:
        """A step of the optimiser; without one where the loss or its gradient is not finite, then NaN.

        What interrupts it leaves the state of before.
        """
        before, place = self._drawn(), self.place
        try:
            with self.open():
                self.model.train()
                images = images if augment is None else augment(images, self.generator)
                self.optimizer.zero_grad(set_to_none=True)
                with torch.autocast("cuda", torch.bfloat16) if is_mixed and images.is_cuda else nullcontext():
                    loss = self.scheme(self.model, images, labels, self.generator)
                loss.backward()
                norm = nn.utils.clip_grad_norm_(self.parameters, math.inf if clip is None else clip)
                is_finite = bool(torch.isfinite(loss) and torch.isfinite(norm))
        except InputError as error:
            self._undraw(before)
            raise InputError(f"epoch {place.epoch + 1}, batch {place.batch + 1}: {error}") from error
        except BaseException:
            self._undraw(before)
            raise
        if not is_finite:
            return math.nan
        self.optimizer.step()
        return float(loss.detach())

    def _drawn(self) -> tuple[Any, ...]:
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        return self.generator.get_state(), torch.get_rng_state(), self.scheme.state_dict(), buffers

    def _undraw(self, before: tuple[Any, ...]) -> None:
        generator, shared, scheme, buffers = before
        self.generator.set_state(generator)
        torch.set_rng_state(shared)
        self.scheme.load_state_dict(scheme)
        with torch.no_grad():
            for buffer, value in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(value)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, from which a run goes on to the same bits."""
        return {
            "weights": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "good": list(self.good),
            "optimizer": self.optimizer.state_dict(),
            "scheme": self.scheme.state_dict(),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "place": dict(vars(self.place)),
            "history": self.history,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.model.load_state_dict(state["weights"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheme.load_state_dict(state["scheme"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        self.place, self.history = Place(**state["place"]), state["history"]
        weights, loss = state["good"]
        self.good = weights, loss


def _check_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, loss: nn.Module) -> None:
    """Refuse one that would not train all that learns, or that takes no single steps.

    Raises
    ------
    InputError
    """
    if isinstance(optimizer, torch.optim.LBFGS):
        raise InputError("optimizer must make a step of one gradient, which LBFGS does not.")
    known = {id(value) for group in optimizer.param_groups for value in group["params"]}
    if not any(id(value) in known for value in model.parameters()):
        raise InputError("optimizer must have parameters of the model, but has none of them.")
    if any(value.requires_grad and id(value) not in known for value in loss.parameters()):
        raise InputError(
            "optimizer must have what the loss learns, too, as partial(torch.optim.Adam, lr=...) will."
        )


def check_settings(
    epochs: int,
    schedule: str,
    numbers: dict[str, float | None],
    paths: dict[str, str | Path | None],
    about: Any,
    validates: bool,
) -> None:
    """See that a run can begin, and that what it writes can be written.

    Raises
    ------
    InputError
        A number that is not positive and finite, a folder that is not there, or values that are not plain.
    """
    if not isinstance(epochs, int | np.integer) or epochs < 1:
        raise InputError(f"epochs must be an integer, 1 or more, got {epochs!r}.")
    if schedule not in ("constant", "one-cycle"):
        raise InputError(f"schedule must be 'constant' or 'one-cycle', got {schedule!r}.")
    if numbers.get("patience") is not None and not validates:
        raise InputError("patience needs validate, which tells what is better.")
    for name, value in numbers.items():
        if value is not None and not (isinstance(value, int | float | np.number) and 0 < value < math.inf):
            raise InputError(f"{name} must be positive and finite, got {value!r}.")
    for name, path in paths.items():
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise InputError(f"{name} must be in a folder that is there, got {path}.")
    if (log := paths.get("log")) is not None:
        check_log(Path(log))
    try:
        json.dumps(about)
    except TypeError as error:
        raise InputError(f"about must have plain values: {error}.") from error


_REASONS = {
    "interrupted": "was interrupted: the model is that of the last step",
    "not_finite": "ends, for the loss of epoch {epoch} is not finite: the model is that of the epoch before",
}


def warn_of(reason: str, epoch: int) -> None:
    """Say that a run ended before its end, if it did so for a reason that nobody asked for."""
    if reason in _REASONS:
        what = _REASONS[reason].format(epoch=epoch)
        warnings.warn(f"Trainer {what}.", ConvergenceWarning, stacklevel=4)


def one_cycle(share: float) -> float:
    """Of the largest learning rate, when this share of all steps is done (Smith & Topin, 2018).

    Up from 1/25 in the first tenth, then down to 0, both by cosines.
    """
    if share < _UP:
        return _FIRST + (1 - _FIRST) * (1 - math.cos(math.pi * share / _UP)) / 2
    return (1 + math.cos(math.pi * (share - _UP) / (1 - _UP))) / 2


class Wish:
    """Whether Ctrl-C was pressed, and whether it may end what is being done when it is pressed again."""

    is_there = is_open = False

    @contextmanager
    def open(self) -> Iterator[None]:
        """What is in here may be left half done."""
        self.is_open = True
        try:
            yield
        finally:
            self.is_open = False


@contextmanager
def patient() -> Iterator[Wish]:
    """Ctrl-C waits for the end of a step; pressed again, only for what may not be left half done."""
    wish = Wish()

    def note(number: int, frame: Any) -> None:  # noqa: ARG001 - what a handler is called with
        if wish.is_there and wish.is_open:
            raise KeyboardInterrupt
        wish.is_there = True

    # Signals are the main thread's.
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    known = signal.signal(signal.SIGINT, note)
    try:
        yield wish
    finally:
        signal.signal(signal.SIGINT, known)
