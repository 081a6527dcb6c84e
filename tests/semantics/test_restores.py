"""Restoring to files: new ones, existing ones, and in place."""

from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import (
    ConflictError,
    EbsimError,
    ErrorCode,
)
from ebsim.testing.contents import NOISE, TAIL, TEXT, ZEROS, palette_block
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE


def test_existing_target_needs_force(store: Store, fast_path: Path) -> None:
    shown = store.create_snapshot(disk_of(TEXT))
    target = fast_path / "out.img"
    target.write_bytes(b"precious")

    with pytest.raises(ConflictError) as caught:
        store.restore_snapshot(shown.snapshot_id, target)
    assert caught.value.code is ErrorCode.TARGET_EXISTS
    assert target.read_bytes() == b"precious"

    store.restore_snapshot(shown.snapshot_id, target, force=True)
    assert target.read_bytes() == TEXT


def test_target_in_a_missing_folder_is_an_error(store: Store, fast_path: Path) -> None:
    shown = store.create_snapshot(disk_of(TEXT))

    with pytest.raises(EbsimError) as caught:
        store.restore_snapshot(shown.snapshot_id, fast_path / "absent" / "out.img")

    assert str(fast_path / "absent") in str(caught.value)


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("in_place", [True, False])
def test_directory_is_no_target(store: Store, fast_path: Path, force: bool, in_place: bool) -> None:
    shown = store.create_snapshot(disk_of(TEXT))
    target = fast_path / "folder"
    target.mkdir()

    with pytest.raises(EbsimError):
        store.restore_snapshot(shown.snapshot_id, target, force=force, in_place=in_place)

    assert list(target.iterdir()) == []


def test_nothing_but_the_target_is_left_in_its_folder(store: Store, fast_path: Path) -> None:
    shown = store.create_snapshot(disk_of(TEXT))
    folder = fast_path / "folder"
    folder.mkdir()

    store.restore_snapshot(shown.snapshot_id, folder / "out.img")
    store.restore_snapshot(shown.snapshot_id, folder / "out.img", force=True)

    assert [entry.name for entry in folder.iterdir()] == ["out.img"]


def test_in_place_writes_only_what_differs(store: Store, fast_path: Path) -> None:
    blocks = [palette_block(number) for number in range(1, 9)]
    shown = store.create_snapshot(disk_of(*blocks, b"end"))
    target = fast_path / "out.img"
    target.write_bytes(b"".join([*blocks[:3], TAIL, *blocks[4:], b"END"]))

    report = store.restore_snapshot(shown.snapshot_id, target, in_place=True)

    assert report.in_place
    assert report.written_bytes == BLOCK_SIZE + 3
    assert target.read_bytes() == b"".join([*blocks, b"end"])


def test_in_place_turns_data_back_into_zeros(store: Store, fast_path: Path) -> None:
    shown = store.create_snapshot(disk_of(TEXT, ZEROS))
    target = fast_path / "out.img"
    target.write_bytes(TEXT + NOISE)

    report = store.restore_snapshot(shown.snapshot_id, target, in_place=True)

    assert report.written_bytes == BLOCK_SIZE
    assert target.read_bytes() == TEXT + ZEROS
