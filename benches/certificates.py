"""Certificates: what they add to the time of the radii, their sizes, and the time of a check in plain Python.

Every certificate is checked, and every one has to be accepted. For one neighbour pendigits and satimage are
whole test sets.
"""

import time
from collections.abc import Iterator

import numpy as np

from _data import load
from _figures import Figure, Settings, Target, alternate, clock, compare, duration
from certimetric import Certification, CertifiedKNeighborsClassifier
from certimetric.certificate import Verifier

WHOLE = 10**9

# Data set and K: points in a quick run and in a full one, and goals: kB, seconds of a check.
WORK = {
    "pendigits": ("pendigits", 1, WHOLE, WHOLE, None, 0.2),
    "satimage": ("satimage", 1, WHOLE, WHOLE, None, None),
    "usps": ("usps", 1, 300, WHOLE, None, None),
    "fashion_mnist": ("fashion_mnist", 1, 200, 1000, 20.0, 2.0),
    "mnist": ("mnist", 1, 200, 1000, None, None),
    "pendigits-votes": ("pendigits", 11, 50, 300, None, None),
    "satimage-votes": ("satimage", 11, 20, 100, None, None),
}


def measure(settings: Settings, name: str) -> Iterator[Figure]:
    """Certify with and without certificates, and check them all."""
    source, k, quick, full, size, seconds = WORK[name]
    data = load(settings.data, source).points(quick if settings.quick else full)
    classifier = CertifiedKNeighborsClassifier(k, n_jobs=settings.threads).fit(data.X, data.y)
    work = f"{source}, K = {k}, {len(data.Z)} points"
    sides = {
        "with certificates": clock(lambda: classifier.certify(data.Z, data.t, return_certificates=True)),
        "without": clock(lambda: classifier.certify(data.Z, data.t)),
    }
    spent = alternate(sides, 3)
    yield compare(f"radii: {work}", spent, "without", None, ours="with certificates")
    cert = classifier.certify(data.Z, data.t, return_certificates=True)
    yield width(work, cert)
    sizes = np.array([len(line) for line in cert.certificates]) / 1e3
    yield Figure(
        f"size of a certificate: {work}",
        f"{np.median(sizes):.3g} kB",
        "",
        [float(np.median(sizes))],
        unit="kB",
        target=None if size is None else Target(size),
        note=f"99 of 100 ≤ {np.quantile(sizes, 0.99):.3g} kB, largest {sizes.max():.3g} kB",
    )
    verifier = Verifier(data.X, data.y)
    times = np.array([check(verifier, line) for line in cert.certificates])
    yield Figure(
        f"check of a certificate: {work}",
        duration(float(np.median(times))),
        "",
        [float(np.median(times))],
        unit="s",
        target=None if seconds is None else Target(seconds),
        note=f"all {len(times)} accepted; 99 of 100 ≤ {duration(float(np.quantile(times, 0.99)))}, "
        f"longest {duration(float(times.max()))}, together {duration(float(times.sum()))}",
    )


def check(verifier: Verifier, line: str) -> float:
    """Seconds for one certificate, which has to be accepted."""
    begun = time.perf_counter()
    verdict = verifier.verify(line)
    if not verdict:
        raise AssertionError(f"a certificate was rejected: {verdict.reason}")
    return time.perf_counter() - begun


def width(work: str, cert: Certification) -> Figure:
    """How far the ends of the intervals are apart."""
    live = cert.upper > 0
    widths = 1 - cert.lower[live] / cert.upper[live]
    share = float(np.quantile(widths, 0.999))
    return Figure(
        f"width of 999 of 1000 intervals: {work}",
        f"{share:.1e} of upper",
        "",
        [share],
        unit="",
        target=Target(1e-9),
        note=f"widest {widths.max():.1e}",
    )


CASES = {name: lambda settings, name=name: measure(settings, name) for name in WORK}
