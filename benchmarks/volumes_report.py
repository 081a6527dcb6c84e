"""What managed volumes cost, as Markdown and as JSON."""

from dataclasses import asdict

from benchmarks.machine import Machine
from benchmarks.tables import markdown_table
from benchmarks.volumes import (
    CHANGED_BLOCKS,
    ROUNDS,
    SCATTERED_BLOCKS,
    ChangedSnapshot,
    FirstWrites,
    HarnessCosts,
    Instant,
    Rate,
    VolumeResults,
)
from ebsim.units import KIB, format_size

RATIO_MIN = 0.7
RATIO_FROM = 64 * KIB
CALL_MS_MAX = 10.0
HARNESS_MS_MAX = 20.0


def volumes_markdown(results: VolumeResults, machine: Machine) -> str:
    """Return all tables."""
    requests = (
        f"On {machine}.\n"
        "Microseconds a request, at random places of 64 MiB that lie in memory;"
        f" medians of {ROUNDS} rounds that take turns, and in brackets the worst ratio."
    )
    instants = (
        "Milliseconds, medians, and in brackets the longest;"
        f" {SCATTERED_BLOCKS} blocks at random places written before each snapshot."
    )
    return "\n\n".join(
        [
            requests,
            _rates(results.rates),
            instants,
            _instants(results.instants),
            _changed(results.changed),
            _first_writes(results.first_writes),
            _harness(results.harness),
            _targets(results),
        ]
    )


def volumes_json(results: VolumeResults, machine: Machine) -> dict[str, object]:
    """Return the same for a program."""
    return {"machine": asdict(machine), **asdict(results)}


def _rates(rates: list[Rate]) -> str:
    header = ["request", "os", "volume", "speed of the volume"]
    rows = [
        [
            f"{rate.kind} of {format_size(rate.request_bytes)}",
            f"{rate.raw:.1f}",
            f"{rate.volume:.1f}",
            f"{rate.ratio:.2f} ({rate.ratio_least:.2f})",
        ]
        for rate in rates
    ]
    return markdown_table(header, rows)


def _instants(instants: list[Instant]) -> str:
    header = ["volume", "create_snapshot", "volume from a snapshot", "open it, first read"]
    rows = [
        [
            format_size(each.volume_bytes),
            f"{each.snapshot:.1f} ({each.snapshot_longest:.1f})",
            f"{each.from_snapshot:.1f} ({each.from_snapshot_longest:.1f})",
            f"{each.first_read:.1f}",
        ]
        for each in instants
    ]
    return markdown_table(header, rows)


def _changed(changed: ChangedSnapshot) -> str:
    return (
        f"A snapshot of a volume of {format_size(changed.volume_bytes)} of which"
        f" {format_size(changed.changed_bytes)} changed, at {CHANGED_BLOCKS:,} random places, reads"
        f" {format_size(changed.read_bytes)}: called in {changed.call:.1f} ms, completed after"
        f" {changed.seconds:.1f} s."
    )


def _first_writes(writes: FirstWrites) -> str:
    return (
        f"A write of 4 KiB takes {writes.again:.1f} µs.\n"
        f"The first one to a block since a snapshot that is completed takes {writes.first:.1f} µs;"
        " to a block that a pending snapshot must still copy, so that it is kept before,"
        f" {writes.kept:.0f} µs."
    )


def _harness(costs: HarnessCosts) -> str:
    return (
        f"A store of the test harness takes {costs.make:.1f} ms to make and {costs.remove:.1f} ms"
        " to remove."
    )


def _targets(results: VolumeResults) -> str:
    slowest = min(rate.ratio for rate in results.rates if rate.request_bytes >= RATIO_FROM)
    call = max(each.snapshot for each in results.instants)
    made = max(each.from_snapshot for each in results.instants)
    changed = results.changed
    rows = [
        _target(
            "reads and writes of 64 KiB and more, beside pread and pwrite",
            f"{slowest:.2f}",
            f"at least {RATIO_MIN}",
            reached=slowest >= RATIO_MIN,
        ),
        _target(
            "create_snapshot, any volume",
            f"{call:.1f} ms",
            f"under {CALL_MS_MAX:.0f} ms",
            reached=call < CALL_MS_MAX,
        ),
        _target(
            f"create_snapshot, after writes to {CHANGED_BLOCKS:,} places far from each other",
            f"{changed.call:.1f} ms",
            f"under {CALL_MS_MAX:.0f} ms",
            reached=changed.call < CALL_MS_MAX,
        ),
        _target(
            "a volume from a snapshot, any size",
            f"{made:.1f} ms",
            f"under {CALL_MS_MAX:.0f} ms",
            reached=made < CALL_MS_MAX,
        ),
        _target(
            "a store of the test harness",
            f"{results.harness.make:.1f} ms",
            f"under {HARNESS_MS_MAX:.0f} ms",
            reached=results.harness.make < HARNESS_MS_MAX,
        ),
        _target(
            "what a snapshot reads",
            format_size(changed.read_bytes),
            f"the {format_size(changed.changed_bytes)} changed",
            reached=changed.read_bytes <= changed.changed_bytes,
        ),
    ]
    return markdown_table(["target", "found", "wanted", "reached"], rows)


def _target(name: str, found: str, wanted: str, *, reached: bool) -> list[str]:
    return [name, found, wanted, "yes" if reached else "**no**"]
