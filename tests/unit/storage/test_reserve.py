"""The reserve: there while there is room, given up when space is low, and made again."""

import errno
import os
from pathlib import Path

import pytest

from ebsim.errors import ErrorCode, LimitExceededError
from ebsim.storage.reserve import (
    DELETION_PART,
    LEFT_FREE,
    PART_MIN,
    RESERVE_SIZE,
    ROOM_MIN,
    Reserve,
)
from ebsim.testing.memory_files import MemoryFiles
from ebsim.testing.observed_files import ObservedFiles
from ebsim.units import MIB

FOLDER = Path("/store")
PATH = FOLDER / "reserve"
FILLER = FOLDER / "filler"


def files_with(free_bytes: int) -> MemoryFiles:
    files = MemoryFiles(capacity_bytes=free_bytes)
    files.make_directory(FOLDER)
    return files


def fill_up(files: MemoryFiles, leave_bytes: int) -> None:
    """Use up all space but this."""
    files.create(FILLER).reserve(files.free_bytes(FOLDER) - leave_bytes)


def test_reserve_takes_its_space_at_once() -> None:
    files = files_with(ROOM_MIN)

    assert Reserve(PATH, files).fill()

    assert files.allocated_bytes(PATH) == RESERVE_SIZE
    assert files.free_bytes(FOLDER) == ROOM_MIN - RESERVE_SIZE


def test_reserve_that_is_there_is_left_as_it_is() -> None:
    files = files_with(ROOM_MIN)
    assert Reserve(PATH, files).fill()

    assert Reserve(PATH, files).fill()

    assert files.free_bytes(FOLDER) == ROOM_MIN - RESERVE_SIZE


def test_reserve_is_not_made_where_there_is_little_room() -> None:
    files = files_with(ROOM_MIN - 4096)

    assert not Reserve(PATH, files).fill()

    assert files.list(FOLDER) == []


@pytest.mark.parametrize("operation", ["create", "reserve"])
def test_reserve_that_cannot_be_made_leaves_nothing(operation: str) -> None:
    """On a file system without fallocate, or one that another process has just filled."""
    files = files_with(ROOM_MIN)

    def before(called: str, _path: Path) -> None:
        if called == operation:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert not Reserve(PATH, ObservedFiles(files, before)).fill()

    assert files.list(FOLDER) == []
    assert files.free_bytes(FOLDER) == ROOM_MIN


def test_reserve_that_another_process_makes_just_now_is_left_to_it() -> None:
    files = files_with(ROOM_MIN)

    def before(called: str, path: Path) -> None:
        if called == "create":
            files.create(path)

    Reserve(PATH, ObservedFiles(files, before)).fill()

    assert files.list(FOLDER) == ["reserve"]


@pytest.mark.parametrize("operation", ["allocated_bytes", "free_bytes", "remove"])
def test_reserve_is_a_comfort_of_which_no_failure_matters(operation: str) -> None:
    files = files_with(RESERVE_SIZE + ROOM_MIN)
    Reserve(PATH, files).fill()
    fill_up(files, 0)
    done: list[str] = []

    def before(called: str, _path: Path) -> None:
        if called == operation:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Reserve(PATH, ObservedFiles(files, before)).released_if_low():
        done.append("deleted")

    assert done == ["deleted"]


def test_reserve_is_kept_while_there_is_room() -> None:
    files = files_with(RESERVE_SIZE + ROOM_MIN)
    reserve = Reserve(PATH, files)
    reserve.fill()

    with reserve.released_if_low():
        assert files.list(FOLDER) == ["reserve"]
    assert files.list(FOLDER) == ["reserve"]


def test_reserve_is_given_up_when_space_is_low_and_made_again() -> None:
    files = files_with(RESERVE_SIZE + ROOM_MIN)
    reserve = Reserve(PATH, files)
    reserve.fill()
    fill_up(files, 0)

    with reserve.released_if_low():
        assert files.free_bytes(FOLDER) == RESERVE_SIZE
        files.remove(FILLER)  # what the deletion gives back

    assert files.allocated_bytes(PATH) == RESERVE_SIZE


def test_reserve_is_made_again_in_part_where_there_is_no_room_for_all() -> None:
    """Else another program takes what the next deletion needs."""
    files = files_with(RESERVE_SIZE + ROOM_MIN)
    reserve = Reserve(PATH, files)
    reserve.fill()
    fill_up(files, 0)

    with reserve.released_if_low():
        files.create(FOLDER / "needed").reserve(LEFT_FREE)

    part = RESERVE_SIZE - 2 * LEFT_FREE
    assert files.allocated_bytes(PATH) == part
    assert not Reserve(PATH, files).fill()
    assert files.allocated_bytes(PATH) == part
    with reserve.released_if_low():
        files.remove(FILLER)
    assert files.allocated_bytes(PATH) == RESERVE_SIZE


