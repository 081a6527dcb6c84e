"""What accounts do with keys, and what they ask of encryption, in random histories.

The part of `ebsim.testing.account_histories` about keys: they are made, disabled, enabled, to be
deleted, gone, granted and not any more; encryption is the default or not, under one key or another.
What may be done with them, and what they encrypt, is what `ebsim.testing.key_model` says.
"""

from collections.abc import Callable, Collection

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from ebsim.caller import Caller
from ebsim.engine import Store
from ebsim.errors import EbsimError, ErrorCode, SnapshotFailedError
from ebsim.results import SnapshotState
from ebsim.testing.key_model import MANAGED, Asked, ModelKey
from ebsim.testing.rights_model import RightsModel
from ebsim.testing.seams import ManualClock

ACCOUNTS = ("111122223333", "444455556666", "777788889999")
HOME, AWAY = "us-east-1", "eu-central-1"
CALLERS = (*(Caller(account, HOME) for account in ACCOUNTS), Caller(ACCOUNTS[0], AWAY))
KEYS_MAX = 4
DAY_US = 24 * 3600 * 1_000_000
DELETION_DAYS = 7
NOT_ACCESSIBLE = "Given key ID is not accessible"

REVOKED = ErrorCode.CUSTOMER_KEY_REVOKED

callers = st.sampled_from(CALLERS)


