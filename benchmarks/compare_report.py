"""The comparison as Markdown and as JSON: the ratios first, then the times."""

from dataclasses import asdict

from benchmarks.compare import Results
from benchmarks.image import ImageFacts
from benchmarks.machine import Machine
from benchmarks.measuring import Summary
from benchmarks.parts import find_limits
from benchmarks.tables import markdown_table
from benchmarks.targets import find_targets
from benchmarks.tools import CAT, START, Step
from ebsim.units import BLOCK_SIZE, MIB, format_size

SECONDS_NOTE = (
    "Seconds: the median of several runs, and in brackets the fastest and the slowest.\n"
    "One number: a single run."
)

PEERS_NOTE = (
    "A target beside the fastest peer has two rows: the fastest in any of the settings below, and"
    " the fastest of the peers in their default settings."
)
BEYOND_NOTE = (
    "Not reached, and beyond the limit of this design by the run's own figures: each block read"
    " and hashed with BLAKE3, stored with zstd level 1, by a program in Python."
)


def compare_markdown(results: Results, image: ImageFacts, machine: Machine) -> str:
    """Return everything a reader needs to judge the numbers."""
    filled = f"{format_size(image.allocated_bytes)} of it allocated, {image.files:,} files"
    parts = [
        f"An ext4 image of {format_size(image.size_bytes)} ({filled}) on {machine}.",
        _versions(results),
        PEERS_NOTE,
        markdown_table(
            ["target", "found", "wanted", "reached"],
            [
                [target.what, target.value, target.wanted, "yes" if target.reached else "**no**"]
                for target in find_targets(results)
            ],
        ),
        _limits(results, image),
        _out_of_reach(results, image),
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
    found = "; ".join(dict.fromkeys(results.versions.values()))
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
    limits = _step_limits(results, image)
    rows = [
        [step, f"{limit:.2f}", f"{found.seconds:.2f}", f"{limit / found.seconds:.0%}"]
        for step, limit in limits.items()
        if (found := results.summary(step, "ebsim")) is not None
    ]
    table = markdown_table(["ebsim, seconds", "limit", "found", "of the limit's speed"], rows)
    return (
        f"The limit: microseconds a block for each part, when two threads do only that: {parts}.\n"
        "Starting the program is not in it, but for a deletion, of which it is the limit: Python"
        f" with the libraries.\n\n{table}"
    )


def _step_limits(results: Results, image: ImageFacts) -> dict[Step, float]:
    """Return the least seconds each step can take."""
    limits = find_limits(results.parts, image.allocated_bytes // BLOCK_SIZE)
    start = results.summary(Step.LIST, START)
    if start is not None:
        limits |= {Step.DELETE_SAME: start.seconds, Step.DELETE_MUCH: start.seconds}
    return limits


def _out_of_reach(results: Results, image: ImageFacts) -> str:
    """Return, for each target beyond the limit, the arithmetic."""
    limits = _step_limits(results, image)
    lines = []
    for target in find_targets(results):
        limit = limits.get(target.step, 0.0) if target.step else 0.0
        if target.needed_seconds < limit and not target.reached:
            cat = results.summary(target.step, CAT) if target.step else None
            beside = f"; `cat` alone takes {cat.seconds:.2f} s" if cat else ""
            lines.append(
                f"- {target.what}, {target.wanted}: that is {target.needed_seconds:.2f} s,"
                f" and the limit is {limit:.2f} s{beside}."
            )
    if not lines:
        return "No target is beyond the limit."
    return "\n".join([BEYOND_NOTE, "", *lines])


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
