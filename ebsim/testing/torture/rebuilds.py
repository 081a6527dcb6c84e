"""Stores whose catalog is lost and made again: what a user sees must be the same.

Each case is a random life, which ends in one of three ways: the store is closed; it is closed with
snapshots pending; or its process is killed at a step. Or it is a random story with encryption,
sharing, copies, the archive and the Recycle Bin, at the end of which the store is closed. Then the
catalog is lost, or is set aside by the rebuild, and what the store says afterwards is compared with
what it said before, and with the model; after a kill, with what the next process would have said
that still has the old catalog.
"""

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from blake3 import blake3

from ebsim.core.counters import peek
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError
from ebsim.format.catalog_values import Counter
from ebsim.reports import RebuildReport
from ebsim.requests import ImageQuery, SnapshotQuery
from ebsim.results import SnapshotState
from ebsim.storage.files import PosixFiles
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.kept_story import ABROAD, FRIEND
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import disk_of
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.torture.random_life import NEAR, RandomLife
from ebsim.testing.volume_stories import StoryMaker
from ebsim.testing.volume_story import Actor, assert_story_survived, perform
from ebsim.tiering import StorageTier
from ebsim.units import BLOCK_SIZE, GIB, block_count

STEPS = 25
STEPS_AFTER = 8
KEPT_LINES = 24
ENDINGS = ("closed", "pending", "killed", "kept")

Told = dict[str, Any]


def told(store: Store, scratch: Path) -> Told:
    """Return all that a user can ask a store, but for what a rebuild does not bring back.

    Left out are snapshots that are pending or in error, and events (docs/durability.md).
    """
    snapshots = [each for each in store.list_snapshots() if each.state is SnapshotState.COMPLETED]
    named = {each.snapshot_id for each in snapshots}
    images = store.images.list(ImageQuery(include_disabled=True))
    behind_images = {device.snapshot_id for image in images for device in image.devices}
    stats = store.stats()
    return {
        "snapshots": snapshots,
        "blocks": {
            each.snapshot_id: _blocks(store, each.snapshot_id, each.size_bytes)
            for each in snapshots
            if each.storage_tier is StorageTier.STANDARD
        },
        "restored": {
            each.snapshot_id: _restored(store, each.snapshot_id, scratch)
            for each in snapshots
            if each.size_bytes < GIB and each.storage_tier is StorageTier.STANDARD
        },
        "ledger": store.ledger(),
        "histories": [store.snapshot_history(each.snapshot_id) for each in snapshots],
        "deletions": [
            store.delete_snapshots([each.snapshot_id], dry_run=True).deleted[0].moved_to
            for each in snapshots
            if each.snapshot_id not in behind_images
        ],
        "volumes": store.volumes.list(),
        "modifications": store.volumes.modifications(),
        "images": images,
        "policies": store.lifecycle.list(),
        "tags": [
            tag
            for tag in store.tags.list()
            if not tag.resource_id.startswith("snap-") or tag.resource_id in named
        ],
        "quotas": store.quotas,
        "stored": (stats.blocks, stats.charged_size_bytes, stats.full_size_bytes),
    }


def _blocks(store: Store, snapshot_id: str, size_bytes: int) -> list[str]:
    indices = range(block_count(size_bytes)) if size_bytes < GIB else NEAR
    return [
        _digest(store.read_block(snapshot_id, index))
        for index in indices
        if index * BLOCK_SIZE < size_bytes
    ]


def _restored(store: Store, snapshot_id: str, scratch: Path) -> str:
    store.restore_snapshot(snapshot_id, scratch, force=True)
    return _digest(scratch.read_bytes())


def _digest(data: bytes) -> str:
    return blake3(data).hexdigest()


def ensure_same(before: Told, after: Told) -> None:
    """Compare what was told.

    Raises:
        Violation: Something is another.
    """
    for what, expected in before.items():
        if after[what] != expected:
            raise Violation(f"{what} were {expected!r} and are {after[what]!r} after the rebuild")


