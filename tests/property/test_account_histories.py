"""Random histories of several accounts on one store, run beside the model of their rights.

By default there are 18 histories, the same in every run; `EBSIM_TEST_PROFILE=long` takes 200 at
random. That they can be red is shown by switching off a rule each, and having happen what it is
for.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from ebsim.core import (
    access,
    encryption,
    events,
    ledger,
    lock_rules,
    permissions,
    snapshot_queries,
)
from ebsim.keys import rules
from ebsim.locking import LockMode
from ebsim.permissions import PublicAccess
from ebsim.testing.account_histories import AccountHistory
from ebsim.testing.account_keys import CALLERS
from ebsim.testing.key_model import Asked
from ebsim.volumes import opening
from ebsim.volumes.origin import Origin

Sabotage = Callable[[], AbstractContextManager[object]]
Story = Callable[[AccountHistory], object]

FIRST, SECOND, THIRD, AFAR = CALLERS
PUBLIC, SHARED, ENCRYPTED = range(3)
"""The snapshots that a history begins with, of the first three accounts."""

EXAMPLES = settings().max_examples
HISTORIES = settings(max_examples=18 if EXAMPLES <= 150 else EXAMPLES // 5, stateful_step_count=30)


@pytest.mark.slow
def test_no_account_does_what_it_has_no_right_to() -> None:
    run_state_machine_as_test(AccountHistory, settings=HISTORIES)


# What a history does when it is told what to draw


class Draws:
    """What a rule draws, by label."""

    def __init__(self, **chosen: object) -> None:
        self._chosen = chosen

    def draw(self, _strategy: object, label: str) -> object:
        return self._chosen[label]


def drawn(history: AccountHistory, number: int, **chosen: object) -> st.DataObject:
    """Return draws of a snapshot, by whoever is named, or else by its owner."""
    name = list(history.model.ever)[number]
    draws = Draws(**{"snapshot": name, "caller": history.model.ever[name], **chosen})
    return cast("st.DataObject", draws)


def key_of(history: AccountHistory) -> str:
    return history.customer_keys()[0]


def share(history: AccountHistory, number: int, account: str | None) -> None:
    accounts = [account] if account else []
    history.share(drawn(history, number), accounts, account is None, True)


def nothing(_history: AccountHistory) -> None:
    pass


def block(history: AccountHistory) -> None:
    history.block_public_access(FIRST, PublicAccess.BLOCK_ALL_SHARING)


def lock(history: AccountHistory) -> None:
    history.lock(drawn(history, PUBLIC), LockMode.COMPLIANCE)


def share_the_encrypted_one(history: AccountHistory) -> None:
    share(history, ENCRYPTED, SECOND.account)


def make_the_encrypted_one_public(history: AccountHistory) -> None:
    share(history, ENCRYPTED, None)


def disable(history: AccountHistory) -> None:
    draws = cast("st.DataObject", Draws(key=key_of(history), account=THIRD.account))
    history.change_a_key(draws, "disable")


def share_under_the_default_key(history: AccountHistory) -> None:
    history.take_first(AFAR, Asked(encrypted=True))
    share(history, len(history.model.ever) - 1, SECOND.account)


def encrypt_a_volume(history: AccountHistory) -> None:
    history.encrypt_by_default(FIRST, True)
    history.make_a_volume(drawn(history, PUBLIC, key="", encrypted=False))


def copy_an_encrypted_one(history: AccountHistory) -> None:
    history.copy(THIRD.region, drawn(history, ENCRYPTED, key="", encrypted=False))


def make_a_volume_without_a_grant(history: AccountHistory) -> None:
    share_the_encrypted_one(history)
    history.make_a_volume(drawn(history, ENCRYPTED, caller=SECOND, key="", encrypted=False))


def load_after_the_grant(history: AccountHistory) -> None:
    share(history, ENCRYPTED, FIRST.account)
    history.make_a_volume(drawn(history, ENCRYPTED, caller=FIRST, key="", encrypted=False))
    draws = cast("st.DataObject", Draws(key=key_of(history), grantee=FIRST.account))
    history.revoke_a_key(draws)


def replaced(module: ModuleType, name: str, by: Callable[..., object]) -> Sabotage:
    return lambda: mock.patch.object(module, name, by)


def always(value: object) -> Callable[..., object]:
    return lambda *_given, **_named: value


def the_store_loads(context: Any, volume: Any, made: Any = Origin) -> object:
    return made(context.acting_as(None), volume)


SABOTAGE: dict[str, tuple[Sabotage, Story]] = {
    "public snapshots are not blocked": (
        replaced(access, "is_public", lambda _reader, record: record.public),
        block,
    ),
    "whoever sees a snapshot owns it": (
        replaced(
            access,
            "own_snapshot",
            lambda context, reader, name, **_: access.visible_snapshot(context, reader, name),
        ),
        nothing,
    ),
    "Regions do not matter": (
        replaced(
            access, "owns", lambda caller, record: caller is None or caller.account == record.owner
        ),
        nothing,
    ),
    "everything is listed": (replaced(snapshot_queries, "may_use", always(True)), nothing),
    "tags are everybody's": (
        replaced(snapshot_queries, "as_seen", lambda _caller, record: record),
        nothing,
    ),
    "anybody deletes": (replaced(access, "ensure_own_snapshots", always(None)), nothing),
    "locks are open": (replaced(lock_rules, "is_locked", always(False)), lock),
    "bills are everybody's": (replaced(ledger, "owns", always(True)), nothing),
    "events are everybody's": (replaced(events, "is_told", always(True)), nothing),
    "keys are everybody's": (
        replaced(rules, "require_right", always(None)),
        share_the_encrypted_one,
    ),
    "keys cannot be disabled": (replaced(rules, "require_enabled", always(None)), disable),
    "what is encrypted is public": (
        replaced(permissions, "_ensure_public_allowed", always(None)),
        make_the_encrypted_one_public,
    ),
    "the default key is shared": (
        replaced(permissions, "_ensure_shareable", always(None)),
        share_under_the_default_key,
    ),
    "nothing is encrypted by default": (
        replaced(encryption, "volume_key", lambda asked, _defaults, _source: asked.kms_key_id),
        encrypt_a_volume,
    ),
    "a copy has its source's key": (
        replaced(encryption, "copy_key", lambda _asked, _defaults, source: source.kms_key_id),
        copy_an_encrypted_one,
    ),
    "a volume needs no right to its snapshot's key": (
        replaced(encryption, "key_to_decrypt", always(None)),
        make_a_volume_without_a_grant,
    ),
    "a volume is loaded by the store's right": (
        replaced(opening, "Origin", the_store_loads),
        load_after_the_grant,
    ),
}


def play(story: Story, sabotage: Sabotage) -> None:
    """Have a story happen, with a rule switched off, and all look at what came of it."""
    history = AccountHistory()
    try:
        history.begin()
        with sabotage():
            story(history)
            history.look_all()
    finally:
        history.close()


@pytest.mark.parametrize("rule", SABOTAGE)
def test_a_rule_that_is_off_is_noticed(rule: str) -> None:
    sabotage, story = SABOTAGE[rule]
    with pytest.raises(AssertionError):
        play(story, sabotage)


@pytest.mark.parametrize("story", dict.fromkeys(story for _, story in SABOTAGE.values()))
def test_the_same_with_all_rules_is_as_the_model_has_it(story: Story) -> None:
    play(story, nullcontext)
