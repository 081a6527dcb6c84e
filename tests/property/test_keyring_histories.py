"""Any sequence of operations on keys, by several accounts, against a small model of KMS.

The model has, of each key, its owner, state, time of deletion, aliases, and who may use it; and of
each data key, which key wrapped it. Each operation must do to the keyring what it does to the
model, or be refused with the model's code; and after each, every account can unwrap exactly what
the model lets it.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from ebsim.caller import Caller
from ebsim.errors import EbsimError, ErrorCode
from ebsim.keys.keyring import Keyring
from ebsim.keys.materials import NewDataKey
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.keys.wrapping import Binding
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder

STORE = b"S" * 16
DAY_US = 24 * 3600 * 1_000_000
ACCOUNTS = [Caller(digit * 12, "us-east-1") for digit in "123"]
NAMES = ["alias/a", "alias/b"]
ENABLED, DISABLED, PENDING = "Enabled", "Disabled", "PendingDeletion"

callers = st.sampled_from(ACCOUNTS)


class Refused(Exception):  # noqa: N818 - what the model answers is no error of the test
    """The model refuses, with a code."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class ModelKey:
    arn: str
    owner: Caller
    managed: bool = False
    state: str = ENABLED
    deletion_us: int | None = None
    versions: int = 1
    names: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)


