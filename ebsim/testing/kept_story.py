"""What stories do with encryption, sharing, copies, the archive and the Recycle Bin.

Its snapshots are of disks of their own, and are *kept* apart from the others of a story: what each
must be, and must hold, is said by `KeptModel`, and `assert_kept` compares a store with that. Where
a process died in a line, each snapshot is as it was before the line or as it is after it.

Some contents are only ever written to what is encrypted; `plain_in` looks for them on a disk.
"""

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import ConflictError, EbsimError, NotFoundError
from ebsim.permissions import PermissionChange
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.contents import palette_block
from ebsim.testing.seams import START_US, ManualClock
from ebsim.testing.sources import disk_of
from ebsim.tiering import StorageTier, TierRestore

FRIEND = "111122223333"
ABROAD = "eu-central-1"
HOME = ""
DEFAULT = "default"
"""Stands for the default key of a Region."""

SECRETS = tuple(range(100, 200, 4))
"""Numbers of contents that stories give to encrypted volumes and disks only."""

KEPT_TAG = "kept as"
"""A kept snapshot's tag with this key says its name."""

_BIN_TAG = ("bin", "yes")
_DAY_US = 24 * 3600 * 1_000_000
_SAMPLES = (1000, 300_001)
_SAMPLE_SIZE = 48


def alias(key: str) -> str:
    """Return the alias of a key in a story."""
    return f"alias/{key}"


def set_day(store: Store, day: int) -> None:
    """Have the clock of a store show a day of the story."""
    clock = store._context.clock
    assert isinstance(clock, ManualClock), "stories are acted out with a clock that they move"
    clock.set_us(START_US + day * _DAY_US)


