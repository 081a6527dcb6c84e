"""The files of a managed volume, in `STORE/volumes`.

VOLUME_ID.data      its live data: a sparse file with its blocks at their offsets
VOLUME_ID.kept      blocks kept for pending snapshots; only while there are some
VOLUME_ID.intents   which leaves may hold writes that nobody has noted; gone after a clean end

Of an encrypted volume the first two hold encrypted bytes, which is seen nowhere else.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ebsim import failpoints
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.ids import VolumeId
from ebsim.storage.failures import read_failure, write_failure
from ebsim.storage.files import File, Files
from ebsim.storage.sealed_file import SealedFile, SectorCiphers
from ebsim.volumes.intents import Intents
from ebsim.volumes.kept_blocks import KeptBlocks


@dataclass(frozen=True, slots=True)
class VolumeFiles:
    """The open files of a volume; `data` and `kept` are given and give plain bytes."""

    data_path: Path
    data: File
    kept: KeptBlocks
    intents: Intents

    def close(self) -> None:
        """Close all of them."""
        self.data.close()
        self.kept.close()
        self.intents.close()


def create_volume_files(
    files: Files,
    folder: Path,
    volume_id: VolumeId,
    boot_id: str,
    ciphers: SectorCiphers | None = None,
) -> VolumeFiles:
    """Make the files of a volume that has none; what an earlier attempt left is removed.

    Raises:
        LimitExceededError, StoreError: They cannot be made.
    """
    try:
        files.make_directory(folder)
        remove_volume_files(files, folder, volume_id)
        files.create(folder / f"{volume_id}.data").close()
        failpoints.reach("volume.file-made")
        files.sync_directory(folder)
        failpoints.reach("volume.file-synced")
        files.sync_directory(folder.parent)
    except OSError as error:
        raise write_failure(error, folder / f"{volume_id}.data") from error
    return open_volume_files(files, folder, volume_id, boot_id, ciphers)


def open_volume_files(
    files: Files,
    folder: Path,
    volume_id: VolumeId,
    boot_id: str,
    ciphers: SectorCiphers | None = None,
) -> VolumeFiles:
    """Open the files of a volume.

    Args:
        files: Where they lie.
        folder: The folder of all volumes.
        volume_id: The volume.
        boot_id: Which boot of the machine this is.
        ciphers: What encrypts the volume's data; None: nothing does.

    Raises:
        CorruptionError: The live data are gone: they must not read as zeros.
        StoreError: They cannot be opened.
    """
    path = folder / f"{volume_id}.data"
    try:
        data = files.open(path, writable=True)
    except FileNotFoundError as error:
        raise CorruptionError(
            f"the live data of volume {volume_id} are gone: {path} is missing; make another volume "
            "from its newest snapshot",
            ErrorCode.CORRUPT_VOLUME,
        ) from error
    except OSError as error:
        raise read_failure(error, path) from error
    kept = KeptBlocks(files, folder / f"{volume_id}.kept", volume_id, ciphers)
    intents = Intents(files, folder / f"{volume_id}.intents", volume_id, boot_id)
    plain = data if ciphers is None else SealedFile(data, ciphers)
    return VolumeFiles(path, plain, kept, intents)


def remove_volume_files(files: Files, folder: Path, volume_id: VolumeId) -> None:
    """Remove what is there of a volume's files.

    Raises:
        OSError: One cannot be removed.
    """
    for kind in ("kept", "intents", "data"):
        with suppress(FileNotFoundError):
            files.remove(folder / f"{volume_id}.{kind}")
