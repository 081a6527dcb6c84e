"""F11, F12: a commit fails, and the answer says what became of the operation: never a guess.

Each commit of each operation fails in turn, once before it took effect and once after. Then the
catalog is looked at anew in another process, and what the error says is compared with what the
store has when it is opened again.
"""

import pickle
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lmdb
import pytest

from ebsim.cli.failures import describe_failure
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode, OutcomeUnknownError, StorePoisonedError
from ebsim.requests import PruneOptions, VolumeRequest
from ebsim.storage import catalog_proof
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.testing.contents import NOISE, TAIL, TEXT, noise_block
from ebsim.testing.forked_process import run_script
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of


class Commits:
    """Fails one commit of a process, before or after it took effect."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.after = False
        self.failed = False

    def commit(self, txn: "lmdb.Transaction[bytes]") -> None:
        if self.left is None:
            txn.commit()
            return
        self.left -= 1
        if self.left >= 0:
            txn.commit()
            return
        self.left, self.failed = None, True
        if self.after:
            txn.commit()
        else:
            txn.abort()
        raise lmdb.Error("mdb_txn_commit: Input/output error")


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Commits:
    commits = Commits()
    monkeypatch.setattr(LmdbCatalog, "_commit", commits.commit)
    return commits


def seams(entropy: int = 0) -> Seams:
    return Seams(clock=ManualClock(), entropy=SeededEntropy(entropy))


@pytest.fixture
def template(fast_path: Path) -> Path:
    path = fast_path / "template"
    with Store.create(path, seams()) as store:
        disk = disk_of(NOISE, TEXT)
        store.create_snapshot(disk)
        disk.put(1, TAIL)
        store.create_snapshot(disk)
        store.volumes.create(VolumeRequest(size_gib=1))
    with Store.open(path, seams(1)) as store:
        store.create_snapshot(disk_of(noise_block(7), name="memory:small"))
    return path


def first(store: Store) -> str:
    return store.list_snapshots()[0].snapshot_id


def volume(store: Store) -> str:
    (managed,) = store.volumes.list()
    return managed.volume_id


OPERATIONS: dict[str, tuple[Callable[[Store], object], Callable[[Store], object]]] = {
    "create": (
        lambda store: store.create_snapshot(disk_of(NOISE, TAIL, noise_block(3))),
        lambda store: (
            len([each for each in store.list_snapshots() if each.state == "completed"]) == 4
        ),
    ),
    "delete": (
        lambda store: store.delete_snapshots([first(store)]),
        lambda store: len(store.list_snapshots()) == 2,
    ),
    "prune": (
        lambda store: store.prune(PruneOptions(keep_last=1)),
        lambda store: len(store.list_snapshots()) < 3,
    ),
    "tag": (
        lambda store: store.tags.create([first(store)], {"a": "b"}),
        lambda store: bool(store.tags.list()),
    ),
    "volume create": (
        lambda store: store.volumes.create(VolumeRequest(size_gib=2)),
        lambda store: len(store.volumes.list()) == 2,
    ),
    "volume delete": (
        lambda store: store.volumes.delete(volume(store)),
        lambda store: all(shown.state == "deleting" for shown in store.volumes.list()),
    ),
    "volume snapshot": (
        lambda store: store.create_snapshots([volume(store)]),
        lambda store: len(store.list_snapshots()) == 4,
    ),
}


def try_each_commit(
    template: Path, path: Path, commits: Commits, name: str, *, after: bool
) -> set[bool]:
    """Let each commit of an operation fail in turn; return what the answers said.

    Raises:
        AssertionError: An answer was not true.
    """
    operate, happened = OPERATIONS[name]
    said = set()
    for number in range(40):
        shutil.copytree(template, path)
        store = Store.open(path, seams(50 + number))
        commits.left, commits.after, commits.failed = number, after, False
        answer: OutcomeUnknownError | None = None
        try:
            operate(store)
        except OutcomeUnknownError as error:
            answer = error
            with pytest.raises(StorePoisonedError):
                store.tags.create([first(store)], {"refused": ""})
        failed, commits.left = commits.failed, None
        store.close(wait=False)
        with Store.open(path, seams(150 + number), resume=False) as store:
            there = bool(happened(store))
            assert_healthy(store)
        shutil.rmtree(path)
        if answer is None:
            assert there, "it was reported as done"
        else:
            assert answer.happened is there, str(answer)
            assert ("The operation did happen" in str(answer)) is there
            said.add(there)
        if not failed:
            return said
    raise AssertionError("it never came to an end")


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_answer_is_what_the_store_has(
    template: Path, fast_path: Path, commits: Commits, name: str, *, after: bool
) -> None:
    said = try_each_commit(template, fast_path / "store", commits, name, after=after)

    assert after in said


def test_compaction_says_what_it_knows(template: Path, commits: Commits) -> None:
    """Nothing that a user sees depends on it; the store is whole whatever became of the commit."""
    for number in range(6):
        with Store.open(template, seams(20 + number)) as store:
            commits.left, commits.after, commits.failed = number, number % 2 == 0, False
            with suppress(OutcomeUnknownError):
                store.compact()
            commits.left = None
        with Store.open(template, seams(70 + number)) as store:
            assert_healthy(store)
            assert len(store.list_snapshots()) == 3


def test_entry_of_what_did_not_happen_is_taken_back(template: Path, commits: Commits) -> None:
    """Else a rebuild would tell it as done, although the answer was that it did not happen."""
    with Store.open(template, seams(5)) as store:
        commits.left = 2  # a session, a segment, and the one with the entry
        with pytest.raises(OutcomeUnknownError) as caught:
            store.tags.create([first(store)], {"a": "b"})
        assert "JOURNAL" in caught.value.tables
        assert caught.value.happened is False

    assert Store.rebuild(template, seams(6)).findings == ()
    with Store.open(template, seams(7)) as store:
        assert store.tags.list() == []


def test_what_cannot_be_looked_at_stays_unknown(
    template: Path, commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LmdbCatalog, "_refuses_everything", lambda _: True)
    with Store.open(template, seams(5)) as store:
        commits.left = 2
        monkeypatch.setattr(sys, "executable", "/nothing")
        with pytest.raises(OutcomeUnknownError, match="is not known: look") as caught:
            store.tags.create([first(store)], {"a": "b"})
    assert caught.value.happened is None


def test_error_crosses_processes_and_reaches_programs() -> None:
    error = OutcomeUnknownError("a commit failed", None, True, frozenset({"JOURNAL"}))

    again = pickle.loads(pickle.dumps(error))

    assert (again.message, again.code) == ("a commit failed", ErrorCode.OUTCOME_UNKNOWN)
    assert (again.happened, again.tables) == (True, frozenset({"JOURNAL"}))
    assert describe_failure(again).document() == {
        "Error": {"Code": "OutcomeUnknown", "Message": "a commit failed", "Happened": True}
    }


def test_tests_can_fail_where_the_answer_is_guessed(
    template: Path, fast_path: Path, commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that does not look, but takes each failure for a failure, is found out."""
    monkeypatch.setattr(catalog_proof, "look_for_commit", lambda *_: False)

    with pytest.raises(AssertionError):
        try_each_commit(template, fast_path / "store", commits, "tag", after=True)


