"""Failpoints: all of them are in the source by name, cost nothing, are reached, and notice."""

import ast
import random
import timeit
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import ebsim
from ebsim import failpoints
from ebsim.storage.segments import LocalSegmentStore, LocalSegmentWriter
from ebsim.storage.set_aside import SetAside
from ebsim.testing.torture.campaign import Violation
from ebsim.testing.torture.failpoints import Failpoints, Moment, find_moments, run_moment
from ebsim.volumes.live_volume import LiveVolume

pytestmark = pytest.mark.crash

PRODUCT = Path(ebsim.__file__).parent


def names_in_source() -> Iterator[str]:
    """Yield the name of each failpoint, wherever the product calls one."""
    for path in sorted(PRODUCT.rglob("*.py")):
        if path.is_relative_to(PRODUCT / "testing") or path.name == "failpoints.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "reach":
                assert ast.unparse(node) == "failpoints.reach", f"{path}: {node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reach":
                (name,) = node.args
                assert isinstance(name, ast.Constant), f"{path}: {node.lineno}"
                yield str(name.value)


NAMES = list(names_in_source())


@pytest.fixture(scope="module")
def moments(fast_module_path: Path) -> list[Moment]:
    return find_moments(fast_module_path)


def test_names_are_given_once() -> None:
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []
    assert len(NAMES) > 50


def test_each_is_reached(moments: list[Moment]) -> None:
    reached = {moment.failpoint for moment in moments}
    assert sorted(set(NAMES) - reached) == []
    assert sorted(reached - set(NAMES)) == []


def test_the_full_campaign_has_a_case_for_each_moment(moments: list[Moment]) -> None:
    assert len(moments) <= Failpoints.cases
    assert {moment.how for moment in moments} == {"kill", "kill again", "recovery", "power cut"}


def test_one_that_is_off_takes_less_than_a_microsecond() -> None:
    count = 10_000
    taken = min(timeit.repeat(lambda: failpoints.reach("any"), number=count, repeat=5))
    assert taken / count < 1e-6


def test_what_is_armed_is_called_until_it_is_disarmed() -> None:
    told: list[str] = []
    failpoints.arm(told.append)
    try:
        failpoints.reach("one")
    finally:
        failpoints.disarm()
    failpoints.reach("two")
    assert told == ["one"]


def chosen(moments: list[Moment], how: str, count: int) -> list[Moment]:
    found = [moment for moment in moments if moment.how == how]
    return random.Random(how).sample(found, min(count, len(found)))


def test_death_at_failpoints_loses_nothing(moments: list[Moment]) -> None:
    """F1, F2, F3, F4, F5, F6, F7: a sample of the campaign."""
    for how in ("kill", "kill again", "recovery", "power cut"):
        run_all(chosen(moments, how, 5))


def run_all(moments: Iterable[Moment]) -> None:
    for number, moment in enumerate(moments):
        run_moment(moment, 0, number)


def test_missing_copy_before_a_write_is_noticed(
    moments: list[Moment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The campaign can fail: a block that is not kept is missed by its snapshot."""
    monkeypatch.setattr(LiveVolume, "_keep", lambda _self, _frozen, _block: None)
    with pytest.raises(Violation):
        run_all(m for m in moments if m.failpoint == "write.kept" and m.how == "kill")


def test_missing_sync_is_noticed(moments: list[Moment], monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign can fail: without the sync of segments, a power cut loses."""
    monkeypatch.setattr(LocalSegmentWriter, "sync", lambda _self: None)
    with pytest.raises(Violation):
        run_all(m for m in moments if m.how == "power cut")


def test_missing_removal_is_noticed(moments: list[Moment], monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign can fail: the files of emptied segments must not stay."""
    monkeypatch.setattr(LocalSegmentStore, "drop", lambda _self, _segment_id: None)
    with pytest.raises(Violation):
        run_all(m for m in moments if m.story == "scans")


def test_repair_that_throws_away_is_noticed(
    moments: list[Moment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The campaign can fail: what was damaged must be set aside."""
    monkeypatch.setattr(SetAside, "keep", lambda _self, found: ["" for _ in found])
    with pytest.raises(Violation):
        run_all(m for m in moments if m.failpoint == "repair.committed" and m.how == "kill")


def test_repair_that_names_the_old_place_is_noticed(
    moments: list[Moment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The campaign can fail: what was acknowledged as repaired must be."""
    monkeypatch.setattr(LocalSegmentStore, "rewrite_header", lambda _self, _header: None)
    with pytest.raises(Violation):
        run_all(m for m in moments if m.story == "repaired" and m.failpoint == "repair.committed")
