"""What encrypting costs, as Markdown and as JSON: the ratios first."""

from dataclasses import asdict

from benchmarks.encryption import ENCRYPTED, PLAIN, STEPS, EncryptionResults
from benchmarks.image import ImageFacts
from benchmarks.machine import Machine
from benchmarks.tables import markdown_table
from benchmarks.tools import Step
from ebsim.units import format_size

ALLOWED = {Step.FIRST: 0.15, Step.RESTORE: 0.25}
"""What encrypting may cost, of the time of the step without it."""


def encryption_markdown(results: EncryptionResults, facts: ImageFacts, machine: Machine) -> str:
    """Return the table."""
    head = (
        f"An ext4 image of {format_size(facts.size_bytes)}"
        f" ({format_size(facts.allocated_bytes)} of it allocated) on {machine}."
    )
    note = "Seconds: the median of several runs, and in brackets the fastest and the slowest."
    return "\n\n".join([head, note, _table(results)])


def encryption_json(
    results: EncryptionResults, facts: ImageFacts, machine: Machine
) -> dict[str, object]:
    """Return the same for a program, with every run."""
    return {
        "machine": asdict(machine),
        "image": asdict(facts),
        "times": {
            f"{step.value}, {kind}": [asdict(found) for found in measurements]
            for (step, kind), measurements in results.times.items()
        },
    }


def _table(results: EncryptionResults) -> str:
    rows = []
    for step in STEPS:
        wall, processor = results.cost(step)
        allowed = f"{ALLOWED[step]:.0%}" if step in ALLOWED else "-"
        cells = [_seconds(results, step, kind) for kind in (PLAIN, ENCRYPTED)]
        rows.append([step.value, *cells, f"{wall:+.1%}", f"{processor:+.1%}", allowed])
    header = ["", PLAIN, ENCRYPTED, "costs, wall time", "costs, processor time", "allowed"]
    return markdown_table(header, rows)


def _seconds(results: EncryptionResults, step: Step, kind: str) -> str:
    found = results.summary(step, kind)
    return f"{found.seconds:.2f} ({found.fastest:.2f} to {found.slowest:.2f})"
