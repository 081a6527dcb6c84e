"""Which file system a path lies on, and what that one lies on."""

import os
from pathlib import Path

import pytest

from ebsim.storage import mounts
from ebsim.testing import devices

TABLE = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
43 27 0:39 /sub /mnt/with\040space rw,noatime shared:1 master:2 - btrfs /dev/loop0 rw,subvol=/sub
44 27 8:1 / /mnt/back\134slash rw - ext4 /dev/disk\0401 rw
nonsense
"""


def superblock_of(path: Path) -> str:
    fd = os.open(path, os.O_PATH)
    try:
        return mounts.superblock_of_fd(fd)
    finally:
        os.close(fd)


def test_mount_table_is_read() -> None:
    proc, btrfs, ext4 = mounts.parse_mount_table(TABLE)
    assert proc == mounts.Mount(mount_id=22, superblock="0:21", mount_point="/proc", source="proc")
    assert (btrfs.mount_id, btrfs.superblock) == (43, "0:39")
    assert btrfs.mount_point == "/mnt/with space"
    assert btrfs.source == "/dev/loop0"
    assert ext4.mount_point == "/mnt/back\\slash"
    assert ext4.source == "/dev/disk 1"


def test_open_file_has_the_mount_it_was_opened_through() -> None:
    fd = os.open("/proc/self", os.O_PATH)
    mount = mounts.mount_of_fd(fd)
    os.close(fd)
    assert mount is not None
    assert mount.mount_point == "/proc"


def test_file_that_is_not_there_yet_lies_where_its_folder_does(tmp_path: Path) -> None:
    beneath = mounts.superblocks_beneath(str(tmp_path / "not" / "there"))
    assert superblock_of(tmp_path) in beneath


def test_other_file_system_is_not_beneath(tmp_path: Path) -> None:
    assert superblock_of(Path("/proc")) not in mounts.superblocks_beneath(str(tmp_path))


def test_file_without_loop_device_has_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert mounts.loop_devices_of(str(tmp_path / "file")) == []


@pytest.mark.root("mkfs.ext4", "mkfs.btrfs")
def test_images_within_images_are_followed_down(tmp_path: Path) -> None:
    outer_image = devices.make_image(tmp_path / "outer.img", "btrfs")
    with devices.mounted(outer_image, "btrfs") as outer:
        inner_image = devices.make_image(outer / "inner.img", "ext4")
        with devices.mounted(inner_image, "ext4") as inner:
            beneath = mounts.superblocks_beneath(str(inner / "store"))
            assert {superblock_of(path) for path in (inner, outer, tmp_path)} <= beneath
            assert superblock_of(inner) not in mounts.superblocks_beneath(str(outer))


@pytest.mark.root("mkfs.btrfs", "btrfs")
def test_subvolumes_are_one_file_system(tmp_path: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "btrfs")
    with devices.mounted(image, "btrfs") as mount_point:
        devices.run("btrfs", "subvolume", "create", str(mount_point / "sub"))
        assert (mount_point / "sub").stat().st_dev != mount_point.stat().st_dev
        assert superblock_of(mount_point / "sub") == superblock_of(mount_point)


@pytest.mark.root
def test_loop_devices_of_a_file_are_found(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    (tmp_path / "link").symlink_to(image)
    with devices.loop_device(image) as first, devices.loop_device(image, read_only=True) as second:
        found = mounts.loop_devices_of(str(tmp_path / "link"))
        assert sorted(found) == sorted([str(first), str(second)])
