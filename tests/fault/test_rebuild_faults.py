"""Rebuilding what is damaged, and being interrupted while rebuilding."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ebsim import failpoints
from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError, EbsimError
from ebsim.format.segment import RecordKind
from ebsim.reports import RebuildReport
from ebsim.requests import VolumeRequest
from ebsim.storage.files import Buffer, File, PosixFile, PosixFiles
from ebsim.storage.segment_scan import scan_segment
from ebsim.testing.contents import palette_block
from ebsim.testing.damage import damage_block, flip_bit, segment_files
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.memory_store import leave_as_if_killed
from ebsim.testing.seams import SeededEntropy
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE


class Died(BaseException):
    """The process ends here."""


IMMORTAL = 1_000_000
"""More changes than any test makes."""


class MortalFiles(PosixFiles):
    """Files of a process that dies before its n-th change of a folder."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        if self.left == 0:
            raise Died
        self.left -= 1

    def rename(self, source: Path, target: Path) -> None:
        self.step()
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self.step()
        super().sync_directory(path)

    def make_directory(self, path: Path) -> None:
        self.step()
        super().make_directory(path)

    def remove(self, path: Path) -> None:
        self.step()
        super().remove(path)

    def create(self, path: Path) -> File:
        self.step()
        file = super().create(path)
        assert isinstance(file, PosixFile)
        file.__class__ = DyingFile
        file.owner = self  # type: ignore[attr-defined]
        return file

    def open(self, path: Path, *, writable: bool = False) -> File:
        self.step()
        return super().open(path, writable=writable)


@pytest.fixture
def folder(tmp_path: Path, seams: Seams) -> Path:
    """Return a store with three snapshots of one disk, and one deleted snapshot."""
    folder = tmp_path / "store"
    disk = MemorySource("memory:disk", 4 * BLOCK_SIZE)
    with Store.create(folder, seams) as store:
        for content in (3, 4, 5, 6):
            disk.write(content % 4 * BLOCK_SIZE, palette_block(content))
            store.create_snapshot(disk)
        store.delete_snapshots([store.list_snapshots()[1].snapshot_id])
    return folder


def contents(folder: Path, seams: Seams) -> dict[str, list[bytes]]:
    with Store.open(folder, seams) as store:
        assert store.check(data=True).findings == ()
        return {
            each.snapshot_id: [store.read_block(each.snapshot_id, index) for index in range(4)]
            for each in store.list_snapshots()
        }


@pytest.mark.parametrize("lost", [False, True])
def test_killed_at_each_step(folder: Path, seams: Seams, lost: bool) -> None:
    wanted = contents(folder, seams)
    template = folder.parent / "template"
    folder.rename(template)
    steps = 0
    while True:
        shutil.copytree(template, folder)
        if lost:
            shutil.rmtree(folder / "catalog")
        try:
            Store.rebuild(folder, Seams(MortalFiles(steps), seams.clock, seams.entropy))
            break
        except Died:
            steps += 1
        if lost:
            try:
                found = contents(folder, seams)
            except CorruptionError:
                Store.rebuild(folder, seams)
                found = contents(folder, seams)
        else:
            found = contents(folder, seams)  # the old one or the new one
        assert found == wanted
        shutil.rmtree(folder)
    assert steps > 6
    assert contents(folder, seams) == wanted


def damage(folder: Path, kind: RecordKind, which: int) -> None:
    """Flip a bit in the payload of a record, the n-th of its kind in the order of writing."""
    (path,) = [path for path in segment_files(folder) if path.stat().st_size > 100_000]
    found = scan_segment(PosixFiles(), path, bytes.fromhex(path.stem))
    places = [each.offset for each in found if each.header and each.header.kind is kind]
    flip_bit(path, 8 * (places[which] + 100))


def rebuild(folder: Path, seams: Seams) -> RebuildReport:
    shutil.rmtree(folder / "catalog")
    planned = Store.rebuild(folder, seams, dry_run=True)
    made = Store.rebuild(folder, seams)
    assert made.findings == planned.findings
    return made


def test_damaged_block_is_told_and_never_returned(folder: Path, seams: Seams) -> None:
    damage_block(folder, palette_block(4))
    (finding,) = rebuild(folder, seams).findings
    with Store.open(folder, seams) as store:
        snapshots = [each.snapshot_id for each in store.list_snapshots()]
        assert len(snapshots) == 3
        hit = [each for each in snapshots if _is_damaged(store, each, 0)]
        assert hit == list(finding.snapshots) == snapshots[1:]
        assert set(finding.ranges) == {(0, BLOCK_SIZE)}
        assert store.read_block(snapshots[0], 3) == palette_block(3)
        assert store.read_block(snapshots[2], 1) == palette_block(5)
        disk = MemorySource("memory:other", BLOCK_SIZE)
        disk.write(0, palette_block(4))
        healthy = store.create_snapshot(disk)  # its content is stored again
        assert store.read_block(healthy.snapshot_id, 0) == palette_block(4)


def _is_damaged(store: Store, snapshot_id: str, index: int) -> bool:
    try:
        store.read_block(snapshot_id, index)
    except EbsimError:
        return True
    return False


