"""F23 to F25, F29: what opening does with a catalog that nobody vouches for.

It is proved in another process, which may die of it, and made again from the segments if it is
damaged or not the newest.
"""

import errno
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim import failpoints
from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.cli.stores import EngineStores
from ebsim.core import catalog_doubt, events
from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError, ErrorCode, SnapshotFailedError
from ebsim.format.catalog_state import (
    STATE_NAME,
    CatalogState,
    decode_catalog_state,
    encode_catalog_state,
)
from ebsim.format.catalog_values import Table
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState
from ebsim.storage import catalog_proof, catalog_prover
from ebsim.storage.catalog_proof import CatalogProof, look_for_commit, prove_catalog
from ebsim.storage.catalog_watch import CatalogWatch
from ebsim.storage.files import File, PosixFiles
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.storage.locks import LockFile
from ebsim.storage.store_folder import LOCK_NAME
from ebsim.testing.contents import NOISE, TAIL, TEXT, noise_block
from ebsim.testing.damage import damage_block, vouch_for_catalog
from ebsim.testing.forked_process import start_script
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.leaving import close_leaving
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import FailingSource, disk_of

DATABASE = Path("catalog/data.mdb")


def seams(entropy: int = 0, boot: str = "one boot") -> Seams:
    return Seams(clock=ManualClock(), entropy=SeededEntropy(entropy), boot_id=boot)