# The real thing: system calls that fail

OPERATE = """
import sys
from ebsim.engine import Store
from ebsim.errors import EbsimError
store = Store.open(sys.argv[1])
try:
    store.tags.create([store.list_snapshots()[0].snapshot_id], {"a": "b"})
    print("done")
except EbsimError as error:
    print(type(error).__name__, getattr(error, "happened", "-"))
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
@pytest.mark.parametrize(
    ("call", "fault", "count"),
    [("fdatasync", "EIO", 8), ("pwrite64", "EIO", 14), ("pwrite64", "ENOSPC", 14)],
)
def test_system_call_that_fails_leaves_no_guess(
    template: Path, tmp_path: Path, call: str, fault: str, count: int
) -> None:
    """F11 and F12 below LMDB: its data, its syncs, and its meta page."""
    path = tmp_path / "store"
    answers = set()
    for number in range(1, count + 1):
        shutil.copytree(template, path)
        Store.open(path, seams(30)).close()
        inject = f"inject={call}:error={fault}:when={number}"
        strace = ["-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
        _, told = run_script(OPERATE, str(path), strace=strace)
        name, _, happened = told.strip().partition(" ")
        answers.add(name)
        with Store.open(path, seams(31)) as store:
            there = bool(store.tags.list())
            assert_healthy(store)
        match name, happened:
            case "done", _:
                assert there
            case "OutcomeUnknownError", ("True" | "False"):
                assert there is (happened == "True")
            case "OutcomeUnknownError", "None":
                pass
            case _:
                assert not there, told
        shutil.rmtree(path)
    assert answers & {"OutcomeUnknownError", "StoreError", "LimitExceededError"}
