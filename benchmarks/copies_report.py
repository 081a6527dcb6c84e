"""What copies to another store cost, as Markdown and as JSON: the ratios first."""

from dataclasses import asdict

from benchmarks.copies import EBSIM, FILES, CopyResults, CopyStep
from benchmarks.image import ImageFacts
from benchmarks.machine import Machine
from benchmarks.peers import RESTIC
from benchmarks.tables import markdown_table
from ebsim.units import format_size


def copies_markdown(results: CopyResults, facts: ImageFacts, machine: Machine) -> str:
    """Return both tables."""
    versions = "; ".join(results.versions.values())
    head = (
        f"An ext4 image of {format_size(facts.size_bytes)}"
        f" ({format_size(facts.allocated_bytes)} of it allocated) on {machine}.\n\n"
        f"Versions: {versions}."
    )
    absent = [f"Not installed: {', '.join(results.absent)}."] if results.absent else []
    note = (
        "Seconds: the median of several runs, and in brackets the fastest and the slowest.\n"
        "`cp -au` copies the files of ebsim's store and proves nothing; it is there for scale."
    )
    return "\n\n".join([head, *absent, _ratios(results), note, _times(results)])


def copies_json(results: CopyResults, facts: ImageFacts, machine: Machine) -> dict[str, object]:
    """Return the same for a program, with every run."""
    seconds = {
        f"{step.value}, {tool}": [found.seconds for found in measurements]
        for (step, tool), measurements in results.times.items()
    }
    return {
        "machine": asdict(machine),
        "image": asdict(facts),
        "versions": results.versions,
        "stored_bytes": results.stored_bytes,
        "seconds": seconds,
    }


def _ratios(results: CopyResults) -> str:
    rows = []
    for step in CopyStep:
        row: list[str] = [step.value]
        for name in (RESTIC, FILES):
            ours, theirs = results.summary(step, EBSIM), results.summary(step, name)
            if ours is None or theirs is None:
                row.append("-")
            else:
                row.append(f"{theirs.seconds / ours.seconds:.2f} x")
        rows.append(row)
    return markdown_table(["speed of ebsim", "beside restic copy", "beside cp -au"], rows)


def _times(results: CopyResults) -> str:
    names = list(results.versions)
    rows = []
    for step in CopyStep:
        row: list[str] = [step.value]
        for name in names:
            found = results.summary(step, name)
            row.append(
                "-"
                if found is None
                else f"{found.seconds:.2f} ({found.fastest:.2f} to {found.slowest:.2f})"
            )
        rows.append(row)
    stored = [format_size(results.stored_bytes[name]) for name in names]
    memory = [_peak(results, name) for name in names]
    rows += [["stored there, after the first", *stored], ["peak memory", *memory]]
    return markdown_table(["", *names], rows)


def _peak(results: CopyResults, name: str) -> str:
    found = [each for (_, tool), runs in results.times.items() if tool == name for each in runs]
    return format_size(max((each.peak_bytes for each in found), default=0))
