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
    ) -> None:
        self.radii = radii
        self.certified_error = certified_error
        self.attack_error = attack_error
        self.norm = norm
        self.name = name

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
        """Draw a result. Without ``radii`` at every radius where the curve has a step."""
        levels = _steps(cert) if radii is None else np.unique(as_radii(radii))
        display = cls(
            levels,
            np.atleast_1d(cert.certified_error(levels)),
            np.atleast_1d(cert.attack_error(levels)),
            norm=cert.run.norm,
            name=name,
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
        label = name or self.name or "certified error"
        style = {"drawstyle": "steps-post", "label": label, **line}
        (self.line_,) = self.ax_.plot(self.radii, self.certified_error, **style)
        if self._area_between() > 1e-6:
            self._plot_band(label)
        self._decorate()
        return self

    def _area_between(self) -> float:
        """Area between the curves as a share of the plot: intervals that agree to rounding need no band."""
        gaps = (self.certified_error - self.attack_error)[:-1]
        last = float(self.radii[-1])
        return float(gaps @ np.diff(self.radii)) / last if last > 0 else 0.0

    def _plot_band(self, label: str) -> None:
        self.ax_.fill_between(
            self.radii,
            self.attack_error,
            self.certified_error,
            step="post",
            color=self.line_.get_color(),
            alpha=0.25,
            linewidth=0,
            label=f"{label}: down to the attack error",
        )

    def _decorate(self) -> None:
        self.ax_.set_xlabel(rf"radius $\epsilon$ ($\ell_{{{self.norm}}}$ norm, input space)")
        self.ax_.set_ylabel("certified error (share of test points)")
        self.ax_.set_ylim(0.0, 1.02)
        self.ax_.set_xlim(left=0.0)
        self.ax_.grid(alpha=0.3)
        self.ax_.legend(loc="lower right")


def _steps(cert: Certification) -> FloatArray:
    ends = np.concatenate([cert.lower, cert.upper])
    finite = ends[np.isfinite(ends)]
    # Without any finite radius there is no scale to take from the data: one unit shows the flat line.
    last = 1.05 * float(finite.max(initial=0.0)) or 1.0
    return np.unique(np.concatenate([[0.0, last], finite]))
