"""The comparison as Markdown and as JSON: the ratios first, then the times."""

from dataclasses import asdict

from benchmarks.compare import Results
from benchmarks.image import ImageFacts
from benchmarks.machine import Machine
from benchmarks.measuring import Summary
from benchmarks.parts import find_limits
from benchmarks.tables import markdown_table
from benchmarks.targets import find_targets
from benchmarks.tools import Step
from ebsim.units import BLOCK_SIZE, MIB, format_size

SECONDS_NOTE = (
    "Seconds: the median of several runs, and in brackets the fastest and the slowest.\n"
    "One number: a single run."
)


def compare_markdown(results: Results, image: ImageFacts, machine: Machine) -> str:
    """Return everything a reader needs to judge the numbers."""
    filled = f"{format_size(image.allocated_bytes)} of it allocated, {image.files:,} files"
    parts = [
        f"An ext4 image of {format_size(image.size_bytes)} ({filled}) on {machine}.",
        _versions(results),
        markdown_table(
            ["target", "found", "wanted", "reached"],
            [
                [target.what, target.value, target.wanted, "yes" if target.reached else "**no**"]
                for target in find_targets(results)
            ],
        ),
        _limits(results, image),
        SECONDS_NOTE,
        _times(results),
        _reads(results),
    ]
    return "\n\n".join(parts)


def compare_json(results: Results, image: ImageFacts, machine: Machine) -> dict[str, object]:
    """Return the same, with every single run, for a program."""
    return {
        "machine": asdict(machine),
        "image": asdict(image),
        "versions": results.versions,
        "absent": results.absent,
        "targets": [asdict(target) for target in find_targets(results)],
        "times": [
            {"step": step, "tool": tool, "runs": [asdict(found) for found in measurements]}
            for (step, tool), measurements in results.times.items()
        ],
        "seconds_per_block": results.parts,
        "stored_bytes": results.stored_bytes,
        "catalog_bytes_per_block": results.catalog_bytes_per_block,
        "reads_per_second": results.reads,
    }


def _versions(results: Results) -> str:
    found = "; ".join(results.versions.values())
    absent = f"\nNot installed: {', '.join(results.absent)}." if results.absent else ""
    return f"Versions: {found}.{absent}"


def _reads(results: Results) -> str:
    rates = results.reads
    return (
        f"Random reads of a block, one thread: ebsim {rates['ebsim']:,.0f} a second,"
        f" the raw image {rates['image']:,.0f} a second.\n"
        f"The catalog grew with the first snapshot by {results.catalog_bytes_per_block:.0f} bytes"
        " on disk for each stored block."
    )


def _limits(results: Results, image: ImageFacts) -> str:
    parts = ", ".join(f"{name} {seconds * 1e6:.0f}" for name, seconds in results.parts.items())
    limits = find_limits(results.parts, image.allocated_bytes // BLOCK_SIZE)
    rows = [
        [step, f"{limit:.2f}", f"{found.seconds:.2f}", f"{limit / found.seconds:.0%}"]
        for step, limit in limits.items()
        if (found := results.summary(step, "ebsim")) is not None
    ]
    table = markdown_table(["ebsim, seconds", "limit", "found", "of the limit's speed"], rows)
    return (
        f"The limit: microseconds a block for each part, when two threads do only that: {parts}.\n"
        f"Starting the program is not in it.\n\n{table}"
    )


def _times(results: Results) -> str:
    tools = list(dict.fromkeys(tool for _, tool in results.times))
    tools.sort(key=lambda tool: tool not in results.stored_bytes)  # references last
    rows = [[step, *(_cell(results.summary(step, tool)) for tool in tools)] for step in Step]
    peaks = [f"{results.peak_bytes(tool) / MIB:.0f} MiB" for tool in tools]
    stored = [
        format_size(results.stored_bytes[tool]) if tool in results.stored_bytes else "-"
        for tool in tools
    ]
    rows += [["peak memory", *peaks], ["stored, after the first", *stored]]
    return markdown_table(["", *tools], rows)


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return "-"
    digits = 2 if summary.seconds < 10 else 1
    if summary.runs == 1:
        return f"{summary.seconds:.{digits}f}"
    return (
        f"{summary.seconds:.{digits}f}"
        f" ({summary.fastest:.{digits}f} to {summary.slowest:.{digits}f})"
    )
