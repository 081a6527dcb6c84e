"""The campaign of several processes finds what it is for; its judge, rule by rule."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.testing.torture.campaign import Violation
from ebsim.testing.torture.process_history import (
    Final,
    Judge,
    Log,
    Operation,
    describe,
    operations,
    parse_description,
)
from ebsim.testing.torture.processes import Processes

HOLDS = describe("0.0", (1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("delete_one_more", "nobody had deleted|deleted by nobody|without a cause|lacks"),
        ("delete_nothing", "had deleted"),
        ("read_zeros", "block . is not"),
        ("write_nothing", r"block . (of a copy of .* )?is (not|another)"),
        ("hold_no_lock", "."),
    ],
)
def test_deliberate_fault_is_found(
    fault: str, told: str, fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    campaign = Processes(sabotage=f"process_sabotage:{fault}", operations=160)
    if fault == "hold_no_lock":  # whoever waits for ever shows it, too
        campaign = replace(campaign, patience_s=(60, 3))

    with campaign.prepare(1, fast_path) as run_case:

        def run_cases() -> None:
            for number in range(5):
                run_case(number)

        with pytest.raises(Violation, match=told):
            run_cases()

    assert list(fast_path.iterdir()) == []


# The judge


def create(begun: int, ended: int | None, *, failed: bool = False) -> Operation:
    return Operation(
        name="0.0",
        kind="create",
        begun=begun,
        ended=ended,
        failed=failed,
        given={"description": HOLDS},
        result={"id": "snap-a"} if ended is not None and not failed else {},
    )


def delete(begun: int, ended: int | None, *, failed: bool = False) -> Operation:
    return Operation(
        name="1.0",
        kind="delete",
        begun=begun,
        ended=ended,
        failed=failed,
        given={"ids": ["snap-a"]},
        result={"ids": ["snap-a"]} if ended is not None and not failed else {},
    )


def look(begun: int, ended: int, state: str) -> Operation:
    seen = {"seen": {"snap-a": state}}
    return Operation(name="2.0", kind="read", begun=begun, ended=ended, result=seen)


def listed(begun: int, ended: int) -> Operation:
    return Operation(name="2.1", kind="list", begun=begun, ended=ended, result={"seen": {}})


THERE = {"snap-a": Final(HOLDS, True)}
IN_ERROR = {"snap-a": Final(HOLDS, False)}
GONE: dict[str, Final] = {}


@pytest.mark.parametrize(
    ("history", "final"),
    [
        ([create(1, 2), look(3, 4, "completed")], THERE),
        ([create(1, None)], THERE),
        ([create(1, None)], IN_ERROR),
        ([create(1, None)], GONE),
        ([create(1, 4), look(2, 3, "pending")], THERE),
        ([create(1, 2), delete(3, 4)], GONE),
        ([create(1, 2), delete(3, None)], GONE),
        ([create(1, 2), delete(3, None), look(5, 6, "completed")], THERE),
        ([create(1, 2), delete(3, None), look(5, 6, "missing")], GONE),
        ([create(1, 2), delete(3, 6), look(4, 5, "missing"), listed(4, 5)], GONE),
        ([create(1, 2), delete(3, 6), look(4, 5, "completed")], GONE),
        ([create(1, 2), delete(3, 4, failed=True), look(5, 6, "completed")], THERE),
        ([create(1, 4), listed(2, 3)], THERE),
        ([create(1, 9), look(2, 3, "pending"), delete(4, 5), look(6, 7, "completed")], GONE),
    ],
)
def test_what_may_happen_is_no_violation(
    history: list[Operation], final: Mapping[str, Final]
) -> None:
    Judge(history, final).judge()


@pytest.mark.parametrize(
    ("history", "final", "told"),
    [
        ([create(1, 2)], GONE, "deleted by nobody, and it is gone"),
        ([create(1, 2)], IN_ERROR, "at the end it is in error"),
        ([create(1, 2), delete(3, 4, failed=True)], GONE, "deleted by nobody"),
        ([create(1, 2), delete(3, 4)], THERE, "is there, which 1.0 had deleted"),
        ([create(1, 2), delete(3, 4), look(5, 6, "completed")], GONE, "had deleted before"),
        ([create(1, 2), look(3, 4, "missing")], THERE, "which nobody had deleted"),
        ([create(1, 2), look(3, 4, "missing"), delete(5, 6)], GONE, "which nobody had deleted"),
        ([create(1, 2), look(3, 4, "pending")], THERE, "which was completed before"),
        ([create(1, 2), listed(3, 4)], THERE, "listed all snapshots, and snap-a lacks"),
        ([], THERE, "nobody made it"),
        ([create(1, 2, failed=True)], THERE, "failed, and snap-a is there"),
        (
            [create(1, 2), delete(3, None), look(5, 6, "missing"), look(7, 8, "completed")],
            THERE,
            "found snap-a gone, and 2.0 saw it again",
        ),
        ([create(1, 2)], {**THERE, "snap-b": Final(HOLDS, True)}, "told of another id"),
    ],
)
def test_what_must_not_happen_is_a_violation(
    history: list[Operation], final: Mapping[str, Final], told: str
) -> None:
    with pytest.raises(Violation, match=told):
        Judge(history, final).judge()


def test_prune_of_unknown_outcome_may_have_deleted_what_it_was_for() -> None:
    made = Operation(
        name="2.0",
        kind="create",
        begun=1,
        ended=2,
        given={"description": describe("2.0", (1,))},
        result={"id": "snap-a"},
    )
    mine = Operation(name="2.1", kind="prune", begun=3, given={"scope": "2."})
    others = Operation(name="1.1", kind="prune", begun=3, given={"scope": "1."})

    Judge([made, mine], GONE).judge()
    with pytest.raises(Violation, match="deleted by nobody"):
        Judge([made, others], GONE).judge()


def test_log_that_was_torn_is_cut_off(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.append(phase="invoke", name="0.0", kind="create", at=1, given={})
    log.append(phase="ok", name="0.0", at=2, result={"id": "snap-a"})
    log.append(phase="invoke", name="0.1", kind="compact", at=3, given={})
    log.close()
    with (tmp_path / "log").open("a") as file:
        file.write('{"phase": "ok", "na')

    Log(tmp_path / "log").close()
    first, second = operations(Log.read(tmp_path / "log"))

    assert (first.done, first.ended, first.result) == (True, 2, {"id": "snap-a"})
    assert (second.kind, second.ended, second.done) == ("compact", None, False)


def test_description_tells_what_a_snapshot_holds() -> None:
    assert parse_description(describe("1.22", (0, 23, 5))) == ("1.22", (0, 23, 5))
