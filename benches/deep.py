"""Deep metric learning: what the attacks cost over their passes, and the scores of retrieval against a peer.

Needs PyTorch: ``make bench-deep`` runs it in the environment that has it.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from _data import Skipped
from _figures import Figure, Settings, Target, alternate, clock, compare

_IMAGES, _STEPS = 128, 8
_MAPS = ("cayley", "matrix_exp", "householder")


def _torch(settings: Settings):
    if not importlib.util.find_spec("torch"):
        raise Skipped("needs PyTorch: run make bench-deep")
    import torch

    torch.set_num_threads(settings.threads)
    return torch


def attack(settings: Settings) -> Iterator[Figure]:
    """Projected gradients against the forward and backward passes that they need."""
    torch = _torch(settings)
    from certimetric import deep

    torch.manual_seed(0)
    model = deep.ConvNet28().eval()
    images = torch.rand(_IMAGES, 1, 28, 28)
    targets = deep.embed(model, torch.rand(_IMAGES, 1, 28, 28)).detach()
    for norm in ("linf", "l2"):
        pgd = deep.PGD(77 / 255, steps=_STEPS, norm=norm)

        def objective(x):
            return (deep.embed(model, x) * targets).sum(dim=1)

        def bare(objective=objective):
            for _ in range(_STEPS):
                x = images.clone().requires_grad_()
                torch.autograd.grad(objective(x).sum(), x)

        sides = {"ours": clock(lambda pgd=pgd, f=objective: pgd(f, images)), "bare passes": clock(bare)}
        spent = alternate(sides, settings.repetitions)
        yield compare(
            f"{_STEPS} steps of PGD, {norm}, {_IMAGES} images, C2F2", spent, "bare passes", Target(1.2)
        )


def hardness(settings: Settings) -> Iterator[Figure]:
    """A step of hardness manipulation against one of min-max training."""
    torch = _torch(settings)
    from certimetric import deep

    torch.manual_seed(0)
    model = deep.ConvNet28()
    images, labels = torch.rand(_IMAGES, 1, 28, 28), torch.arange(_IMAGES // 2).repeat_interleave(2) % 10
    pgd = deep.PGD(77 / 255, 3 / 255, _STEPS)

    def step(name):
        scheme = deep.make_scheme(name, attack=pgd)
        return clock(lambda: scheme(model, images, labels).backward())

    names = ("HM[S,LGA]", "HM[S,LGA]&ICS", "MM[S]")
    spent = alternate({name: step(name) for name in names}, settings.repetitions)
    for name in names[:2]:
        target = Target(1.1) if name == names[0] else None
        yield compare(f"a step of {name}, {_STEPS} of PGD, C2F2", spent, "MM[S]", target, ours=name)


def orthogonal(settings: Settings) -> Iterator[Figure]:
    """A step of training with orthogonal layers, against the same layers by PyTorch's parametrisation."""
    torch = _torch(settings)
    from torch.nn.utils.parametrizations import orthogonal as parametrized

    from certimetric import deep

    rows = torch.rand(256, 784)
    sizes = [(784, 256), *[(256, 256)] * 3]

    def step(make):
        torch.manual_seed(0)
        layers = [layer for size in sizes for layer in (make(*size), deep.MaxMin())]
        network = torch.nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

        def one():
            optimizer.zero_grad()
            network(rows).square().mean().backward()
            optimizer.step()

        return clock(lambda: [one() for _ in range(10)])

    def by(name):
        return lambda *size: parametrized(torch.nn.Linear(*size), orthogonal_map=name)

    sides = {"ours": step(deep.OrthogonalLinear), **{name: step(by(name)) for name in _MAPS}}
    spent = alternate(sides, settings.repetitions)
    for name in _MAPS:
        yield compare("ten steps, 784 × 256 and three of 256 × 256", spent, name, Target(1.0))


def retrieval(settings: Settings) -> Iterator[Figure]:
    """R@1, mAP and mAP@R by us, against pytorch-metric-learning's calculator with FAISS.

    For mAP it holds all ranks of all queries, for which 60,000 rows are too many; for mAP@R as many as the
    largest class has rows.
    """
    _torch(settings)
    cases = (
        {10_000: ("all ranks", "R ranks")}
        if settings.quick
        else {10_000: ("all ranks",), 60_000: ("R ranks",)}
    )
    for count, peers in cases.items():
        for peer in peers:
            yield from _retrieval(settings, count, peer)


def _retrieval(settings: Settings, count: int, peer: str) -> Iterator[Figure]:
    name = "map" if peer == "all ranks" else "map_at_r"
    work = f"R@1, mAP and mAP@R, {count:,} × 128, 100 classes"
    runs = {side: [_worker(side, count, settings.threads) for _ in range(2)] for side in ("ours", peer)}
    seconds = {side: [run["seconds"] for run in found] for side, found in runs.items()}
    for key in ("recall", name):
        np.testing.assert_allclose(*(runs[side][0]["found"][key] for side in runs), atol=2e-4)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds[peer], strict=True)]
    title = f"AccuracyCalculator, R@1 and {'mAP' if name == 'map' else 'mAP@R'}"
    yield Figure(
        work,
        f"{min(seconds['ours']):.3g} s",
        f"{title}: {min(seconds[peer]):.3g} s",
        ratios,
        target=Target(1.0),
    )
    extra = [max(run["peak"] - run["before"] for run in found) for found in runs.values()]
    yield Figure(
        f"{work}: memory beyond the embeddings",
        f"{extra[0]:.0f} MB",
        f"{title}: {extra[1]:.0f} MB",
        [extra[0] / extra[1]],
    )


def _worker(side: str, count: int, threads: int):
    names = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    worker = Path(__file__).with_name("_retrieval_worker.py")
    done = subprocess.run(
        [sys.executable, worker, side, str(count), str(threads)],
        env={**os.environ, **names},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise Skipped(f"{worker.name} {side} did not run; see above")
    return json.loads(done.stdout)


CASES = {"attack": attack, "hardness": hardness, "orthogonal": orthogonal, "retrieval": retrieval}
