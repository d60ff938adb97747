"""Rows of text as a table: in columns of characters, and in Markdown."""

from collections.abc import Sequence

__all__ = ["aligned", "piped"]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        numbers = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *numbers]).rstrip())
    return "\n".join(lines)


def piped(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of Markdown; the first row is the head."""
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return [head, "|---" * len(rows[0]) + "|", *body]