class Rebuilds(Campaign):
    """The campaign."""

    name = "rebuilds"
    promise = "a store whose catalog is made again says and holds what it did, and nothing more"
    excludes = "damaged segments, several processes at once, stores of more than a few MiB"
    cases = 1000
    sample = 7  # which has each of the endings

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Return what lives a life, and has its catalog made again."""

        def run_case(number: int) -> int:
            chance = case_random(self.name, seed, number)
            place = fast_folder(folder)
            try:
                ending = ENDINGS[number % len(ENDINGS)]
                if ending == "kept":
                    rebuild_story(place, chance)
                else:
                    _Case(place, chance).run(ending)
            finally:
                shutil.rmtree(place)
            return 1

        yield run_case


def rebuild_story(folder: Path, chance: random.Random) -> None:
    """Act a story out, have the catalog made again, and compare with the story and with before.

    Raises:
        Violation: Something is another.
    """
    path = folder / "store"
    maker = StoryMaker(chance)
    story = [*maker.begin_kept(), *maker.make(KEPT_LINES)]
    clock = ManualClock()

    def opened(number: int) -> Store:
        return Store.open(path, Seams(clock=clock, entropy=SeededEntropy(number)), create=True)

    numbers = count(1)
    gate, ids = threading.Event(), dict[str, str]()
    gate.set()
    actor = Actor(opened(0), gate, ids, lambda: time.sleep(0.0005))
    actor.again = lambda: opened(next(numbers))
    perform(actor, [*story, ("reopen",)])
    before = told_kept(actor.store, folder / "restored")
    actor.store.close()
    if chance.random() < 0.5:
        shutil.rmtree(path / "catalog")
    ensure_whole(Store.rebuild(path, Seams(clock=clock, entropy=SeededEntropy(next(numbers)))))
    with opened(next(numbers)) as store:
        try:
            ensure_same(before, told_kept(store, folder / "restored"))
            assert_story_survived(store, story, len(story), ids, cut=False)
        except (AssertionError, EbsimError) as error:
            raise Violation(f"after the rebuild: {error}") from error


def told_kept(store: Store, scratch: Path) -> Told:
    """Return what a user can ask a store in both Regions, with the Recycle Bin and the archive."""
    found: Told = {}
    for region in (store.caller.region, ABROAD):
        there = store.as_account(region=region)
        shown = there.list_snapshots()
        found[region] = {
            **(told(there, scratch) if region == store.caller.region else {"snapshots": shown}),
            "shared": [there.permissions.describe(each.snapshot_id) for each in shown],
            "tiers": there.tiers.describe(),
            "rules": there.recycle_bin.rules.list(),
            "in the bin": there.recycle_bin.snapshots(),
            "keys": there.keys.list(),
        }
    friend = store.as_account(FRIEND)
    found["friend"] = friend.list_snapshots(SnapshotQuery(restorable_by=("self",)))
    return found


class _Case:
    """One life and its rebuild."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.store = folder / "store"
        self.life = RandomLife(self.store, chance)
        self.life.live(STEPS)

    def run(self, ending: str) -> None:
        """Let the life end, rebuild, and look."""
        if ending == "killed":
            self._killed()
            return
        life = self.life
        life.compare()
        life.compare_volumes()
        before = told(life.store, self.folder / "restored")
        last_event = max((each.number for each in life.store.events()), default=0)
        if ending == "pending":
            self._leave_pending()
        else:
            life.store.close()
        ensure_whole(lose_and_rebuild(self.store, life, self.chance))
        life.rebuilt()
        life.reopen()
        try:
            ensure_same(before, told(life.store, self.folder / "restored"))
            self._go_on(last_event)
        except (AssertionError, EbsimError) as error:
            raise Violation(f"after the rebuild: {error}") from error
        finally:
            life.faults.release()
            life.store.close()

    def _leave_pending(self) -> None:
        """Begin snapshots, delete some of them, and close the store while they are pending."""
        life, model = self.life, self.life.model
        with life.faults.hold_snapshots():
            names = life.begin_snapshots()
            for name in names:
                volume = model.pending[name].volume
                life.write_volume(volume)
                what = self.chance.choice(("nothing", "snapshot", "volume"))
                if what == "snapshot":
                    life.store.delete_snapshots([name])
                elif what == "volume":
                    life.store.volumes.delete(volume)  # it is there again after the rebuild
            life.faults.leave_pending()
            life.store.close(wait=False)
        for there_again in model.managed.values():
            there_again.deleted = False
        for name in names:
            model.fail(name)

    def _go_on(self, last_event: int) -> None:
        """See that the rebuilt store works: more life, a check of all bytes, and an end."""
        life = self.life
        for _ in range(2):
            life.compare()
            life.compare_volumes()
            life.live(STEPS_AFTER)
        life.compare()
        if early := [each for each in life.store.events() if each.number <= last_event]:
            raise Violation(f"events told before are told again: {early}")
        use_up(life.store, self.folder)

    def _killed(self) -> None:
        """Have a process die in the middle of a step; compare both ways to go on."""
        life = self.life
        life.store.close()
        name, died = self._step_in_child()
        kept = self.folder / "kept"
        shutil.copytree(self.store, kept)
        before, sequence = _told_held(life, kept, self.folder / "restored")
        report = lose_and_rebuild(self.store, life, self.chance)
        if report.findings:
            raise Violation(f"after a kill in {name} a rebuild finds {report.findings}")
        after, sequence_after = _told_held(life, self.store, self.folder / "restored")
        if sequence_after == sequence:
            ensure_same(_without_progress(before), _without_progress(after))
        elif not died or not (
            sequence_after == sequence + 1  # the last commit counts, though nobody was told so
            or (sequence_after == sequence - 1 and _deletion_went_on(before, after))
        ):
            raise Violation(f"{name}: {sequence} commits were told, {sequence_after} are now")
        both = before["blocks"].keys() & after["blocks"].keys()
        for snapshot_id in both:
            if before["blocks"][snapshot_id] != after["blocks"][snapshot_id]:
                raise Violation(f"{snapshot_id} is another since a kill in {name} and a rebuild")
        life.faults.reset()
        with Store.open(self.store, life.seams()) as store:
            use_up(store, self.folder)

    def _step_in_child(self) -> tuple[str, bool]:
        """Take a step in a child that is killed before one of its changes of a file, or not.

        Returns:
            What it did, and whether it died.
        """
        steps_left = int(2 ** self.chance.uniform(0, 7))
        name = self.chance.choice(KILLED_IN)
        child = os.fork()
        if child == 0:
            try:
                _act_until_killed(self.life, name, steps_left)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return name, True
        if status != 0:
            raise RuntimeError(f"a child that did {name} ended with status {status}")
        return name, False


