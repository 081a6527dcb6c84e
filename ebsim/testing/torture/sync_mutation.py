"""Campaign: each sync of ebsim is switched off in turn, and the crash scenarios must notice.

A case is a site, as `ebsim.testing.sync_sites` finds it in the source. It passes when a scenario is
red with the site switched off. Each scenario is green with all syncs on.

- `power cuts`: stories on a simulated machine that loses its power at steps and at their end.
- `left`: snapshots stay pending when the store is closed, and then the power is cut.
- `compacted`: the power is cut when a compaction has just committed.
- `opened again`: a process dies, the next one opens what it left, and then the power is cut.
- `fresh`: a volume is opened and not written to, and then the power is cut.
- `vanished`: a block that a snapshot found in the store is freed before the snapshot refers to it.
- `borrowed`: a snapshot is completed with blocks that another one has stored, whose process dies.
- `taken over`: a process dies that had written to a volume which is being loaded; the next one
  opens the volume, and then the power is cut.
- `off site`: a copy to another store has just kept how far it came, and then its power is cut.
- `repaired`: damage of all kinds is repaired, and then the power is cut.
- `short transactions`: nothing but a journal entry is synced while a transaction is open.
- `keyring`: keys are made and a keyring is exported, and then the power is cut.
- `credentials`: credentials of the server are made, and then the power is cut.
- `started`: a snapshot was started, or sealed with its blocks, and then the power is cut.
- `sealed`: encrypted live data are written to and synced, and then the power is cut.
- `renewed`: as `traced`, and a commit fails, after which the catalog gets another file.
- `traced`: a story on real files, restores and rebuilds too, of which strace told what was synced.
"""

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

from ebsim import failpoints
from ebsim.caller import OWNER_DEFAULT, Caller
from ebsim.core import ingest
from ebsim.core.block_maps import LEAF_BLOCKS
from ebsim.core.ingest import Batch
from ebsim.core.off_site_making import OffSiteMaking
from ebsim.core.started_clock import resume_started
from ebsim.core.started_making import StartedWrites
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError
from ebsim.format.sector_cipher import SECTOR_KEY_SIZE, SectorCipher
from ebsim.keys.keyring import Keyring
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.off_site import OffSiteRequest
from ebsim.results import SnapshotState
from ebsim.server.credentials import Credentials
from ebsim.started import StartRequest
from ebsim.storage.locks import LockFile
from ebsim.storage.sealed_file import SealedFile, SectorCiphers
from ebsim.testing.contents import palette_block
from ebsim.testing.forked_play import FrugalFiles, import_everything
from ebsim.testing.machine import Killed, Process
from ebsim.testing.machine_play import Play, quiet_log, suffer
from ebsim.testing.memory_catalog import MemoryCatalog
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import MemorySource
from ebsim.testing.sync_sites import SyncSite, find_sites
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.traced_disk import strace_is_missing
from ebsim.testing.traced_play import TracedPlay
from ebsim.testing.volatile_files import VolatileFiles
from ebsim.testing.volume_stories import ALL_STORIES, REAL_ONLY, StoryMaker
from ebsim.testing.volume_story import Actor, Line, perform
from ebsim.units import BLOCK_SIZE

NAME = "sync-mutation"

SPARED = {
    "core.off_site_making:OffSiteMaking._prove:sync": "it has the disk tell errors before what was "
    "written is read back; the same segment is synced again before the catalog refers to it",
    "storage.segments:LocalSegmentStore.create:sync": "the first sync of a record makes the header "
    "durable too, which is in the same file",
    "volumes.kept_blocks:KeptBlocks.sync:sync_directory": "intents are removed right behind, and "
    "the same folder is synced then; only one of the two is needed",
    "storage.catalog_swap:finish_swap:sync_directory": "whoever opens the store next finishes the "
    "swap, or makes the catalog again",
    "volumes.intents:Intents.clear:sync_directory": "intents that come back have blocks compared "
    "that need not be",
}
"""Sites without which nothing is lost, and why. They cost a sync, and may be removed one day."""

