"""Which snapshots a set of rules keeps: the rules that users of restic and borg know. Pure.

The snapshots of each volume are looked at by themselves, youngest first, by the time at which they
were begun, in UTC. A rule `daily` with a count of N keeps the youngest snapshot of each of the last
N days that have one; the others likewise, and `last` keeps the N youngest. Rules look at all
snapshots, not only at those that other rules leave over; so one may be kept for several reasons.
Where a calendar rule has counts left when it comes to the oldest snapshot, it keeps that one too:
the history grows as long as the rule allows. `within` reckons from the youngest snapshot, so a
volume that is no longer snapshotted loses nothing with time.

Something is always kept: where the rules keep nothing of a volume, its youngest completed snapshot.
A pending snapshot is not touched and not counted, and nor is a failed one; failed ones go once a
younger snapshot of their volume is completed, and until then tell that something is wrong.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ebsim.core.spans import Span, before, parse_span
from ebsim.errors import InvalidInputError
from ebsim.ids import SnapshotId
from ebsim.requests import PruneOptions
from ebsim.results import KeptSnapshot, Snapshot, SnapshotState

COUNT_MAX = 1_000_000
"""A larger count is taken for a mistake."""

Bucket = Callable[[datetime], tuple[int, ...]]

BUCKETS: Mapping[str, Bucket] = {
    "hourly": lambda time: (time.year, time.month, time.day, time.hour),
    "daily": lambda time: (time.year, time.month, time.day),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: (time.year,),
}
"""What two snapshots share that count as one for a calendar rule."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What to keep of each volume.

    Attributes:
        last: So many of the youngest.
        counts: For each name in BUCKETS, how many buckets.
        within: All that are no older than this, reckoned from the youngest; None: no such rule.
        tags: All that have one of these.
    """

    last: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    within: Span | None = None
    tags: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, options: PruneOptions) -> "Rules":
        """Return the rules that a caller gave.

        Raises:
            InvalidInputError: None was given, a count is out of range, or the span is none.
        """
        counts = {name: getattr(options, f"keep_{name}") for name in BUCKETS}
        for count in (options.keep_last, *counts.values()):
            if not 0 <= count <= COUNT_MAX:
                raise InvalidInputError(f"A count of {count} is not between 0 and {COUNT_MAX:,}.")
        within = parse_span(options.keep_within) if options.keep_within else None
        rules = cls(options.keep_last, counts, within, frozenset(options.keep_tags))
        if not (rules.last or any(counts.values()) or rules.within or rules.tags):
            raise InvalidInputError(
                "Nothing says what to keep: give at least one rule, such as --keep-daily 7."
            )
        return rules


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of some snapshots.

    Attributes:
        kept: Those that stay, with the reasons; oldest first, volume by volume.
        pruned: Those that go; youngest first, volume by volume, so that charges move only to
            snapshots that stay.
    """

    kept: tuple[KeptSnapshot, ...]
    pruned: tuple[Snapshot, ...]


def decide(
    snapshots: Sequence[Snapshot],
    rules: Rules,
    now_us: int,
    holds: Mapping[SnapshotId, Sequence[str]],
    archived: Collection[SnapshotId] = (),
) -> Decision:
    """Decide which of some snapshots stay.

    Args:
        snapshots: In the order of completion.
        rules: What to keep of each volume.
        now_us: The time; a snapshot from the future must not make others look old.
        holds: What keeps a snapshot from being deleted: images, locks, the archive.
        archived: Those that are in the archive, or on their way: no rule counts them.
    """
    volumes: dict[str, list[Snapshot]] = {}
    for snapshot in snapshots:
        volumes.setdefault(snapshot.volume_id, []).append(snapshot)
    kept: list[KeptSnapshot] = []
    pruned: list[Snapshot] = []
    for members in volumes.values():
        reasons = _reasons(members, rules, now_us, holds, archived)
        for snapshot in members:
            if reasons[snapshot.snapshot_id]:
                why = tuple(reasons[snapshot.snapshot_id])
                kept.append(KeptSnapshot(snapshot=snapshot, reasons=why))
        pruned += [each for each in reversed(members) if not reasons[each.snapshot_id]]
    return Decision(tuple(kept), tuple(pruned))


def _reasons(
    members: Sequence[Snapshot],
    rules: Rules,
    now_us: int,
    holds: Mapping[SnapshotId, Sequence[str]],
    archived: Collection[SnapshotId],
) -> dict[SnapshotId, list[str]]:
    """Return why each snapshot of one volume stays; no reason: it goes."""
    completed = [each for each in members if each.state is SnapshotState.COMPLETED]
    ready = [each for each in completed if each.snapshot_id not in archived]
    youngest_first = sorted(ready, key=lambda each: each.start_time_us)[::-1]
    reasons: dict[SnapshotId, list[str]] = {each.snapshot_id: [] for each in members}
    for name, ids in _matches(youngest_first, rules, now_us).items():
        for snapshot_id in ids:
            reasons[snapshot_id].append(name)
    if youngest_first and not any(reasons.values()):
        reasons[youngest_first[0].snapshot_id].append("youngest of its volume")
    for each in members:
        reasons[each.snapshot_id] += holds.get(each.snapshot_id, ())
        if each.state is SnapshotState.PENDING:
            reasons[each.snapshot_id].append("pending")
        if each.state is SnapshotState.ERROR and not _outlived(each, completed):
            reasons[each.snapshot_id].append("failed, and nothing younger is completed")
    return reasons


def _outlived(failed: Snapshot, completed: Sequence[Snapshot]) -> bool:
    return any(each.start_time_us > failed.start_time_us for each in completed)


def _matches(
    youngest_first: Sequence[Snapshot], rules: Rules, now_us: int
) -> dict[str, list[SnapshotId]]:
    """Return for each rule the snapshots that it keeps."""
    found = {"last": [each.snapshot_id for each in youngest_first[: rules.last]]}
    for name, bucket in BUCKETS.items():
        found[name] = _by_bucket(youngest_first, bucket, rules.counts.get(name, 0))
    if rules.within is not None and youngest_first:
        newest = min(now_us, youngest_first[0].start_time_us)
        limit = before(newest, rules.within)
        found["within"] = [
            each.snapshot_id for each in youngest_first if each.start_time_us >= limit
        ]
    found["tag"] = [each.snapshot_id for each in youngest_first if rules.tags & each.tags.items()]
    return found


def _by_bucket(youngest_first: Sequence[Snapshot], bucket: Bucket, count: int) -> list[SnapshotId]:
    """Return the youngest of each of the last buckets; with counts left, also the oldest of all."""
    found: list[SnapshotId] = []
    last: tuple[int, ...] | None = None
    for each in youngest_first:
        if len(found) == count:
            return found
        here = bucket(_moment(each.start_time_us))
        if here != last:
            found.append(each.snapshot_id)
        last = here
    if youngest_first and len(found) < count and youngest_first[-1].snapshot_id not in found:
        found.append(youngest_first[-1].snapshot_id)
    return found


def _moment(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us // 1_000_000, tz=UTC)
