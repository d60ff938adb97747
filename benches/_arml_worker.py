"""Runs the authors' ARML on one data set; needs NumPy and PyTorch only.

Arguments: the checkout, an npz with X and y, the number of threads. Each line of standard input, a number n
of epochs, is answered by a line of JSON: seconds of one epoch on the wall and of all processors, from n + 1
epochs less one.
"""

import json
import sys
import time

import numpy as np
import torch


def main(checkout: str, path: str, threads: int) -> None:
    sys.path.insert(0, checkout)
    torch.set_num_threads(threads)
    from metric_robustness.learning.verifier_based_learners import TripleLearner

    data = dict(np.load(path, allow_pickle=False))
    labels = np.unique(data["y"], return_inverse=True)[1]

    def spend(epochs: int) -> np.ndarray:
        learner = TripleLearner(
            "adam", {}, "neg", {}, epochs, None, False, True, "cpu", seed=42, verbose=False
        )
        begun = np.array([time.perf_counter(), time.process_time()])
        learner(data["X"], labels, n_candidate_mins=10)
        return np.array([time.perf_counter(), time.process_time()]) - begun

    spend(1)
    for line in sys.stdin:
        epochs = int(line)
        one, more = spend(1), spend(epochs + 1)
        print(json.dumps(((more - one) / epochs).tolist()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
