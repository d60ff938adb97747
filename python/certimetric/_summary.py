"""A certification in a few lines of text."""

import numpy as np

from certimetric.certification import STATUSES, Certification, quantile

__all__ = ["summary", "widest_relative_interval"]


def summary(cert: Certification) -> str:
    """Counts, clean error, radii, width of the intervals and time, one a line."""
    run, count = cert.run, len(cert)
    if count == 0:
        return "Certification of 0 points"
    done = cert.status != "unfinished"
    finished = int(np.count_nonzero(done))
    clean = f"{np.mean(cert.lower[done] <= 0):.4f}" if finished else "unknown"
    pace = f", {1e3 * run.elapsed / finished:.3g} ms a finished point" if finished else ""
    return "\n".join(
        (
            f"Certification of {count} points, {run.n_train} training rows of {run.n_features} features",
            f"  classifier     {run.n_neighbors}-nearest neighbours, {run.rule} rule, metric {run.metric}",
            f"  points         {_shares(cert)}",
            f"  clean error    {clean}  (misclassified, tied or not proven)",
            f"  radius         {_radii(cert)}",
            f"  intervals      widest {widest_relative_interval(cert):.2g} of the upper end",
            f"  time           {run.elapsed:.3g} s{pace}",
        )
    )


def widest_relative_interval(cert: Certification) -> float:
    """Largest (upper - lower) / upper over the points; 1 where nothing but the trivial interval is known."""
    known = np.isfinite(cert.upper) & (cert.upper > 0)
    widths = (cert.upper[known] - cert.lower[known]) / cert.upper[known]
    one_sided = np.isinf(cert.upper) & np.isfinite(cert.lower)
    return float(max(widths.max(initial=0.0), 1.0 if one_sided.any() else 0.0))


def _shares(cert: Certification) -> str:
    shares = ((status, float(np.mean(cert.status == status))) for status in STATUSES)
    return ", ".join(f"{share:.1%} {status}" for status, share in shares if share > 0)


def _radii(cert: Certification) -> str:
    low, middle, high = (quantile(cert.midpoints, share) for share in (0.25, 0.5, 0.75))
    return f"median {middle:.4g}, quartiles {low:.4g} and {high:.4g} (l{cert.run.norm} norm)"