@pytest.fixture
def folder(fast_path: Path) -> Path:
    """Return a closed store of two snapshots."""
    path = fast_path / "store"
    with Store.create(path, seams()) as store:
        disk = disk_of(NOISE, TEXT)
        store.create_snapshot(disk)
        disk.put(1, TAIL)
        store.create_snapshot(disk)
    return path


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the list of catalogs that are proved from now on."""
    asked: list[Path] = []

    def watched(path: Path, told: Callable[[float], None] | None = None) -> CatalogProof:
        asked.append(path)
        return prove_catalog(path, told)

    monkeypatch.setattr(catalog_doubt, "prove_catalog", watched)
    return asked


def state_of(folder: Path) -> CatalogState:
    state = decode_catalog_state((folder / STATE_NAME).read_bytes())
    assert state is not None
    return state


def say(folder: Path, state: CatalogState) -> None:
    (folder / STATE_NAME).write_bytes(encode_catalog_state(state))


def ids(folder: Path, which: Seams | None = None) -> list[str]:
    with Store.open(folder, which or seams(99)) as store:
        return [shown.snapshot_id for shown in store.list_snapshots()]


def rebuilt(folder: Path) -> bool:
    return any(folder.glob("catalog.old-*"))


def alter(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def flip_a_value(folder: Path) -> None:
    alter(folder / DATABASE, lambda data: data.__setitem__(data.find(b'"snap-') + 8, 0x21))


# When it is proved


def test_catalog_that_was_closed_is_opened_as_it_is(folder: Path, proofs: list[Path]) -> None:
    ids(folder)
    ids(folder, seams(boot="another"))

    assert proofs == []


def test_file_that_was_touched_is_proved_once(folder: Path, proofs: list[Path]) -> None:
    os.utime(folder / DATABASE)

    ids(folder)
    ids(folder)

    assert len(proofs) == 1
    assert not rebuilt(folder)


@pytest.mark.parametrize("said", [None, b"", b"garbage", b"{}"])
def test_catalog_of_which_nothing_is_said_is_proved(
    folder: Path, proofs: list[Path], said: bytes | None
) -> None:
    (folder / STATE_NAME).unlink()
    if said is not None:
        (folder / STATE_NAME).write_bytes(said)

    ids(folder)

    assert len(proofs) == 1


def test_catalog_is_proved_where_the_machine_was_restarted_while_it_was_written(
    folder: Path, proofs: list[Path]
) -> None:
    say(folder, replace(state_of(folder), closed=False, boot="an earlier boot"))

    ids(folder)
    ids(folder)

    assert len(proofs) == 1


def test_catalog_is_opened_once_after_a_kill_and_then_proved(
    folder: Path, proofs: list[Path]
) -> None:
    """A kill damages nothing, unless the catalog is what killed."""
    left = replace(state_of(folder), closed=False, boot="one boot")
    say(folder, left)
    ids(folder)
    assert proofs == []
    assert state_of(folder).closed

    say(folder, replace(left, unclean_opens=1))
    ids(folder)

    assert len(proofs) == 1


def test_first_opener_after_a_kill_leaves_a_mark_until_it_closes(folder: Path) -> None:
    say(folder, replace(state_of(folder), closed=False, boot="one boot"))

    with Store.open(folder, seams(1)):
        assert state_of(folder).unclean_opens == 1

    assert state_of(folder).closed


@pytest.mark.parametrize("boot", ["one boot", "another"])
def test_entry_whose_commit_never_came_is_no_lost_commit(
    folder: Path, fast_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str
) -> None:
    """Processes killed one after the other lose no commit; a restart may have.

    A rebuild would forget the snapshot that was pending then, and its reason.
    """
    killed = fast_path / "killed"

    def photograph(name: str) -> None:
        if name == "journal.synced":
            shutil.copytree(folder, killed)

    with Store.open(folder, seams(1)) as store:
        monkeypatch.setattr(failpoints, "reach", photograph)
        store.create_snapshot(disk_of(noise_block(5), name="memory:other"))
        monkeypatch.undo()
    inode = (killed / DATABASE).stat().st_ino
    say(killed, replace(state_of(killed), inode=inode, unclean_opens=1))

    with Store.open(killed, seams(2, boot)) as store:
        states = [shown.state for shown in store.list_snapshots()]
        assert_healthy(store)

    completed, failed = SnapshotState.COMPLETED, SnapshotState.ERROR
    assert rebuilt(killed) == (boot == "another")
    assert states == [completed, completed, completed if boot == "another" else failed]


def test_writer_that_lives_vouches(folder: Path, proofs: list[Path]) -> None:
    writer = (
        "import sys; from ebsim.engine import Store\n"
        "store = Store.open(sys.argv[1])\n"
        "store.tags.create([store.list_snapshots()[0].snapshot_id], {'a': 'b'})\n"
        "print('written', flush=True); sys.stdin.read(); store.close()"
    )
    with start_script(writer, str(folder)) as process:
        assert process.stdout.readline() == "written\n"

        ids(folder, Seams())
        process.stdin.close()
        assert process.wait() == 0

    ids(folder, Seams())
    assert proofs == []


def test_two_openers_at_once_rebuild_once(folder: Path) -> None:
    """In two processes, as two users would."""
    flip_a_value(folder)
    opener = "import sys; from ebsim.engine import Store; Store.open(sys.argv[1]).close()"
    with start_script(opener, str(folder)) as one, start_script(opener, str(folder)) as other:
        assert [process.wait() for process in (one, other)] == [0, 0]
    assert len(list(folder.glob("catalog.old-*"))) == 1
    with Store.open(folder, seams(9)) as store:
        assert_healthy(store)


# What is found


def zero_a_page(data: bytearray) -> None:
    data[3 * 4096 : 4 * 4096] = bytes(4096)


def cut_off(data: bytearray) -> None:
    del data[5 * 4096 :]


def empty(data: bytearray) -> None:
    data.clear()


def spoil_both_meta_pages(data: bytearray) -> None:
    data[:200] = data[4096:4296] = b"\xee" * 200


def go_back_a_commit(data: bytearray) -> None:
    """Destroy the newer meta page's number: LMDB would take the older one, and say nothing."""
    newer = max(0, 4096, key=lambda at: int.from_bytes(data[at + 152 : at + 160], "little"))
    data[newer : newer + 4096] = data[4096 - newer : 2 * 4096 - newer]