def test_reserve_stays_away_as_long_as_there_is_no_room() -> None:
    files = files_with(RESERVE_SIZE + ROOM_MIN)
    reserve = Reserve(PATH, files)
    reserve.fill()
    fill_up(files, 0)

    with reserve.released_if_low():
        fill_up_again = files.create(FOLDER / "needed")
        fill_up_again.reserve(RESERVE_SIZE - PART_MIN)

    assert PATH.name not in files.list(FOLDER)
    with reserve.released_if_low():  # and its absence is no failure
        files.remove(FILLER)
    assert PATH.name in files.list(FOLDER)


def test_reserve_is_made_again_also_after_a_failure() -> None:
    files = files_with(RESERVE_SIZE + ROOM_MIN)
    reserve = Reserve(PATH, files)
    reserve.fill()
    fill_up(files, 0)

    def fail() -> None:
        with reserve.released_if_low():
            files.remove(FILLER)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert files.list(FOLDER) == ["reserve"]


def test_part_for_deletions_stays_when_something_else_needs_space() -> None:
    """Recording a failure gives nothing back: however often it is done, deletions have theirs."""
    files = files_with(RESERVE_SIZE + ROOM_MIN)
    reserve = Reserve(PATH, files)
    reserve.fill()
    fill_up(files, 0)

    for number in range(30):
        with reserve.released_if_low(keep=DELETION_PART):
            assert files.allocated_bytes(PATH) >= DELETION_PART
            size = min(MIB, files.free_bytes(FOLDER))
            files.create(FOLDER / f"record{number}").reserve(size)

    assert files.allocated_bytes(PATH) >= DELETION_PART
    with reserve.released_if_low():
        assert files.free_bytes(FOLDER) >= DELETION_PART


def test_nobody_uses_up_what_deletions_need() -> None:
    """While the reserve is there its space is safe; while it is not, as much is left free."""
    files = files_with(RESERVE_SIZE + ROOM_MIN)
    reserve = Reserve(PATH, files)
    reserve.fill()
    fill_up(files, 0)
    wanted = FOLDER / "volume"

    reserve.ensure_room(wanted)  # the file system refuses whoever writes
    files.remove(PATH)
    with pytest.raises(LimitExceededError, match="delete snapshots") as caught:
        reserve.ensure_room(wanted)
    assert caught.value.code is ErrorCode.NO_SPACE
    files.remove(FILLER)
    reserve.ensure_room(wanted)


@pytest.mark.parametrize("operation", ["allocated_bytes", "free_bytes"])
def test_room_that_is_not_known_is_there(operation: str) -> None:
    files = files_with(0)

    def before(called: str, _path: Path) -> None:
        if called == operation:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    Reserve(PATH, ObservedFiles(files, before)).ensure_room(PATH)


def test_what_finds_no_space_is_done_again_without_the_reserve() -> None:
    """A quota is not in what the file system says is free. Afterwards there is a reserve again."""
    files = files_with(4 * ROOM_MIN)
    reserve = Reserve(PATH, files)
    assert reserve.fill()
    found: list[list[str]] = []

    def work() -> str:
        found.append(files.list(FOLDER))
        if PATH.name in found[-1]:
            raise LimitExceededError("the quota is used up", ErrorCode.NO_SPACE)
        return "done"

    with reserve.released_if_low() as room:
        assert room.give(work) == "done"
        assert room.give(work) == "done"  # it stays given up as long as the block lasts

    assert found == [[PATH.name], [], []]
    assert files.allocated_bytes(PATH) == RESERVE_SIZE


def test_what_finds_no_space_without_a_reserve_says_so() -> None:
    reserve = Reserve(PATH, files_with(4 * ROOM_MIN))

    def work() -> None:
        raise LimitExceededError("the quota is used up", ErrorCode.NO_SPACE)

    with reserve.released_if_low() as room, pytest.raises(LimitExceededError, match="used up"):
        room.give(work)


def test_other_refusals_are_not_tried_again() -> None:
    reserve = Reserve(PATH, files_with(4 * ROOM_MIN))
    assert reserve.fill()
    tries = []

    def work() -> None:
        tries.append(1)
        raise LimitExceededError("too many", ErrorCode.SNAPSHOT_LIMIT_EXCEEDED)

    with reserve.released_if_low() as room, pytest.raises(LimitExceededError, match="too many"):
        room.give(work)
    assert len(tries) == 1