@pytest.mark.parametrize("kind", [RecordKind.VERSIONS, RecordKind.PAGES])
def test_damaged_description_is_told_and_never_read_as_zeros(
    folder: Path, seams: Seams, kind: RecordKind
) -> None:
    with Store.open(folder, seams) as store:
        wanted = {
            (each.snapshot_id, index): store.read_block(each.snapshot_id, index)
            for each in store.list_snapshots()
            for index in range(4)
        }
    damage(folder, kind, 0)
    findings = rebuild(folder, seams).findings
    assert {finding.kind for finding in findings} <= {"lost-block", "lost-page"}
    assert findings
    with Store.open(folder, seams) as store:
        assert len(store.list_snapshots()) == 3
        damaged = set()
        for (snapshot_id, index), content in wanted.items():
            if _is_damaged(store, snapshot_id, index):
                damaged.add(snapshot_id)
            else:
                assert store.read_block(snapshot_id, index) == content
        assert damaged == {each for finding in findings for each in finding.snapshots}
        assert not store.check(data=True).healthy


@pytest.mark.parametrize("which", range(5))
def test_damaged_entry_of_the_journal_is_told(folder: Path, seams: Seams, which: int) -> None:
    before = contents(folder, seams)
    damage(folder, RecordKind.JOURNAL, which)
    report = rebuild(folder, seams)
    last = which == 4
    kinds = {finding.kind for finding in report.findings}
    if last:
        assert report.unreadable_bytes > 0  # that it was an entry is not known
    else:
        assert "journal-gap" in kinds
    with Store.open(folder, seams) as store:
        for each in store.list_snapshots():
            for index in range(4):
                if each.snapshot_id in before and not _is_damaged(store, each.snapshot_id, index):
                    found = store.read_block(each.snapshot_id, index)
                    assert found == before[each.snapshot_id][index]


def test_torn_tail_is_kept_and_told(folder: Path, seams: Seams) -> None:
    before = contents(folder, seams)
    path = segment_files(folder)[0]
    with path.open("ab") as file:
        file.write(b"torn" * 2000)
    report = rebuild(folder, seams)
    assert report.findings == ()
    assert report.unreadable_bytes > 0
    assert path.read_bytes().endswith(b"torn")
    assert contents(folder, seams) == before


def test_missing_segment_is_told(folder: Path, seams: Seams) -> None:
    segment_files(folder)[0].unlink()
    report = rebuild(folder, seams)
    with Store.open(folder, seams) as store:
        assert len(store.list_snapshots()) == report.snapshots


class DyingFile(PosixFile):
    """A file of such a process, which may die before a sync too."""

    owner: "MortalFiles"

    def sync(self) -> None:
        self.owner.step()
        super().sync()

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        self.owner.step()
        super().write_at(offset, parts)


@pytest.mark.parametrize("what", ["create", "delete"])
def test_catalog_lost_with_the_process_that_wrote(folder: Path, seams: Seams, what: str) -> None:
    """What was acknowledged is there; what was under way is there as a whole, or not at all."""
    before = contents(folder, seams)
    template = folder.parent / "template"
    folder.rename(template)
    outcomes = set()
    died = True
    for steps in range(60):
        shutil.copytree(template, folder)
        mortal = MortalFiles(IMMORTAL)
        context = Store.open(folder, Seams(mortal, seams.clock, SeededEntropy(steps)))._context
        mortal.left = steps
        died = _act(Store(context), what, before)
        mortal.left = IMMORTAL
        leave_as_if_killed(context)
        context.catalog.close()
        shutil.rmtree(folder / "catalog")
        assert Store.rebuild(folder, seams).findings == ()
        after = contents(folder, seams)
        if what == "create":
            assert {name: after[name] for name in before} == before
            assert len(after.keys() - before.keys()) <= 1
        else:
            assert after == {name: before[name] for name in after}
            assert len(before.keys() - after.keys()) <= 1
        outcomes.add(after.keys() == before.keys())
        assert died or after.keys() != before.keys(), "it was acknowledged"
        shutil.rmtree(folder)
        if not died:
            break
    assert not died
    assert outcomes == {True, False}


def _act(store: Store, what: str, before: dict[str, list[bytes]]) -> bool:
    """Do something, and return whether the process died."""
    try:
        if what == "create":
            disk = MemorySource("memory:disk", 4 * BLOCK_SIZE)
            disk.write(3 * BLOCK_SIZE, palette_block(12))
            store.create_snapshot(disk)
        else:
            store.delete_snapshots([min(before)])
    except (Died, EbsimError):
        return True
    return False


def test_set_whose_journal_breaks_off_is_not_there_by_half(
    fast_path: Path, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut between the entries of a set's members, each of which is synced by itself."""
    path = fast_path / "store"
    cut: list[Path] = []

    def photograph(name: str) -> None:
        if name == "journal.synced" and begun:
            cut.append(fast_path / f"cut-{len(cut)}")
            shutil.copytree(path, cut[-1])

    begun: list[str] = []
    with Store.create(path, seams) as store:
        volumes = [store.volumes.create(VolumeRequest(size_gib=1)).volume_id for _ in range(3)]
        for volume in volumes:
            with store.volumes.open(volume) as file:
                file.pwrite(palette_block(1), 0)
        monkeypatch.setattr(failpoints, "reach", photograph)
        begun += [each.snapshot_id for each in store.create_snapshots(volumes)]
        store.wait_snapshots(begun)
    monkeypatch.undo()

    left = []
    for each in cut:
        Store.rebuild(each, seams)
        with Store.open(each, seams) as store:
            left.append(len(store.list_snapshots()))
            assert_healthy(store)
    assert left == [0, 0, 3]
