"""Parameters that may be left to the data by the word "auto"."""

from typing import Any

from certimetric._validation import as_tolerance, check_count
from certimetric.exceptions import InputError
from certimetric.learning._fitting import check_rate

__all__ = ["check_auto_count", "check_auto_length", "check_auto_rate", "given"]


def is_auto(value: object) -> bool:
    """Whether a parameter is left to the data."""
    return isinstance(value, str) and value == "auto"


def given(value: Any, automatic: Any) -> Any:
    """A parameter, or what stands in for "auto"."""
    return automatic if is_auto(value) else value


def check_auto_count(value: object, name: str) -> None:
    """Raise unless a parameter is "auto" or a whole number of at least 1."""
    if not is_auto(value):
        check_count(value, name, kind="an integer or 'auto'")


def check_auto_length(value: object, name: str) -> None:
    """Raise unless a parameter is "auto" or a positive number, which may be infinite."""
    if not is_auto(value) and as_tolerance(value, name, "a number or 'auto'") == 0:
        raise InputError(f"{name} must be 'auto' or positive, got 0.")


def check_auto_rate(value: object) -> None:
    """Raise unless a learning rate is "auto" or positive and finite."""
    if not is_auto(value):
        check_rate(value)
