"""Intents: what a process that died may have written to is known to the next."""

from pathlib import Path

import pytest

from ebsim.format.intent import INTENT, LeftIntents
from ebsim.testing.memory_files import MemoryFiles
from ebsim.testing.observed_files import ObservedFiles
from ebsim.volumes.intents import Intents

PATH = Path("/volumes/vol-1.intents")


@pytest.fixture
def files() -> MemoryFiles:
    files = MemoryFiles()
    files.make_directory(PATH.parent)
    return files


def opened(files: MemoryFiles, boot_id: str = "boot", volume_id: str = "vol-1") -> Intents:
    return Intents(files, PATH, volume_id, boot_id)


def test_nothing_is_left_by_nobody(files: MemoryFiles) -> None:
    assert opened(files).left_behind() == LeftIntents()


def test_what_was_noted_is_left_behind(files: MemoryFiles) -> None:
    intents = opened(files)
    for leaf in (0, 3, 0, 524_287):
        intents.note(leaf)
    intents.note_local(5)
    intents.close()
    left = opened(files).left_behind()
    assert left is not None
    assert (sorted(left.leaves), left.local) == ([0, 3, 524_287], [5])


def test_restart_of_the_machine_loses_what_was_not_synced(files: MemoryFiles) -> None:
    intents = opened(files)
    intents.note(3)
    intents.note_local(5)
    intents.close()
    assert opened(files, boot_id="another").left_behind() == LeftIntents([3], [])
    assert opened(files, boot_id="").left_behind() == LeftIntents([3], [])


def test_clearing_leaves_nothing_and_begins_anew(files: MemoryFiles) -> None:
    intents = opened(files)
    intents.note(3)
    intents.clear()
    assert files.list(PATH.parent) == []
    intents.note(3)
    intents.close()
    assert opened(files).left_behind() == LeftIntents([3], [])


def test_leaf_is_durable_before_it_is_written_to_and_only_once(files: MemoryFiles) -> None:
    calls: list[str] = []
    intents = Intents(ObservedFiles(files, lambda what, _path: calls.append(what)), PATH, "v", "b")
    intents.note(1)
    assert calls[-1] == "sync"
    assert "sync_directory" in calls
    calls.clear()
    intents.note(1)
    assert calls == []


def test_intent_that_could_not_be_synced_is_none(files: MemoryFiles) -> None:
    broken = True

    def before(what: str, _path: Path) -> None:
        if broken and what == "sync":
            raise OSError(5, "Input/output error")

    intents = Intents(ObservedFiles(files, before), PATH, "vol-1", "boot")
    with pytest.raises(OSError, match="Input/output"):
        intents.note(1)
    broken = False
    intents.note(1)
    left = opened(files).left_behind()
    assert left is not None
    assert set(left.leaves) == {1}


@pytest.mark.parametrize("cut", range(1, INTENT.size))
def test_entry_that_is_cut_off_is_none(files: MemoryFiles, cut: int) -> None:
    intents = opened(files)
    intents.note(1)
    intents.note(2)
    file = files.open(PATH, writable=True)
    file.truncate(file.size() - cut)
    assert opened(files).left_behind() == LeftIntents([1], [])


@pytest.mark.parametrize("offset", range(0, 3 * INTENT.size, 5))
def test_altered_byte_means_that_anything_may_have_been_written(
    files: MemoryFiles, offset: int
) -> None:
    intents = opened(files)
    intents.note(1)
    intents.note(2)
    file = files.open(PATH, writable=True)
    (byte,) = file.read_at(offset, 1)
    file.write_at(offset, [bytes([byte ^ 4])])
    assert opened(files).left_behind() is None


def test_intents_of_another_volume_mean_the_same(files: MemoryFiles) -> None:
    opened(files).note(1)
    assert opened(files, volume_id="vol-2").left_behind() is None
