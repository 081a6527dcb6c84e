"""A block that a dead process had loaded or written, and that the disk never got.

After a failed sync the kernel may remember such a block as clean, and forget it (F-cases of failed
syncs). Found by the campaign failed-syncs: it was taken for loaded, and read as zeros.
"""

import os
import signal
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.requests import VolumeRequest
from ebsim.storage.files import PosixFiles
from ebsim.testing.contents import TEXT, noise_block
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE


def write_and_die(path: Path, volume: str) -> None:
    """Have a process write to a block that it must load first, and be killed."""
    child = os.fork()
    if not child:
        store = Store.open(path)
        file = store.volumes.open(volume)
        file.pwrite(b"never synced", BLOCK_SIZE + 100)
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("lost", [BLOCK_SIZE, 4096], ids=["whole", "a page"])
def test_block_that_is_lost_is_loaded_again(tmp_path: Path, lost: int) -> None:
    image = (noise_block(1), TEXT, noise_block(2))
    with Store.open(tmp_path / "store", create=True) as store:
        snapshot = store.create_snapshot(disk_of(*image)).snapshot_id
        volume = store.volumes.create(VolumeRequest(snapshot_id=snapshot)).volume_id
        with store.volumes.open(volume) as file:
            file.pwrite(b"durable", 2 * BLOCK_SIZE)
    write_and_die(tmp_path / "store", volume)
    data = PosixFiles().open(tmp_path / "store" / "volumes" / f"{volume}.data", writable=True)
    assert data.punch(BLOCK_SIZE, lost)
    data.close()

    with Store.open(tmp_path / "store") as store, store.volumes.open(volume) as file:
        assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == TEXT
        assert file.pread(BLOCK_SIZE, 0) == image[0]
        kept = b"durable" + image[2][len(b"durable") :]
        assert file.pread(BLOCK_SIZE, 2 * BLOCK_SIZE) == kept
