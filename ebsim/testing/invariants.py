"""What must hold of every store at every moment, as functions that any test can call.

Each raises AssertionError with a sentence that names the snapshot, the number that was expected and
the number that was found. They ask the store only what every user can ask it, and they do not use
the `assert` statement, so that they also look when Python runs with `-O`.
"""

from collections import Counter
from collections.abc import Iterable

from ebsim.engine import Store
from ebsim.results import ChargeCause, ChargeEvent, Snapshot, SnapshotState
from ebsim.testing.model import ReferenceModel
from ebsim.units import BLOCK_SIZE, block_count


def assert_store_matches(store: Store, model: ReferenceModel) -> None:
    """Compare all that a store says with the model.

    These are compared: the completed snapshots and their order; of each one the exact size, the
    parent, the full, incremental and charged size, and every block byte for byte; the ledger; and
    the totals. A snapshot in state `error` is not in the model: it must hold nothing.

    Args:
        store: An open store with no snapshot pending; small, since every block is read.
        model: What the store should be, with the store's own snapshot ids.

    Raises:
        AssertionError: They differ.
    """
    listed = store.list_snapshots()
    completed = [shown for shown in listed if shown.state is SnapshotState.COMPLETED]
    _expect(
        [shown.snapshot_id for shown in completed], list(model.snapshots), "completed snapshots"
    )
    for shown in completed:
        assert_snapshot_matches(shown, model)
        assert_contents_match(store, model, shown.snapshot_id)
    for shown in listed:
        if shown.state is not SnapshotState.COMPLETED:
            assert_holds_nothing(shown)
    assert_ledger_matches(store, model)
    assert_totals_match(store, model)


def assert_snapshot_matches(shown: Snapshot, model: ReferenceModel) -> None:
    """Compare one completed snapshot's sizes and parent with the model.

    Raises:
        AssertionError: They differ.
    """
    name = shown.snapshot_id
    expected = model.snapshots[name]
    _expect(shown.size_bytes, expected.size_bytes, f"{name}: exact size")
    _expect(shown.parent_id, expected.parent_id, f"{name}: parent")
    _expect_blocks(shown.full_size_bytes, model.full_blocks(name), f"{name}: full size")
    _expect_blocks(
        shown.incremental_size_bytes, model.incremental_blocks(name), f"{name}: incremental size"
    )
    _expect_blocks(shown.charged_size_bytes, model.charged_blocks(name), f"{name}: charged size")


def assert_contents_match(store: Store, model: ReferenceModel, snapshot_id: str) -> None:
    """Read every block of a snapshot, also the unwritten ones, and compare the bytes.

    Raises:
        AssertionError: A block differs.
    """
    for index in range(block_count(model.snapshots[snapshot_id].size_bytes)):
        found = store.read_block(snapshot_id, index)
        expected = model.content(snapshot_id, index).ljust(BLOCK_SIZE, b"\0")
        if found != expected:
            how = _difference(expected, found)
            raise AssertionError(f"{snapshot_id}: block {index} is not what it was: {how}")


def assert_holds_nothing(shown: Snapshot) -> None:
    """Look that a snapshot in state `error` says why, and is charged and holds nothing.

    Raises:
        AssertionError: It is in another state, says nothing, or holds something.
    """
    name = shown.snapshot_id
    _expect(shown.state, SnapshotState.ERROR, f"{name}: state")
    _expect(shown.state_message != "", True, f"{name}: says why it failed")
    _expect_blocks(shown.charged_size_bytes, 0, f"{name}: charged size")
    _expect_blocks(shown.full_size_bytes, 0, f"{name}: full size")
    _expect_blocks(shown.incremental_size_bytes, 0, f"{name}: incremental size")


