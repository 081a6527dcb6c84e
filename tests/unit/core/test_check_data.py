"""Checks of the data that read a part: samples, and what was not proved lately."""

from pathlib import Path

import pytest

from ebsim.core.proofs import load_proofs, with_span, without
from ebsim.core.space import forget_segment
from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError
from ebsim.format.proofs import PROOF_SPANS_MAX, decode_proofs, encode_proofs
from ebsim.progress import SilentProgress
from ebsim.reports import CheckReport
from ebsim.requests import DataCheck
from ebsim.testing.contents import NOISE, noise_block
from ebsim.testing.damage import damage_block, place_of_block
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

DAY_S = 86_400
BLOCKS = 40


@pytest.fixture
def snapshot_id(store: Store) -> str:
    disk = disk_of(*(noise_block(number) for number in range(BLOCKS)))
    return store.create_snapshot(disk).snapshot_id


def lately(store: Store, days: int = 7) -> CheckReport:
    return store.check(data=DataCheck(older_than_s=days * DAY_S))


def proved_segments(store: Store) -> list[int]:
    with store._context.catalog.read() as reader:
        return list(load_proofs(reader))


class Stopped(SilentProgress):
    """Stops a check after so many records, as a signal does."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, done_bytes: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


# what was proved lately


def test_what_was_proved_lately_is_not_read_again(
    store: Store, clock: ManualClock, snapshot_id: str
) -> None:
    live = store.stats().live_size_bytes
    assert store.check(data=True).read_bytes == live
    clock.advance(days=6)

    report = lately(store)

    assert report.read_bytes == 0
    assert report.coverage is not None
    assert (report.coverage.live_bytes, report.coverage.proved_before_bytes) == (live, live)
    assert not report.coverage.complete


def test_what_was_proved_long_ago_is_read_again(
    store: Store, clock: ManualClock, snapshot_id: str
) -> None:
    store.check(data=True)
    clock.advance(days=8)

    assert lately(store).read_bytes == store.stats().live_size_bytes
    assert lately(store).read_bytes == 0


def test_without_an_age_everything_is_read(store: Store, snapshot_id: str) -> None:
    store.check(data=True)

    assert store.check(data=True).read_bytes == store.stats().live_size_bytes


def test_proof_from_the_future_is_none(store: Store, clock: ManualClock, snapshot_id: str) -> None:
    """The clock was wrong, then or now."""
    store.check(data=True)
    clock.advance(days=-1)

    assert lately(store).read_bytes == store.stats().live_size_bytes


def test_new_blocks_are_read_and_old_ones_are_not(
    store: Store, clock: ManualClock, snapshot_id: str
) -> None:
    store.check(data=True)
    before = store.stats().live_size_bytes
    store.create_snapshot(disk_of(NOISE, name="memory:other"))

    assert lately(store).read_bytes == store.stats().live_size_bytes - before


def test_check_that_is_stopped_keeps_what_it_proved(
    store: Store, store_path: Path, seams: Seams, snapshot_id: str
) -> None:
    live = store.stats().live_size_bytes
    with pytest.raises(KeyboardInterrupt):
        store.check(data=True, progress=Stopped(after=BLOCKS // 2))
    store.close()

    with Store.open(store_path, seams) as again:
        rest = lately(again).read_bytes
        assert 0 < rest < live * 0.6
        assert lately(again).read_bytes == 0


def test_damage_is_reported_again_until_it_is_gone(
    store: Store, store_path: Path, clock: ManualClock, snapshot_id: str
) -> None:
    """A record that was proved once and is damaged now has no proof any more."""
    store.check(data=True)
    place = damage_block(store_path, noise_block(7))
    clock.advance(days=8)

    for report in (lately(store), lately(store)):
        assert [finding.kind for finding in report.findings] == ["corrupt-block"]
        assert report.findings[0].ranges == ((7 * BLOCK_SIZE, 8 * BLOCK_SIZE),)
    assert lately(store).read_bytes == place.header.extent


def test_damage_that_a_sample_or_a_full_check_finds_takes_the_proof_away(
    store: Store, store_path: Path, snapshot_id: str
) -> None:
    store.check(data=True)
    damage_block(store_path, noise_block(7))
    assert lately(store).healthy  # that is what the option means: it is not read

    assert not store.check(data=DataCheck(sample_percent=100)).healthy

    assert not lately(store).healthy


def test_proofs_of_a_segment_go_with_it(store: Store, snapshot_id: str) -> None:
    store.check(data=True)
    assert proved_segments(store) == [1]

    store._context.catalog.update(lambda writer: forget_segment(writer, 1))

    assert proved_segments(store) == []


def test_damaged_store_is_not_written_to(store: Store, store_path: Path, snapshot_id: str) -> None:
    """A missing segment is damage to the structure: nothing is remembered, all is read again."""
    place_of_block(store_path, noise_block(0)).path.unlink()
    store._context.segments.close()

    assert not store.check(data=True).healthy
    assert proved_segments(store) == []


# samples


def test_sample_reads_its_share_and_says_so(store: Store, snapshot_id: str) -> None:
    report = store.check(data=DataCheck(sample_percent=10))

    live = store.stats().live_size_bytes
    assert live * 0.05 < report.read_bytes < live * 0.2
    assert report.coverage is not None
    assert report.coverage.sample_percent == 10
    assert report.coverage.live_bytes == live
    assert not report.coverage.complete


def test_samples_differ_and_find_damage_in_the_end(
    store: Store, store_path: Path, snapshot_id: str
) -> None:
    damage_block(store_path, noise_block(7))

    found = [not store.check(data=DataCheck(sample_percent=20)).healthy for _ in range(40)]

    assert any(found)
    assert not all(found)


def test_smallest_sample_reads_something(store: Store, snapshot_id: str) -> None:
    assert store.check(data=DataCheck(sample_percent=0.000001)).read_bytes > 0


def test_sample_of_everything_is_everything(store: Store, snapshot_id: str) -> None:
    report = store.check(data=DataCheck(sample_percent=100))

    assert report.read_bytes == store.stats().live_size_bytes


def test_sample_is_not_remembered(store: Store, snapshot_id: str) -> None:
    store.check(data=DataCheck(sample_percent=50))

    assert lately(store).read_bytes == store.stats().live_size_bytes


# spans


def test_span_takes_the_place_of_older_ones() -> None:
    spans = with_span([(0, 100, 1)], 40, 60, 2)
    assert spans == [(0, 40, 1), (40, 60, 2), (60, 100, 1)]
    assert with_span(spans, 0, 100, 3) == [(0, 100, 3)]
    assert with_span([(0, 40, 1)], 40, 60, 1) == [(0, 60, 1)]


def test_range_is_cut_out() -> None:
    assert without([(0, 100, 1)], 40, 60) == [(0, 40, 1), (60, 100, 1)]
    assert without([(40, 60, 1)], 0, 100) == []
    assert without([(0, 40, 1), (40, 60, 2)], 30, 50) == [(0, 30, 1), (50, 60, 2)]


def test_spans_are_bounded_and_read_back() -> None:
    spans: list[tuple[int, int, int]] = []
    for number in range(2 * PROOF_SPANS_MAX):
        spans = with_span(spans, 10 * number, 10 * number + 5, number)
    assert len(spans) == PROOF_SPANS_MAX
    assert decode_proofs(encode_proofs(spans)) == spans


@pytest.mark.parametrize(
    "spans", [[(5, 4, 1)], [(0, 10, 1), (5, 20, 1)], [(10, 20, 1), (0, 5, 1)], [(0, 1, 1)] * 65]
)
def test_what_is_no_list_of_spans_is_damage(spans: list[tuple[int, int, int]]) -> None:
    with pytest.raises(CorruptionError):
        decode_proofs(encode_proofs(spans))
    with pytest.raises(CorruptionError):
        decode_proofs(b"x")
