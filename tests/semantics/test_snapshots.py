"""What a snapshot of a scanned source holds, what it is charged, and what is stored for it.

The sources are in memory where the source does not matter, and real files where paths do.
"""

from pathlib import Path

import pytest

from ebsim.config import Compression, SnapshotOptions
from ebsim.engine import Store
from ebsim.results import Snapshot
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, ZEROS, palette_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.testing.strategies import EXACT_SIZES
from ebsim.units import BLOCK_SIZE, KIB

MAP_BYTES_MAX = 16 * KIB
"""What a snapshot that changed little may cost without its blocks (docs/architecture.md)."""


def charged_blocks(store: Store, shown: Snapshot) -> int:
    return store.get_snapshot(shown.snapshot_id).charged_size_bytes // BLOCK_SIZE


def image_of(store: Store, shown: Snapshot, folder: Path) -> bytes:
    target = folder / "image"
    store.restore_snapshot(shown.snapshot_id, target, force=True)
    return target.read_bytes()


# What is stored, and what is charged


def test_unchanged_source_adds_nothing_but_its_map(store: Store) -> None:
    disk = disk_of(NOISE, TEXT, ZEROS)
    first = store.create_snapshot(disk)
    before = store.stats()

    second = store.create_snapshot(disk)

    after = store.stats()
    assert second.parent_id == first.snapshot_id
    assert second.incremental_size_bytes == second.charged_size_bytes == 0
    assert second.full_size_bytes == first.full_size_bytes == 2 * BLOCK_SIZE
    assert after.charged_size_bytes == before.charged_size_bytes
    assert after.blocks == before.blocks
    assert after.live_size_bytes - before.live_size_bytes <= MAP_BYTES_MAX
    assert after.stored_size_bytes - before.stored_size_bytes <= MAP_BYTES_MAX


def test_changed_block_alone_is_charged_and_stored(store: Store) -> None:
    disk = disk_of(NOISE, TEXT, HEAD)
    store.create_snapshot(disk)
    blocks = store.stats().blocks
    disk.put(1, TAIL)

    second = store.create_snapshot(disk)

    assert second.incremental_size_bytes == second.charged_size_bytes == BLOCK_SIZE
    assert store.stats().blocks == blocks + 1


def test_equal_blocks_of_one_volume_are_stored_once_and_charged_each(store: Store) -> None:
    shown = store.create_snapshot(disk_of(NOISE, NOISE, TEXT, NOISE))

    assert shown.charged_size_bytes == 4 * BLOCK_SIZE
    assert store.stats().blocks == 2
    assert store.stats().live_size_bytes < 2 * BLOCK_SIZE


def test_equal_blocks_of_two_volumes_are_stored_once_and_charged_each(store: Store) -> None:
    store.create_snapshot(disk_of(NOISE, TEXT, name="memory:one"))
    before = store.stats()

    other = store.create_snapshot(disk_of(TEXT, NOISE, NOISE, name="memory:two"))

    after = store.stats()
    assert other.parent_id is None
    assert other.charged_size_bytes == 3 * BLOCK_SIZE
    assert after.charged_size_bytes == 5 * BLOCK_SIZE
    assert after.blocks == before.blocks
    assert after.live_size_bytes - before.live_size_bytes <= MAP_BYTES_MAX
    assert after.stored_size_bytes - before.stored_size_bytes <= MAP_BYTES_MAX


def test_block_stored_for_two_volumes_outlives_one_of_them(store: Store, fast_path: Path) -> None:
    one = store.create_snapshot(disk_of(NOISE, TEXT, name="memory:one"))
    two = store.create_snapshot(disk_of(NOISE, HEAD, name="memory:two"))

    store.delete_snapshots([one.snapshot_id])

    assert image_of(store, two, fast_path) == NOISE + HEAD
    assert store.stats().blocks == 2
    assert_healthy(store)


def test_zeros_that_replace_data_are_charged_and_stored_nowhere(
    store: Store, fast_path: Path
) -> None:
    disk = disk_of(NOISE, TEXT)
    store.create_snapshot(disk)
    before = store.stats()
    disk.put(0, ZEROS)

    second = store.create_snapshot(disk)

    after = store.stats()
    assert second.incremental_size_bytes == BLOCK_SIZE
    assert second.full_size_bytes == 2 * BLOCK_SIZE
    assert after.blocks == before.blocks
    assert after.live_size_bytes - before.live_size_bytes <= MAP_BYTES_MAX
    assert image_of(store, second, fast_path) == ZEROS + TEXT


def test_zeros_that_stay_are_charged_once(store: Store) -> None:
    disk = disk_of(NOISE)
    store.create_snapshot(disk)
    disk.put(0, ZEROS)
    zeros = store.create_snapshot(disk)

    again = store.create_snapshot(disk)

    assert charged_blocks(store, zeros) == 1
    assert charged_blocks(store, again) == 0
    assert again.full_size_bytes == BLOCK_SIZE


@pytest.mark.parametrize("report_holes", [True, False])
def test_what_was_never_data_is_not_charged(store: Store, report_holes: bool) -> None:
    disk = MemorySource("memory:disk", 6 * BLOCK_SIZE, report_holes=report_holes)
    disk.put(1, TEXT)
    disk.put(4, ZEROS)

    shown = store.create_snapshot(disk)

    assert shown.full_size_bytes == shown.charged_size_bytes == BLOCK_SIZE
    assert store.read_block(shown.snapshot_id, 0) == ZEROS
    assert store.read_block(shown.snapshot_id, 1) == TEXT