@pytest.mark.parametrize(
    "damage", [zero_a_page, cut_off, empty, spoil_both_meta_pages, go_back_a_commit]
)
def test_damaged_catalog_is_made_again(
    folder: Path, damage: Callable[[bytearray], None], caplog: pytest.LogCaptureFixture
) -> None:
    """F24, F25."""
    before = ids(folder)
    alter(folder / DATABASE, damage)

    with caplog.at_level(logging.WARNING), Store.open(folder, seams(1)) as store:
        assert_healthy(store)
        assert [shown.snapshot_id for shown in store.list_snapshots()] == before

    assert rebuilt(folder)
    assert "made again from the segments: 2 completed snapshots" in caplog.text
    assert "Events, and snapshots that were pending or in error, are not" in caplog.text


def test_damaged_value_is_found(folder: Path) -> None:
    """F23."""
    before = ids(folder)
    flip_a_value(folder)

    assert ids(folder) == before
    assert rebuilt(folder)


def test_old_catalog_that_was_put_back_is_no_rollback(folder: Path) -> None:
    """F25: it is whole, and knows nothing of what was reported as done since."""
    old = (folder / DATABASE).read_bytes()
    with Store.open(folder, seams(1)) as store:
        store.create_snapshot(disk_of(noise_block(5), name="memory:other"))
        deleted = store.list_snapshots()[0].snapshot_id
        store.delete_snapshots([deleted])
    after = ids(folder)
    (folder / DATABASE).write_bytes(old)

    assert ids(folder) == after
    assert rebuilt(folder)


@pytest.mark.parametrize("commits", [1, 3])
def test_journal_that_is_ahead_is_noticed_without_any_word(folder: Path, commits: int) -> None:
    """F25, after a power cut: nothing says which commit was the last."""
    old = (folder / DATABASE).read_bytes()
    with Store.open(folder, seams(1)) as store:
        first = store.list_snapshots()[0].snapshot_id
        for number in range(commits):
            store.tags.create([first], {"number": str(number)})
        told = store.tags.list()
    (folder / DATABASE).write_bytes(old)
    (folder / STATE_NAME).unlink()

    with Store.open(folder, seams(2)) as store:
        assert store.tags.list() == told

    assert rebuilt(folder)


@pytest.mark.parametrize("later", ["tagged", "completed", "deleted"])
def test_catalog_that_is_only_not_the_newest_keeps_what_it_alone_knows(
    folder: Path, later: str
) -> None:
    """F25: events, snapshots in error, and that one was pending. What the journal says counts."""
    gate = threading.Event()

    def before_copy(_snapshot_id: str) -> None:
        gate.wait()

    store = Store.open(folder, replace(seams(1), before_copy=before_copy))
    with pytest.raises(SnapshotFailedError) as broken:
        store.create_snapshot(
            FailingSource(disk_of(noise_block(7), name="memory:broken"), unreadable_block=0)
        )
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(noise_block(3), 0)
    pending, failed = store.create_snapshot(volume).snapshot_id, broken.value.snapshot_id
    assert failed is not None
    told = store.events()
    old = (folder / DATABASE).read_bytes()
    if later == "tagged":
        store.tags.create([store.list_snapshots()[0].snapshot_id], {"told": "a"})
        close_leaving(store, gate)
    else:
        gate.set()
        store.wait_snapshots([pending])
    if later == "deleted":
        store.delete_snapshots([failed, pending])
    store.close()
    (folder / DATABASE).write_bytes(old)
    (folder / STATE_NAME).unlink()

    with Store.open(folder, seams(2)) as store:
        assert rebuilt(folder)
        found = {str(each.snapshot_id): each for each in store.list_snapshots()}
        assert store.events()[: len(told)] == told
        assert (failed in found, pending in found) == (later != "deleted",) * 2
        if later != "deleted":
            assert found[failed].state is SnapshotState.ERROR
            assert found[failed].state_message == broken.value.args[0].partition(": ")[2]
        if later == "completed":
            assert found[pending].state is SnapshotState.COMPLETED
            assert len(store.events()) == len(told)
        if later == "tagged":
            assert found[pending].state is SnapshotState.ERROR
            assert "take another" in found[pending].state_message
            (last,) = store.events()[len(told) :]
            assert (last.detail["event"], last.detail["result"]) == ("createSnapshot", "failed")
            assert last.number > told[-1].number
        (again,) = store.wait_snapshots([store.create_snapshot(volume).snapshot_id])
        assert store.read_block(again.snapshot_id, 0) == noise_block(3)
        assert_healthy(store)


