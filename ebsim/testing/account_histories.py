"""Random histories of several accounts that share one store, beside the model of their rights.

In each step some account does something to some snapshot or volume: its own, one that is shared
with it, one that it may not see, or one that is gone. Whether that works, and what it is refused
with, is what `ebsim.testing.rights_model` says. After every step every account asks for every
snapshot and volume there ever was, and tries to change what is not its own: it sees, reads and
changes what it has a right to, byte for byte, and nothing else.

Keys and encryption have a place there (`RightsModel.may_decrypt`) and none here yet.
"""

import shutil
from collections.abc import Callable, Iterator

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ebsim.caller import Caller
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError, ErrorCode
from ebsim.locking import LockMode, LockRequest
from ebsim.permissions import PermissionChange, PublicAccess
from ebsim.requests import SnapshotQuery, VolumeQuery, VolumeRequest
from ebsim.testing.contents import NOISE, palette_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.rights_model import OwnedSnapshot, RightsModel
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE

ACCOUNTS = ("111122223333", "444455556666", "777788889999")
HOME, AWAY = "us-east-1", "eu-central-1"
CALLERS = (*(Caller(account, HOME) for account in ACCOUNTS), Caller(ACCOUNTS[0], AWAY))
SNAPSHOTS_MAX = 7
VOLUMES_MAX = 3
BLOCKS = 2
DAY_US = 24 * 3600 * 1_000_000
LOCK_DAYS = 2

NOT_THERE = ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
NOT_YOURS = ErrorCode.AUTH_FAILURE
NOT_ALLOWED = ErrorCode.OPERATION_NOT_PERMITTED

callers = st.sampled_from(CALLERS)


