"""A certification in a few lines of text."""

import numpy as np
from numpy.typing import NDArray

from certimetric._validation import FloatArray
from certimetric.certification import STATUSES, Certification, quantile

__all__ = ["summary", "widest_interval", "widest_relative_interval"]


def summary(cert: Certification) -> str:
    """Counts, clean error, radii, width of the intervals and time, one a line."""
    run, count = cert.run, len(cert)
    if count == 0:
        return "Certification of 0 points"
    known = cert[_reached(cert)]
    clean = f"{np.mean(known.upper <= 0):.4f}" if len(known) else "unknown"
    return "\n".join(
        (
            f"Certification of {count} points, {run.n_train} training rows of {run.n_features} features",
            f"  classifier     {run.n_neighbors}-nearest neighbours, {run.rule} rule, metric {run.metric}",
            *_search(cert),
            f"  points         {_shares(cert)}",
            f"  clean error    {clean}  ({_lost(cert)})",
            *_radii(cert),
            *_time(run.elapsed, len(known)),
        )
    )


def _reached(cert: Certification) -> NDArray[np.bool_]:
    """Points of which something is known: not those that the time did not suffice to look at."""
    return np.array([label is not None for label in cert.predicted], dtype=bool)


def _lost(cert: Certification) -> str:
    """What counts as an error at radius 0."""
    by_rule = cert.run.rule == "majority" and cert.run.n_neighbors > 1
    return "misclassified, or without a majority" if by_rule else "misclassified or tied"


def _time(elapsed: float | None, reached: int) -> list[str]:
    if elapsed is None:
        return []
    pace = f", {1e3 * elapsed / reached:.3g} ms a point" if reached else ""
    return [f"  time           {elapsed:.3g} s{pace}"]


def _search(cert: Certification) -> list[str]:
    """What a single neighbour does not need."""
    if cert.run.n_neighbors == 1:
        return []
    proven = f", {cert.share_exact:.1%} of the radii proven" if not cert.run.ends_at_eps else ""
    nodes = f"{cert.nodes.mean():.4g} nodes a point at the mean"
    return [f"  search         method {cert.run.method}{proven}, {nodes}"]


def widest_relative_interval(cert: Certification) -> float:
    """Largest (upper - lower) / upper over the points; 1 where nothing but the trivial interval is known."""
    known = np.isfinite(cert.upper) & (cert.upper > 0)
    widths = (cert.upper[known] - cert.lower[known]) / cert.upper[known]
    one_sided = np.isinf(cert.upper) & np.isfinite(cert.lower)
    return float(max(widths.max(initial=0.0), 1.0 if one_sided.any() else 0.0))


def widest_interval(cert: Certification) -> float:
    """Largest upper - lower over the points; infinite where no adversarial point is known."""
    # Where both ends are infinite the radius is known to be so, and the difference would be no number.
    known = np.isfinite(cert.lower)
    return float((cert.upper[known] - cert.lower[known]).max(initial=0.0))


def _shares(cert: Certification) -> str:
    shares = ((status, float(np.mean(cert.status == status))) for status in STATUSES)
    return ", ".join(f"{share:.1%} {status}" for status, share in shares if share > 0)


def _radii(cert: Certification) -> list[str]:
    """The answers for each radius that was asked about, and the ends that the search looked for."""
    answers = [_answer(cert, radius) for radius in cert.run.asked]
    return answers if cert.run.ends_at_eps else _ends(cert) + answers


def _answer(cert: Certification, radius: float) -> str:
    robust, broken = cert.lower > radius, cert.upper <= radius
    counted = ((robust, "proven robust"), (broken, "broken"), (~robust & ~broken, "open"))
    shares = ", ".join(f"{np.mean(points):.1%} {name}" for points, name in counted)
    return f"  radius {radius:<8.4g}{shares} (l{cert.run.norm} norm)"


def _ends(cert: Certification) -> list[str]:
    run, known = cert.run, cert[_reached(cert)]
    if len(known) == 0:
        return ["  radius         unknown: no point was reached"]
    if run.method == "bound":
        return [f"  radius         at least: {_quantiles(known, known.lower)}"]
    if run.method == "attack":
        return [f"  radius         at most: {_quantiles(known, known.upper)}"]
    return [
        f"  radius         {_quantiles(known, known.midpoints)}",
        f"  intervals      widest {widest_relative_interval(cert):.2g} of the upper end",
    ]


def _quantiles(cert: Certification, radii: FloatArray) -> str:
    low, middle, high = (quantile(radii, share) for share in (0.25, 0.5, 0.75))
    return f"median {middle:.4g}, quartiles {low:.4g} and {high:.4g} (l{cert.run.norm} norm)"