KILLED_IN = (
    "snapshot_disk",
    "branch",
    "delete",
    "compact",
    "tag",
    "image",
    "policy",
    "make_volume",
    "write_volume",
    "change_volume",
    "snapshot_volumes",
)


def _act_until_killed(life: RandomLife, name: str, steps_left: int) -> None:
    """Do something with the store, in a process that ends by SIGKILL when its steps are done."""
    left = steps_left

    def before(what: str, _path: Path) -> None:
        nonlocal left
        if what in _CHANGES:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    files = ObservedFiles(PosixFiles(), before)
    life.store = Store.open(life.path, life.seams(files))
    life.take(name)
    life.store.close()
    os._exit(0)


_CHANGES = frozenset(
    {"write_at", "sync", "create", "rename", "remove", "sync_directory", "punch", "truncate"}
)


def _told_held(life: RandomLife, path: Path, scratch: Path) -> tuple[Told, int]:
    """Open a store with its pending snapshots held; return what it tells, and its last commit."""
    life.faults.reset()
    with life.faults.hold_snapshots():
        store = Store.open(path, life.seams())
        try:
            context = store._context
            with context.catalog.read() as reader:
                return told(store, scratch), peek(reader, Counter.SEQUENCE)
        finally:
            life.faults.leave_pending()
            store.close(wait=False)


def _deletion_went_on(before: Told, after: Told) -> bool:
    """Whether a volume was being deleted: whoever has the old catalog goes on with that."""
    return len(after["volumes"]) == len(before["volumes"]) + 1


def _without_progress(said: Told) -> Told:
    """Leave out how far volumes are loaded: a killed process can have loaded more than it noted."""
    volumes = [replace(each, initialization_percent=0) for each in said["volumes"]]
    return {**said, "volumes": volumes}


def lose_and_rebuild(path: Path, life: RandomLife, chance: random.Random) -> RebuildReport:
    """Make the catalog of a closed store again; the old one may be there, or not."""
    if chance.random() < 0.5:
        shutil.rmtree(path / "catalog")
    return Store.rebuild(path, life.seams())


def ensure_whole(report: RebuildReport) -> None:
    """Look that a rebuild found nothing wrong.

    Raises:
        Violation: It did.
    """
    if report.findings or report.unreadable_bytes:
        raise Violation(f"{report.unreadable_bytes} bytes unreadable, found {report.findings}")


def use_up(store: Store, folder: Path) -> None:
    """Take one more snapshot, prove every byte, and delete everything: nothing may be left.

    Raises:
        Violation: Something is wrong.
    """
    made = store.create_snapshot(disk_of(NOISE, TEXT, name=f"memory:{folder.name}"))
    if store.read_block(made.snapshot_id, 1) != TEXT:
        raise Violation(f"{made.snapshot_id} is not what was stored")
    if findings := store.check(data=True).findings:
        raise Violation(f"the store is not whole: {findings}")
    for image in store.images.list(ImageQuery(include_disabled=True)):
        store.images.deregister(image.image_id)
    shown = store.list_snapshots()
    store.wait_snapshots([each.snapshot_id for each in shown])
    for volume in store.volumes.list():
        store.volumes.delete(volume.volume_id)
    store.delete_snapshots([each.snapshot_id for each in store.list_snapshots()])
    if store.stats().blocks or (findings := store.check(data=True).findings):
        raise Violation(f"all is deleted, and {store.stats().blocks} blocks are left: {findings}")
