"""A volume that is loaded to its end while others use it."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ebsim.engine import Seams, Store
from ebsim.progress import SilentProgress
from ebsim.requests import VolumeRequest
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.observed_files import ObservedFiles
from ebsim.units import BLOCK_SIZE

FLUSHER = "flusher"
SOON_S = 0.3
PATIENCE_S = 120


class AtTheEnd(SilentProgress):
    """Does something when the only block is loaded, and before the origin is let go of."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def advance(self, done_bytes: int) -> None:
        assert done_bytes == BLOCK_SIZE
        self._action()


def test_flush_that_ends_after_loading_leaves_nothing_behind(
    store_path: Path, seams: Seams
) -> None:
    """What became local is no news any more once the volume is no longer loaded."""
    flushing, loaded = threading.Event(), threading.Event()

    def before(what: str, path: Path) -> None:
        if what == "sync" and path.suffix == ".data" and threading.current_thread().name == FLUSHER:
            flushing.set()
            loaded.wait(SOON_S)

    with Store.create(
        store_path, replace(seams, files=ObservedFiles(seams.files, before))
    ) as store:
        volume_id = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(volume_id) as file:
            file.pwrite(NOISE, 0)
        snapshot_id = store.create_snapshot(volume_id).snapshot_id
        store.wait_snapshots([snapshot_id])
        made = store.volumes.create(VolumeRequest(snapshot_id=snapshot_id))
        with store.volumes.open(made.volume_id) as file:
            flusher = threading.Thread(target=file.flush, name=FLUSHER)

            def write_and_flush() -> None:
                file.pwrite(TEXT, BLOCK_SIZE)
                flusher.start()
                assert flushing.wait(PATIENCE_S)

            store.volumes.initialize(made.volume_id, progress=AtTheEnd(write_and_flush))
            loaded.set()
            flusher.join(PATIENCE_S)
            assert file.pread(len(NOISE), 0) == NOISE
            assert file.pread(len(TEXT), BLOCK_SIZE) == TEXT
        assert_healthy(store)
        assert store.volumes.get(made.volume_id).initialization_percent == 100
