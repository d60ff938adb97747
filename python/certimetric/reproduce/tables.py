"""Tables as data: what was published, and which cells stand beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from certimetric._validation import FloatArray
from certimetric.reproduce.cells import Cell
from certimetric.reproduce.metrics import METRICS
from certimetric.reproduce.protocol import Source
from certimetric.reproduce.published import ARML_TABLE_1, ARML_TABLE_2, Published

__all__ = ["TABLES", "Table"]


@dataclass(frozen=True)
class Table:
    """A published table and its extension.

    Attributes
    ----------
    name : str
        As on the command line.
    title : str
    published : Published
    neighbors : tuple of int
        K of the cells, by default.
    rules : tuple of str
        Rules under which exact radii are computed, by default.
    metrics : tuple of str
        Names of the metrics, by default.
    is_extended : bool
        Whether exact radii stand beside a published bound.
    """

    name: str
    title: str
    published: Published
    neighbors: tuple[int, ...]
    rules: tuple[str, ...]
    metrics: tuple[str, ...] = ("euclidean",)
    is_extended: bool = True

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Names of the data sets that have published numbers."""
        return tuple(self.published.radii)

    def cells(
        self, neighbors: Sequence[int], rules: Sequence[str], limit: float | None, metrics: Sequence[str] = ()
    ) -> list[Cell]:
        """All cells of one data set: for every metric and K the published kind, if of the rules, then exact.

        ``limit`` is in seconds for each point of a search.
        """
        kind = self.published
        cells = []
        for metric in metrics or self.metrics:
            for k in neighbors:
                if kind.method != "exact" and kind.rule in rules:
                    cells.append(Cell(k, kind.rule, kind.method, metric=metric))
                if kind.method == "exact" or self.is_extended:
                    # For one neighbour the rules are the same.
                    bounds, different = (None, rules[:1]) if k == 1 else (limit, rules)
                    cells += [Cell(k, rule, "exact", bounds, metric) for rule in different]
        return cells

    def errors(self, source: Source, cell: Cell) -> FloatArray | None:
        """The published numbers that a cell reproduces, ndarray of shape (k,)."""
        kind = self.published
        asked = (cell.n_neighbors, cell.rule, cell.method)
        if not source.published or asked != (kind.n_neighbors, kind.rule, kind.method):
            return None
        row = kind.errors.get(cell.metric, {}).get(source.name)
        return None if row is None else np.array(row)


TABLES = {
    table.name: table
    for table in (
        Table("nn-table", "Certified robust error of 1-NN", ARML_TABLE_1, (1,), ("plurality",)),
        Table(
            "knn-table",
            "Certified robust error of K-NN",
            ARML_TABLE_2,
            (3, 5, 7, 11),
            ("majority", "plurality"),
        ),
        Table(
            "arml-table1",
            "Certified robust error of 1-NN under learned metrics",
            ARML_TABLE_1,
            (1,),
            ("plurality",),
            (*METRICS, "prototypes-clean", "prototypes-area"),
        ),
        Table(
            "arml-table2",
            "Certified robust error of 11-NN under learned metrics, by the bound",
            ARML_TABLE_2,
            (11,),
            ("majority",),
            tuple(METRICS),
            is_extended=False,
        ),
    )
}
"""By name; a table of another paper is one more entry."""
