"""Random histories of several accounts that share one store, beside the model of their rights.

In each step some account does something to some snapshot or volume: its own, one that is shared
with it, one that it may not see, or one that is gone. Whether that works, and what it is refused
with, is what `ebsim.testing.rights_model` says. After every step one account, each in its turn,
asks for every snapshot and volume there ever was, and tries to change what is not its own: it sees,
reads and changes what it has a right to, byte for byte, and nothing else. At the end all of them
do.

What is done with keys is in `ebsim.testing.account_keys`.
"""

import shutil
from collections.abc import Callable, Iterator
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from ebsim.caller import Caller
from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode
from ebsim.locking import LockMode, LockRequest
from ebsim.permissions import PermissionChange, PublicAccess
from ebsim.requests import SnapshotQuery, VolumeQuery, VolumeRequest
from ebsim.results import SnapshotState
from ebsim.testing.account_keys import (
    ACCOUNTS,
    AWAY,
    CALLERS,
    DAY_US,
    DELETION_DAYS,
    HOME,
    REVOKED,
    KeyRules,
    callers,
    code_of,
)
from ebsim.testing.contents import NOISE, ZEROS, palette_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.key_model import Asked, KeyModel
from ebsim.testing.rights_model import OwnedSnapshot, OwnedVolume, RightsModel
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE

SNAPSHOTS_MAX = 7
VOLUMES_MAX = 3
BLOCKS = 2
LOCK_DAYS = 2

NOT_THERE = ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
NOT_YOURS = ErrorCode.AUTH_FAILURE
NOT_ALLOWED = ErrorCode.OPERATION_NOT_PERMITTED


