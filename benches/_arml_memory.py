"""Epochs of ARML on MNIST in this process, as JSON: run by ``arml.py``, as a process of its own.

Arguments: number of epochs, number of threads; the environment names the folder of the data.
"""

import json
import sys
import time
from itertools import pairwise

from _data import folder, load
from _peak_memory import peak
from certimetric.learning import ARML


def main(epochs: int, threads: int) -> None:
    data = load(folder(None), "mnist").points(1)
    marks = [time.perf_counter()]
    learner = ARML(
        max_iter=epochs, random_state=0, n_jobs=threads, callback=lambda _: marks.append(time.perf_counter())
    )
    learner.fit(data.X, data.y)
    seconds = [after - before for before, after in pairwise(marks)]
    print(json.dumps({"seconds": seconds, "peak": peak(), "data": data.X.nbytes / 1e6}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
