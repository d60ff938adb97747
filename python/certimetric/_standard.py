"""Linear algebra that last bits of answers depend on: in the standard mode, whatever the caller's is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from certimetric import _native

__all__ = ["in_standard_mode"]

P = ParamSpec("P")
T = TypeVar("T")


def in_standard_mode(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work`` returns, or raises, in a thread of its own that computes as IEEE 754 has it."""

    def run() -> T:
        _native.standardise_arithmetic()
        # One thread: idle BLAS threads spin, and last bits would depend on their number.
        with np.errstate(all="ignore"), threadpool_limits(limits=1, user_api="blas"):
            return work(*args, **kwargs)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()
