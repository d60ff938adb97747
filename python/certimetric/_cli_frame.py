"""What every command has: one-line errors, exit codes, options that commands share."""

import functools
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter, Signature, signature
from itertools import chain
from typing import Annotated, Any, ParamSpec

import typer
from typer.core import TyperGroup

from certimetric.exceptions import CertimetricError

__all__ = ["Commands", "Quiet", "complain", "friendly", "takes"]

P = ParamSpec("P")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress line.")]


def complain(message: object) -> None:
    """One line on standard error, whatever the message has."""
    typer.echo(f"certimetric: error: {' '.join(str(message).split())}", err=True)


class Commands(TyperGroup):
    """The commands; a mistake in the options is one line, as every other one is, and so is Ctrl-C."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except Exception as error:
            # The class of usage errors is click's or typer's own, as the version of typer has it.
            if not hasattr(error, "format_message"):
                raise
            complain(error.format_message())
            code = 2
        sys.exit(code)

    # Here, because options are read here too, for which typer imports large libraries.
    def make_context(self, *args: Any, **options: Any) -> Any:
        with _interrupts_are_told():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _interrupts_are_told():
            return super().invoke(ctx)


@contextmanager
def _interrupts_are_told() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(f"certimetric: interrupted{f': {error}' if str(error) else ''}", err=True)
        raise typer.Exit(130) from error


def friendly(command: Callable[P, None]) -> Callable[P, None]:
    """A user's mistake becomes one line and exit code 2; a defect keeps its traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (CertimetricError, OSError) as error:
            complain(error)
            raise typer.Exit(2) from error
        except typer.Exit:
            raise
        except Exception as error:
            traceback.print_exc()
            typer.echo(f"certimetric: internal error: {type(error).__name__}: {error}", err=True)
            raise typer.Exit(1) from error

    return run


def takes(*groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of dataclasses as options, in place of its first arguments."""
    shared = [list(signature(group).parameters.values()) for group in groups]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(signature(command).parameters.values())[len(groups) :]

        @functools.wraps(command)
        def run(**options: Any) -> None:
            values = [
                group(**{field.name: options.pop(field.name) for field in fields})
                for group, fields in zip(groups, shared, strict=True)
            ]
            command(*values, **options)

        # typer reads the options from the signature. By name: those without a default may follow others.
        named = [field.replace(kind=Parameter.KEYWORD_ONLY) for field in chain(*shared, own)]
        vars(run)["__signature__"] = Signature(named)
        return run

    return decorate
