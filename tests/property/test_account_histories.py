"""Random histories of several accounts on one store, run beside the model of their rights.

That they can be red is shown by switching off a rule each.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from ebsim.core import access, events, ledger, lock_rules, snapshot_queries
from ebsim.testing.account_histories import AccountHistory

Sabotage = Callable[[], AbstractContextManager[object]]

HISTORIES = settings(max_examples=settings().max_examples // 5, stateful_step_count=30)
UNTIL_RED = settings(max_examples=40, stateful_step_count=30, phases=[Phase.generate])


@pytest.mark.slow
def test_no_account_does_what_it_has_no_right_to() -> None:
    run_state_machine_as_test(AccountHistory, settings=HISTORIES)


def replaced(module: ModuleType, name: str, by: Callable[..., object]) -> Sabotage:
    return lambda: mock.patch.object(module, name, by)


def always(value: object) -> Callable[..., object]:
    return lambda *_given, **_named: value


SABOTAGE: dict[str, Sabotage] = {
    "public snapshots are not blocked": replaced(
        access, "is_public", lambda _reader, record: record.public
    ),
    "whoever sees a snapshot owns it": replaced(
        access,
        "own_snapshot",
        lambda context, reader, name, **_: access.visible_snapshot(context, reader, name),
    ),
    "Regions do not matter": replaced(
        access, "owns", lambda caller, record: caller is None or caller.account == record.owner
    ),
    "everything is listed": replaced(snapshot_queries, "may_use", always(True)),
    "tags are everybody's": replaced(snapshot_queries, "as_seen", lambda _caller, record: record),
    "anybody deletes": replaced(access, "ensure_own_snapshots", always(None)),
    "locks are open": replaced(lock_rules, "is_locked", always(False)),
    "bills are everybody's": replaced(ledger, "owns", always(True)),
    "events are everybody's": replaced(events, "is_told", always(True)),
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", SABOTAGE)
def test_a_rule_that_is_off_is_noticed(rule: str) -> None:
    with SABOTAGE[rule](), pytest.raises(AssertionError):
        run_state_machine_as_test(AccountHistory, settings=UNTIL_RED)
