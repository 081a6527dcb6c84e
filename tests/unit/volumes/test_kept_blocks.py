"""Blocks kept for pending snapshots: which copy is good for which epoch, and what is left later."""

from pathlib import Path

import pytest

from ebsim.errors import CorruptionError
from ebsim.format.kept_block import KEPT_HEADER_SIZE, SLOT_SIZE
from ebsim.format.sector_cipher import SectorCipher
from ebsim.storage.sealed_file import SectorCiphers
from ebsim.testing.contents import HEAD, NOISE, TAIL, ZEROS
from ebsim.testing.memory_files import MemoryFiles
from ebsim.testing.observed_files import ObservedFiles
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.kept_blocks import KeptBlocks

PATH = Path("/volumes/vol-1.kept")


@pytest.fixture
def files() -> MemoryFiles:
    files = MemoryFiles()
    files.make_directory(PATH.parent)
    return files


@pytest.fixture
def kept(files: MemoryFiles) -> KeptBlocks:
    return KeptBlocks(files, PATH, "vol-1")


def read(kept: KeptBlocks, block: int, epoch: int) -> bytes | None:
    buffer = memoryview(bytearray(BLOCK_SIZE))
    return bytes(buffer) if kept.read(block, epoch, buffer) else None


def test_each_epoch_reads_the_first_copy_made_after_it(kept: KeptBlocks) -> None:
    kept.keep(7, 3, memoryview(NOISE))
    kept.keep(7, 5, memoryview(HEAD))
    assert [read(kept, 7, epoch) for epoch in range(1, 7)] == [NOISE] * 3 + [HEAD] * 2 + [None]
    assert read(kept, 8, 1) is None


def test_nothing_is_there_before_something_is_kept(files: MemoryFiles, kept: KeptBlocks) -> None:
    assert read(kept, 0, 1) is None
    kept.load()
    kept.clear()
    kept.close()
    assert files.list(PATH.parent) == []


def test_what_was_kept_is_found_by_the_next_who_opens_it(
    files: MemoryFiles, kept: KeptBlocks
) -> None:
    kept.keep(0, 1, memoryview(NOISE))
    kept.keep(300, 2, memoryview(TAIL))
    kept.close()
    again = KeptBlocks(files, PATH, "vol-1")
    again.load()
    again.keep(0, 2, memoryview(HEAD))
    assert [read(again, 0, epoch) for epoch in (1, 2, 3)] == [NOISE, HEAD, None]
    assert read(again, 300, 2) == TAIL
    again.clear()
    assert read(again, 0, 1) is None
    assert files.list(PATH.parent) == []


@pytest.mark.parametrize("offset", [0, 9, 39, KEPT_HEADER_SIZE, SLOT_SIZE - 1, SLOT_SIZE + 17])
def test_altered_byte_is_damage_and_never_another_content(
    files: MemoryFiles, kept: KeptBlocks, offset: int
) -> None:
    kept.keep(0, 1, memoryview(NOISE))
    kept.keep(1, 1, memoryview(NOISE))
    file = files.open(PATH, writable=True)
    (byte,) = file.read_at(offset, 1)
    file.write_at(offset, [bytes([byte ^ 1])])
    with pytest.raises(CorruptionError):
        read(kept, offset // SLOT_SIZE, 1)
    assert read(kept, 1 - offset // SLOT_SIZE, 1) == NOISE
    with pytest.raises(CorruptionError):
        KeptBlocks(files, PATH, "vol-1").load()


def test_slots_of_another_volume_are_damage(files: MemoryFiles, kept: KeptBlocks) -> None:
    kept.keep(0, 1, memoryview(NOISE))
    with pytest.raises(CorruptionError):
        KeptBlocks(files, PATH, "vol-2").load()


def test_slot_whose_header_was_not_written_keeps_nothing(files: MemoryFiles) -> None:
    """It was being made when the process died: the block was not overwritten yet."""
    writes: list[str] = []

    def before(what: str, _path: Path) -> None:
        if what == "write_at":
            writes.append(what)
            if len(writes) == 4:
                raise OSError(5, "Input/output error")

    kept = KeptBlocks(ObservedFiles(files, before), PATH, "vol-1")
    kept.keep(0, 1, memoryview(NOISE))
    with pytest.raises(OSError, match="Input/output"):
        kept.keep(1, 1, memoryview(NOISE))
    assert read(kept, 1, 1) is None
    kept.close()
    again = KeptBlocks(files, PATH, "vol-1")
    again.load()
    assert (read(again, 0, 1), read(again, 1, 1)) == (NOISE, None)


def test_encrypted_blocks_are_kept_as_they_are_in_the_volume(files: MemoryFiles) -> None:
    """So that nothing plain is on the disk, and damage is found without a key."""
    ciphers = SectorCiphers(SectorCipher(bytes(range(64))))
    kept = KeptBlocks(files, PATH, "vol-1", ciphers)
    kept.keep(7, 3, memoryview(HEAD))
    kept.keep(8, 3, memoryview(ZEROS))

    assert (read(kept, 7, 3), read(kept, 8, 3)) == (HEAD, ZEROS)
    stored = files.open(PATH).read_at(KEPT_HEADER_SIZE, BLOCK_SIZE)
    assert stored == ciphers.seal_block(7, memoryview(HEAD))
    without = KeptBlocks(files, PATH, "vol-1")
    without.load()
    assert read(without, 7, 3) == stored
    again = KeptBlocks(files, PATH, "vol-1", ciphers)
    again.load()
    assert read(again, 7, 3) == HEAD