class AccountHistory(KeyRules):
    """A store that several accounts use, and the model of who has a right to what.

    Attributes:
        store: The store, open.
        model: The rights.
        disks: What each account scans.
        disk_keys: Under which key; empty: none. Of those of which there was ever a snapshot.
        clock: The store's clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = fast_folder()
        self.clock = ManualClock()
        self.seams = Seams(clock=self.clock, entropy=SeededEntropy())
        self.store = Store.create(self.folder / "store", self.seams)
        self.model = RightsModel(KeyModel(self.clock.now_us))
        self.disk_keys: dict[Caller, str] = {}
        self.failed: set[str] = set()
        self.turn = 0
        self.watching = CALLERS[:1]
        self.disks = {
            caller: MemorySource(f"memory:{number}", BLOCKS * BLOCK_SIZE)
            for number, caller in enumerate(CALLERS)
        }

    def teardown(self) -> None:
        """Let all look at everything, prove every byte, close the store and remove it."""
        try:
            self.look_all()
            assert_healthy(self.store)
        finally:
            self.close()

    def look_all(self) -> None:
        """Let all look at everything."""
        self.watching = CALLERS
        self.look()
        for volume_id in list(self.model.volumes):
            self.compare_volume(volume_id)

    def close(self) -> None:
        """Close the store and remove it."""
        self.store.close()
        shutil.rmtree(self.folder)

    def draw_attempt(self, data: st.DataObject) -> tuple[Caller, str]:
        """Draw a snapshot that is there, or was, and who wants something of it: often its owner."""
        name = data.draw(st.sampled_from(list(self.model.ever)), "snapshot")
        owner = self.model.ever[name]
        return data.draw(st.one_of(st.just(owner), callers), "caller"), name

    @initialize()
    def begin(self) -> None:
        """Begin with a public snapshot, and one that is shared by name; both have tags.

        And with an encrypted disk, whose key is granted to an account.
        """
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
        key = self.new_key(third)
        grant = self.acting(third).keys.create_grant(key, first.account)
        self.model.keys.keys[key].users[first.account] = grant.grant_id
        self.write(third, 1, 3)
        self.take_first(third, Asked(encrypted=True, key=key))

    # What accounts have of their own

    @rule(caller=callers, index=st.integers(0, BLOCKS - 1), number=st.integers(0, 11))
    def write(self, caller: Caller, index: int, number: int) -> None:
        """Put something on a disk that only this account has; or, with 0, what all may have."""
        mine = palette_block(1 + 4 * (CALLERS.index(caller) * 12 + number))
        self.disks[caller].write(index * BLOCK_SIZE, mine if number else NOISE)

    @precondition(lambda self: len(self.model.snapshots) < SNAPSHOTS_MAX)
    @rule(caller=callers, data=st.data())
    def snapshot_a_disk(self, caller: Caller, data: st.DataObject) -> None:
        """Take a snapshot of one's disk; the first one says whether it is encrypted."""
        if caller not in self.disk_keys:
            self.take_first(caller, self.draw_asked(data))
        elif self.model.keys.use_refusal(caller.account, self.disk_keys[caller]):
            self.fail(caller, lambda: self.acting(caller).create_snapshot(self.disks[caller]))
        else:
            self.snapshot(caller)

    def take_first(self, caller: Caller, asked: Asked) -> None:
        """Take the first snapshot of a disk, which stays encrypted as this one is."""
        wanted = self.model.keys.volume_key(caller, None, None, asked)
        options = SnapshotOptions(encrypted=asked.encrypted or None, kms_key_id=asked.key or None)
        expected = self.refusals(caller, asked, "", wanted)
        if expected:
            disk, store = self.disks[caller], self.acting(caller)
            self.attempt(lambda: store.create_snapshot(disk, options), expected)
        else:
            name = self.snapshot(caller, options, wanted)
            self.disk_keys[caller] = self.model.snapshots[name].key

    def snapshot(
        self, caller: Caller, options: SnapshotOptions | None = None, wanted: str | None = None
    ) -> str:
        """Take a snapshot of an account's disk, in the model too; return its id."""
        made = self.acting(caller).create_snapshot(self.disks[caller], options)
        assert made.owner == caller.account
        disk = self.disks[caller]
        blocks = (disk.read(start, start + BLOCK_SIZE) for start in _starts())
        wanted = self.disk_keys.setdefault(caller, "") if wanted is None else wanted
        key = self.key_of(caller, wanted, made.kms_key_id)
        assert made.encrypted is bool(key)
        self.model.add_snapshot(made.snapshot_id, caller, tuple(blocks), key)
        return made.snapshot_id

    @precondition(lambda self: self.model.ever and len(self.model.volumes) < VOLUMES_MAX)
    @rule(data=st.data())
    def make_a_volume(self, data: st.DataObject) -> None:
        """Make a volume of a snapshot, maybe encrypted otherwise."""
        caller, name = self.draw_attempt(data)
        asked = self.draw_asked(data)
        request = VolumeRequest(
            snapshot_id=name,
            encrypted=asked.encrypted or None,
            kms_key_id=asked.key or None,
        )
        store = self.acting(caller)
        if not self.model.sees(caller, name):
            assert code_of(lambda: store.volumes.create(request)) is NOT_THERE
            return
        origin = self.model.snapshots[name]
        wanted = self.model.keys.volume_key(caller, origin.key, origin.owner, asked)
        expected = self.refusals(caller, asked, origin.key, wanted)
        made = self.attempt(lambda: store.volumes.create(request).volume_id, expected)
        if made is not None:
            key = self.key_of(caller, wanted, store.volumes.get(made).kms_key_id)
            self.model.volumes[made] = OwnedVolume(
                owner=caller,
                blocks=origin.blocks,
                key=key,
                lazy={index for index in range(BLOCKS) if origin.blocks[index] != ZEROS},
                origin_key=origin.key,
                whole=origin.owner != caller or origin.key != key,
            )

    def draw_volume(self, data: st.DataObject) -> tuple[str, OwnedVolume]:
        """Draw a volume that is there."""
        volume_id = data.draw(st.sampled_from(list(self.model.volumes)), "volume")
        return volume_id, self.model.volumes[volume_id]

    @precondition(lambda self: self.model.volumes)
    @rule(data=st.data(), index=st.integers(0, BLOCKS - 1))
    def write_to_a_volume(self, data: st.DataObject, index: int) -> None:
        """Write to a volume: what it was made from stays as it is."""
        volume_id, volume = self.draw_volume(data)
        mine = palette_block(1 + 4 * (CALLERS.index(volume.owner) * 12))
        store, expected = self.acting(volume.owner), self.model.use_refusal(volume)
        if expected is not None:
            assert code_of(lambda: store.volumes.open(volume_id)) is expected
            return
        with store.volumes.open(volume_id) as file:
            file.pwrite(mine, index * BLOCK_SIZE)
        volume.blocks = (*volume.blocks[:index], mine, *volume.blocks[index + 1 :])
        volume.lazy.discard(index)
        volume.unsure.discard(index)

    @precondition(lambda self: self.model.volumes)
    @rule(data=st.data())
    def read_a_volume(self, data: st.DataObject) -> None:
        """Read a volume: what it was made from is loaded, by the right of its owner."""
        self.compare_volume(self.draw_volume(data)[0])

    def compare_volume(self, volume_id: str) -> None:
        """Compare what a volume holds, as far as its owner may read it."""
        volume = self.model.volumes[volume_id]
        store, refused = self.acting(volume.owner), self.model.use_refusal(volume)
        if refused is not None:
            assert code_of(lambda: store.volumes.open(volume_id)) is refused
            return
        not_loaded = self.model.keys.use_refusal(volume.owner.account, volume.origin_key)
        with store.volumes.open(volume_id) as file:
            for index in range(BLOCKS):
                found = code_of(partial(file.pread, 1, index * BLOCK_SIZE))
                if index not in volume.unsure:
                    assert found is (not_loaded if index in volume.lazy else None)
                if found is None:
                    assert file.pread(BLOCK_SIZE, index * BLOCK_SIZE) == volume.blocks[index]
                    volume.lazy.discard(index)
                    volume.unsure.discard(index)

    @precondition(lambda self: self.model.volumes and len(self.model.snapshots) < SNAPSHOTS_MAX)
    @rule(data=st.data())
    def snapshot_a_volume(self, data: st.DataObject) -> None:
        """Take a snapshot of a volume: under its key, and of what it has to be loaded from."""
        volume_id, volume = self.draw_volume(data)
        store = self.acting(volume.owner)
        if self.model.use_refusal(volume) is not None:
            assert code_of(lambda: store.create_snapshot(volume_id)) is REVOKED
            return
        lost = self.model.keys.use_refusal(volume.owner.account, volume.origin_key)
        (made,) = store.wait_snapshots([store.create_snapshot(volume_id).snapshot_id])
        if lost and volume.whole and (volume.lazy or made.state is SnapshotState.ERROR):
            assert volume.lazy | volume.unsure
            self.look_at_failed(volume.owner, made.snapshot_id)
            return
        assert (made.state, made.kms_key_id) == (SnapshotState.COMPLETED, volume.key)
        self.model.add_snapshot(made.snapshot_id, volume.owner, volume.blocks, volume.key)
        if volume.whole:  # all of it was read, and some of it may have been loaded thereby
            volume.unsure |= volume.lazy
            volume.lazy.clear()
            volume.whole = False

    @precondition(lambda self: self.model.volumes)
    @rule(data=st.data())
    def delete_a_volume(self, data: st.DataObject) -> None:
        """Delete a volume, whatever became of its key; snapshots stay."""
        volume_id, volume = self.draw_volume(data)
        del self.model.volumes[volume_id]
        self.acting(volume.owner).volumes.delete(volume_id)

    @precondition(lambda self: self.model.ever and len(self.model.snapshots) < SNAPSHOTS_MAX)
    @rule(source_region=st.sampled_from((HOME, HOME, AWAY)), data=st.data())
    def copy(self, source_region: str, data: st.DataObject) -> None:
        """Copy a snapshot to one's account and Region, maybe under another key."""
        caller, name = self.draw_attempt(data)
        asked, store = self.draw_asked(data), self.acting(caller)
        options = SnapshotOptions(encrypted=asked.encrypted or None, kms_key_id=asked.key or None)
        if not self.model.sees(Caller(caller.account, source_region), name):
            refused = code_of(lambda: store.copy_snapshot(name, source_region, options))
            assert refused is NOT_THERE
            return
        source = self.model.snapshots[name]
        wanted = self.model.keys.copy_key(caller, source.key, asked)
        expected = self.refusals(caller, asked, source.key, wanted)
        if REVOKED in expected and len(expected) == 1:
            self.fail(caller, lambda: store.copy_snapshot(name, source_region, options))
            return
        copied = self.attempt(
            lambda: store.copy_snapshot(name, source_region, options).snapshot_id,
            expected - {REVOKED},
        )
        if copied is not None:
            made = store.get_snapshot(copied)
            key = self.key_of(caller, wanted, made.kms_key_id)
            self.model.add_snapshot(copied, caller, source.blocks, key)
            owner = self.acting(source.owner).get_snapshot(name)
            same = made.data_encryption_key_id == owner.data_encryption_key_id
            assert same is (key == source.key)

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
        if expected is None and adding and not self.model.may_share(name, everybody=everybody):
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

    @rule()
    def a_week_passes(self) -> None:
        """Move the clock far: keys that were to be deleted are gone."""
        self.clock.advance(days=DELETION_DAYS)

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
    def accounts_look_by_turns(self) -> None:
        """Have one account look at everything; another the next time."""
        self.look()
        self.turn += 1
        self.watching = (CALLERS[self.turn % len(CALLERS)],)

    def look(self) -> None:
        """Have those whose turn it is look at everything."""
        self.everybody_sees_what_it_may_see()
        self.nobody_changes_what_is_anothers()
        self.volumes_are_their_owners()
        self.bills_and_events_are_their_owners()

    def everybody_sees_what_it_may_see(self) -> None:
        """Compare lists, views and bytes with the rights."""
        for caller in self.watching:
            store = self.acting(caller)
            visible = self.model.visible(caller)
            for shown in store.list_snapshots():
                tags = self.model.snapshots[shown.snapshot_id].tags
                assert shown.tags == tags.get(caller.account, {})
            assert {each.snapshot_id for each in store.list_snapshots()} == visible
            self.compare_named(caller, store)
            for name in self.model.ever:
                self.compare_view(caller, store, name)

    def compare_named(self, caller: Caller, store: Store) -> None:
        """Name all: in another Region there are none, and what one may not see is left out."""
        for region in {each.owner.region for each in self.model.snapshots.values()}:
            ids = [
                name for name, each in self.model.snapshots.items() if each.owner.region == region
            ]
            query = SnapshotQuery(snapshot_ids=ids)
            if region == caller.region:
                named = {each.snapshot_id for each in store.list_snapshots(query)}
                assert named == self.model.visible(caller)
            else:
                assert code_of(partial(store.list_snapshots, query)) is NOT_THERE

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
        refused = self.model.read_refusal(caller, name)
        for index in range(BLOCKS if refused is None else 1):
            if refused is None:
                wanted = self.model.snapshots[name].blocks[index]
                assert store.read_block(name, index) == wanted
            else:
                assert code_of(lambda: store.read_block(name, 0)) is refused

    def nobody_changes_what_is_anothers(self) -> None:
        """Let everybody try; what owners are told afterwards is what the model says."""
        for caller in self.watching:
            store = self.acting(caller)
            for name in self.model.ever:
                if not self.model.owns(caller, name):
                    expected = self.refusal(caller, name)
                    for change in changes_of(store, name):
                        assert code_of(change) is expected
        for name, found in self.model.snapshots.items():
            if found.owner in self.watching:
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

    def volumes_are_their_owners(self) -> None:
        """Each account has its volumes, and none of another's can be opened or named."""
        for caller in self.watching:
            store = self.acting(caller)
            shown = {each.volume_id: each.kms_key_id for each in store.volumes.list()}
            volumes = self.model.volumes.items()
            assert shown == {name: each.key for name, each in volumes if each.owner == caller}
            for name, volume in volumes:
                if volume.owner == caller:
                    continue
                query = VolumeQuery(volume_ids=[name])
                for call in volume_calls(store, name, query):
                    assert code_of(call) is ErrorCode.INVALID_VOLUME_NOT_FOUND

    def bills_and_events_are_their_owners(self) -> None:
        """The ledger and the events of an account tell of its own snapshots, and of shares."""
        for caller in self.watching:
            store = self.acting(caller)
            mine = {name for name, owner in self.model.ever.items() if owner == caller}
            charged = {each.snapshot_id for each in store.ledger()}
            assert charged - self.failed == mine
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
    yield lambda: store.tiers.archive(name)


def volume_calls(store: Store, name: str, query: VolumeQuery) -> Iterator[Callable[[], object]]:
    """Yield ways to get at a volume."""
    yield lambda: store.volumes.get(name)
    yield lambda: store.volumes.list(query)
    yield lambda: store.volumes.open(name)
    yield lambda: store.volumes.delete(name)
    yield lambda: store.create_snapshot(name)


def _starts() -> range:
    return range(0, BLOCKS * BLOCK_SIZE, BLOCK_SIZE)