ENTRY_BYTES_MAX = 64 * 1024
TRACED_STATES = 40

FIRST = {
    "core.compact:": "compacted",
    "core.complete:": "short transactions",
    "core.making:Making._publish": "borrowed",
    "core.making:Making._store_again": "vanished",
    "core.journal:": "power cuts",
    "core.off_site_making:": "off site",
    "core.repair:": "repaired",
    "core.started_": "started",
    "keys.": "keyring",
    "server.credentials:": "credentials",
    "storage.catalog_renewal:": "renewed",
    "storage.catalog_swap:": "traced",
    "storage.files:": "traced",
    "storage.lmdb_catalog:": "traced",
    "storage.sealed_file:": "sealed",
    "storage.segments:LocalSegmentStore.rewrite_header": "repaired",
    "storage.set_aside:": "repaired",
    "storage.store_folder:": "traced",
    "storage.targets:": "traced",
    "storage.segments:LocalSegmentStore.drop": "power cuts",
    "volumes.deletion:": "power cuts",
    "volumes.intents:Intents.note": "power cuts",
    "volumes.kept_blocks:": "left",
    "volumes.live_volume:LiveVolume.settle": "left",
    "volumes.opening:": "taken over",
    "volumes.volume_files:": "fresh",
}
"""The scenario that is tried first for the sites whose names begin so; for others the first."""

Scenario = Callable[[SyncSite | None, random.Random, Path], None]
"""Raises AssertionError, or an error of ebsim, when something is lost."""


def _play(folder: Path, story: list[Line], site: SyncSite | None) -> Play:
    play = Play(folder, story)
    if site is not None:
        play.machine.files.is_off = site.is_calling
    return play


