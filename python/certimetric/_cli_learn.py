"""The commands that learn a metric: a learner's parameters as options, a file out.

The options are those of the learner's constructor that a word or a number can say. Their defaults are there,
and their help is in its docstring.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from sklearn.exceptions import ConvergenceWarning

from certimetric import datasets
from certimetric._cli_frame import Quiet, friendly, takes
from certimetric._cli_report import check_output
from certimetric._cli_work import LARGEST_SEED, Jobs, Rows, metric_of, scaled
from certimetric._files import check_apart, check_npz
from certimetric.exceptions import InputError
from certimetric.learning import ARML, ITML, LFDA, LMNN, NCA, ExactRadius, RobustPrototypes
from certimetric.learning._base import MetricLearner

__all__ = ["app"]

_LEARNERS: dict[str, type[MetricLearner]] = {
    "arml": ARML,
    "exact-radius": ExactRadius,
    "itml": ITML,
    "lfda": LFDA,
    "lmnn": LMNN,
    "nca": NCA,
    "prototypes": RobustPrototypes,
}

app = typer.Typer(name="learn", help="Learn a metric from labelled data.", rich_markup_mode=None)

# What the command line says in words of its own, and what it cannot say.
_OTHERWISE = {"n_jobs", "random_state", "progress"}
_NEVER = {"callback", "warm_start"}


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Learn a metric from labelled data."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def _command(name: str, learner: type[MetricLearner]) -> Callable[..., None]:
    @takes(Rows)
    def learn(
        rows: Rows,
        out: Annotated[Path, typer.Option("--out", help="File for the metric: .npz.")],
        seed: Annotated[
            int | None, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Draw with this seed.")
        ] = None,
        jobs: Jobs = None,
        quiet: Quiet = False,
        **parameters: Any,
    ) -> None:
        model = learner(**parameters)
        known = model.get_params()
        shared = {"random_state": seed, "n_jobs": jobs, "progress": not quiet}
        model.set_params(**{key: value for key, value in shared.items() if key in known})
        _learn(model, rows, out)

    own = [field for field in signature(learn).parameters.values() if field.name != "parameters"]
    vars(learn)["__signature__"] = Signature([*own, *_options(learner)])
    learn.__name__ = name
    learn.__doc__ = (learner.__doc__ or "").partition("\n")[0]
    return friendly(learn)


def _options(learner: type[MetricLearner]) -> Iterator[Parameter]:
    """The constructor's parameters as options."""
    hints, helps = get_type_hints(learner.__init__), _helps(learner.__doc__ or "")
    for name, field in signature(learner).parameters.items():
        kind = _kind(hints[name])
        if name in _OTHERWISE | _NEVER or kind is None:
            continue
        annotation = kind | None if field.default is None else kind
        parser = _auto_or(kind) if Literal["auto"] in get_args(hints[name]) else None
        metavar = None if parser is None else f"<{kind.__name__}|auto>"
        option = typer.Option(
            f"--{name.replace('_', '-')}", help=helps.get(name), parser=parser, metavar=metavar
        )
        yield Parameter(
            name, Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[annotation, option]
        )


def _kind(hint: Any) -> Any:
    """Of the types that an argument may have one that an option can; None: there is none."""
    if get_origin(hint) is Literal:
        return hint
    kinds = (hint,) if get_origin(hint) is tuple else get_args(hint) or (hint,)
    known = [kind for kind in (Path, bool, int, float, str) if kind in kinds]
    return next(iter([*known, *(kind for kind in kinds if get_origin(kind) is tuple)]), None)


def _auto_or(kind: type) -> Callable[[Any], Any]:
    """A number of a kind, or the word that leaves it to the data."""

    def auto(text: Any) -> Any:
        try:
            return text if text == "auto" else kind(text)
        except ValueError as error:
            word = "a whole number" if kind is int else "a number"
            raise typer.BadParameter(f"{text!r} is neither {word} nor 'auto'.") from error

    auto.__name__ = f"{kind.__name__}|auto"
    return auto


def _helps(docstring: str) -> dict[str, str]:
    """The parameters' descriptions, of a docstring in numpydoc."""
    section = docstring.partition("Parameters\n")[2].partition("\n    Attributes\n")[0]
    entries = re.findall(r"^    (\w+(?:, \w+)*) : .*\n((?:^        .*\n|^\n)*)", section, re.MULTILINE)
    found: dict[str, str] = {}
    for names, text in entries:
        words = re.sub(r"``?|:\w+:", "", " ".join(text.split()))
        found |= {name: words for name in names.split(", ") if words}
    return found


def _learn(model: MetricLearner, rows: Rows, out: Path) -> None:
    """Read, learn, write; what was learned before Ctrl-C is written too."""
    rows.check()
    check_output(out, "--out")
    check_npz(out, "--out")
    known = model.get_params()
    files = {"--checkpoint": known.get("checkpoint"), "--metric": known.get("metric")}
    paths = {name: Path(path) for name, path in files.items() if isinstance(path, str | Path)}
    check_apart({"--out": out, "--checkpoint": paths.pop("--checkpoint", None)}, {**rows.inputs, **paths})
    if isinstance(model, RobustPrototypes) and rows.scale != "none":
        raise InputError(
            f"--scale {rows.scale} cannot be had with prototypes: they are rows in units of the data, and "
            "whoever certifies them has no other rows to scale by. Scale the files."
        )
    if known.get("checkpoint") is not None and known.get("random_state") is None:
        raise InputError("--checkpoint needs --seed, so that a run that goes on draws as before.")
    data = datasets.read(rows.train, "train", **rows.keys)
    labels = data.labels()
    values, _ = scaled(rows, data)
    if isinstance(metric := known.get("metric"), str):
        model.set_params(metric=metric_of(metric, values))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        try:
            model.fit(values, labels)
        except InputError as error:
            raise type(error)(_of_options(str(error), known)) from error
    for warning in caught:
        typer.echo(f"certimetric: {warning.message}", err=True)
    model.save(out, train=data.name, scale=rows.scale)
    _print(model, out)
    if getattr(model, "stop_reason_", "") == "interrupted":
        raise typer.Exit(130)


def _of_options(message: str, parameters: Iterable[str]) -> str:
    """What is wrong with a parameter, of the option that gave it; others are told as they are."""
    name = re.split(r"\W", message, maxsplit=1)[0]
    if name not in parameters:
        return message
    option = {"random_state": "seed", "n_jobs": "jobs"}.get(name, name.replace("_", "-"))
    return f"--{option}{message[len(name) :]}"


def _print(model: MetricLearner, out: Path) -> None:
    size = " x ".join(map(str, model.components_.shape))
    line = f"{out}: {type(model).__name__}, components {size}"
    history = getattr(model, "history_", {})
    if "loss" in history:
        line += f", {model.n_iter_} epochs, loss {history['loss'][0]:.4g} -> {history['loss'][-1]:.4g}"
    typer.echo(line)


for _name, _learner in _LEARNERS.items():
    app.command(_name)(_command(_name, _learner))
