"""The proof of points in time can fail: each thing that a snapshot must not hold is seen."""

import pytest

from ebsim.testing.numbered_writes import (
    PLACE_SIZE,
    PLACES,
    Cut,
    Moments,
    Place,
    WriteHistory,
    fill,
    numbers_of,
)
from ebsim.units import BLOCK_SIZE

HERE: Place = (0, 0)
THERE: Place = (7, 3)


@pytest.fixture
def history() -> WriteHistory:
    return WriteHistory(Moments(), {THERE: 90})


def write(history: WriteHistory, place: Place, number: int) -> None:
    history.end(history.begin([place], number))


def cut_now(history: WriteHistory) -> Cut:
    return Cut(history.moments.now(), history.moments.now())


def test_place_that_nobody_wrote_to_holds_what_it_did_at_first(history: WriteHistory) -> None:
    cut = cut_now(history)

    cut.look("snap", history, {HERE: 0, THERE: 90})
    with pytest.raises(AssertionError, match="block 7 place 3 holds 0, expected 90"):
        cut.look("snap", history, {THERE: 0})


def test_write_that_had_returned_must_be_there(history: WriteHistory) -> None:
    write(history, HERE, 1)
    write(history, HERE, 2)
    cut = cut_now(history)

    cut.look("snap", history, {HERE: 2})
    for older in (0, 1):
        with pytest.raises(AssertionError, match=rf"holds {older}, expected one of \[2\]"):
            cut.look("snap", history, {HERE: older})


def test_write_that_began_later_must_not_be_there(history: WriteHistory) -> None:
    cut = cut_now(history)
    write(history, THERE, 1)

    cut.look("snap", history, {THERE: 90})
    with pytest.raises(AssertionError, match="holds 1, expected one of"):
        cut.look("snap", history, {THERE: 1})


def test_write_under_way_may_be_there_or_not(history: WriteHistory) -> None:
    under_way = history.begin([HERE], 1)
    cuts = [cut_now(history) for _ in range(2)]
    history.end(under_way)

    cuts[0].look("snap", history, {HERE: 1})
    cuts[1].look("snap", history, {HERE: 0})


def test_write_during_the_call_must_not_be_there_without_one_that_had_returned_before_it(
    history: WriteHistory,
) -> None:
    other = WriteHistory(history.moments)
    begun = history.moments.now()
    write(history, HERE, 1)
    write(other, HERE, 2)
    cuts = [Cut(begun, history.moments.now()) for _ in range(4)]

    for cut, (first, second) in zip(cuts[:3], [(0, 0), (1, 0), (1, 2)], strict=True):
        cut.look("one", history, {HERE: first})
        cut.look("two", other, {HERE: second})
    cuts[3].look("one", history, {HERE: 0})
    with pytest.raises(AssertionError, match="not consistent: it holds write 2 at two"):
        cuts[3].look("two", other, {HERE: 2})


def test_zeros_may_be_those_of_any_discard(history: WriteHistory) -> None:
    begun = history.moments.now()
    for number in (0, 1, 0):
        write(history, HERE, number)
    cut = Cut(begun, history.moments.now())

    cut.look("snap", history, {HERE: 0})
    assert history.last(HERE) == 0
    assert history.last(THERE) == 90


def test_block_is_read_as_it_was_filled() -> None:
    block = fill(5, 2) + fill(0) + fill(1 << 63, PLACES - 3)

    assert len(block) == BLOCK_SIZE
    assert list(numbers_of(block)) == [5, 5, 0, *[1 << 63] * (PLACES - 3)]


@pytest.mark.parametrize("at", [0, 9, PLACE_SIZE - 1, BLOCK_SIZE - 1])
def test_torn_place_is_seen(at: int) -> None:
    block = bytearray(fill(5, PLACES))
    block[at] ^= 1

    with pytest.raises(AssertionError, match=f"place {at // PLACE_SIZE} does not hold"):
        list(numbers_of(bytes(block)))
