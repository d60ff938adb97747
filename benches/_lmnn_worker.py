"""Fits metric-learn's LMNN; needs metric-learn and a scikit-learn before 1.8.

Arguments: an npz with X and y, a file for the components. Prints JSON: seconds, on the wall and of all
processors.
"""

import json
import sys
import time
import warnings

import numpy as np
from metric_learn import LMNN


def main(path: str, components: str) -> None:
    data = dict(np.load(path, allow_pickle=False))
    warnings.simplefilter("ignore", FutureWarning)
    begun = time.perf_counter(), time.process_time()
    learner = LMNN().fit(data["X"], np.unique(data["y"], return_inverse=True)[1])
    print(json.dumps([time.perf_counter() - begun[0], time.process_time() - begun[1]]))
    np.save(components, learner.components_)


if __name__ == "__main__":
    main(*sys.argv[1:])
