"""Setting damaged bytes aside: what a repair replaces is kept, as it was found, in a folder.

    STORE/set-aside/SEGMENT-OFFSET-CHECKSUM.raw

The name says where the bytes were, and by the checksum which of them: bytes that were set aside
already are not written again, and nothing is ever overwritten. Nothing reads them back, and nothing
removes them but their owner.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ebsim import failpoints
from ebsim.format.checksum import stored_checksum
from ebsim.storage.failures import write_failure
from ebsim.storage.files import Files

FOLDER = "set-aside"


class SetAside:
    """The folder of a store for what is damaged.

    Args:
        folder: The store.
        files: Its files.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        self._store = folder
        self._folder = folder / FOLDER
        self._files = files

    def keep(self, found: Iterable[tuple[bytes, int, bytes]]) -> list[str]:
        """Keep byte ranges of segments; returns when they are durable.

        Args:
            found: Segment id, offset and bytes of each; read one after the other.

        Returns:
            The path of each within the store; empty where there was not a byte.

        Raises:
            LimitExceededError: No space.
            StoreError: It cannot be written.
        """
        names: list[str] = []
        present: set[str] | None = None
        try:
            for segment_id, offset, data in found:
                if not data:
                    names.append("")
                    continue
                if present is None:
                    self._files.make_directory(self._folder)
                    present = set(self._files.list(self._folder))
                name = f"{segment_id.hex()}-{offset}-{stored_checksum((data,)).hex()[:16]}.raw"
                if name not in present:
                    self._write(name, data)
                names.append(f"{FOLDER}/{name}")
            if present is not None:
                self._files.sync_directory(self._folder)
                self._files.sync_directory(self._store)
        except OSError as error:
            raise write_failure(error, self._folder) from error
        return names

    def _write(self, name: str, data: bytes) -> None:
        temporary = self._folder / f".{name}"
        with suppress(FileNotFoundError):
            self._files.remove(temporary)  # somebody died while writing it
        file = self._files.create(temporary)
        try:
            file.write_at(0, [data])
            file.sync()
        finally:
            file.close()
        failpoints.reach("set-aside.written")
        self._files.rename(temporary, self._folder / name)
        failpoints.reach("set-aside.renamed")
