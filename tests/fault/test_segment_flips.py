"""F20 to F22: every single flipped bit of the segments of a store of 1 MiB is found."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.format import segment as layout
from ebsim.reports import CheckReport
from ebsim.testing.bit_flips import StoreAnswers, Verdict, judge_flips, open_for_flips
from ebsim.testing.damage import segment_files
from ebsim.testing.torture.campaign import Violation
from ebsim.testing.torture.flip_pieces import (
    UNUSED,
    Piece,
    flip_range,
    flips_by_region,
    other_pieces,
    segment_pieces,
    total_bytes,
)
from ebsim.testing.torture.segment_flips import SegmentFlips, build_store
from ebsim.units import MIB

PROCESSES = 2
STRETCHES = 16


@pytest.fixture(scope="module")
def flippable(fast_module_path: Path) -> Path:
    """A closed store whose segment has 1 MiB of records, and holes."""
    path = fast_module_path / "store"
    build_store(path, seed=1, size_bytes=MIB)
    return path


def flip_stretch(store: Path, number: int) -> Counter[str]:
    """Flip all bits of every n-th stretch; in a process of its own."""
    pieces = [*segment_pieces(store)[0], *other_pieces(store)[:1]]
    total = total_bytes(pieces)
    start, end = number * total // STRETCHES, (number + 1) * total // STRETCHES
    return flip_range(pieces, start, end)


@pytest.mark.slow
def test_every_flipped_bit_of_a_store_of_1_mib_is_found(flippable: Path) -> None:
    pieces, unused = segment_pieces(flippable)
    spawn = multiprocessing.get_context("spawn")
    flips: Counter[str] = Counter()

    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        stretches = [pool.submit(flip_stretch, flippable, number) for number in range(STRETCHES)]
        for stretch in stretches:
            flips += stretch.result()

    assert flips.pop("store.json") == 8 * (flippable / "store.json").stat().st_size
    expected = flips_by_region(pieces, unused)
    assert expected.pop(UNUSED) == 8 * unused > 0
    assert flips == expected
    assert flips.total() >= 8 * MIB


@pytest.mark.slow
def test_flipped_bit_of_what_was_given_back_does_no_harm(flippable: Path) -> None:
    """Nothing finds it, because nothing uses it: the figures leave such bits out."""
    pieces, _ = segment_pieces(flippable)
    (file,) = segment_files(flippable)
    used = {piece.place + at for piece in pieces for at in (0, len(piece.data) - 1)}
    with open_for_flips(flippable) as store:
        before = StoreAnswers(store)
    bits = [8 * place for place in (8192, 300_000, 500_000) if place not in used]

    verdicts = judge_flips(flippable, f"segments/{file.name}", bits, before)

    assert set(verdicts.values()) == {Verdict.HARMLESS}


def some_cases(folder: Path, numbers: Iterable[int] = (0, 16, 31)) -> int:
    """Run cases of a small campaign."""
    with SegmentFlips(MIB // 4, cases=2048).prepare(1, folder) as run_case:
        return sum(run_case(number) for number in numbers)


def test_campaign_counts_its_flips(fast_path: Path) -> None:
    assert some_cases(fast_path) > 3000


# These tests can fail: a check that is left out lets flips through.


def without_payload(parts: Iterable[bytes | bytearray | memoryview]) -> bytes:
    first, *_ = parts
    return bytes(first[:16])


def test_campaign_sees_a_checksum_that_is_left_out(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "stored_checksum", without_payload)

    with pytest.raises(Violation, match="are not found"):
        some_cases(fast_path)


def test_campaign_sees_a_check_that_does_not_read(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Store.check
    monkeypatch.setattr(Store, "check", lambda store, **_: check(store))

    with pytest.raises(Violation, match="check --data read 0 bytes"):
        some_cases(fast_path)


def test_campaign_sees_a_check_that_finds_nothing(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CheckReport, "healthy", property(lambda _: True))

    with pytest.raises(Violation, match="does not find bit"):
        some_cases(fast_path)


@pytest.mark.parametrize("make", [other_pieces, lambda path: segment_pieces(path)[0]])
def test_piece_is_as_it_was_after_its_flips(
    flippable: Path, make: Callable[[Path], list[Piece]]
) -> None:
    for piece in make(flippable):
        before = bytes(piece.data)
        for at in (piece.start, piece.end - 1):
            if piece.start < piece.end:
                assert piece.misses(piece.data, at) == 0
        assert piece.data == before