def power_cuts(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power in each story, at its end and at some steps, and in some random ones."""
    stories = [story for name, story in ALL_STORIES.items() if name not in REAL_ONLY]
    for number in range(25 * len(stories)):
        play = _play(folder, stories[number % len(stories)], site)
        at_end = number < 3 * len(stories)
        play.run(None if at_end else chance.randrange(1, 200))
        play.cut_power(chance)
        play.assert_survived(cut=True)
    for _ in range(60):
        story = StoryMaker(chance).make(chance.randrange(6, 26))
        play = _play(folder, story, site)
        cut = suffer(play, chance, 9 * len(story))
        play.assert_survived(cut=cut)


def left(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Close the store with a snapshot pending, and cut the power then."""
    for _ in range(12):
        play = _play(folder, ALL_STORIES["left"], site)
        play.run(None)
        play.cut_power(chance)
        play.assert_survived(cut=True)


def fresh(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power when a volume was opened that nobody has written to."""
    for _ in range(8):
        play = _play(folder, [("create", "v"), ("read", "v", 0)], site)
        play.run(None)
        play.cut_power(chance)
        play.assert_survived(cut=True)


def compacted(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power when the catalog has just named the copies that a compaction made."""
    for _ in range(8):
        play = _play(folder, ALL_STORIES["scans"], site)
        if not play.run(("compact.committed", 1)):
            raise _UnreachedError
        play.cut_power(chance)
        play.assert_survived(cut=True)


def opened_again(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power when another process has just opened what one left that died."""
    for _ in range(80):
        play = _play(folder, ALL_STORIES[chance.choice(("loading", "later", "pending"))], site)
        play.run(chance.randrange(20, 200))
        play.touch(None)
        play.cut_power(chance)
        play.assert_survived(cut=True)


def taken_over(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power when the next process has noted what one that died had written."""
    story: list[Line] = [("create", "v"), *(("write", "v", at, 4 * at + 4) for at in range(4))]
    story += [("snapshot", "v", "s1"), ("wait", "s1"), ("create", "w", "s1"), ("write", "w", 0, 20)]
    story += [("part", "w", 1, 5), ("part", "w", 2, 9), ("write", "w", 3, 24)]
    for _ in range(8):
        play = _play(folder, story, site)
        died = play.run(("write.written", 8))  # at its end it would flush
        if not died or not play.touch(("open.made-good", 2)):
            raise _UnreachedError
        play.cut_power(chance)
        play.assert_survived(cut=True)


def off_site(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power of the other store when a copy has just kept what is there already."""
    disk = MemorySource("memory:web", 2 * LEAF_BLOCKS * BLOCK_SIZE, report_holes=True)
    for leaf in range(2):
        disk.put(leaf * LEAF_BLOCKS, palette_block(4 * leaf + 4))
    request = OffSiteRequest(all_snapshots=True)
    with (
        mock.patch.object(ingest, "BATCH_CHANGES", 1),  # so that there is more than one batch
        mock.patch.object(ingest, "RUNS_AHEAD", 1),
        Store.create(folder / "source", Seams(files=FrugalFiles())) as source,
    ):
        source.create_snapshot(disk)
        for _ in range(8):
            play = _play(folder, [], site)
            process = play.machine.start(("kept", 1))
            store = process.open()
            dying = mock.patch.object(OffSiteMaking, "_keep", _dying_in(process))
            with dying, suppress(Killed):
                source.copy_to(store, request)
                raise _UnreachedError
            process.kill()
            play.cut_power(chance)
            with play.machine.start().open() as there:
                assert not (found := there.check(data=True).findings), found
                source.copy_to(there, request)
                (copy,) = there.list_snapshots()
                for leaf in range(2):
                    held = there.read_block(copy.snapshot_id, leaf * LEAF_BLOCKS)
                    assert held == palette_block(4 * leaf + 4)


def _dying_in(process: Process) -> Callable[[OffSiteMaking, Batch], None]:
    """Return what keeps how far a copy came, and dies of it."""
    keep = OffSiteMaking._keep

    def keep_and_die(making: OffSiteMaking, batch: Batch) -> None:
        keep(making, batch)
        process.reach("kept")

    return keep_and_die


def repaired(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power when damage was repaired, or a step of that was just committed."""
    for number in range(24):
        play = _play(folder, ALL_STORIES["repaired"], site)
        play.run(("repair.committed", chance.randrange(1, 6)) if number % 2 else None)
        play.cut_power(chance)
        play.assert_survived(cut=True)


def keyring(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power when a keyring was made, a key was, and when its copy was written."""
    home, elsewhere = Path("/keys"), Path("/elsewhere")
    for number in range(24):
        files = VolatileFiles()
        for each in (home, elsewhere):
            files.make_directory(each)
            files.sync_directory(each.parent)
        if site is not None:
            files.is_off = site.is_calling
        locks = LockFile(folder / "keys.lock")
        seams = KeyringSeams(files, ManualClock(), SeededEntropy(number), locks)
        ring = Keyring.create(home / "ring", seams=seams)
        made = [ring.create_key(Caller()).key_id for _ in range(number % 3)]
        copy = ring.recovery_text()
        ring.export(elsewhere / "copy")
        files.cut_power(chance)
        there = Keyring.open(home / "ring", seams=seams)
        assert [key.key_id for key in there.list_keys(Caller())] == made
        written = files.open(elsewhere / "copy")
        assert written.read_at(0, written.size()) == copy.encode("ascii")


def credentials(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power when a credential was made, or one was deleted."""
    for number in range(12):
        files = VolatileFiles()
        files.make_directory(folder)
        for each in (folder, *folder.parents):
            files.sync_directory(each)
        if site is not None:
            files.is_off = site.is_calling
        known = Credentials(folder, files, SeededEntropy(number))
        made = [known.create(OWNER_DEFAULT) for _ in range(2)]
        if number % 2:
            known.delete(made.pop().access_key)
        files.cut_power(chance)
        assert Credentials(folder, files, SeededEntropy()).list() == made


def sealed(site: SyncSite | None, chance: random.Random, _folder: Path) -> None:
    """Cut the power when an encrypted file was written to, also in parts of a sector."""
    path = Path("/volume.data")
    ciphers = SectorCiphers(SectorCipher(bytes(range(SECTOR_KEY_SIZE))))
    for offset in (0, 100, 4096, 5000, BLOCK_SIZE - 10, 7, 9000, 2 * BLOCK_SIZE):
        files = VolatileFiles()
        if site is not None:
            files.is_off = site.is_calling
        file = SealedFile(files.create(path), ciphers)
        files.sync_directory(path.parent)
        file.write_at(offset, [palette_block(4)])
        file.sync()
        files.cut_power(chance)
        there = SealedFile(files.open(path), ciphers)
        assert there.read_at(offset, BLOCK_SIZE) == palette_block(4)


def started(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power when a snapshot was started, or when its blocks were put and it was sealed."""
    blocks = {index: palette_block(4 * index + 4) for index in range(3)}
    for number in range(16):
        play = _play(folder, [], site)
        process = play.machine.start()
        store = process.open()
        with mock.patch.object(StartedWrites, "make"):  # the power is faster
            made = store.started.start(StartRequest(volume_size_gib=1)).snapshot_id
            if number % 2:
                _put_all(store, made, blocks)
        process.kill()
        play.cut_power(chance)
        with play.machine.start().open() as there:
            if number % 2:
                resume_started(there._context)
            else:
                _put_all(there, made, blocks)
            (shown,) = there.wait_snapshots([made])
            assert shown.state is SnapshotState.COMPLETED, shown.state_message
            for index, block in blocks.items():
                assert there.read_block(made, index) == block


def _put_all(store: Store, snapshot_id: str, blocks: Mapping[int, bytes]) -> None:
    for index, block in blocks.items():
        store.started.put(snapshot_id, index, block, hashlib.sha256(block).digest())
    store.started.complete(snapshot_id, len(blocks))


def vanished(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Delete the snapshot that a block was found in, before the one that found it refers to it."""
    story: list[Line] = [("scan", "d", "s1", 4, 8), ("scan", "e", "s2", 4, 12)]
    for _ in range(8):
        play = _play(folder, story, site)
        process = play.machine.start()
        store = process.open()
        actor = Actor(store, process.go, play.ids, process.pause)
        actor.act(story[0])
        deletion = _Deletion(store, play.ids["s1"])
        failpoints.arm(deletion.reach)
        try:
            actor.act(story[1])
        finally:
            failpoints.disarm()
            process.kill()
        if not deletion.done:
            raise _UnreachedError
        play.story, play.done = [story[0], story[1], ("delete", "s1")], 3
        play.cut_power(chance)
        play.assert_survived(cut=True)


def borrowed(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Complete a snapshot of blocks that another one has just stored, which never is completed."""
    story: list[Line] = [("scan", "d", "s1", 4), ("scan", "f", "s2", 8), ("scan", "e", "s3", 4, 8)]
    for _ in range(8):
        play = _play(folder, story, site)
        process = play.machine.start()
        actor = Actor(process.open(), process.go, play.ids, process.pause)
        actor.act(story[0])

        def borrow(failpoint: str, actor: Actor = actor) -> None:
            if failpoint == "publish.committed":
                failpoints.disarm()
                actor.act(story[1])
                raise Killed

        failpoints.arm(borrow)
        try:
            actor.act(story[2])
            raise _UnreachedError
        except Killed:
            play.done = 2
        finally:
            failpoints.disarm()
            process.kill()
        play.cut_power(chance)
        play.assert_survived(cut=True)


class _UnreachedError(Exception):
    """A scenario does not reach what it is about."""


class _Deletion:
    """Deletes a snapshot when a batch is about to be published."""

    def __init__(self, store: Store, snapshot_id: str) -> None:
        self._store = store
        self._snapshot_id = snapshot_id
        self.done = False

    def reach(self, failpoint: str) -> None:
        """Do it, once."""
        if failpoint == "publish.synced" and not self.done:
            self.done = True
            self._store.delete_snapshots([self._snapshot_id])


def short_transactions(site: SyncSite | None, _chance: random.Random, folder: Path) -> None:
    """Others wait while a transaction is open: what takes long is synced before."""
    play = _play(folder, ALL_STORIES["scans"], site)
    files = play.machine.files
    catalog = _WatchedCatalog(play.machine.catalog.view())
    play.machine.catalog = catalog

    def observe(method: str, path: Path) -> None:
        if method == "sync" and catalog.writing:
            unsynced = files.unsynced_bytes(path)
            if unsynced > ENTRY_BYTES_MAX:
                raise AssertionError(f"{unsynced} bytes are synced while others wait")

    process: Process = play.machine.start(None, observe)
    try:
        actor = Actor(process.open(), process.go, play.ids, process.pause)
        actor.again = process.open
        perform(actor, play.story)
    finally:
        process.kill()


class _WatchedCatalog(MemoryCatalog):
    """Knows whether a transaction is open."""

    @property
    def writing(self) -> bool:
        """Whether one is."""
        return self._writing.locked()


def traced(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power in a story on real files."""
    loss = TracedPlay(folder, site).find_loss(chance, TRACED_STATES)
    assert not loss, loss


def renewed(site: SyncSite | None, chance: random.Random, folder: Path) -> None:
    """Cut the power behind a commit that failed, and that happened all the same."""
    loss = TracedPlay(folder, site, "renewed").find_loss(chance, TRACED_STATES)
    assert not loss, loss


SCENARIOS: dict[str, Scenario] = {
    "left": left,
    "fresh": fresh,
    "vanished": vanished,
    "borrowed": borrowed,
    "compacted": compacted,
    "short transactions": short_transactions,
    "power cuts": power_cuts,
    "opened again": opened_again,
    "taken over": taken_over,
    "off site": off_site,
    "repaired": repaired,
    "keyring": keyring,
    "credentials": credentials,
    "sealed": sealed,
    "started": started,
    "renewed": renewed,
    "traced": traced,
}


def scenario_that_sees(site: SyncSite, seed: int) -> str:
    """Return the name of a scenario that is red with a site switched off; empty if none is."""
    likely = [name for prefix, name in FIRST.items() if site.name.startswith(prefix)]
    for name in dict.fromkeys((*likely, *SCENARIOS)):
        if not runs_green(name, site, seed):
            return name
    return ""


def runs_green(name: str, site: SyncSite | None, seed: int) -> bool:
    """Return whether a scenario finds nothing lost.

    What is neither a loss nor an error of the store comes out of it: nothing was learned then.
    """
    folder = fast_folder()
    chance = case_random(f"{NAME}/{name}", seed, 0)
    try:
        SCENARIOS[name](site, chance, folder)
    except (AssertionError, EbsimError, OSError) as error:
        if site is None:
            raise Violation(f"with all syncs on, {name} finds: {error!r}") from error
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True


class SyncMutation(Campaign):
    """See the module."""

    name = NAME
    promise = "each sync call of ebsim that is switched off is noticed"
    excludes = "syncs that are there and come too late"
    cases = len(find_sites())
    sample = 2

    def missing(self) -> str:
        """Return why it cannot be run on this machine, or nothing."""
        return strace_is_missing() or ""

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Find the sites."""
        del folder
        import_everything()
        sites = find_sites()
        with quiet_log():
            yield lambda number: self._case(sites[number], seed)

    def _case(self, site: SyncSite, seed: int) -> int:
        if site.name in SPARED:
            return 0
        if not scenario_that_sees(site, seed):
            raise Violation(f"{site.name} can be left out, and nothing notices")
        return 1
