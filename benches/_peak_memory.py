"""Peak memory of certifying MNIST in this process, as JSON: run by ``scaling.py``, as a process of its own.

Arguments: number of test points, number of threads; the environment names the folder of the data.
"""

import json
import sys
from pathlib import Path

from _data import folder, load
from certimetric import CertifiedKNeighborsClassifier


def peak() -> float:
    """Largest resident size so far, in MB (10⁶ bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux hands ru_maxrss of the parent on to a process it starts; this line is of this process alone.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(points: int, threads: int) -> None:
    found = {"imports": peak()}
    data = load(folder(None), "mnist")
    found["data"] = (data.X.nbytes + data.Z.nbytes) / 1e6
    data = data.points(points)
    found["loaded"] = peak()
    classifier = CertifiedKNeighborsClassifier(n_jobs=threads).fit(data.X, data.y)
    found["fitted"] = peak()
    classifier.certify(data.Z, data.t)
    found["certified"] = peak()
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
