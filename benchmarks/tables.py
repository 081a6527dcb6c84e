"""Results as Markdown, and the documents they go into."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import BenchmarkError


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns are aligned in the source, too. The first holds names."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        f" {'-' * (width - 1)}{':' if position else '-'} " for position, width in enumerate(widths)
    )
    return "\n".join([line(header), f"|{rule}|", *(line(row) for row in rows)])


def replace_section(document: Path, name: str, text: str) -> None:
    """Put text between the marks `<!-- begin NAME -->` and `<!-- end NAME -->` of a document.

    Raises:
        BenchmarkError: The marks are not there.
    """
    before, begin, rest = document.read_text(encoding="utf-8").partition(f"<!-- begin {name} -->")
    _, end, after = rest.partition(f"<!-- end {name} -->")
    if not begin or not end:
        raise BenchmarkError(f"{document} has no place for {name}")
    document.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