class AccountHistory(RuleBasedStateMachine):
    """A store that several accounts use, and the model of who has a right to what.

    Attributes:
        store: The store, open.
        model: The rights.
        disks: What each account scans.
        clock: The store's clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = fast_folder()
        self.clock = ManualClock()
        self.seams = Seams(clock=self.clock, entropy=SeededEntropy())
        self.store = Store.create(self.folder / "store", self.seams)
        self.model = RightsModel()
        self.disks = {
            caller: MemorySource(f"memory:{number}", BLOCKS * BLOCK_SIZE)
            for number, caller in enumerate(CALLERS)
        }

    def teardown(self) -> None:
        """Prove every byte, close the store and remove it."""
        assert_healthy(self.store)
        self.store.close()
        shutil.rmtree(self.folder)

    def acting(self, caller: Caller) -> Store:
        """Return the store as an account uses it."""
        return self.store.as_account(caller.account, caller.region)

    def draw_attempt(self, data: st.DataObject) -> tuple[Caller, str]:
        """Draw a snapshot that is there, or was, and who wants something of it: often its owner."""
        name = data.draw(st.sampled_from(list(self.model.ever)), "snapshot")
        owner = self.model.ever[name]
        return data.draw(st.one_of(st.just(owner), callers), "caller"), name

    @initialize()
    def begin(self) -> None:
        """Begin with a public snapshot, and one that is shared by name; both have tags."""
        first, second, third, _ = CALLERS
        for caller, change in (
            (first, PermissionChange(add_all=True)),
            (second, PermissionChange(add=[third.account])),
        ):
            self.write(caller, 0, 1)
            name = self.snapshot(caller)
            self.acting(caller).permissions.modify(name, change)
            self.acting(caller).tags.create([name], {"Key": "owner"})
            found = self.model.snapshots[name]
            found.accounts, found.public = set(change.add), change.add_all
            found.tags[caller.account] = {"Key": "owner"}

    # What accounts have of their own

    @rule(caller=callers, index=st.integers(0, BLOCKS - 1), number=st.integers(0, 11))
    def write(self, caller: Caller, index: int, number: int) -> None:
        """Put something on a disk that only this account has; or, with 0, what all may have."""
        mine = palette_block(1 + 4 * (CALLERS.index(caller) * 12 + number))
        self.disks[caller].write(index * BLOCK_SIZE, mine if number else NOISE)

    @precondition(lambda self: len(self.model.snapshots) < SNAPSHOTS_MAX)
    @rule(caller=callers)
    def snapshot_a_disk(self, caller: Caller) -> None:
        """Take a snapshot of one's disk."""
        self.snapshot(caller)

    def snapshot(self, caller: Caller) -> str:
        """Take a snapshot of an account's disk, in the model too; return its id."""
        made = self.acting(caller).create_snapshot(self.disks[caller])
        assert made.owner == caller.account
        disk = self.disks[caller]
        blocks = (disk.read(start, start + BLOCK_SIZE) for start in _starts())
        self.model.add_snapshot(made.snapshot_id, caller, tuple(blocks))
        return made.snapshot_id

    @precondition(lambda self: self.model.ever and len(self.model.volumes) < VOLUMES_MAX)
    @rule(data=st.data())
    def make_a_volume(self, data: st.DataObject) -> None:
        """Make a volume of a snapshot, and read it."""
        caller, name = self.draw_attempt(data)
        request = VolumeRequest(snapshot_id=name)
        made = self.attempt(
            lambda: self.acting(caller).volumes.create(request).volume_id,
            None if self.model.reads(caller, name) else NOT_THERE,
        )
        if made is not None:
            self.model.volumes[made] = (caller, self.model.snapshots[name].blocks)

    @precondition(lambda self: self.model.volumes)
    @rule(data=st.data(), index=st.integers(0, BLOCKS - 1))
    def write_to_a_volume(self, data: st.DataObject, index: int) -> None:
        """Write to a volume: what it was made from stays as it is."""
        volume_id = data.draw(st.sampled_from(list(self.model.volumes)), "volume")
        caller, blocks = self.model.volumes[volume_id]
        mine = palette_block(1 + 4 * (CALLERS.index(caller) * 12))
        with self.acting(caller).volumes.open(volume_id) as file:
            file.pwrite(mine, index * BLOCK_SIZE)
        self.model.volumes[volume_id] = (caller, (*blocks[:index], mine, *blocks[index + 1 :]))

    @precondition(lambda self: self.model.volumes and len(self.model.snapshots) < SNAPSHOTS_MAX)
    @rule(data=st.data())
    def snapshot_a_volume(self, data: st.DataObject) -> None:
        """Take a snapshot of a volume."""
        volume_id = data.draw(st.sampled_from(list(self.model.volumes)), "volume")
        caller, blocks = self.model.volumes[volume_id]
        store = self.acting(caller)
        (made,) = store.wait_snapshots([store.create_snapshot(volume_id).snapshot_id])
        self.model.add_snapshot(made.snapshot_id, caller, blocks)

    @precondition(lambda self: self.model.volumes)
    @rule(data=st.data())
    def delete_a_volume(self, data: st.DataObject) -> None:
        """Delete a volume; snapshots stay."""
        volume_id = data.draw(st.sampled_from(list(self.model.volumes)), "volume")
        caller, _ = self.model.volumes.pop(volume_id)
        self.acting(caller).volumes.delete(volume_id)

    @precondition(lambda self: self.model.ever and len(self.model.snapshots) < SNAPSHOTS_MAX)
    @rule(source_region=st.sampled_from((HOME, AWAY)), data=st.data())
    def copy(self, source_region: str, data: st.DataObject) -> None:
        """Copy a snapshot to one's account and Region."""
        caller, name = self.draw_attempt(data)
        may = self.model.reads(Caller(caller.account, source_region), name)
        made = self.attempt(
            lambda: self.acting(caller).copy_snapshot(name, source_region).snapshot_id,
            None if may else NOT_THERE,
        )
        if made is not None:
            self.model.add_snapshot(made, caller, self.model.snapshots[name].blocks)

    # What changes rights

    @precondition(lambda self: self.model.ever)
    @rule(
        data=st.data(),
        accounts=st.lists(st.sampled_from(ACCOUNTS), unique=True),
        everybody=st.booleans(),
        adding=st.booleans(),
    )
    def share(
        self,
        data: st.DataObject,
        accounts: list[str],
        everybody: bool,
        adding: bool,
    ) -> None:
        """Share a snapshot, or share it no more."""
        caller, name = self.draw_attempt(data)
        expected = self.refusal(caller, name)
        if not accounts and not everybody:
            everybody = True
        blocked = self.model.public_access(caller) is not PublicAccess.UNBLOCKED
        if expected is None and adding and everybody and blocked:
            expected = NOT_ALLOWED
        if adding:
            change = PermissionChange(add=accounts, add_all=everybody)
        else:
            change = PermissionChange(remove=accounts, remove_all=everybody)
        self.attempt(lambda: self.acting(caller).permissions.modify(name, change), expected)
        if expected is None:
            found = self.model.snapshots[name]
            if adding:
                found.accounts |= set(accounts) - {caller.account}
            else:
                found.accounts -= set(accounts)
            found.public = adding if everybody else found.public

    @precondition(lambda self: self.model.ever)
    @rule(data=st.data())
    def share_with_nobody(self, data: st.DataObject) -> None:
        """Take all sharing back."""
        caller, name = self.draw_attempt(data)
        expected = self.refusal(caller, name)
        self.attempt(lambda: self.acting(caller).permissions.reset(name), expected)
        if expected is None:
            self.model.snapshots[name].accounts.clear()
            self.model.snapshots[name].public = False

    @rule(caller=callers, state=st.sampled_from(PublicAccess))
    def block_public_access(self, caller: Caller, state: PublicAccess) -> None:
        """Say whether one's snapshots may be public."""
        self.acting(caller).permissions.public_access = state
        self.model.blocked[caller] = state

    # Locks, tags, deletion

    @precondition(lambda self: self.model.ever)
    @rule(data=st.data(), mode=st.sampled_from(LockMode))
    def lock(self, data: st.DataObject, mode: LockMode) -> None:
        """Lock a snapshot for two days, or change its lock."""
        caller, name = self.draw_attempt(data)
        expected = self.refusal(caller, name)
        now_us = self.clock.now_us()
        if expected is None and self.is_sealed(name) and mode is LockMode.GOVERNANCE:
            expected = NOT_ALLOWED
        request = LockRequest(mode=mode, duration_days=LOCK_DAYS)
        self.attempt(lambda: self.acting(caller).locks.lock(name, request), expected)
        if expected is None:
            found = self.model.snapshots[name]
            found.locked_until_us = now_us + LOCK_DAYS * DAY_US
            found.compliance = mode is LockMode.COMPLIANCE

    @precondition(lambda self: self.model.ever)
    @rule(data=st.data())
    def unlock(self, data: st.DataObject) -> None:
        """Take a lock off."""
        caller, name = self.draw_attempt(data)
        expected = self.refusal(caller, name)
        if expected is None and not self.model.is_locked(name, self.clock.now_us()):
            expected = ErrorCode.INCORRECT_STATE
        elif expected is None and self.is_sealed(name):
            expected = NOT_ALLOWED
        self.attempt(lambda: self.acting(caller).locks.unlock(name), expected)
        if expected is None:
            self.model.snapshots[name].locked_until_us = 0

    @rule(hours=st.integers(1, 40))
    def time_passes(self, hours: int) -> None:
        """Move the clock: locks expire."""
        self.clock.advance(hours=hours)

    @precondition(lambda self: self.model.ever)
    @rule(data=st.data(), value=st.sampled_from(("", "a", "b")))
    def tag(self, data: st.DataObject, value: str) -> None:
        """Put a tag on a snapshot: who sees it may have tags of its own."""
        caller, name = self.draw_attempt(data)
        expected = None if self.model.sees(caller, name) else NOT_THERE
        self.attempt(lambda: self.acting(caller).tags.create([name], {"Key": value}), expected)
        if expected is None:
            self.model.snapshots[name].tags[caller.account] = {"Key": value}

    @precondition(lambda self: self.model.ever)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete a snapshot."""
        caller, name = self.draw_attempt(data)
        expected = self.refusal(caller, name)
        if expected is None and self.model.is_locked(name, self.clock.now_us()):
            expected = NOT_ALLOWED
        self.attempt(lambda: self.acting(caller).delete_snapshots([name]), expected)
        if expected is None:
            del self.model.snapshots[name]

    @rule()
    def reopen(self) -> None:
        """Close the store and open it again."""
        self.store.close()
        self.store = Store.open(self.folder / "store", self.seams)

    # After every step

    @invariant()
    def everybody_sees_what_it_may_see(self) -> None:
        """Compare lists, views and bytes with the rights."""
        for caller in CALLERS:
            store = self.acting(caller)
            visible = self.model.visible(caller)
            for shown in store.list_snapshots():
                tags = self.model.snapshots[shown.snapshot_id].tags
                assert shown.tags == tags.get(caller.account, {})
            assert {each.snapshot_id for each in store.list_snapshots()} == visible
            named = store.list_snapshots(SnapshotQuery(snapshot_ids=list(self.model.snapshots)))
            if self.model.snapshots:
                assert {each.snapshot_id for each in named} == visible
            for name in self.model.ever:
                self.compare_view(caller, store, name)

    def compare_view(self, caller: Caller, store: Store, name: str) -> None:
        """Compare what one account has of one snapshot."""
        if not self.model.sees(caller, name):
            assert code_of(lambda: store.get_snapshot(name)) is NOT_THERE
            assert code_of(lambda: store.wait_snapshots([name])) is NOT_THERE
        else:
            found = self.model.snapshots[name]
            shown = store.get_snapshot(name)
            assert shown.owner == found.owner.account
            assert shown.tags == found.tags.get(caller.account, {})
        for index in range(BLOCKS):
            if self.model.reads(caller, name):
                wanted = self.model.snapshots[name].blocks[index]
                assert store.read_block(name, index) == wanted
            else:
                assert code_of(lambda: store.read_block(name, 0)) is NOT_THERE

    @invariant()
    def nobody_changes_what_is_anothers(self) -> None:
        """Let everybody try; what owners are told afterwards is what the model says."""
        for caller in CALLERS:
            store = self.acting(caller)
            for name in self.model.ever:
                if not self.model.owns(caller, name):
                    expected = self.refusal(caller, name)
                    for change in changes_of(store, name):
                        assert code_of(change) is expected
        for name, found in self.model.snapshots.items():
            self.compare_record(name, found)

    def compare_record(self, name: str, found: OwnedSnapshot) -> None:
        """Compare what the owner is told of sharing and locks."""
        store = self.acting(found.owner)
        permissions = store.permissions.describe(name)
        assert set(permissions.accounts) == found.accounts
        assert permissions.public is found.public
        locked = [each.snapshot_id for each in store.locks.list() if each.state != "expired"]
        assert (name in locked) is self.model.is_locked(name, self.clock.now_us())
        refused = code_of(lambda: store.delete_snapshots([name], dry_run=True)) is NOT_ALLOWED
        assert refused is self.model.is_locked(name, self.clock.now_us())

    @invariant()
    def volumes_are_their_owners(self) -> None:
        """Each account has its volumes, and none of another's can be opened or named."""
        for caller in CALLERS:
            store = self.acting(caller)
            mine = {name for name, (owner, _) in self.model.volumes.items() if owner == caller}
            assert {each.volume_id for each in store.volumes.list()} == mine
            for name, (owner, blocks) in self.model.volumes.items():
                if owner == caller:
                    with store.volumes.open(name) as file:
                        assert file.pread(BLOCKS * BLOCK_SIZE, 0) == b"".join(blocks)
                    continue
                query = VolumeQuery(volume_ids=[name])
                for call in volume_calls(store, name, query):
                    assert code_of(call) is ErrorCode.INVALID_VOLUME_NOT_FOUND

    @invariant()
    def bills_and_events_are_their_owners(self) -> None:
        """The ledger and the events of an account tell of its own snapshots, and of shares."""
        for caller in CALLERS:
            store = self.acting(caller)
            mine = {name for name, owner in self.model.ever.items() if owner == caller}
            assert {each.snapshot_id for each in store.ledger()} == mine
            told = {(each.account, each.region) for each in store.events()}
            assert told <= {(caller.account, caller.region)}

    # Helpers

    def refusal(self, caller: Caller, name: str) -> ErrorCode | None:
        """Return what somebody who wants to change a snapshot is refused with; None: nothing."""
        if self.model.owns(caller, name):
            return None
        return NOT_YOURS if self.model.sees(caller, name) else NOT_THERE

    def is_sealed(self, name: str) -> bool:
        """Return whether a snapshot has a lock that can only be made longer."""
        locked = self.model.is_locked(name, self.clock.now_us())
        return locked and self.model.snapshots[name].compliance

    def attempt(self, call: Callable[[], object], expected: ErrorCode | None) -> str | None:
        """Do something that works, or is refused with a code; return the id of what was made."""
        if expected is not None:
            assert code_of(call) is expected
            return None
        made = call()
        return made if isinstance(made, str) else None