def assert_ledger_matches(store: Store, model: ReferenceModel) -> None:
    """Compare the running sums of the ledger with the charges.

    Of each snapshot that ever was, the blocks of its events add up to what it is charged now, which
    is nothing once it is deleted. Each move has its two sides in one commit.

    Raises:
        AssertionError: They differ.
    """
    events = store.ledger()
    sequences = [event.sequence for event in events]
    _expect(sequences, sorted(sequences), "ledger: order of commits")
    for event in events:
        _assert_sign(event)
    sums = _sums(events)
    for name in sums.keys() | model.snapshots.keys():
        charged = model.charged_blocks(name) if name in model.snapshots else 0
        _expect(sums.get(name, 0), charged, f"{name}: sum of its ledger, in blocks")
        own = [event for event in events if event.snapshot_id == name]
        _expect(store.snapshot_history(name), own, f"{name}: history, beside the ledger")
    _assert_moves_balance(events)


def assert_totals_match(store: Store, model: ReferenceModel) -> None:
    """Compare the totals of the store with the model.

    The total charged is the number of distinct live versions. Each distinct content but zeros is
    stored once.

    Raises:
        AssertionError: They differ.
    """
    stats = store.stats()
    _expect(stats.snapshots, len(store.list_snapshots()), "stats: snapshots")
    _expect_blocks(stats.charged_size_bytes, len(model.live_versions()), "stats: charged size")
    full = sum(model.full_blocks(name) for name in model.snapshots)
    _expect_blocks(stats.full_size_bytes, full, "stats: full size")
    _expect(stats.blocks, len(model.stored_contents()), "stats: distinct stored blocks")


def assert_healthy(store: Store, *, orphan_bytes_max: int | None = None) -> None:
    """Read and prove every stored byte.

    Args:
        store: An open store with no snapshot pending.
        orphan_bytes_max: How many bytes nobody may refer to; None: any number.

    Raises:
        AssertionError: Something was found, or there are more orphan bytes.
    """
    report = store.check(data=True)
    _expect(report.level, "data", "check: level")
    findings = [f"{finding.kind}: {finding.message}" for finding in report.findings]
    _expect(findings, [], "check: findings")
    _expect(report.healthy, True, "check: healthy")
    if orphan_bytes_max is not None and report.orphan_bytes > orphan_bytes_max:
        raise AssertionError(
            f"check: {report.orphan_bytes} orphan bytes, at most {orphan_bytes_max} expected"
        )


def _sums(events: Iterable[ChargeEvent]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for event in events:
        sums[event.snapshot_id] = sums.get(event.snapshot_id, 0) + event.blocks
    return sums


def _assert_sign(event: ChargeEvent) -> None:
    gains = event.cause in (ChargeCause.CREATED, ChargeCause.MOVED_IN)
    moves = event.cause in (ChargeCause.MOVED_IN, ChargeCause.MOVED_OUT)
    _expect(event.blocks >= 0 if gains else event.blocks <= 0, True, f"ledger: sign of {event}")
    _expect(event.other_id is not None, moves, f"ledger: other side of {event}")


def _assert_moves_balance(events: Iterable[ChargeEvent]) -> None:
    given: Counter[tuple[int, str, str | None, int]] = Counter()
    taken: Counter[tuple[int, str | None, str, int]] = Counter()
    for event in events:
        if event.cause is ChargeCause.MOVED_OUT:
            given[event.sequence, event.snapshot_id, event.other_id, -event.blocks] += 1
        if event.cause is ChargeCause.MOVED_IN:
            taken[event.sequence, event.other_id, event.snapshot_id, event.blocks] += 1
    _expect(dict(given), dict(taken), "ledger: moves (commit, from, to, blocks)")


def _difference(expected: bytes, found: bytes) -> str:
    if len(expected) != len(found):
        return f"{len(found)} bytes instead of {len(expected)}"
    first = next(
        i for i, pair in enumerate(zip(expected, found, strict=True)) if pair[0] != pair[1]
    )
    return f"first at byte {first}, {found[first]} instead of {expected[first]}"


def _expect_blocks(size_bytes: int, blocks: int, what: str) -> None:
    _expect(size_bytes, blocks * BLOCK_SIZE, f"{what}, in bytes ({blocks} blocks expected)")


def _expect(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}")
