"""What the comparison is to show, each as a ratio of two times of one run."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.compare import Results
from benchmarks.peers import BORG, QEMU_IMG, RESTIC
from benchmarks.tools import CAT, COPY, ZSTD, Step
from ebsim.units import MIB

PEAK_MIB_MAX = 256
START_MS_MAX = 150
PEERS_AS_THEY_ARE = (RESTIC, BORG, QEMU_IMG)


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to reach.

    Attributes:
        what: What is compared, in words.
        value: What was found, as it is printed.
        wanted: What is wanted, as it is printed.
        reached: Whether it is.
        step: The step that must be fast enough, if it is one.
        needed_seconds: What it may take at most.
    """

    what: str
    value: str
    wanted: str
    reached: bool
    step: Step | None = None
    needed_seconds: float = 0.0


def find_targets(results: Results) -> Iterator[Target]:
    """Yield the targets for which both sides were measured."""
    yield from _peer_target(results, Step.FIRST, 3)
    yield from _time_target(results, Step.FIRST, ZSTD)
    yield from _peer_target(results, Step.RESCAN, 10)
    ours, cat = results.summary(Step.RESCAN, "ebsim"), results.summary(Step.RESCAN, CAT)
    if ours and cat:
        share = cat.seconds / ours.seconds
        what = "unchanged rescan: its speed beside that of `cat IMAGE >/dev/null`"
        needed = cat.seconds / 0.4
        yield Target(what, f"{share:.2f} of it", "at least 0.4", share >= 0.4, Step.RESCAN, needed)
    yield from _peer_target(results, Step.RESTORE, 3)
    yield from _time_target(results, Step.RESTORE, COPY)
    full, rolled = results.summary(Step.RESTORE, "ebsim"), results.summary(Step.IN_PLACE, "ebsim")
    if full and rolled:
        what = "restore in place of 1 %, beside a full one"
        yield _faster(what, Step.IN_PLACE, full.seconds, rolled.seconds, 5)
    yield from _peer_target(results, Step.DELETE_SAME, 10)
    yield from _peer_target(results, Step.DELETE_MUCH, 10)
    peak = results.peak_bytes("ebsim") / MIB
    yield Target(
        "peak memory, any step", f"{peak:.0f} MiB", f"at most {PEAK_MIB_MAX}", peak <= PEAK_MIB_MAX
    )
    start = results.summary(Step.LIST, "ebsim")
    if start:
        taken = start.seconds * 1000
        yield Target(
            "start-up: `ebsim snapshot list`",
            f"{taken:.0f} ms",
            f"under {START_MS_MAX} ms",
            taken < START_MS_MAX,
        )


def _peer_target(results: Results, step: Step, wanted: float) -> Iterator[Target]:
    """Yield how often faster a step is than the fastest peer: of all, and of those as they are."""
    ours = results.summary(step, "ebsim")
    theirs = [
        (found.seconds, peer)
        for peer in results.stored_bytes
        if peer != "ebsim" and (found := results.summary(step, peer)) is not None
    ]
    untuned = [found for found in theirs if found[1] in PEERS_AS_THEY_ARE]
    for candidates, which in ((theirs, "in any setting"), (untuned, "in its default settings")):
        if ours and candidates:
            seconds, peer = min(candidates)
            what = f"{step}, beside the fastest peer {which} ({peer})"
            yield _faster(what, step, seconds, ours.seconds, wanted)


def _time_target(results: Results, step: Step, reference: str) -> Iterator[Target]:
    """Yield how much of a reference's time a step takes."""
    ours, theirs = results.summary(step, "ebsim"), results.summary(step, reference)
    if ours and theirs:
        share = ours.seconds / theirs.seconds
        what = f"{step}: its time beside that of `{reference}`"
        yield Target(what, f"{share:.2f} of it", "at most 1.0", share <= 1.0, step, theirs.seconds)


def _faster(what: str, step: Step, theirs: float, ours: float, wanted: float) -> Target:
    ratio = theirs / ours
    found, least = f"{ratio:.1f} x faster", f"at least {wanted:g} x"
    return Target(what, found, least, ratio >= wanted, step, theirs / wanted)