def test_hole_that_replaces_data_is_a_change(store: Store, fast_path: Path) -> None:
    """A file whose range was punched out reads as zeros, so its snapshot must too."""
    path = fast_path / "disk.img"
    path.write_bytes(NOISE + TEXT)
    store.create_snapshot(path)
    with path.open("r+b") as file:
        file.truncate(BLOCK_SIZE)
        file.truncate(2 * BLOCK_SIZE)

    second = store.create_snapshot(path)

    assert second.incremental_size_bytes == BLOCK_SIZE
    assert second.full_size_bytes == 2 * BLOCK_SIZE
    assert image_of(store, second, fast_path) == NOISE + ZEROS


def test_content_that_returns_is_charged_again_and_stored_once(store: Store) -> None:
    disk = disk_of(NOISE)
    shown = []
    for block in (NOISE, TEXT, NOISE):
        disk.put(0, block)
        shown.append(store.create_snapshot(disk))

    assert [charged_blocks(store, each) for each in shown] == [1, 1, 1]
    assert store.stats().blocks == 2
    assert store.diff_snapshots(shown[0].snapshot_id, shown[2].snapshot_id).ranges == ()


def test_later_writes_do_not_reach_a_snapshot(store: Store, fast_path: Path) -> None:
    disk = disk_of(NOISE, TEXT)
    shown = store.create_snapshot(disk)

    disk.put(0, HEAD)

    assert image_of(store, shown, fast_path) == NOISE + TEXT


@pytest.mark.parametrize("text", ["none", "zstd", "zstd:3", "zstd:19"])
def test_compression_changes_stored_bytes_and_no_content(
    store: Store, fast_path: Path, text: str
) -> None:
    options = SnapshotOptions(compression=Compression.parse(text))

    shown = store.create_snapshot(disk_of(NOISE, TEXT, HEAD, TAIL), options)

    assert image_of(store, shown, fast_path) == NOISE + TEXT + HEAD + TAIL
    assert shown.charged_size_bytes == 4 * BLOCK_SIZE
    live_blocks = store.stats().live_size_bytes / BLOCK_SIZE
    assert 4 < live_blocks < 4.1 if text == "none" else 1 < live_blocks < 1.1


# Sizes


@pytest.mark.parametrize("size_bytes", [*EXACT_SIZES, 999_999, 4_194_301])
def test_restored_image_has_the_exact_size_and_bytes(
    store: Store, fast_path: Path, size_bytes: int
) -> None:
    path = fast_path / "disk.img"
    content = (NOISE + TEXT + NOISE[::-1]).ljust(size_bytes, b"\xa5")[:size_bytes]
    path.write_bytes(content)

    shown = store.create_snapshot(path)

    assert shown.size_bytes == size_bytes
    assert image_of(store, shown, fast_path) == content


def test_last_partial_block_reads_padded_with_zeros(store: Store) -> None:
    shown = store.create_snapshot(disk_of(TEXT, b"end"))

    assert store.read_block(shown.snapshot_id, 1) == b"end".ljust(BLOCK_SIZE, b"\0")


def test_last_partial_block_is_charged_whole(store: Store) -> None:
    shown = store.create_snapshot(disk_of(TEXT, b"end"))

    assert shown.full_size_bytes == shown.charged_size_bytes == 2 * BLOCK_SIZE
    assert shown.size_bytes == BLOCK_SIZE + 3


def test_restored_file_is_sparse(store: Store, fast_path: Path) -> None:
    disk = MemorySource("memory:disk", 64 * BLOCK_SIZE, report_holes=True)
    disk.put(40, NOISE)
    shown = store.create_snapshot(disk)
    target = fast_path / "out.img"

    report = store.restore_snapshot(shown.snapshot_id, target)

    assert target.stat().st_size == report.size_bytes == 64 * BLOCK_SIZE
    assert report.written_bytes == BLOCK_SIZE
    assert target.stat().st_blocks * 512 <= 2 * BLOCK_SIZE


# Two blocks with one XXH3


def colliding_blocks() -> tuple[bytes, bytes]:
    """Return two different blocks whose XXH3-64 and XXH3-128 are equal.

    In one lane of a stripe the low 32 bits of the data are those of the public secret, so their
    product is 0 whatever the high bits are, and only the sum of the lane over the stripes counts:
    what is taken from one stripe's high bits is given to the next one's.
    """
    secret = bytes.fromhex("b8fe6c3923a44bbe7c01812c")  # the first 12 of XXH3's 192 public bytes
    block = bytearray(palette_block(4))
    other = bytearray(block)
    for copy, first, second in ((block, 1000, 2000), (other, 1000 + 7, 2000 - 7)):
        copy[0:4], copy[4:8] = secret[0:4], first.to_bytes(4, "little")
        copy[64:68], copy[68:72] = secret[8:12], second.to_bytes(4, "little")
    return bytes(block), bytes(other)


def test_blocks_with_equal_xxh3_are_two_blocks(store: Store, fast_path: Path) -> None:
    """F45: xxhash is never a block's identity."""
    xxhash = pytest.importorskip("xxhash")
    block, other = colliding_blocks()
    assert block != other
    assert xxhash.xxh3_64_digest(block) == xxhash.xxh3_64_digest(other)
    assert xxhash.xxh3_128_digest(block) == xxhash.xxh3_128_digest(other)

    shown = store.create_snapshot(disk_of(block, other))

    assert image_of(store, shown, fast_path) == block + other
    assert store.stats().blocks == 2


def test_block_that_changes_into_one_with_equal_xxh3_is_a_change(
    store: Store, fast_path: Path
) -> None:
    block, other = colliding_blocks()
    disk = disk_of(block)
    first = store.create_snapshot(disk)
    disk.put(0, other)

    second = store.create_snapshot(disk)

    assert second.incremental_size_bytes == BLOCK_SIZE
    assert store.diff_snapshots(first.snapshot_id, second.snapshot_id).ranges == ((0, 1),)
    assert image_of(store, second, fast_path) == other
