"""What a snapshot says about itself and its past, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import (
    EbsimError,
    ErrorCode,
    InvalidInputError,
    NotFoundError,
)
from ebsim.results import ChargeCause, SnapshotState
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import START_US, ManualClock
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE, KIB

Operation = Callable[[], object]

PAGE_SIZE = 4 * KIB

MAP_BYTES_MAX = 16 * KIB
"""What a small snapshot may cost without its blocks (docs/architecture.md)."""


def test_fields_of_a_snapshot(store: Store, clock: ManualClock) -> None:
    clock.advance(5)
    options = SnapshotOptions(description="nightly", tags={"Name": "web1", "empty": ""})

    shown = store.create_snapshot(disk_of(NOISE, name="memory:web1"), options)

    assert shown.state is SnapshotState.COMPLETED
    assert shown.state_message == ""
    assert shown.progress_percent == 100
    assert shown.start_time_us == shown.completion_time_us == START_US + 5_000_000
    assert shown.description == "nightly"
    assert dict(shown.tags) == {"Name": "web1", "empty": ""}
    assert shown.source == "memory:web1"
    assert store.get_snapshot(shown.snapshot_id) == shown
    assert store.list_snapshots() == [shown]


def test_fields_survive_reopening(store_path: Path) -> None:
    options = SnapshotOptions(description="größer \U0001f4be", tags={"Ключ": "значение"})
    with Store.create(store_path) as store:
        shown = store.create_snapshot(disk_of(NOISE), options)

    with Store.open(store_path) as store:
        assert store.list_snapshots() == [shown]


def test_order_is_that_of_completion_whatever_the_clock_says(
    store: Store, clock: ManualClock
) -> None:
    """F41: the clock jumps ten years back; the oldest snapshot still bears the charge."""
    disk = disk_of(NOISE)
    first = store.create_snapshot(disk)
    clock.advance(-10 * 365 * 86_400)
    second = store.create_snapshot(disk)

    assert [shown.snapshot_id for shown in store.list_snapshots()] == [
        first.snapshot_id,
        second.snapshot_id,
    ]
    charged = [
        store.get_snapshot(shown.snapshot_id).charged_size_bytes for shown in (first, second)
    ]
    assert charged == [BLOCK_SIZE, 0]


def test_limits_of_description_and_tags_are_inclusive(store: Store) -> None:
    """255 characters; 50 tags; keys of 128 and values of 256 characters, counted as Unicode."""
    tags = {f"{number:02}".ljust(128, "ü"): "€" * 256 for number in range(50)}

    shown = store.create_snapshot(disk_of(NOISE), SnapshotOptions(description="ß" * 255, tags=tags))

    assert shown.description == "ß" * 255
    assert dict(shown.tags) == tags


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (SnapshotOptions(description="d" * 256), ErrorCode.INVALID_PARAMETER_VALUE),
        (
            SnapshotOptions(tags={str(number): "" for number in range(51)}),
            ErrorCode.TAG_LIMIT_EXCEEDED,
        ),
        (SnapshotOptions(tags={"k" * 129: ""}), ErrorCode.INVALID_PARAMETER_VALUE),
        (SnapshotOptions(tags={"k": "v" * 257}), ErrorCode.INVALID_PARAMETER_VALUE),
        (SnapshotOptions(tags={"": "v"}), ErrorCode.INVALID_TAG_KEY_MALFORMED),
        (SnapshotOptions(tags={"aws:mine": "v"}), ErrorCode.INVALID_TAG_KEY_MALFORMED),
    ],
    ids=["description", "tags", "key", "value", "empty key", "reserved key"],
)
def test_beyond_the_limits_nothing_is_created(
    store: Store, options: SnapshotOptions, code: ErrorCode
) -> None:
    with pytest.raises(EbsimError) as caught:
        store.create_snapshot(disk_of(NOISE), options)

    assert caught.value.code is code
    assert store.list_snapshots() == []
    assert store.stats().blocks == 0


def test_history_tells_creation_move_and_freeing(store: Store, clock: ManualClock) -> None:
    disk = disk_of(NOISE, TEXT, HEAD)
    first = store.create_snapshot(disk)
    disk.put(0, TAIL)
    clock.advance(60)
    second = store.create_snapshot(disk)
    clock.advance(60)
    store.delete_snapshots([first.snapshot_id])

    def told(snapshot_id: str) -> list[tuple[ChargeCause, int, str | None, int]]:
        return [
            (event.cause, event.blocks, event.other_id, (event.time_us - START_US) // 1_000_000)
            for event in store.snapshot_history(snapshot_id)
        ]

    assert sorted(told(first.snapshot_id)) == [
        (ChargeCause.CREATED, 3, None, 0),
        (ChargeCause.FREED, -1, None, 120),
        (ChargeCause.MOVED_OUT, -2, second.snapshot_id, 120),
    ]
    assert told(second.snapshot_id) == [
        (ChargeCause.CREATED, 1, None, 60),
        (ChargeCause.MOVED_IN, 2, first.snapshot_id, 120),
    ]


# Reading


@pytest.mark.parametrize("index", [-1, 2, 1 << 40])
def test_block_outside_the_volume_is_refused(store: Store, index: int) -> None:
    shown = store.create_snapshot(disk_of(NOISE, b"end"))

    with pytest.raises(InvalidInputError):
        store.read_block(shown.snapshot_id, index)


@pytest.mark.parametrize(
    ("snapshot_id", "kind", "code"),
    [
        ("snap-00000000000000000", NotFoundError, ErrorCode.INVALID_SNAPSHOT_NOT_FOUND),
        ("snap-../../etc/passwd", InvalidInputError, ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED),
        ("snap-0000000000000000\N{ARABIC-INDIC DIGIT ONE}", InvalidInputError, None),
        ("snap-" + "0" * 17 + "\n", InvalidInputError, None),
        ("nonsense", InvalidInputError, ErrorCode.INVALID_PARAMETER_VALUE),
        ("", InvalidInputError, ErrorCode.INVALID_PARAMETER_VALUE),
    ],
    ids=["unknown", "path", "digit", "newline", "prefix", "empty"],
)
def test_snapshot_that_is_unknown_is_refused(
    store: Store, fast_path: Path, snapshot_id: str, kind: type[EbsimError], code: ErrorCode | None
) -> None:
    known = store.create_snapshot(disk_of(NOISE)).snapshot_id
    operations: list[Operation] = [
        lambda: store.get_snapshot(snapshot_id),
        lambda: store.restore_snapshot(snapshot_id, fast_path / "out.img"),
        lambda: store.delete_snapshots([snapshot_id]),
        lambda: store.delete_snapshots([known, snapshot_id]),
        lambda: store.delete_snapshots([snapshot_id], dry_run=True),
        lambda: store.diff_snapshots(known, snapshot_id),
        lambda: store.diff_snapshots(snapshot_id, known),
        lambda: store.read_block(snapshot_id, 0),
        lambda: store.snapshot_history(snapshot_id),
    ]

    for operation in operations:
        with pytest.raises(kind) as caught:
            operation()
        assert code is None or caught.value.code is code
    assert not (fast_path / "out.img").exists()
    assert [shown.snapshot_id for shown in store.list_snapshots()] == [known]


# Deleting


def test_space_of_deleted_blocks_returns_to_the_file_system(store: Store) -> None:
    """What is reported as reclaimed is what the segment files lose.

    The deletion itself is remembered in a segment too, in a record of one page.
    """
    disk = disk_of(*(noise_block(number) for number in range(8)))
    first = store.create_snapshot(disk)
    for index in range(4):
        disk.put(index, noise_block(index + 10))
    store.create_snapshot(disk)
    before = store.stats()

    (report,) = store.delete_snapshots([first.snapshot_id]).deleted

    after = store.stats()
    assert report.freed_size_bytes == 4 * BLOCK_SIZE
    lost = before.stored_size_bytes - after.stored_size_bytes
    assert lost == report.reclaimed_bytes - PAGE_SIZE
    assert 3 * BLOCK_SIZE < report.reclaimed_bytes <= 4 * (BLOCK_SIZE + PAGE_SIZE) + MAP_BYTES_MAX
    assert_healthy(store)


def test_block_that_others_store_too_frees_a_charge_and_no_space(store: Store) -> None:
    one = store.create_snapshot(disk_of(NOISE, name="memory:one"))
    store.create_snapshot(disk_of(NOISE, name="memory:two"))

    (report,) = store.delete_snapshots([one.snapshot_id]).deleted

    assert report.freed_size_bytes == BLOCK_SIZE
    assert report.reclaimed_bytes <= MAP_BYTES_MAX


def test_deleted_id_is_unknown_and_has_a_history(store: Store) -> None:
    shown = store.create_snapshot(disk_of(NOISE))
    store.delete_snapshots([shown.snapshot_id])

    with pytest.raises(NotFoundError):
        store.get_snapshot(shown.snapshot_id)
    assert [event.blocks for event in store.snapshot_history(shown.snapshot_id)] == [1, -1]
