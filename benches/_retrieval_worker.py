"""Scores of retrieval by one side, in a process of its own, as JSON: seconds, peak memory, what was found.

Arguments: ``ours``, ``all ranks`` (the peer's mAP) or ``R ranks`` (the peer's mAP@R, which needs fewer);
number of embeddings, threads.
"""

import json
import sys
import time

import numpy as np
import torch

from _peak_memory import peak


def data(count: int):
    rng = np.random.default_rng(0)
    labels = rng.integers(100, size=count)
    rows = rng.normal(size=(100, 128))[labels] + 2.0 * rng.normal(size=(count, 128))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def ours(rows, labels, threads):
    from certimetric.deep import retrieval_scores

    found = retrieval_scores(rows, labels, ks=(1,), nmi=False, n_jobs=threads)
    return {"recall": found.recall[1], "map": found.map, "map_at_r": found.map_at_r}


def peer(rows, labels, k, name):
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    names = {
        "recall": "precision_at_1",
        "map_at_r": "mean_average_precision_at_r",
        "map": "mean_average_precision",
    }
    wanted = {key: names[key] for key in ("recall", name)}
    calculator = AccuracyCalculator(include=tuple(wanted.values()), device=torch.device("cpu"), k=k)
    found = calculator.get_accuracy(torch.from_numpy(rows), torch.from_numpy(labels))
    return {key: found[full] for key, full in wanted.items()}


SIDES = {
    "ours": ours,
    "all ranks": lambda rows, labels, _: peer(rows, labels, None, "map"),
    "R ranks": lambda rows, labels, _: peer(rows, labels, "max_bin_count", "map_at_r"),
}


def main(side: str, count: int, threads: int) -> None:
    torch.set_num_threads(threads)
    measure = SIDES[side]
    rows, labels = data(count)
    # Imports and first calls are neither's work.
    measure(rows[:2000], labels[:2000], threads)
    before = peak()
    begun = time.perf_counter()
    found = measure(rows, labels, threads)
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "before": before, "peak": peak(), "found": found}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
