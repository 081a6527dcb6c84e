"""Loading by turns: where a rate is kept, others can use the volume between two turns."""

import threading

import pytest

from ebsim.engine import Store
from ebsim.errors import ConflictError, ErrorCode
from ebsim.ids import VolumeId
from ebsim.progress import SilentProgress
from ebsim.requests import VolumeRequest
from ebsim.testing.contents import noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.memory_store import MemoryStore
from ebsim.units import BLOCK_SIZE
from ebsim.volumes import loading
from ebsim.volumes.loading import Pace, load_all
from ebsim.volumes.registry import LiveVolumes

BLOCKS = 5


def made_from_a_snapshot(store: Store) -> VolumeId:
    """Return a volume made from a snapshot of five blocks."""
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with store.volumes.open(volume) as file:
        for block in range(BLOCKS):
            file.pwrite(noise_block(block), block * BLOCK_SIZE)
    snapshot = store.create_snapshot(volume).snapshot_id
    store.wait_snapshots([snapshot])
    return store.volumes.create(VolumeRequest(snapshot_id=snapshot)).volume_id


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "BLOCKS_BETWEEN_FLUSHES", 2)


@pytest.mark.usefixtures("short_turns")
def test_another_process_uses_the_volume_between_turns(disk: MemoryStore) -> None:
    with disk.open() as loader, disk.open() as other:
        volume = made_from_a_snapshot(loader)
        seen: list[bool] = []

        def meanwhile(_seconds: float) -> None:
            with other.volumes.open(volume) as file:
                block = BLOCKS - 1 - len(seen)
                seen.append(file.pread(BLOCK_SIZE, block * BLOCK_SIZE) == noise_block(block))
                file.pwrite(b"mine", 0)

        context = loader._context
        pace = Pace(1, meanwhile, lambda: 0.0)
        assert load_all(context, LiveVolumes(context), volume, pace, SilentProgress())

        assert seen == [True, True], "after each turn but the last"
        assert other.volumes.get(volume).initialization_percent == 100
        with other.volumes.open(volume) as file:
            assert file.pread(BLOCK_SIZE, 0) == b"mine" + noise_block(0)[4:]
            for block in range(1, BLOCKS):
                assert file.pread(BLOCK_SIZE, block * BLOCK_SIZE) == noise_block(block)
        assert_healthy(other)


def test_a_rate_leaves_time_to_wait_for_another_process(disk: MemoryStore) -> None:
    with disk.open() as loader, disk.open() as other:
        volume = made_from_a_snapshot(loader)
        file = other.volumes.open(volume)
        context = loader._context
        volumes = LiveVolumes(context, pause=lambda _seconds: None)
        with pytest.raises(ConflictError) as caught:
            load_all(context, volumes, volume, Pace(0, lambda _seconds: None), SilentProgress())
        assert caught.value.code is ErrorCode.UNAVAILABLE

        pace = Pace(100, lambda _seconds: file.close(), lambda: 0.0)
        assert load_all(context, volumes, volume, pace, SilentProgress())
        assert other.volumes.get(volume).initialization_percent == 100


def test_waiting_for_another_process_can_be_broken_off(disk: MemoryStore) -> None:
    with disk.open() as loader, disk.open() as other:
        volume = made_from_a_snapshot(loader)
        stopped = threading.Event()
        context = loader._context
        volumes = LiveVolumes(context, pause=lambda _seconds: None)
        with other.volumes.open(volume):
            pace = Pace(100, lambda _seconds: stopped.set(), lambda: 0.0)
            assert not load_all(context, volumes, volume, pace, SilentProgress(), stopped)
        assert other.volumes.get(volume).initialization_percent < 100
