"""Scores of retrieval by one side, in a process of its own, as JSON: seconds, peak memory, what was found.

Arguments: ``ours`` or ``peer``, number of embeddings, threads.
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
    return found.recall[1], found.map_at_r


def peer(rows, labels, _threads):
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    names = ("precision_at_1", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(include=names, device=torch.device("cpu"))
    found = calculator.get_accuracy(torch.from_numpy(rows), torch.from_numpy(labels))
    return tuple(found[name] for name in names)


def main(side: str, count: int, threads: int) -> None:
    torch.set_num_threads(threads)
    measure = {"ours": ours, "peer": peer}[side]
    rows, labels = data(count)
    # Imports and first calls are neither's work.
    measure(rows[:2000], labels[:2000], threads)
    before = peak()
    begun = time.perf_counter()
    recall, map_at_r = measure(rows, labels, threads)
    seconds = time.perf_counter() - begun
    print(
        json.dumps(
            {"seconds": seconds, "before": before, "peak": peak(), "recall": recall, "map_at_r": map_at_r}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
