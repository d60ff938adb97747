"""Runs the public exact code on one data set; needs NumPy and PyTorch only.

Arguments: the checkout, an npz with X, y, Z, t, the number of threads. Each line of standard input,
"first last", asks for the points first ... last - 1; each line of standard output answers in JSON: norms and
seconds of these points.
"""

import json
import sys
import time

import numpy as np
import torch


def main(checkout: str, path: str, threads: int) -> None:
    sys.path.insert(0, checkout)
    from metric_robustness.evaluation.nn_only.torch_exact import ExactSolverFactory

    torch.set_num_threads(threads)
    data = np.load(path, allow_pickle=False)
    # The settings of the code's own configuration file.
    solver = ExactSolverFactory().create(
        "euclidean", data["X"], data["y"], screening_check_size=50, bounded=False, device="cpu", verbose=False
    )
    points, labels = data["Z"], data["t"]
    solver.predict_individual(torch.tensor(points[0], dtype=torch.float))
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        first, last = map(int, line.split())
        norms, seconds = [], []
        for i in range(first, last):
            begun = time.perf_counter()
            perturbation = solver(points[i], labels[i])
            seconds.append(time.perf_counter() - begun)
            norms.append(float(np.linalg.norm(perturbation)))
        print(json.dumps({"norms": norms, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