def changes_of(store: Store, name: str) -> Iterator[Callable[[], object]]:
    """Yield every way to change a snapshot that only its owner has."""
    everybody = PermissionChange(add_all=True)
    request = LockRequest(mode=LockMode.GOVERNANCE, duration_days=1)
    yield lambda: store.permissions.describe(name)
    yield lambda: store.permissions.modify(name, everybody)
    yield lambda: store.permissions.modify(name, PermissionChange(remove_all=True))
    yield lambda: store.permissions.reset(name)
    yield lambda: store.locks.lock(name, request)
    yield lambda: store.locks.unlock(name)
    yield lambda: store.delete_snapshots([name])
    yield lambda: store.delete_snapshots([name], dry_run=True)


def volume_calls(store: Store, name: str, query: VolumeQuery) -> Iterator[Callable[[], object]]:
    """Yield ways to get at a volume."""
    yield lambda: store.volumes.get(name)
    yield lambda: store.volumes.list(query)
    yield lambda: store.volumes.open(name)
    yield lambda: store.volumes.delete(name)
    yield lambda: store.create_snapshot(name)


def code_of(call: Callable[[], object]) -> ErrorCode | None:
    """Return the code with which something is refused; None where it is not."""
    try:
        call()
    except EbsimError as error:
        return error.code
    return None


def _starts() -> range:
    return range(0, BLOCKS * BLOCK_SIZE, BLOCK_SIZE)
