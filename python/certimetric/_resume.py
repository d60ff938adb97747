"""A certification that keeps what is finished, and goes on from there.

Which points are asked about together has no influence on their answers, so that the result of a run which was
stopped and went on is that of a run which was not, bit for bit but for its clock readings.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certimetric._batches import Budget, batches
from certimetric._certificates import numbered
from certimetric._parts import Parts
from certimetric._progress import Report, progress_line
from certimetric._validation import FloatArray, effective_jobs
from certimetric._versions import versions
from certimetric.certificate import sha256_of_training
from certimetric.certification import Certification
from certimetric.neighbors import CertifiedKNeighborsClassifier

__all__ = ["certify_in_parts"]

_FIRST = 2
"""Points of the first part, per thread: where each of them takes its time, little is lost."""

_QUICK, _SLOW = 2.0, 8.0
"""Seconds of a part: what a kill costs, unless a point takes longer, without too many files."""


def certify_in_parts(
    classifier: CertifiedKNeighborsClassifier,
    X: FloatArray,
    y: NDArray[Any] | None,
    parts: Parts,
    *,
    time_limit: float | None,
    node_limit: int | None,
    progress: bool,
    **options: Any,
) -> Certification:
    """As the classifier's ``certify``, but for points that are in ``parts`` already; new ones go there.

    Points that the limits of the run left unfinished are not kept. ``run.elapsed`` is the sum over all parts.
    """
    parts.claim(_origin(classifier, X, y, options))
    found = parts.read()
    gaps = list(_gaps(found, len(X)))
    budget = Budget(time_limit, node_limit)
    with progress_line() if progress else nullcontext() as line:
        tally = _Tally(line, sum(gap.stop - gap.start for gap in gaps))
        for rows in batches(gaps, _FIRST * effective_jobs(classifier.n_jobs), _QUICK, _SLOW):
            labels = None if y is None else y[rows]
            # With several radii each point is asked about more than once, so that there is no count within.
            within = tally.within if line is not None and np.size(options["eps"]) < 2 else None
            cert = classifier.certify(X[rows], labels, callback=within, **budget.left(), **options)
            budget.spend(cert.nodes)
            cert = numbered(cert, rows.start)
            if "unfinished" not in cert.status:
                parts.put(rows.start, cert)
            found[rows.start] = cert
            tally.add(cert)
    return _joined([found[start] for start in sorted(found)])


def _origin(
    classifier: CertifiedKNeighborsClassifier, X: FloatArray, y: NDArray[Any] | None, options: dict[str, Any]
) -> dict[str, Any]:
    """All that the answers depend on."""
    hashes = classifier._index.sha256(classifier.classes_)
    return {
        "training data": hashes["training"],
        "test data": sha256_of_training(X, [] if y is None else y),
        "metric": "Euclidean" if classifier.metric_.is_euclidean else hashes["metric"],
        "n_neighbors": classifier.n_neighbors,
        **{name: np.asarray(value).tolist() for name, value in options.items()},
        **{f"version of {name}": version for name, version in versions().items()},
    }


def _gaps(found: dict[int, Certification], count: int) -> Iterator[slice]:
    """The points that are missing, in runs of consecutive ones."""
    end = 0
    for start in [*sorted(found), count]:
        if end < start:
            yield slice(end, start)
        end = start + len(found.get(start, ()))


class _Tally:
    """What the progress line hears: of the points that were missing those done, and what share is proven."""

    def __init__(self, line: Report | None, total: int) -> None:
        self.line, self.total = line, total
        self.done = self.proven = 0
        self.share: float | None = None

    def within(self, done: int, _: int) -> None:
        """Called by a part that is in work."""
        if self.line is not None:
            self.line(self.done + done, self.total, self.share)

    def add(self, cert: Certification) -> None:
        """Called after a part."""
        self.done += len(cert)
        self.proven += int(np.count_nonzero(_proven(cert)))
        if cert.run.method == "exact" and cert.run.n_neighbors > 1:
            self.share = self.proven / self.done
        self.within(0, 0)


def _proven(cert: Certification) -> NDArray[np.bool_]:
    """Points whose radius is known to rounding, or for which all radii that were asked about are decided."""
    known = np.isin(cert.status, ("exact", "misclassified"))
    if not cert.run.asked:
        return known
    radii = np.array(cert.run.asked)
    return known | ((cert.lower[:, None] > radii) | (cert.upper[:, None] <= radii)).all(axis=1)


def _joined(certs: Sequence[Certification]) -> Certification:
    columns = [cert.to_dict() for cert in certs]
    whole: dict[str, Any] = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    elapsed = sum(cert.run.elapsed or 0.0 for cert in certs)
    return replace(certs[0], run=replace(certs[0].run, elapsed=elapsed), **whole)