def test_events_of_before_are_forgotten_one_by_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where numbers go on far behind, the newest are kept all the same."""
    test_catalog_that_is_only_not_the_newest_keeps_what_it_alone_knows(folder, "completed")
    with Store.open(folder, seams(3)) as store:
        before = store.events()
        monkeypatch.setattr(events, "EVENTS_KEPT", len(before))
        for number in range(len(before)):
            store.create_snapshot(disk_of(noise_block(number + 20), name="memory:more"))
        assert len(store.events()) == len(before)
        assert store.events()[0].number > before[-1].number


def test_table_of_readers_that_is_damaged_or_gone_is_made_again(folder: Path) -> None:
    """F29."""
    before = ids(folder)
    locks = folder / "catalog/lock.mdb"
    for content in (None, b"", b"\xff" * 8192, b"garbage" * 1000):
        locks.unlink()
        if content is not None:
            locks.write_bytes(content)

        assert ids(folder) == before
        with Store.open(folder, seams(5)) as store:
            assert_healthy(store)
    assert not rebuilt(folder)


def test_store_whose_segments_are_damaged_too_is_refused(folder: Path) -> None:
    damage_block(folder, NOISE)
    flip_a_value(folder)

    with pytest.raises(CorruptionError, match=r"`ebsim rebuild`, or `ebsim repair`") as caught:
        Store.open(folder, seams(1))

    assert caught.value.code is ErrorCode.CORRUPT_CATALOG
    assert not rebuilt(folder)
    report = Store.rebuild(folder, seams(2))
    assert report.findings
    assert len(ids(folder)) == 2


def test_segment_whose_making_was_broken_off_is_no_finding(folder: Path) -> None:
    (folder / "segments" / f"{'ab' * 16}.seg").write_bytes(b"")
    flip_a_value(folder)

    assert len(ids(folder)) == 2
    with Store.open(folder, seams(3)) as store:
        assert_healthy(store)


# The process that proves


def test_death_of_the_one_who_proves_is_a_finding(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fast_path: Path
) -> None:
    for how in ("os.abort()", "os.kill(os.getpid(), 7)", "sys.exit(3)"):
        program = fast_path / "prover.py"
        program.write_text(f"import os, sys\n{how}\n")
        monkeypatch.setattr(catalog_prover, "__file__", str(program))
        (found,) = prove_catalog(folder / "catalog").damage
        assert found.startswith("the process that read it")
        assert look_for_commit(folder / "catalog", 1) is None


def test_one_who_proves_for_ever_is_a_finding(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fast_path: Path
) -> None:
    program = fast_path / "prover.py"
    program.write_text("import threading\nthreading.Event().wait()\n")
    monkeypatch.setattr(catalog_prover, "__file__", str(program))

    found = prove_catalog(folder / "catalog", patience_s=0.2).damage

    assert found == ("the process that read it did not come to an end",)


def test_no_process_at_all_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(folder / DATABASE)
    monkeypatch.setattr(sys, "executable", str(folder / "nothing"))

    with pytest.raises(Exception, match="no process can be started"):
        Store.open(folder, seams(1))


def test_progress_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_prover, "PROGRESS_ENTRIES", 5)
    parts: list[dict[str, float]] = []
    monkeypatch.setattr(catalog_prover, "_say", parts.append)

    tables = [table.value.decode() for table in Table]
    found = catalog_prover.prove(str(folder / "catalog"), tables)

    assert found["damage"] == []
    told = [said["progress"] for said in parts]
    assert told
    assert told == sorted(told)
    assert told[-1] <= 1


def test_value_without_its_checksum_would_pass(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These tests can fail: the structure alone finds nothing."""
    flip_a_value(folder)
    tables = [table.value.decode() for table in Table]
    assert catalog_prover.prove(str(folder / "catalog"), tables)["damage"]

    monkeypatch.setattr(catalog_prover, "_table", lambda *_: [])

    assert catalog_prover.prove(str(folder / "catalog"), tables)["damage"] == []


