"""How costs grow, as Markdown and as JSON."""

from dataclasses import asdict

from benchmarks.growth import CHANGED_BLOCKS, DENSE_BLOCKS, WRITTEN_BLOCKS, Costs, Growth
from benchmarks.machine import Machine
from benchmarks.tables import markdown_table
from ebsim.units import KIB, MIB, format_size

BLOCK_BYTES_MAX, REFERENCE_BYTES_MAX, SNAPSHOT_BYTES_MAX = 256, 16, 16 * KIB


def growth_markdown(growth: Growth, machine: Machine) -> str:
    """Return both tables."""
    setting = (
        f"On {machine}.\n{WRITTEN_BLOCKS} blocks written at random places of the volume,"
        f" {CHANGED_BLOCKS} of them changed before each snapshot.\n"
        "Milliseconds, medians."
    )
    return "\n\n".join(
        [
            setting,
            _times(growth.costs),
            f"Peak memory of all that: {growth.peak_bytes / MIB:.0f} MiB.",
            f"What the catalog needs, with {DENSE_BLOCKS:,} distinct blocks (10 GiB):",
            _catalog(growth),
        ]
    )


def growth_json(growth: Growth, machine: Machine) -> dict[str, object]:
    """Return the same for a program."""
    return {"machine": asdict(machine), **asdict(growth)}


def _times(costs: list[Costs]) -> str:
    header = [
        "volume", "snapshots", "create", "diff of neighbours", "diff of first and last",
        "delete in the middle", "read a block", "list all", "catalog per snapshot",
    ]  # fmt: skip
    rows = [
        [
            format_size(cost.volume_bytes),
            f"{cost.chain:,}",
            *(
                f"{value:.2f}"
                for value in (
                    cost.create,
                    cost.diff_near,
                    cost.diff_far,
                    cost.delete,
                    cost.read,
                    cost.list_all,
                )
            ),
            format_size(round(cost.catalog_bytes / cost.chain)),
        ]
        for cost in costs
    ]
    return markdown_table(header, rows)


def _catalog(growth: Growth) -> str:
    catalog = growth.catalog
    rows = [
        _budget("a stored block", catalog.block, BLOCK_BYTES_MAX),
        _budget("a further reference to it", catalog.reference, REFERENCE_BYTES_MAX),
        _budget("a snapshot that changed one block", catalog.small_snapshot, SNAPSHOT_BYTES_MAX),
        _budget("a snapshot that changed nothing", catalog.same_snapshot, SNAPSHOT_BYTES_MAX),
    ]
    return markdown_table(["what", "bytes", "budget", "kept"], rows)


def _budget(what: str, found: float, most: int) -> list[str]:
    return [what, f"{found:,.1f}", f"{most:,}", "yes" if found <= most else "**no**"]
