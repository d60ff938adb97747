"""Plots in scikit-learn's way: a display object that holds the numbers and draws them (extra ``plot``)."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from certimetric._optional import require
from certimetric._validation import FloatArray, as_radii
from certimetric.certification import Certification

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["CertifiedErrorDisplay"]


_LABELS = {
    "exact": "certified error",
    "bound": "certified error (bound)",
    "attack": "error under attack",
}
"""What the line is, by method."""

_FAR = 10.0
"""Proven radii of points that nothing breaks are in the picture up to this multiple of all other radii."""

_MOST_MARKS = 30
"""More of them are a thick line."""


class CertifiedErrorDisplay:
    """Certified error over the radius, with a band down to the attack error where the two differ.

    Parameters
    ----------
    radii : ndarray of shape (k,)
        Increasing ℓ2 norms.
    certified_error, attack_error : ndarray of shape (k,)
        Shares of points not proven robust, and known to be broken.
    norm : int, default=2
        Norm of the radii, for the axis label.
    name : str, optional
        Name in the legend.
    method : "exact", "bound" or "attack", default="exact"
        "exact" draws both errors. "bound" leaves out the attack error, and "attack" the certified error: the
        method does not look for that end.
    marked : ndarray of shape (j,), optional
        Some of the radii: those at which something is known. They get a mark, and between them only that is
        drawn which follows from errors that never fall. Default: ``radii`` has every step of the errors.

    Attributes
    ----------
    ax_, figure_, line_ : matplotlib Axes, Figure and Line2D
        After :meth:`plot`.

    See Also
    --------
    Certification.plot : The shortest way to one.
    """

    ax_: "Axes"
    figure_: "Figure"
    line_: "Line2D"

    def __init__(
        self,
        radii: FloatArray,
        certified_error: FloatArray,
        attack_error: FloatArray,
        *,
        norm: int = 2,
        name: str | None = None,
        method: str = "exact",
        marked: FloatArray | None = None,
    ) -> None:
        self.radii = radii
        self.certified_error = certified_error
        self.attack_error = attack_error
        self.norm = norm
        self.name = name
        self.method = method
        self.marked = marked

    @classmethod
    def from_certification(
        cls,
        cert: Certification,
        *,
        radii: ArrayLike | None = None,
        ax: "Axes | None" = None,
        name: str | None = None,
        **line: Any,
    ) -> Self:
        """Draw a result.

        Without ``radii`` at every radius where the curve has a step; where the search ended at the radii that
        were asked about, at these, and no further.
        """
        levels, marked = _levels(cert, radii)
        display = cls(
            levels,
            np.atleast_1d(cert.certified_error(levels)),
            np.atleast_1d(cert.attack_error(levels)),
            norm=cert.run.norm,
            name=name,
            method=cert.run.method,
            marked=marked,
        )
        return display.plot(ax=ax, **line)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        radii: ArrayLike | None = None,
        ax: "Axes | None" = None,
        name: str | None = None,
        **line: Any,
    ) -> Self:
        """Certify ``X`` with a fitted classifier and draw the result."""
        label = type(estimator).__name__ if name is None else name
        return cls.from_certification(estimator.certify(X, y), radii=radii, ax=ax, name=label, **line)

    def plot(self, ax: "Axes | None" = None, *, name: str | None = None, **line: Any) -> Self:
        """Draw on ``ax``, or on a new figure; further arguments go to the line."""
        pyplot = require("matplotlib.pyplot", extra="plot")
        self.ax_ = pyplot.subplots()[1] if ax is None else ax
        # Axes of a SubFigure have that in its place, which draws the same.
        self.figure_ = self.ax_.figure  # type: ignore[assignment]
        name = name or self.name
        label = self._label(name)
        errors = self.attack_error if self.method == "attack" else self.certified_error
        (self.line_,) = self.ax_.plot(self.radii, errors, **{**self._style(), "label": label, **line})
        if self.method == "exact" and self._area_between() > 1e-6:
            self._plot_band(f"{label}: down to the attack error" if self.marked is None else _prefixed(name))
        self._decorate()
        return self

    def _label(self, name: str | None) -> str:
        what = _LABELS[self.method]
        if name is None:
            return what
        return name if self.method == "exact" else f"{name}: {what}"

    def _style(self) -> dict[str, Any]:
        if self.marked is None:
            return {"drawstyle": "steps-post"}
        # Below a mark at most so many points are not robust; above it at least so many are broken.
        step = "steps-post" if self.method == "attack" else "steps-pre"
        if len(self.marked) > _MOST_MARKS:
            return {"drawstyle": step}
        marks = np.flatnonzero(np.isin(self.radii, self.marked)).tolist()
        return {"drawstyle": step, "marker": "o", "markevery": marks}

    def _ceiling(self) -> FloatArray:
        """The certified error on the way from each radius to the next one."""
        if self.marked is None:
            return self.certified_error
        return np.append(self.certified_error[1:], self.certified_error[-1:])

    def _area_between(self) -> float:
        """Area between the curves as a share of the plot: intervals that agree to rounding need no band."""
        gaps = (self._ceiling() - self.attack_error)[:-1]
        last = float(self.radii[-1])
        return float(gaps @ np.diff(self.radii)) / last if last > 0 else 0.0

    def _plot_band(self, label: str) -> None:
        self.ax_.fill_between(
            self.radii,
            self.attack_error,
            self._ceiling(),
            step="post",
            color=self.line_.get_color(),
            alpha=0.25,
            linewidth=0,
            label=label,
        )

    def _decorate(self) -> None:
        self.ax_.set_xlabel(rf"radius $\epsilon$ ($\ell_{{{self.norm}}}$ norm, input space)")
        own = _LABELS["attack" if self.method == "attack" else "exact"]
        words = f"{own} (share of test points)"
        # Curves of two kinds in one picture.
        mixed = self.ax_.get_ylabel() not in ("", words)
        self.ax_.set_ylabel("error (share of test points)" if mixed else words)
        self.ax_.set_ylim(0.0, 1.02)
        self.ax_.set_xlim(left=0.0)
        self.ax_.grid(alpha=0.3)
        self.ax_.legend(loc="lower right" if self.marked is None else "upper left")


def _prefixed(name: str | None) -> str:
    return f"{name + ': ' if name else ''}the robust error is in here"


def _levels(cert: Certification, radii: ArrayLike | None) -> tuple[FloatArray, FloatArray | None]:
    """Radii of a picture, and those of them that are marked."""
    if radii is not None:
        chosen = np.unique(as_radii(radii))
        return chosen, chosen
    if cert.run.ends_at_eps:
        asked = np.array(cert.run.asked)
        return np.union1d([0.0], asked), asked
    return _steps(cert), None


def _steps(cert: Certification) -> FloatArray:
    ends = {"bound": [cert.lower], "attack": [cert.upper]}.get(cert.run.method, [cert.lower, cert.upper])
    known = np.concatenate(ends)
    finite = known[np.isfinite(known)]
    # Without any finite radius there is no scale to take from the data: one unit shows the flat line.
    last = 1.05 * float(finite.max(initial=0.0)) or 1.0
    broken = float(cert.upper[np.isfinite(cert.upper)].max(initial=0.0))
    if broken > 0:
        last = min(last, 1.05 * _FAR * broken)
    return np.unique(np.concatenate([[0.0, last], finite[finite <= last]]))
