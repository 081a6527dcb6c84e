"""A store on a read-only file system (F18): reading works, writing is refused in one sentence."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebsim import Store
from ebsim.errors import StoreError
from ebsim.requests import VolumeRequest
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE, GIB

pytestmark = pytest.mark.root("mount")

CONTENT = b"kept" * 100_000


@pytest.fixture
def file_system(tmp_path: Path) -> Iterator[Path]:
    """Mount a small file system of its own."""
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_read_only_store_can_be_read_and_not_written(file_system: Path, tmp_path: Path) -> None:
    source = MemorySource("memory:web", bytearray(CONTENT))
    with Store.create(file_system / "store") as store:
        kept = store.create_snapshot(source).snapshot_id
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    subprocess.run(["mount", "-o", "remount,ro", file_system], check=True)

    with Store.open(file_system / "store") as store:
        assert [shown.snapshot_id for shown in store.list_snapshots()] == [kept]
        assert store.read_block(kept, 0) == CONTENT.ljust(BLOCK_SIZE, b"\0")
        store.restore_snapshot(kept, tmp_path / "restored.img")
        assert store.check(data=True).healthy
        with pytest.raises(StoreError, match="is read-only"):
            store.create_snapshot(source)
        with pytest.raises(StoreError, match=r"is read-only|open it again"):
            store.delete_snapshots([kept])
        assert store.volumes.get(volume).size_bytes == GIB
        with pytest.raises(StoreError, match="read-only file system, and opening a volume writes"):
            store.volumes.open(volume)

    assert (tmp_path / "restored.img").read_bytes() == CONTENT