class KeyringHistory(RuleBasedStateMachine):
    """See the module."""

    keys = Bundle("keys")

    @initialize()
    def begin(self) -> None:
        self.folder = fast_folder()
        self.clock = ManualClock()
        self.seed = 0
        self.model: dict[str, ModelKey] = {}
        self.wrapped: list[tuple[NewDataKey, str]] = []
        Keyring.create(self.path(), seams=self.seams())
        self.ring = Keyring.open(self.path(), seams=self.seams())

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def path(self) -> Path:
        return self.folder / "keyring.json"

    def seams(self) -> KeyringSeams:
        self.seed += 1
        return KeyringSeams(clock=self.clock, entropy=SeededEntropy(self.seed))

    # the model

    def there(self, arn: str) -> ModelKey:
        key = self.model.get(arn)
        if key is None or (key.deletion_us is not None and key.deletion_us <= self.clock.now_us()):
            raise Refused(ErrorCode.KEY_NOT_FOUND)
        return key

    def managing(self, caller: Caller, arn: str) -> ModelKey:
        key = self.there(arn)
        if key.owner != caller or key.managed:
            raise Refused(ErrorCode.ACCESS_DENIED)
        return key

    def changing(self, caller: Caller, arn: str) -> ModelKey:
        key = self.managing(caller, arn)
        if key.state == PENDING:
            raise Refused(ErrorCode.KEY_INVALID_STATE)
        return key

    def using(self, caller: Caller, arn: str) -> ModelKey:
        key = self.there(arn)
        if key.owner != caller and caller.account not in key.users:
            raise Refused(ErrorCode.ACCESS_DENIED)
        self.require_enabled(key)
        return key

    def require_enabled(self, key: ModelKey) -> None:
        if key.state == PENDING:
            raise Refused(ErrorCode.KEY_INVALID_STATE)
        if key.state == DISABLED:
            raise Refused(ErrorCode.KEY_DISABLED)

    def named(self, caller: Caller, name: str) -> ModelKey | None:
        for key in self.model.values():
            with suppress(Refused):
                if self.there(key.arn).owner == caller and name in key.names:
                    return key
        return None

    # operations

    @rule(target=keys, caller=callers)
    def create(self, caller: Caller) -> str:
        arn = self.ring.create_key(caller).arn
        self.model[arn] = ModelKey(arn, caller)
        return arn

    @rule(target=keys, caller=callers)
    def default(self, caller: Caller) -> object:
        arn = self.ring.default_key(caller).arn
        if arn in self.model:
            assert self.model[arn].owner == caller
            return multiple()
        assert not any(key.managed and key.owner == caller for key in self.model.values())
        self.model[arn] = ModelKey(arn, caller, managed=True, names={"alias/aws/ebs"})
        return arn

    @rule(caller=callers, arn=keys)
    def enable(self, caller: Caller, arn: str) -> None:
        def expect() -> None:
            self.changing(caller, arn).state = ENABLED

        self.both(lambda: self.ring.enable_key(caller, arn), expect)

    @rule(caller=callers, arn=keys)
    def disable(self, caller: Caller, arn: str) -> None:
        def expect() -> None:
            self.changing(caller, arn).state = DISABLED

        self.both(lambda: self.ring.disable_key(caller, arn), expect)

    @rule(caller=callers, arn=keys, days=st.sampled_from([7, 20, 30]))
    def schedule(self, caller: Caller, arn: str, days: int) -> None:
        def expect() -> None:
            key = self.changing(caller, arn)
            key.state, key.deletion_us = PENDING, self.clock.now_us() + days * DAY_US

        self.both(lambda: self.ring.schedule_key_deletion(caller, arn, days), expect)

    @rule(caller=callers, arn=keys)
    def cancel(self, caller: Caller, arn: str) -> None:
        def expect() -> None:
            key = self.managing(caller, arn)
            if key.state != PENDING:
                raise Refused(ErrorCode.KEY_INVALID_STATE)
            key.state, key.deletion_us = DISABLED, None

        self.both(lambda: self.ring.cancel_key_deletion(caller, arn), expect)

    @rule(caller=callers, arn=keys)
    def rotate(self, caller: Caller, arn: str) -> None:
        def expect() -> None:
            key = self.managing(caller, arn)
            self.require_enabled(key)
            key.versions += 1

        self.both(lambda: self.ring.rotate_key(caller, arn), expect)

    @rule(caller=callers, arn=keys, name=st.sampled_from(NAMES))
    def name(self, caller: Caller, arn: str, name: str) -> None:
        def expect() -> None:
            key = self.changing(caller, arn)
            if self.named(caller, name):
                raise Refused(ErrorCode.ALIAS_EXISTS)
            key.names.add(name)

        self.both(lambda: self.ring.create_alias(caller, name, arn), expect)

    @rule(caller=callers, arn=keys, name=st.sampled_from(NAMES))
    def rename(self, caller: Caller, arn: str, name: str) -> None:
        def expect() -> None:
            key, present = self.there(arn), self.named(caller, name)
            if present is None:
                raise Refused(ErrorCode.KEY_NOT_FOUND)
            if present is not key:
                self.changing(caller, arn).names.add(name)
                present.names.remove(name)

        self.both(lambda: self.ring.update_alias(caller, name, arn), expect)

    @rule(caller=callers, name=st.sampled_from(NAMES))
    def unname(self, caller: Caller, name: str) -> None:
        def expect() -> None:
            present = self.named(caller, name)
            if present is None:
                raise Refused(ErrorCode.KEY_NOT_FOUND)
            present.names.remove(name)

        self.both(lambda: self.ring.delete_alias(caller, name), expect)

    @rule(caller=callers, arn=keys, grantee=callers)
    def share(self, caller: Caller, arn: str, grantee: Caller) -> None:
        def expect() -> None:
            key = self.there(arn)
            if key.managed or (key.owner != caller and caller.account not in key.users):
                raise Refused(ErrorCode.ACCESS_DENIED)
            self.require_enabled(key)
            key.users.add(grantee.account)

        self.both(lambda: self.ring.create_grant(caller, arn, grantee.account), expect)

    @rule(arn=keys, grantee=callers)
    def unshare(self, arn: str, grantee: Caller) -> None:
        key = self.model[arn]
        with suppress(Refused):
            self.there(arn)
            for grant in self.ring.list_grants(key.owner, arn):
                if grant.grantee == grantee.account:
                    self.ring.retire_grant(key.owner, arn, grant.grant_id)
            key.users.discard(grantee.account)

    @rule(caller=callers, arn=keys)
    def wrap(self, caller: Caller, arn: str) -> None:
        def expect() -> None:
            self.using(caller, arn)

        made = self.both(lambda: self.ring.generate_data_key(caller, arn, STORE), expect)
        if isinstance(made, NewDataKey):
            self.wrapped.append((made, arn))

    @rule(caller=callers, number=st.integers(0, 5))
    def rewrap(self, caller: Caller, number: int) -> None:
        if number < len(self.wrapped):
            made, arn = self.wrapped[number]
            binding = Binding(STORE, made.data_key_id)

            def call() -> NewDataKey:
                wrapped = self.ring.rewrap_data_key(caller, arn, made.wrapped, binding)
                assert int.from_bytes(wrapped[4:8], "little") == self.model[arn].versions
                return NewDataKey(
                    data_key_id=made.data_key_id, key_arn=arn, wrapped=wrapped, plain=made.plain
                )

            found = self.both(call, lambda: self.using(caller, arn))
            if isinstance(found, NewDataKey):
                self.wrapped[number] = (found, arn)

    @rule(days=st.sampled_from([1, 7, 30]))
    def wait(self, days: int) -> None:
        self.clock.advance(days=days)

    @rule()
    def destroy(self) -> None:
        gone = set(self.ring.destroy_deleted_keys())
        expected = set()
        for arn in list(self.model):
            try:
                self.there(arn)
            except Refused:
                expected.add(arn)
                self.model[arn].deletion_us = 0
        assert gone <= expected

    @rule()
    def reopen(self) -> None:
        self.ring = Keyring.open(self.path(), seams=self.seams())

    @rule()
    def recover(self) -> None:
        """Make the keyring again from its recovery copy; grants are lost, as it says."""
        text = self.ring.recovery_text()
        self.path().unlink()
        self.ring = Keyring.recover(self.path(), text, seams=self.seams())
        for key in self.model.values():
            with suppress(Refused):
                self.there(key.arn)
                key.users.clear()
                if key.state == PENDING:
                    key.state, key.deletion_us = DISABLED, None
                continue
            key.deletion_us = 0  # it was not in the copy

    # what must hold

    @invariant()
    def keys_are_as_the_model_has_them(self) -> None:
        for caller in ACCOUNTS:
            expected = {}
            for key in self.model.values():
                with suppress(Refused):
                    if self.there(key.arn).owner == caller:
                        expected[key.arn] = (key.state, key.deletion_us, key.names)
            found = {
                key.arn: (str(key.state), key.deletion_us, set(key.aliases))
                for key in self.ring.list_keys(caller)
            }
            assert found == expected

    @invariant()
    def each_account_unwraps_what_it_may_and_nothing_else(self) -> None:
        for made, arn in self.wrapped[-4:]:
            binding = Binding(STORE, made.data_key_id)
            for caller in ACCOUNTS:
                try:
                    self.using(caller, arn)
                    expected = None
                except Refused as refusal:
                    expected = refusal.code
                try:
                    found = self.ring.unwrap_data_key(caller, arn, made.wrapped, binding)
                    assert (found, expected) == (made.plain, None)
                except EbsimError as error:
                    assert error.code is expected  # noqa: PT017 - both ways are looked at

    def both(self, call: object, expect: object) -> object:
        """Do something to the keyring and to the model; they agree, also in refusing."""
        assert callable(call)
        assert callable(expect)
        try:
            expect()
        except Refused as refusal:
            try:
                call()
            except EbsimError as error:
                assert error.code is refusal.code  # noqa: PT017 - both ways are looked at
                return None
            raise AssertionError(f"the model refuses with {refusal.code}") from None
        return call()


TestKeyringHistories = KeyringHistory.TestCase
TestKeyringHistories.settings = settings(max_examples=40, stateful_step_count=30)