class KeptVerbs:
    """The lines of a story about what is kept; a part of `ebsim.testing.volume_story.Actor`."""

    _store: Store
    ids: dict[str, str]
    day = 0

    def _key(self, key: str) -> None:
        self._store.keys.create(alias=alias(key))

    def _disable(self, key: str) -> None:
        self._store.keys.disable(alias(key))

    def _enable(self, key: str) -> None:
        self._store.keys.enable(alias(key))

    def _rotate(self, key: str) -> None:
        self._store.keys.rotate(alias(key))

    def _seal(self, volume: str, key: str) -> None:
        """Make an empty volume, encrypted under a key."""
        request = VolumeRequest(size_gib=1, encrypted=True, kms_key_id=alias(key))
        self.ids[volume] = self._store.volumes.create(request).volume_id

    def _build(self, volume: str, snapshot: str, key: str) -> None:
        """Make a volume of a kept snapshot, under another key if one is given."""
        request = VolumeRequest(
            snapshot_id=self.ids[snapshot],
            encrypted=True if key else None,
            kms_key_id=alias(key) if key else None,
        )
        self.ids[volume] = self._store.volumes.create(request).volume_id

    def _keep(self, name: str, disk: str, key: str, *numbers: int) -> None:
        """Take a snapshot of a disk, which is encrypted under a key from the first one on."""
        source = disk_of(*map(palette_block, numbers), name=f"memory:kept {disk}")
        if f"disk: {disk}" in self.ids:
            key = ""  # that is known of its volume, and is not said again
        self.ids[f"disk: {disk}"] = disk
        options = SnapshotOptions(
            tags={KEPT_TAG: name},
            encrypted=True if key else None,
            kms_key_id=alias(key) if key else None,
        )
        self.ids[name] = self._store.create_snapshot(source, options).snapshot_id

    def _copy(self, name: str, snapshot: str, how: str) -> None:
        """Copy a kept snapshot: `here`, to `abroad`, or under a key."""
        tags = {KEPT_TAG: name}
        wanted, store = self.ids[snapshot], self._store
        options = SnapshotOptions(tags=tags)
        if how == "abroad":
            store = store.as_account(region=ABROAD)
        elif how != "here":
            options = SnapshotOptions(tags=tags, encrypted=True, kms_key_id=alias(how))
        made = store.copy_snapshot(wanted, self._store.caller.region, options)
        self.ids[name] = made.snapshot_id

    def _share(self, snapshot: str) -> None:
        self._permit(snapshot, PermissionChange(add=(FRIEND,)))

    def _unshare(self, snapshot: str) -> None:
        self._permit(snapshot, PermissionChange(remove=(FRIEND,)))

    def _permit(self, snapshot: str, change: PermissionChange) -> None:
        self._store.permissions.modify(self.ids[snapshot], change)

    def _archive(self, snapshot: str) -> None:
        self._store.tiers.archive(self.ids[snapshot])

    def _thaw(self, snapshot: str, days: int) -> None:
        """Restore from the archive for so many days; 0: for good."""
        request = TierRestore(days=days) if days else TierRestore(permanent=True)
        self._store.tiers.restore(self.ids[snapshot], request)

    def _rule(self, days: int) -> None:
        kind = RuleResourceType.EBS_SNAPSHOT
        request = RuleRequest(resource_type=kind, retention_days=days, resource_tags=(_BIN_TAG,))
        self._store.recycle_bin.rules.create(request)

    def _bin(self, snapshot: str) -> None:
        """Delete a snapshot into the Recycle Bin."""
        self._store.tags.create([self.ids[snapshot]], dict([_BIN_TAG]))
        self._store.delete_snapshots([self.ids[snapshot]])

    def _unbin(self, snapshot: str) -> None:
        self._store.recycle_bin.restore_snapshot(self.ids[snapshot])

    def _remove(self, snapshot: str) -> None:
        """Delete a snapshot for good."""
        self._store.delete_snapshots([self.ids[snapshot]])

    def _later(self, days: int) -> None:
        self.day += days
        self._set_clock()
        self._store.recycle_bin.expire()
        self._store.list_snapshots()  # carries out what else is due

    def _set_clock(self) -> None:
        """Have the clock of a store that was just opened show the day of the story."""
        if self.day:
            set_day(self._store, self.day)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a kept snapshot must be.

    Attributes:
        numbers: What its blocks hold.
        key: The key it is encrypted under; empty for none.
        region: Where it lies.
        shared: Whether it is shared with the friend.
        archived: Whether the archive has a copy of it.
        expires: While that is restored for a time, the day on which that ends.
        exits: The day on which it leaves the Recycle Bin; None: it is not there.
        gone: Whether it is deleted for good.
    """

    numbers: tuple[int, ...]
    key: str = ""
    region: str = HOME
    shared: bool = False
    archived: bool = False
    expires: int | None = None
    exits: int | None = None
    gone: bool = False

    def on(self, day: int) -> "Kept":
        """Return what it is on a day."""
        if self.exits is not None and self.exits <= day:
            return replace(self, gone=True)
        if self.expires is not None and self.expires <= day:
            return replace(self, expires=None)
        return self

    @property
    def readable(self) -> bool:
        """Whether its blocks can be read, given its key."""
        return not self.gone and self.exits is None and (not self.archived or bool(self.expires))


@dataclass(slots=True)
class KeptModel:
    """What must hold after some lines, of what is kept.

    Attributes:
        snapshots: What each is; one that is gone too.
        disks: The key of each disk.
        disabled: Keys that are disabled.
        keys: All keys.
        day: How far the clock was moved.
        retention_days: How long the Recycle Bin keeps.
    """

    snapshots: dict[str, Kept] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    day: int = 0
    retention_days: int = 0

    def tell(self, verb: str, rest: Sequence[Any]) -> bool:
        """Take note of a line that is done; return whether it is about what is kept."""
        match verb:
            case "key":
                self.keys.add(rest[0])
            case "disable":
                self.disabled.add(rest[0])
            case "enable":
                self.disabled.discard(rest[0])
            case "rule":
                self.retention_days = rest[0]
            case "keep":
                self.snapshots[rest[0]] = Kept(tuple(rest[3:]), key=rest[2])
            case "copy":
                self.snapshots[rest[0]] = self._copied(rest[1], rest[2])
            case "later":
                self.day += rest[0]
                self.snapshots = {name: kept.on(self.day) for name, kept in self.snapshots.items()}
            case _:
                return self._change(verb, rest)
        return True

    def _change(self, verb: str, rest: Sequence[Any]) -> bool:
        """Take note of a line about one snapshot."""
        now = self.snapshots.get(rest[0]) if rest else None
        if now is None:
            return False
        match verb:
            case "share" | "unshare":
                now = replace(now, shared=verb == "share")
            case "archive":
                now = replace(now, archived=True, expires=None)
            case "thaw":
                expires = self.day + rest[1] if rest[1] else None
                now = replace(now, archived=bool(rest[1]), expires=expires)
            case "bin":
                now = replace(now, exits=self.day + self.retention_days)
            case "unbin":
                now = replace(now, exits=None)
            case "remove":
                now = replace(now, gone=True)
            case _:
                return False
        self.snapshots[rest[0]] = now
        return True

    def _copied(self, source: str, how: str) -> Kept:
        of = self.snapshots[source]
        if how in ("here", "abroad"):  # EC2 takes the default key, whatever the source's is
            region = ABROAD if how == "abroad" else HOME
            return Kept(of.numbers, key=DEFAULT if of.key else "", region=region)
        return Kept(of.numbers, key=how)

    def after(self, line: Sequence[Any]) -> "KeptModel":
        """Return what holds when another line is done."""
        model = copy.deepcopy(self)
        model.tell(line[0], line[1:])
        return model


def assert_kept(store: Store, model: KeptModel, line: Sequence[Any], ids: dict[str, str]) -> None:
    """Compare what is kept with the model; leave all keys enabled.

    Afterwards the model is shown by deeds: what is in the Recycle Bin is brought back, and what is
    in the archive restored, and all of it holds what it did.

    Args:
        store: The store.
        model: What must hold.
        line: The line in which the process died; it may be done, or not.
        ids: The ids, by name.

    Raises:
        AssertionError: They differ.
    """
    after = model.after(line)
    if line[0] == "later":
        model = after  # whoever opens the store on that day carries out what is due
    if model.day:
        set_day(store, model.day)
    _enable_keys(store, model, after)
    for name, before in model.snapshots.items():
        allowed = {before, after.snapshots[name]}
        found = _found(store, ids[name], before)
        same = found in [_seen(each) for each in allowed]
        _ensure(same, f"{name} is {found}, and not {' or '.join(map(str, allowed))}")
        if found != _GONE:
            _assert_whole_again(store, ids[name], before, found)
    _assert_strangers_whole(store, line, ids)


_Seen = tuple[str, str, bool, int | None]
_GONE: _Seen = ("nowhere", "", False, None)


def _seen(kept: Kept) -> _Seen:
    """Return what a store tells of one."""
    if kept.gone:
        return _GONE
    if kept.exits is not None:
        return ("in the bin", "", False, kept.exits)
    tier = "archive" if kept.archived and kept.expires is None else "standard"
    return ("there", tier, kept.shared, kept.expires)


def _found(store: Store, snapshot_id: str, kept: Kept) -> _Seen:
    """Return what a store tells of a snapshot."""
    there = _there(store, kept)
    for binned in there.recycle_bin.snapshots().snapshots:
        if binned.snapshot_id == snapshot_id:
            return ("in the bin", "", False, _day(binned.exit_time_us))
    for shown in there.list_snapshots():
        if shown.snapshot_id == snapshot_id:
            _assert_encrypted(there, shown, kept)
            accounts = there.permissions.describe(snapshot_id).accounts
            shared = accounts == (FRIEND,)
            _ensure(shared or not accounts, f"{snapshot_id} is shared with {accounts}")
            return ("there", shown.storage_tier, shared, _day(shown.restore_expiry_time_us))
    return _GONE


def _day(moment_us: int | None) -> int | None:
    return None if moment_us is None else (moment_us - START_US) // _DAY_US


def _there(store: Store, kept: Kept) -> Store:
    return store.as_account(region=kept.region) if kept.region else store


def _assert_encrypted(there: Store, shown: Snapshot, kept: Kept) -> None:
    """Look that a snapshot is completed, and encrypted under its key."""
    name = shown.snapshot_id
    _ensure(shown.state is SnapshotState.COMPLETED, f"{name} is {shown.state}")
    _ensure(shown.encrypted == bool(kept.key), f"{name} is encrypted: {shown.encrypted}")
    if kept.key and kept.key != DEFAULT:
        arn = there.keys.get(alias(kept.key)).arn
        _ensure(shown.kms_key_id == arn, f"{name} is under another key")


def _enable_keys(store: Store, before: KeptModel, after: KeptModel) -> None:
    """Look that what is under a disabled key cannot be read by anybody; enable all keys."""
    store_ids = {each.snapshot_id: each for each in store.list_snapshots()}
    for key in sorted(before.disabled & after.disabled):
        arn = store.keys.get(alias(key)).arn
        for shown in store_ids.values():
            if shown.kms_key_id == arn and shown.storage_tier is StorageTier.STANDARD:
                _ensure_unreadable(store, shown.snapshot_id, "its key is disabled")
    for key in sorted(before.disabled | after.disabled):
        store.keys.enable(alias(key))


def _assert_whole_again(store: Store, snapshot_id: str, kept: Kept, found: _Seen) -> None:
    """Bring a snapshot back to where it can be read, and read it."""
    place, tier, _, _ = found
    there = _there(store, kept)
    if place == "in the bin":
        _ensure_unreadable(there, snapshot_id, "it is in the Recycle Bin")
        tier = there.recycle_bin.restore_snapshot(snapshot_id).storage_tier
    if tier == StorageTier.ARCHIVE:
        _ensure_unreadable(there, snapshot_id, "it is archived")
        there.tiers.restore(snapshot_id, TierRestore(permanent=True))
    _compare(there, snapshot_id, kept.numbers)


def _compare(store: Store, snapshot_id: str, numbers: Sequence[int]) -> None:
    for block, number in enumerate(numbers):
        same = store.read_block(snapshot_id, block) == palette_block(number)
        _ensure(same, f"kept {snapshot_id} block {block} is not what it was")


def _ensure_unreadable(store: Store, snapshot_id: str, why: str) -> None:
    try:
        store.read_block(snapshot_id, 0)
    except (ConflictError, NotFoundError):
        return
    except EbsimError as error:
        raise AssertionError(f"{snapshot_id}: {why}, and reading it fails: {error}") from error
    raise AssertionError(f"{snapshot_id} can be read, although {why}")


def _assert_strangers_whole(store: Store, line: Sequence[Any], ids: dict[str, str]) -> None:
    """Look at a snapshot that nobody was told of: if it is completed, then with all its blocks."""
    if line[0] not in ("keep", "copy"):
        return
    known = set(ids.values())
    for there in (store, store.as_account(region=ABROAD)):
        for shown in there.list_snapshots():
            is_new = shown.tags.get(KEPT_TAG) == line[1] and shown.snapshot_id not in known
            if is_new and shown.state is SnapshotState.COMPLETED and line[0] == "keep":
                _compare(there, shown.snapshot_id, line[4:])
            elif is_new and shown.state is SnapshotState.COMPLETED:
                blocks = range(shown.size_bytes // len(palette_block(0)))
                for block in blocks:
                    same = there.read_block(shown.snapshot_id, block)
                    _ensure(same == store.read_block(ids[line[2]], block), f"{line} is another")


def secrets_in(story: Iterable[Sequence[Any]]) -> set[int]:
    """Return the numbers of contents in a story that must not be on the disk as they are."""
    words = {word for line in story for word in line if isinstance(word, int)}
    return words.intersection(SECRETS)


def plain_in(pieces: Iterable[bytes], numbers: Iterable[int]) -> set[int]:
    """Return which of these contents are in pieces of a disk."""
    samples = {
        palette_block(number)[at : at + _SAMPLE_SIZE]: number
        for number in numbers
        for at in _SAMPLES
    }
    if not samples:
        return set()
    return {number for piece in pieces for each, number in samples.items() if each in piece}


def pieces_of_folder(folder: Path) -> Iterator[bytes]:
    """Yield all that the files of a folder hold, without their holes."""
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            end, size = 0, os.fstat(descriptor).st_size
            while end < size:
                try:
                    start = os.lseek(descriptor, end, os.SEEK_DATA)
                except OSError:
                    break  # a hole up to the end
                end = os.lseek(descriptor, start, os.SEEK_HOLE)
                yield os.pread(descriptor, end - start, start)
        finally:
            os.close(descriptor)


def _ensure(truth: bool, otherwise: str) -> None:
    if not truth:
        raise AssertionError(otherwise)
