"""An epoch of ARML: against the authors' code, against our PyTorch backend, and on MNIST at full size.

The authors' code is binary32 PyTorch and runs in an interpreter of its own with the same number of threads;
of it the time of some epochs less that of one counts, so that what it prepares does not. Of ours all counts.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from _data import VARIABLE, Data, Skipped, load, locate
from _figures import Figure, Settings, Side, Spent, Target, alternate, clock, compare, duration
from certimetric.learning import ARML

# A fit has a thousand: enough of them that the first does not count for much.
_EPOCHS = {"splice": 200, "satimage": 100, "pendigits": 60}


def epochs(data: Data, count: int, threads: int, **parameters: str) -> Side:
    """A fit of some epochs; the time of one."""
    learner = ARML(max_iter=count, random_state=0, n_jobs=threads, **parameters)
    side = clock(lambda: learner.fit(data.X, data.y))

    def one() -> Spent:
        spent = side()
        return Spent(spent.wall / count, spent.processor / count)

    return one


def against_authors(settings: Settings, name: str) -> Iterator[Figure]:
    if settings.authors is None:
        raise Skipped(
            "needs the public code: name a checkout by --authors, and its Python by --authors-python"
        )
    data = load(settings.data, name)
    count = _EPOCHS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, X=data.X, y=data.y)
        worker = Path(__file__).with_name("_arml_worker.py")
        process = subprocess.Popen(
            [settings.authors_python, worker, settings.authors, path, str(settings.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

        def theirs() -> Spent:
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise Skipped("the public code did not run in the interpreter of --authors-python; see above")
            return Spent(*json.loads(line))

        sides = {"ours": epochs(data, count, settings.threads), "public code": theirs}
        spent = alternate(sides, settings.repetitions)
        process.stdin.close()
        process.wait(timeout=60)
    work = f"an epoch of ARML, {data.title}"
    yield compare(work, spent, "public code", Target(20, at_least=True))


def against_torch(settings: Settings) -> Iterator[Figure]:
    if find_spec("torch") is None:
        raise Skipped("needs PyTorch in this interpreter")
    import torch

    torch.set_num_threads(settings.threads)
    for name in ("satimage", "pendigits"):
        data, count = load(settings.data, name), _EPOCHS[name]
        sides = {
            "ours": epochs(data, count, settings.threads),
            "PyTorch backend": epochs(data, count, settings.threads, backend="torch", dtype="float32"),
        }
        spent = alternate(sides, settings.repetitions)
        work = f"an epoch of ARML, {data.title}"
        yield compare(
            work, spent, "PyTorch backend", Target(3, at_least=True), note=f"torch {torch.__version__}"
        )


def full_size(settings: Settings) -> Iterator[Figure]:
    """Minutes that 100 epochs take on MNIST, from some of them; and the peak of memory less the data."""
    locate(settings.data, "mnist")
    count = 3 if settings.quick else 10
    program = Path(__file__).with_name("_arml_memory.py")
    done = subprocess.run(
        [sys.executable, str(program), str(count), str(settings.threads)],
        env={**os.environ, VARIABLE: str(settings.data)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    minutes = [100 * seconds / 60 for seconds in found["seconds"]]
    work = "100 epochs of ARML, MNIST 60,000 × 784"
    one = duration(float(np.median(found["seconds"])))
    yield Figure(work, f"{one} an epoch", "-", minutes, "min", Target(30.0), f"from {count} epochs")
    above = found["peak"] - found["data"]
    total, data = f"{found['peak']:,.0f} MB", f"data {found['data']:,.0f} MB"
    yield Figure("peak memory less the data, ARML on MNIST", total, data, [above], "MB", Target(1000.0))


CASES = {
    **{name: lambda settings, name=name: against_authors(settings, name) for name in _EPOCHS},
    "torch": against_torch,
    "mnist": full_size,
}