class KeyRules(RuleBasedStateMachine):
    """The rules about keys; the history that they are a part of has the rest.

    Attributes:
        store: The store, open.
        model: The rights, and the keys.
        clock: The store's clock.
        failed: The snapshots that ended as `error`.
    """

    failed: set[str]
    store: Store
    model: RightsModel
    clock: ManualClock

    def acting(self, caller: Caller) -> Store:
        """Return the store as an account uses it."""
        return self.store.as_account(caller.account, caller.region)

    def customer_keys(self) -> list[str]:
        """Return the keys that accounts made; also those that are gone."""
        return [arn for arn, key in self.model.keys.keys.items() if not key.managed]

    def draw_key(self, data: st.DataObject) -> str:
        """Draw a key that accounts made."""
        return data.draw(st.sampled_from(self.customer_keys()), "key")

    # Keys

    @precondition(lambda self: len(self.customer_keys()) < KEYS_MAX)
    @rule(caller=callers)
    def make_a_key(self, caller: Caller) -> None:
        """Make a key that is one's own."""
        self.new_key(caller)

    def new_key(self, caller: Caller) -> str:
        """Make a key, in the model too; return its ARN."""
        arn = self.acting(caller).keys.create().arn
        self.model.keys.keys[arn] = ModelKey(owner=caller)
        return arn

    @precondition(lambda self: self.customer_keys())
    @rule(
        data=st.data(), what=st.sampled_from(("disable", "disable", "enable", "enable", "delete"))
    )
    def change_a_key(self, data: st.DataObject, what: str) -> None:
        """Disable or enable a key, or have it be deleted."""
        arn = self.draw_key(data)
        key = self.model.keys.keys[arn]
        account = data.draw(st.sampled_from((*ACCOUNTS, *[key.owner.account] * 6)), "account")
        operations = self.acting(Caller(account, key.owner.region)).keys
        expected = self.model.keys.change_refusal(account, arn)
        if what == "disable":
            self.attempt(lambda: operations.disable(arn), expected)
        elif what == "enable":
            self.attempt(lambda: operations.enable(arn), expected)
        else:
            self.attempt(lambda: operations.schedule_deletion(arn, DELETION_DAYS), expected)
        if expected is None and what == "delete":
            key.gone_us = self.clock.now_us() + DELETION_DAYS * DAY_US
        elif expected is None:
            key.enabled = what == "enable"

    @precondition(lambda self: self.customer_keys())
    @rule(data=st.data())
    def keep_a_key(self, data: st.DataObject) -> None:
        """Keep a key that was to be deleted: it is disabled then."""
        arn = self.draw_key(data)
        key = self.model.keys.keys[arn]
        expected = None
        if self.model.keys.is_gone(key):
            expected = ErrorCode.KEY_NOT_FOUND
        elif key.gone_us is None:
            expected = ErrorCode.KEY_INVALID_STATE
        self.attempt(lambda: self.acting(key.owner).keys.cancel_deletion(arn), expected)
        if expected is None:
            key.enabled, key.gone_us = False, None

    @precondition(lambda self: self.customer_keys())
    @rule(data=st.data(), grantee=st.sampled_from(ACCOUNTS))
    def grant_a_key(self, data: st.DataObject, grantee: str) -> None:
        """Let another account use a key: its owner may, and whom it was granted so."""
        arn = self.draw_key(data)
        key = self.model.keys.keys[arn]
        account = data.draw(st.sampled_from((*ACCOUNTS, *[key.owner.account] * 6)), "account")
        operations = self.acting(Caller(account, key.owner.region)).keys
        expected = self.model.keys.use_refusal(account, arn)
        grant_id = self.attempt(lambda: operations.create_grant(arn, grantee).grant_id, expected)
        if grant_id is not None and grantee != key.owner.account:
            key.users.setdefault(grantee, grant_id)

    @precondition(lambda self: self.customer_keys())
    @rule(data=st.data())
    def revoke_a_key(self, data: st.DataObject) -> None:
        """Let another account use a key no more."""
        arn = self.draw_key(data)
        key = self.model.keys.keys[arn]
        if key.users and not self.model.keys.is_gone(key):
            grantee = data.draw(st.sampled_from(sorted(key.users)), "grantee")
            operations = self.acting(key.owner).keys
            for grant in operations.list_grants(arn):
                if grant.grantee == grantee:
                    operations.retire_grant(arn, grant.grant_id)
            del key.users[grantee]

    @rule()
    def destroy_deleted_keys(self) -> None:
        """Destroy what is gone for good: nobody can tell the difference."""
        for arn in self.store.keys.destroy_deleted():
            assert self.model.keys.is_gone(self.model.keys.keys[arn])

    # Defaults

    @rule(caller=callers, wanted=st.booleans())
    def encrypt_by_default(self, caller: Caller, wanted: bool) -> None:
        """Have all that is new be encrypted, or not."""
        if wanted:
            self.acting(caller).encryption.enable_by_default()
            self.model.keys.by_default.add(caller)
        else:
            self.acting(caller).encryption.disable_by_default()
            self.model.keys.by_default.discard(caller)

    @rule(caller=callers, data=st.data())
    def choose_the_default_key(self, caller: Caller, data: st.DataObject) -> None:
        """Choose one's default key: a customer key, also another's that is granted, or AWS's."""
        arn = data.draw(st.sampled_from(("", *self.customer_keys())), "key")
        operations = self.acting(caller).encryption
        if not arn:
            operations.reset_default_kms_key_id()
            self.model.keys.chosen.pop(caller, None)
            return
        may = self.model.keys.can_encrypt(caller, arn)
        self.attempt(lambda: operations.modify_default_kms_key_id(arn), None if may else REVOKED)
        if may:
            self.model.keys.chosen[caller] = arn

    # What is asked of encryption, and what comes of it

    def draw_asked(self, data: st.DataObject) -> Asked:
        """Draw what a request says of encryption."""
        key = data.draw(st.sampled_from(("", "", *self.customer_keys())), "key")
        return Asked(data.draw(st.booleans(), "encrypted"), key)

    def refusals(self, caller: Caller, asked: Asked, source: str, wanted: str) -> set[ErrorCode]:
        """Return what a request may be refused with that has a source's key, and wants one."""
        found = set()
        if asked.key and not asked.encrypted:
            found.add(ErrorCode.INVALID_PARAMETER_DEPENDENCY)
        readable = self.model.keys.use_refusal(caller.account, source) is None
        if not readable or (wanted and not self.model.keys.can_encrypt(caller, wanted)):
            found.add(REVOKED)
        return found

    def key_of(self, caller: Caller, wanted: str, made: str) -> str:
        """Compare the key of something that was made with what it should be; return its ARN."""
        if wanted != MANAGED:
            assert made == wanted
            return made
        known = self.model.keys.managed_of(caller)
        if known is None:
            assert made not in self.model.keys.keys
            assert self.acting(caller).keys.get("alias/aws/ebs").arn == made
            self.model.keys.keys[made] = ModelKey(owner=caller, managed=True)
        else:
            assert made == known
        return made

    def fail(self, caller: Caller, call: Callable[[], object]) -> None:
        """Do something that begins a snapshot, which ends as `error` for its key; delete that."""
        name = None
        try:
            call()
        except SnapshotFailedError as error:
            name = error.snapshot_id
        assert name is not None, "a snapshot is made though its key cannot be used"
        self.look_at_failed(caller, name)

    def look_at_failed(self, caller: Caller, name: str) -> None:
        """See that a snapshot ended as `error`, and why; delete it."""
        store = self.acting(caller)
        shown = store.get_snapshot(name)
        assert shown.state is SnapshotState.ERROR
        assert shown.state_message.startswith(NOT_ACCESSIBLE)
        assert shown.encrypted, "whatever it was to be, it is not shown as unencrypted"
        store.delete_snapshots([name])
        self.failed.add(name)

    def attempt(
        self, call: Callable[[], object], expected: ErrorCode | Collection[ErrorCode] | None
    ) -> str | None:
        """Do something that works, or is refused with a code; return the id of what was made.

        Where several things are wrong, the model does not say which is told.
        """
        if expected:
            codes = (expected,) if isinstance(expected, ErrorCode) else expected
            assert code_of(call) in codes
            return None
        made = call()
        return made if isinstance(made, str) else None


def code_of(call: Callable[[], object]) -> ErrorCode | None:
    """Return the code with which something is refused; None where it is not."""
    try:
        call()
    except EbsimError as error:
        return error.code
    return None
