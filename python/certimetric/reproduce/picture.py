"""A filled table as a picture: a row of panels for each data set, a panel for each rule."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from certimetric._files import save_picture
from certimetric._optional import require
from certimetric.display import CertifiedErrorDisplay
from certimetric.reproduce.metrics import TITLES
from certimetric.reproduce.perturbed import LEARNERS, MEASURES, Outcome, means
from certimetric.reproduce.run import Panel, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "draw_perturbed"]

_WIDTH, _HEIGHT = 5.6, 3.9
"""Inches of a panel."""


def draw(run: Run, path: Path) -> None:
    """Certified errors over the radius, with bands down to the attack errors, and the published numbers."""
    pyplot = require("matplotlib.pyplot", extra="plot")
    panels = [panel for panel in run.panels if panel.results]
    rules = list(dict.fromkeys(cell.rule for cell in run.cells))
    size = (_WIDTH * len(rules), _HEIGHT * len(panels))
    figure, grid = pyplot.subplots(len(panels), len(rules), figsize=size, squeeze=False, layout="constrained")
    for panel, row in zip(panels, grid, strict=True):
        for rule, axes in zip(rules, row, strict=True):
            _draw_panel(run, panel, rule, axes)
    save_picture(figure, path)
    pyplot.close(figure)


def _draw_panel(run: Run, panel: Panel, rule: str, axes: "Axes") -> None:
    chosen = {cell: cert for cell, cert in panel.results.items() if cell.rule == rule}
    kinds = list(dict.fromkeys((cell.metric, cell.n_neighbors) for cell in run.cells))
    for cell, cert in chosen.items():
        published = run.table.errors(panel.source, cell)
        # One colour for each metric and K; what is only a bound is dashed.
        color = f"C{kinds.index((cell.metric, cell.n_neighbors))}"
        kind = f"{TITLES[cell.metric]}, K = {cell.n_neighbors}"
        if cell.method == "exact":
            name = kind
            CertifiedErrorDisplay.from_certification(cert, ax=axes, name=name, color=color)
        elif published is not None or not panel.source.published:
            levels = np.unique(np.concatenate([[0.0], cert.lower[np.isfinite(cert.lower)]]))
            errors = np.atleast_1d(cert.certified_error(levels))
            name = f"{kind}, bound"
            axes.plot(levels, errors, "--", color=color, lw=1.0, drawstyle="steps-post", label=name)
        if published is not None:
            # The mark at radius 0 is on the axis: not to be cut in half.
            mark = "black" if len(kinds) == 1 else color
            label = f"published, {kind}"
            axes.plot(panel.radii, published, "x", color=mark, label=label, clip_on=False, zorder=3)
    one = all(cell.n_neighbors == 1 for cell in run.cells)
    axes.set_title(f"{panel.name}, {panel.n_points:,} points" + ("" if one else f", {rule} rule"))
    axes.set_xlim(0.0, 1.05 * float(panel.radii[-1]))
    # A run that was stopped may have nothing for this rule.
    if axes.lines:
        axes.legend(loc="lower right", fontsize="small")


def draw_perturbed(outcomes: list[Outcome], path: Path) -> None:
    """A panel for each measure: data sets side by side, a mark for each learner, over the splits."""
    pyplot = require("matplotlib.pyplot", extra="plot")
    size = (_WIDTH * len(MEASURES), _HEIGHT)
    figure, row = pyplot.subplots(1, len(MEASURES), figsize=size, layout="constrained")
    for (measure, title), axes in zip(MEASURES.items(), row, strict=True):
        known = means(outcomes, measure)
        names = list(dict.fromkeys(data for data, _ in known))
        for shift, learner in zip(np.linspace(-0.25, 0.25, len(LEARNERS)), LEARNERS, strict=True):
            at = [place for place, data in enumerate(names) if (data, learner) in known]
            values = np.array([known[names[place], learner] for place in at]).reshape(-1, 2)
            axes.errorbar(at + shift, values[:, 0], values[:, 1], fmt="o", ms=4, lw=1.0, label=learner)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_title(title)
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LEARNERS))
    save_picture(figure, path)
    pyplot.close(figure)
