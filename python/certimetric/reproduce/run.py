"""Fills the cells of a table, data set by data set; what is finished is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from certimetric._curve import nice_radii
from certimetric._validation import FloatArray, check_count
from certimetric.certification import Certification
from certimetric.exceptions import InputError
from certimetric.neighbors import CertifiedKNeighborsClassifier
from certimetric.reproduce.cells import Cell, Store
from certimetric.reproduce.metrics import Metrics
from certimetric.reproduce.protocol import TITLES, Source, Split, load
from certimetric.reproduce.tables import Table

__all__ = ["Panel", "Run"]


@dataclass(frozen=True)
class Panel:
    """What a table says of one data set.

    Attributes
    ----------
    source : Source
    title : str
        Name and shape of the training set.
    n_points : int
        Number of test points.
    asked : ndarray of shape (k,) or None
        ℓ2 norms at which errors are counted; None: round ones that fit the result.
    results : dict of Cell to Certification
        Finished cells, in the order of the table.
    left_out : dict of Cell to str
        Those whose learner cannot have these data, and why.
    """

    source: Source
    title: str
    n_points: int
    asked: FloatArray | None
    results: dict[Cell, Certification] = field(default_factory=dict)
    left_out: dict[Cell, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The data set, as people call it."""
        return TITLES.get(self.source.name, self.source.name)

    @property
    def radii(self) -> FloatArray:
        """The ℓ2 norms of the columns."""
        if self.asked is not None:
            return self.asked
        certs = sorted(self.results.values(), key=lambda cert: cert.run.method != "exact")
        return nice_radii(certs[0])


@dataclass
class Run:
    """One table over some data sets.

    Attributes
    ----------
    table : Table
    sources : sequence of Source
    cells : sequence of Cell
        For each data set.
    store : Store
        Where finished cells are, and go to.
    radii : ndarray or None
        Columns for data sets without published ones.
    n_jobs : int or None
        Threads, as in scikit-learn.
    progress : bool
        Show a progress line for each cell.
    panels : list of Panel
        What is there so far, also after an exception.
    """

    table: Table
    sources: Sequence[Source]
    cells: Sequence[Cell]
    store: Store
    radii: FloatArray | None = None
    n_jobs: int | None = None
    progress: bool = False
    panels: list[Panel] = field(default_factory=list)

    @property
    def n_finished(self) -> int:
        """Number of finished cells."""
        return sum(len(panel.results) for panel in self.panels)

    @property
    def has_published(self) -> bool:
        """Whether any of the data sets has published numbers."""
        return any(source.published for source in self.sources)

    @property
    def n_cells(self) -> int:
        """Number of all cells."""
        return len(self.cells) * len(self.sources)

    def fill(
        self,
        *,
        begin: Callable[[Panel, Cell], object] = lambda *_: None,
        tell: Callable[[Panel, Cell, bool], object] = lambda *_: None,
        prefix: str = "",
    ) -> None:
        """Compute what is missing.

        Parameters
        ----------
        begin : callable
            Called with (panel, cell) before a cell is computed.
        tell : callable
            Called with (panel, cell, whether it was kept from an earlier run) after each cell.
        prefix : str
            What stands before the names of arguments, for messages.

        Raises
        ------
        InputError
            No learner can have any of the data; the reasons.
        """
        for source in self.sources:
            split = load(source, f"{prefix}test")
            most = max(cell.n_neighbors for cell in self.cells)
            check_count(most, f"{prefix}neighbors", len(split.X))
            panel = Panel(source, split.title, len(split.Z), self._columns(source))
            self.panels.append(panel)
            fitted: dict[str, CertifiedKNeighborsClassifier] = {}
            for cell in self.cells:
                found = self.store.get(split, cell)
                if found is None:
                    begin(panel, cell)
                    try:
                        # Once for all cells of a metric, and not at all where nothing is missing.
                        classifier = fitted.get(cell.metric) or self._fit(split, cell.metric)
                    except InputError as reason:
                        # The others may have them.
                        panel.left_out[cell] = str(reason)
                        continue
                    fitted = {cell.metric: classifier}
                    panel.results[cell] = cell.certify(classifier, split, progress=self.progress)
                    self.store.put(split, cell, panel.results[cell])
                else:
                    panel.results[cell] = found
                tell(panel, cell, found is not None)
        if not self.n_finished:
            reasons = [f"{p.name}: {cell}: {why}" for p in self.panels for cell, why in p.left_out.items()]
            raise InputError(" ".join(reasons))

    def _fit(self, split: Split, metric: str) -> CertifiedKNeighborsClassifier:
        metrics = Metrics(self.store.folder.with_name("metrics"), self.n_jobs, self.progress)
        return metrics.classifier(split, metric, self.store.metric_key(split, metric))

    def _columns(self, source: Source) -> FloatArray | None:
        return np.array(self.table.published.radii[source.name]) if source.published else self.radii
