"""A row for each epoch: in JSON lines, in CSV, or for TensorBoard."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from certimetric._files import write_text
from certimetric._optional import require

__all__ = ["check_log", "write_log"]


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """Write all rows of a run anew: the log of a run that went on is the one of a run that was not stopped.

    ``.jsonl`` and ``.csv`` are files; any other name is a folder for TensorBoard, which gets the last row.

    Raises
    ------
    MissingDependencyError
        The name is one for TensorBoard, which is not installed.
    """
    if path.suffix == ".jsonl":
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        write_text(path, _as_csv(rows))
    else:
        writer: Any = _tensorboard().SummaryWriter(str(path))
        for name, value in rows[-1].items():
            writer.add_scalar(name, value, int(rows[-1]["epoch"]))
        writer.close()


def check_log(path: Path) -> None:
    """See that the log can be written.

    Raises
    ------
    MissingDependencyError
        As :func:`write_log`.
    """
    if path.suffix not in (".jsonl", ".csv"):
        _tensorboard()


def _tensorboard() -> Any:
    require("tensorboard", extra="vision")
    return require("torch.utils.tensorboard", extra="vision")


def _as_csv(rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
