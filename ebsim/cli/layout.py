"""Columns and pairs of text for people, and the figures in them."""

from collections.abc import Sequence
from itertools import zip_longest

from ebsim.units import BLOCK_SIZE, format_size


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Return lines of a name and a value; those without a value are left out."""
    shown = [(name, value) for name, value in rows if value]
    width = max(len(name) for name, _ in shown)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in shown)


def table(rows: Sequence[Sequence[str]], right: set[int]) -> str:
    """Return rows in aligned columns; the columns in `right` are flush right."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def count(number: int, noun: str) -> str:
    """Return a number of things: `1 block`, `20,480 blocks`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def exact(size_bytes: int) -> str:
    """Return a size for people, and to the byte."""
    return f"{format_size(size_bytes)} ({size_bytes:,} bytes)"


def blocks(size_bytes: int) -> str:
    """Return a size for people, and in blocks."""
    return f"{format_size(size_bytes)} ({count(size_bytes // BLOCK_SIZE, 'block')})"


def more(next_token: str | None) -> str:
    """Return a line that tells how to go on with a list, or nothing on its last page."""
    return "" if next_token is None else f"\nThere are more: --starting-token {next_token}"
