"""Runs the public code on one data set; needs NumPy and PyTorch only.

Arguments: the checkout, an npz with X, y, Z, t, the number of threads, the number of neighbours K. Each line
of standard input, "first last", asks for the points first ... last - 1; each line of standard output answers
in JSON: norms and seconds of these points. For K = 1 the norms are those of the exact solver's perturbations,
for K > 1 the bounds over all triplets, 0 for points that are misclassified.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch


def exact_norm(data: dict[str, np.ndarray]) -> Callable[[int], float]:
    """The solver of one neighbour, with the settings of the code's own configuration file."""
    from metric_robustness.evaluation.nn_only.torch_exact import ExactSolverFactory

    solver = ExactSolverFactory().create(
        "euclidean", data["X"], data["y"], screening_check_size=50, bounded=False, device="cpu", verbose=False
    )
    points, labels = data["Z"], data["t"]
    solver.predict_individual(torch.tensor(points[0], dtype=torch.float))
    return lambda i: float(np.linalg.norm(solver(points[i], labels[i])))


def bound_of_votes(data: dict[str, np.ndarray], k: int) -> Callable[[int], float]:
    """The verifier of K neighbours, as the code's own script calls it."""
    from metric_robustness.evaluation.knn.euclidean_knn_verifiers import batch_triple_verify
    from metric_robustness.utils.torch_predictors import KnnFactory

    rows, points = (torch.tensor(data[name], dtype=torch.float) for name in ("X", "Z"))
    labels, truth = (torch.tensor(data[name], dtype=torch.long) for name in ("y", "t"))
    predictor = KnnFactory().create("euclidean", rows, labels, n_neighbors=k, M=None)

    def bound(i: int) -> float:
        if predictor.predict_individual(points[i]) != truth[i]:
            return 0.0
        own = labels == truth[i]
        return float(batch_triple_verify(points[i], rows[own], rows[~own], k))

    return bound


def main(checkout: str, path: str, threads: int, k: int) -> None:
    sys.path.insert(0, checkout)
    torch.set_num_threads(threads)
    data = dict(np.load(path, allow_pickle=False))
    norm = exact_norm(data) if k == 1 else bound_of_votes(data, k)
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        first, last = map(int, line.split())
        norms, seconds = [], []
        for i in range(first, last):
            begun = time.perf_counter()
            norms.append(norm(i))
            seconds.append(time.perf_counter() - begun)
        print(json.dumps({"norms": norms, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
