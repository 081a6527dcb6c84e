"""A volume is one file: where the file system has no file so large, there is no such volume."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import InvalidInputError
from ebsim.requests import VolumeModificationRequest, VolumeRequest
from ebsim.storage.failures import write_failure
from ebsim.testing.devices import missing
from ebsim.units import MIB

LARGEST = 65536


@pytest.mark.root
@pytest.mark.skipif(missing("mkfs.ext4") != "", reason=missing("mkfs.ext4") or "-")
def test_volume_that_the_file_system_cannot_hold_is_refused(fast_path: Path, seams: Seams) -> None:
    image, mount_point = fast_path / "disk.img", fast_path / "mnt"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    mount_point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount_point], check=True)
    try:
        with Store.create(mount_point / "store", seams) as store:
            create = store.volumes.create
            with pytest.raises(InvalidInputError, match="cannot hold a file of 65536 GiB"):
                create(VolumeRequest(size_gib=LARGEST, volume_type="gp3"))
            volume = create(VolumeRequest(size_gib=16000, volume_type="gp3")).volume_id
            with pytest.raises(InvalidInputError, match="cannot hold"):
                store.volumes.modify(volume, VolumeModificationRequest(size_gib=LARGEST))
            assert [each.volume_id for each in store.volumes.list()] == [volume]
            assert not list(store.path.glob(".probe*"))
            with store.volumes.open(volume) as opened:
                opened.pwrite(b"x", opened.size - 1)
    finally:
        subprocess.run(["umount", mount_point], check=True)


def test_write_beyond_the_largest_file_does_not_speak_of_space() -> None:
    error = write_failure(OSError(errno.EFBIG, os.strerror(errno.EFBIG)), Path("/x"))
    assert "delete snapshots" not in str(error)
    assert "no file can be as large" in str(error)


def test_largest_volume_is_made_where_it_fits(store_path: Path, seams: Seams) -> None:
    """tmpfs has files as large as addresses are."""
    with Store.create(store_path, seams) as store:
        store.volumes.create(VolumeRequest(size_gib=LARGEST, volume_type="gp3"))
