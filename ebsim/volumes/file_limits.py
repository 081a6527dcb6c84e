"""How large a file the store's file system can hold: the live data of a volume are one file.

ext4 with blocks of 4 KiB ends at 16 TiB, EBS's largest volumes have 64 TiB; XFS, btrfs and ZFS hold
those. It is tried with a file that has no name and takes no space.
"""

import errno
from contextlib import suppress

from ebsim.core.context import StoreContext
from ebsim.errors import InvalidInputError
from ebsim.format.records import VolumeRecord
from ebsim.units import GIB

PROBED_FROM = 1024 * GIB
"""Smaller files are held by whatever a store may lie on."""


def ensure_file_possible(context: StoreContext, volume: VolumeRecord) -> None:
    """Refuse a volume that is larger than the largest file.

    Raises:
        InvalidInputError: It is.
    """
    if volume.size_bytes < PROBED_FROM:
        return
    path = context.path / f".probe-{volume.volume_id}"
    try:
        file = context.files.create(path)
        try:
            context.files.remove(path)
            file.truncate(volume.size_bytes)
        finally:
            file.close()
    except OSError as error:
        with suppress(OSError):
            context.files.remove(path)
        if error.errno in (errno.EFBIG, errno.EINVAL):
            raise InvalidInputError(
                f"The file system of {context.path} cannot hold a file of "
                f"{volume.size_bytes // GIB} GiB, as this volume needs: make it smaller, or put "
                "the store on another file system (ext4 ends at 16384 GiB; XFS, btrfs and ZFS do "
                "not)."
            ) from error