# What is vouched for and damaged: bits that rotted while nobody looked


def test_check_proves_what_is_vouched_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_a_value(folder)
    vouch_for_catalog(folder)

    code = run(["check", "--store", str(folder)], Environment(store=None), EngineStores())

    assert code == 1
    assert "make it again with `ebsim rebuild`" in capsys.readouterr().err
    assert not rebuilt(folder)
    assert len(ids(folder)) == 2
    assert rebuilt(folder)


def test_check_of_a_catalog_that_kills_lives(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def make_it_kill(data: bytearray) -> None:
        data[2 * 4096 :] = os.urandom(len(data) - 2 * 4096)

    alter(folder / DATABASE, make_it_kill)
    vouch_for_catalog(folder)

    assert run(["check", "--store", str(folder)], Environment(store=None), EngineStores()) == 1
    assert run(["dump", "--store", str(folder)], Environment(store=None), EngineStores()) == 0
    assert run(["rebuild", "--store", str(folder)], Environment(store=None), EngineStores()) == 0
    assert run(["check", "--store", str(folder)], Environment(store=None), EngineStores()) == 0
    capsys.readouterr()


def test_proving_beside_a_writer_does_not_wait(folder: Path) -> None:
    with Store.open(folder, seams(1)) as store:
        store.tags.create([store.list_snapshots()[0].snapshot_id], {"a": "b"})
        watch = CatalogWatch(folder, PosixFiles(), LockFile(folder / LOCK_NAME), "one boot")

        with watch.alone() as alone:
            assert alone is None

        assert watch.doubt() == ""


# The word itself


def test_word_that_cannot_be_written_costs_a_proof_and_nothing_else(
    folder: Path, proofs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / STATE_NAME).unlink()
    create = PosixFiles.create

    def refuse(files: PosixFiles, path: Path) -> File:
        if path.name == STATE_NAME:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(files, path)

    monkeypatch.setattr(PosixFiles, "create", refuse)
    with Store.open(folder, seams(1)) as store:
        store.tags.create([store.list_snapshots()[0].snapshot_id], {"a": "b"})
    ids(folder)

    assert len(proofs) == 2


def test_copy_of_a_store_is_proved_once(folder: Path, fast_path: Path, proofs: list[Path]) -> None:
    copy = fast_path / "copy"
    shutil.copytree(folder, copy)

    assert ids(copy) == ids(folder)
    ids(copy)

    assert len(proofs) == 1


def test_patience_grows_with_the_catalog(folder: Path) -> None:
    assert catalog_proof.patience_for(folder / "catalog") > catalog_proof.PATIENCE_S
    assert catalog_proof.patience_for(folder / "none") == catalog_proof.PATIENCE_S


def test_many_threads_that_write_are_one_writer(folder: Path) -> None:
    catalog = Store.open(folder, seams(1))
    with catalog as store:
        first = store.list_snapshots()[0].snapshot_id
        threads = [
            threading.Thread(target=store.tags.create, args=([first], {f"k{number}": "v"}))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not state_of(folder).closed
    assert state_of(folder).closed
    assert LmdbCatalog.lies_read_only(folder) is False
