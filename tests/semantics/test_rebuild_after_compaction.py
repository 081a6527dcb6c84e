"""A catalog is made again from compacted segments, also where a compaction was broken off."""

import shutil
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.model import ReferenceModel
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

WEB = "memory:web"
NIGHTS = ((4, 8, 12), (4, 16, 12), (20, 16, 12), (20, 16, 24))


@pytest.mark.parametrize("old_files_are_back", [False, True])
def test_nothing_is_lost_and_what_was_deleted_stays_deleted(
    store_path: Path, fast_path: Path, old_files_are_back: bool
) -> None:
    """Segments that a compaction has not removed yet say the same as the new one."""
    model = ReferenceModel()
    model.add_volume(WEB, len(NIGHTS[0]) * BLOCK_SIZE)
    seams = Seams(clock=ManualClock(), entropy=SeededEntropy())
    ids = []
    for blocks in NIGHTS:
        source = disk_of(*(palette_block(number) for number in blocks), name=WEB)
        with Store.open(store_path, seams, create=True) as store:
            ids.append(store.create_snapshot(source).snapshot_id)
        for index, number in enumerate(blocks):
            model.write(WEB, index, palette_block(number))
        model.snapshot(WEB, ids[-1])
    with Store.open(store_path, seams) as store:
        store.delete_snapshots(ids[:2])
    model.delete(ids[:2])
    shutil.copytree(store_path / "segments", fast_path / "old")
    with Store.open(store_path, seams) as store:
        assert store.compact().compacted
        told = store.list_snapshots()
    if old_files_are_back:
        shutil.copytree(fast_path / "old", store_path / "segments", dirs_exist_ok=True)
    shutil.rmtree(store_path / "catalog")

    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as store:
        assert store.list_snapshots() == told
        assert_store_matches(store, model)
        assert_healthy(store)
        store.compact()
        assert_store_matches(store, model)
