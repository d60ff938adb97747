"""The other libraries: FAISS in a process of its own, and what is installed.

FAISS multiplies matrices with the OpenBLAS that its wheel brings. An old OpenBLAS may not know the processor
and fall back to kernels without AVX; with ``OPENBLAS_CORETYPE`` set the same wheel is several times faster.
Both are measured where they differ: FAISS as it is installed, and FAISS with the kernels that NumPy's
OpenBLAS chose. The variable is read when the library is loaded, hence the processes.
"""

import importlib.util
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing.connection import Connection
from typing import Any, Self

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from _data import Skipped, float32
from _figures import Side, Spent

_CORE = "OPENBLAS_CORETYPE"
_INSTALLED = "FAISS flat"


def blas_kernels(library: str) -> str | None:
    """Processor that the BLAS of a library was set up for, or None where it does not say."""
    for pool in threadpoolctl.threadpool_info():
        if pool["user_api"] == "blas" and library in pool["filepath"]:
            return pool.get("architecture")
    return None


def _serve(pipe: Connection, core: str | None, threads: int) -> None:
    """The other end of :class:`FlatIndex`: build an index from the first message, then answer searches."""
    if core is not None:
        os.environ[_CORE] = core
    import faiss

    threadpoolctl.threadpool_limits(threads)
    faiss.omp_set_num_threads(threads)
    pipe.send(
        {
            "version": faiss.__version__,
            "options": faiss.get_compile_options().strip(),
            "blas kernels": blas_kernels("faiss"),
        }
    )
    index = None
    while (message := pipe.recv()) is not None:
        if index is None:
            index = faiss.IndexFlatL2(message.shape[1])
            index.add(message)
            pipe.send(None)
        else:
            queries, count = message
            begun, busy = time.perf_counter(), time.process_time()
            squared, rows = index.search(queries, count)
            spent = Spent(time.perf_counter() - begun, time.process_time() - busy)
            pipe.send((spent, squared, rows))


class FlatIndex:
    """FAISS ``IndexFlatL2`` in a process of its own; a context manager. Only the search itself is timed."""

    def __init__(self, core: str | None, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, core, threads), daemon=True)
        self._process.start()
        other.close()
        self.facts: dict[str, Any] = self._pipe.recv()

    def add(self, X: NDArray[np.float32]) -> Self:
        self._pipe.send(X)
        self._pipe.recv()
        return self

    def search(
        self, Z: NDArray[np.float32], count: int
    ) -> tuple[Spent, NDArray[np.float32], NDArray[np.int64]]:
        """Time, squared distances and rows of the nearest neighbours."""
        self._pipe.send((Z, count))
        answer: tuple[Spent, NDArray[np.float32], NDArray[np.int64]] = self._pipe.recv()
        return answer

    def side(self, Z: NDArray[np.float32], count: int) -> Side:
        return lambda: self.search(Z, count)[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(timeout=10)


@cache
def faiss_facts() -> dict[str, Any]:
    """Version, instruction sets and BLAS kernels of FAISS as it is installed."""
    with FlatIndex(None, 1) as probe:
        return probe.facts


@cache
def faiss_variants() -> dict[str, str | None]:
    """Names of the FAISS peers, each with its ``OPENBLAS_CORETYPE``."""
    if importlib.util.find_spec("faiss") is None:
        raise Skipped("faiss-cpu is not installed: pip install 'certimetric[bench]'")
    variants: dict[str, str | None] = {_INSTALLED: None}
    own, numpys = faiss_facts()["blas kernels"], blas_kernels("numpy")
    if _CORE not in os.environ and None not in (own, numpys) and own != numpys:
        variants[f"{_INSTALLED} ({numpys} BLAS)"] = numpys
    return variants


@contextmanager
def flat_indexes(X: NDArray[np.float64], threads: int) -> Iterator[dict[str, FlatIndex]]:
    """An index of the same rows in every variant of FAISS."""
    (rows,) = float32([X])
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(FlatIndex(core, threads)).add(rows)
            for name, core in faiss_variants().items()
        }
