"""Published tables, again: the published numbers, ours by the same protocol, and what is new beside them.

    published (numbers) ──► tables (which cells) ─┐
    protocol (data sets, test points) ────────────┴─► run ──► report (text, Markdown, CSV), picture
                                    cells (one certification each, kept in a folder) ◄──┘

A cell is one certification: a data set, K, a rule, a method. It is kept as a file under a name that says what
determines it, so that a run that was stopped goes on where it was. A new table is an entry in
:mod:`~certimetric.reproduce.tables`, and its numbers one in :mod:`~certimetric.reproduce.published`.
"""

from certimetric.reproduce.cells import Cell, Store
from certimetric.reproduce.metrics import METRICS, Metrics
from certimetric.reproduce.protocol import PROTOCOLS, Protocol, Source, Split, load
from certimetric.reproduce.run import Panel, Run
from certimetric.reproduce.tables import TABLES, Table

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "TABLES",
    "Cell",
    "Metrics",
    "Panel",
    "Protocol",
    "Run",
    "Source",
    "Split",
    "Store",
    "Table",
    "load",
]
