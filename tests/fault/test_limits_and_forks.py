"""Forks, few descriptors, little memory, hostile ids, and folders that cannot be listed."""

import errno
import json
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import (
    ConflictError,
    CorruptionError,
    EbsimError,
    ErrorCode,
    InvalidInputError,
    NotFoundError,
    StoreError,
)
from ebsim.requests import PruneOptions, VolumeRequest
from ebsim.storage.files import PosixFiles
from ebsim.testing.contents import HEAD, NOISE, TEXT
from ebsim.testing.forked_process import run_script
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

DISKS = {"memory:a": (NOISE, TEXT, HEAD), "memory:b": (TEXT, TEXT), "memory:c": (HEAD, NOISE)}


def fill(path: Path) -> dict[str, str]:
    """Make a store with a snapshot of each disk; return their ids by disk."""
    with Store.create(path, Seams(entropy=SeededEntropy(7))) as store:
        return {
            name: store.create_snapshot(disk_of(*blocks, name=name)).snapshot_id
            for name, blocks in DISKS.items()
        }


def assert_whole(path: Path, ids: dict[str, str]) -> None:
    """The store can be used, has these snapshots with their bytes, and no other completed one."""
    with Store.open(path) as store:
        for name, snapshot_id in ids.items():
            for index, block in enumerate(DISKS[name]):
                assert store.read_block(snapshot_id, index) == block, name
        assert_healthy(store)
        another = store.create_snapshot(disk_of(TEXT, HEAD, name="memory:another"))
        store.delete_snapshots([another.snapshot_id])


def is_there(path: Path, snapshot_id: str) -> bool:
    with Store.open(path) as store:
        return snapshot_id in {each.snapshot_id for each in store.list_snapshots()}


# F37: forks


def in_child(action: Callable[[], object]) -> str:
    """Return what an action returns or raises in a forked child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = f"{action()}"
        except EbsimError as error:
            answer = error.code
        except BaseException as error:  # noqa: BLE001 - told to the parent
            answer = repr(error)
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        told = answers.read()
    os.waitpid(child, 0)
    return told


def test_store_and_volumes_are_refused_in_a_forked_child(store_path: Path) -> None:
    """F37."""
    with Store.create(store_path) as store:
        snapshot_id = store.create_snapshot(disk_of(NOISE)).snapshot_id
        volume_id = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        for _ in range(3):
            store.read_block(snapshot_id, 0)  # where it lies is remembered now
        file = store.volumes.open(volume_id)
        file.pwrite(TEXT, 0)
        refused: list[Callable[[], object]] = [
            store.list_snapshots,
            lambda: store.read_block(snapshot_id, 0),
            lambda: store.create_snapshot(disk_of(TEXT)),
            lambda: store.delete_snapshots([snapshot_id]),
            store.compact,
            store.check,
            lambda: store.volumes.open(volume_id),
            lambda: file.pread(1, 0),
            lambda: file.pwrite(HEAD, 0),
            lambda: file.pwrite(HEAD, BLOCK_SIZE),
            lambda: file.write(HEAD),
            lambda: file.discard(0, BLOCK_SIZE),
            file.flush,
        ]

        assert [in_child(each) for each in refused] == [ErrorCode.STORE_FORKED] * len(refused)

        assert in_child(file.close) == "None"
        assert file.pread(BLOCK_SIZE, 0) == TEXT
        assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == bytes(BLOCK_SIZE)
        file.close()
        (shown,) = store.wait_snapshots([store.create_snapshot(volume_id).snapshot_id])
        assert store.read_block(shown.snapshot_id, 0) == TEXT
        assert_healthy(store)


def test_forked_child_may_open_the_store_when_it_was_closed(store_path: Path) -> None:
    ids = fill(store_path)

    assert in_child(lambda: assert_whole(store_path, ids)) == "None"

    assert_whole(store_path, ids)


# F63: few descriptors, little memory

LIMITED = """
import json, os, resource, sys
from ebsim.engine import Store
from ebsim.errors import EbsimError
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.sources import disk_of
import ebsim.core.create, ebsim.core.delete, ebsim.core.recovery, ebsim.core.restore
import ebsim.core.snapshot_queries, ebsim.core.compact, ebsim.volumes.operations
import zstandard, numpy, blake3

path, kind, limit, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
os.closerange(3, 100)  # as it is in a process that a shell starts
resource.setrlimit(getattr(resource, kind), (limit, limit))
answers = []
def tell(action):
    try:
        action()
        answers.append("done")
    except EbsimError as error:
        answers.append(error.code)
    except (MemoryError, OSError) as error:
        answers.append(type(error).__name__)
try:
    with Store.open(path) as store:
        answers.append("opened")
        ids = [each.snapshot_id for each in store.list_snapshots()]
        tell(lambda: store.create_snapshot(disk_of(TEXT, NOISE, name="memory:d")))
        tell(lambda: store.restore_snapshot(ids[0], out, force=True))
        tell(lambda: store.delete_snapshots([ids[-1]]))
        tell(lambda: store.compact())
except (EbsimError, MemoryError, OSError) as error:
    answers.append(getattr(error, "code", type(error).__name__))
print(json.dumps(answers))
"""


def limited(path: Path, kind: str, limit: int) -> list[str]:
    status, told = run_script(LIMITED, str(path), kind, str(limit), str(path.parent / "out"))
    assert status == 0, told
    answers: list[str] = json.loads(told)
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("descriptors", [*range(6, 21), 32])
def test_few_descriptors_fail_an_operation_and_not_the_store(
    descriptors: int, store_path: Path
) -> None:
    """F63."""
    ids = fill(store_path)

    answers = limited(store_path, "RLIMIT_NOFILE", descriptors)

    failures = {"StoreFailed", "StorePoisoned", "SnapshotFailed", "TargetFailed"}
    if descriptors < 8:
        failures.add("OSError")  # a module cannot be imported
    assert set(answers) <= {"opened", "done"} | failures
    if descriptors >= 32:
        assert answers == ["opened", "done", "done", "done", "done"]
    if answers[3:4] == ["done"]:
        assert not is_there(store_path, ids.pop("memory:c")), "its deletion was acknowledged"
    elif answers[3:4] and not is_there(store_path, ids["memory:c"]):
        del ids["memory:c"]  # its deletion failed, and may have happened
    assert_whole(store_path, ids)


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [64, 256, 512, 1024])
def test_little_memory_fails_an_operation_and_not_the_store(
    megabytes: int, store_path: Path
) -> None:
    """F63: the catalog's map alone is 1 TiB of address space."""
    ids = fill(store_path)

    answers = limited(store_path, "RLIMIT_AS", megabytes << 20)

    assert answers in (["StoreFailed"], ["MemoryError"])
    assert_whole(store_path, ids)


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [0, 4, 64, 192, 256, 512, 1024, 17_000])
def test_limit_on_the_size_of_files_fails_an_operation_and_not_the_store(
    kilobytes: int, store_path: Path
) -> None:
    """F17: a write beyond it is EFBIG."""
    ids = fill(store_path)

    answers = limited(store_path, "RLIMIT_FSIZE", kilobytes << 10)

    failures = {"StoreFailed", "StorePoisoned", "SnapshotFailed", "TargetFailed", "NoSpace"}
    assert set(answers) <= {"opened", "done", "OutcomeUnknown"} | failures
    if kilobytes == 17_000:
        assert answers == ["opened", "done", "done", "done", "done"]
    if not is_there(store_path, ids["memory:c"]):
        assert len(answers) > 3, "nobody came so far as to delete it"
        del ids["memory:c"]
    assert_whole(store_path, ids)


STARVED = """
import sys
import _testcapi
from ebsim.engine import Store
from ebsim.errors import EbsimError
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.sources import disk_of
import ebsim.core.create, ebsim.core.delete, ebsim.core.recovery, ebsim.core.abandon
import ebsim.core.burial, zstandard, numpy, blake3

path, at, operation = sys.argv[1], int(sys.argv[2]), sys.argv[3]
disk = disk_of(TEXT, NOISE, TEXT, name="memory:d")
try:
    with Store.open(path) as store:
        newest = store.list_snapshots()[-1].snapshot_id
        _testcapi.set_nomemory(at, at + 3)
        if operation == "create":
            store.create_snapshot(disk)
        else:
            store.delete_snapshots([newest])
        _testcapi.remove_mem_hooks()
        print("done", flush=True)
except (EbsimError, MemoryError) as error:
    _testcapi.remove_mem_hooks()
    print(type(error).__name__, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["create", "delete"])
def test_no_memory_at_any_moment_fails_an_operation_and_not_the_store(
    operation: str, store_path: Path
) -> None:
    """F63: the allocation that is refused wanders through the operation."""
    pytest.importorskip("_testcapi")
    ids = fill(store_path)
    told = []
    for at in (0, 40, 300, 1_000, 3_000, 6_000, 10_000, 20_000, 50_000_000):
        status, answer = run_script(STARVED, str(store_path), str(at), operation)
        told.append(answer.strip() or f"died ({status})")
        with Store.open(store_path) as store:
            there = {each.snapshot_id for each in store.list_snapshots()}
        for name in [each for each, snapshot_id in ids.items() if snapshot_id not in there]:
            assert operation == "delete", f"{name} is gone, and nobody deleted it"
            del ids[name]
        assert_whole(store_path, ids)
        if operation == "delete" and not there:
            break

    assert "done" in told, told
    assert set(told) - {"done"}, "no allocation was refused"


# F57: ids

HOSTILE = [
    "../../etc/passwd",
    "snap-../../../../etc/passwd",
    "vol-../../../../etc/passwd",
    "snap-0000000000000000/",
    "snap-0000000000000000\0",
    "vol-0000000000000000\0",
    "vol-" + "0" * 17 + "\0.data",
    "snap-%2e%2e%2f%2e%2e%2fetc",
    "snap-" + "0" * 10_240,
    "vol-" + "\N{ARABIC-INDIC DIGIT ONE}" * 17,
    "ami-" + "\N{FULLWIDTH DIGIT ONE}" * 17,
    "policy-../x",
    "SNAP-00000000000000000",
    " snap-00000000000000000",
    "snap-00000000000000000\n",
    "\N{RIGHT-TO-LEFT OVERRIDE}snap-0",
    "\ud800",
    "-",
    ".",
    "..",
    "",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:40])
def test_hostile_id_is_refused_before_a_path_is_formed(store_path: Path, name: str) -> None:
    """F57."""
    fill(store_path)
    out = store_path.parent / "out"
    with Store.open(store_path) as store:
        before = names_below(store_path.parent)
        uses: list[Callable[[], object]] = [
            lambda: store.get_snapshot(name),
            lambda: store.read_block(name, 0),
            lambda: store.delete_snapshots([name]),
            lambda: store.restore_snapshot(name, out),
            lambda: store.diff_snapshots(name, name),
            lambda: store.wait_snapshots([name]),
            lambda: store.create_snapshots([name]),
            lambda: store.tags.create([name], {"a": "b"}),
            lambda: store.volumes.get(name),
            lambda: store.volumes.open(name),
            lambda: store.volumes.delete(name),
            lambda: store.volumes.initialize(name),
            lambda: store.volumes.create(VolumeRequest(snapshot_id=name or "-")),
            lambda: store.prune(PruneOptions(keep_last=1, volume_ids=[name])),
            lambda: store.images.deregister(name),
            lambda: store.lifecycle.delete(name),
        ]
        for use in uses:
            with pytest.raises((InvalidInputError, NotFoundError, ConflictError)):
                use()
        assert names_below(store_path.parent) == before
        assert len(store.list_snapshots()) == 3


def names_below(folder: Path) -> set[str]:
    """Return what there is, but for segments, which have random names."""
    return {str(each) for each in folder.rglob("*") if each.suffix != ".seg"}


# F65: listing fails, or says that there is nothing


class Blind(PosixFiles):
    """Folders of one name cannot be listed, or seem to be empty."""

    def __init__(self, name: str, number: int | None) -> None:
        super().__init__()
        self._name = name
        self._number = number

    def list(self, path: Path) -> list[str]:
        """Fail, or return nothing, for that folder."""
        if path.name != self._name:
            return super().list(path)
        if self._number is not None:
            raise OSError(self._number, os.strerror(self._number), str(path))
        return []


@pytest.mark.parametrize("number", [errno.EIO, None], ids=["fails", "empty"])
@pytest.mark.parametrize("folder", ["segments", "catalog", "store", "volumes"])
def test_nothing_is_removed_when_a_folder_cannot_be_listed(
    folder: str, number: int | None, store_path: Path
) -> None:
    """F65."""
    ids = fill(store_path)
    gone = ids.pop("memory:b")
    with Store.open(store_path) as store:
        store.delete_snapshots([gone])

    def blind() -> Seams:
        return Seams(files=Blind(folder, number))

    def open_and_collect() -> None:
        with Store.open(store_path, blind()) as store:
            store.compact()
            store.delete_snapshots([store.create_snapshot(disk_of(TEXT)).snapshot_id])
            store.compact()

    for way in (open_and_collect, lambda: Store.open(store_path, blind(), create=True).close()):
        with suppress(StoreError, CorruptionError):
            way()

    assert_whole(store_path, ids)


def test_rebuild_that_cannot_list_segments_changes_nothing(store_path: Path) -> None:
    """F65."""
    ids = fill(store_path)
    before = names_below(store_path)

    with pytest.raises(EbsimError):
        Store.rebuild(store_path, Seams(files=Blind("segments", errno.EIO)))

    assert names_below(store_path) == before
    assert_whole(store_path, ids)


def test_limits_of_this_process_were_left_alone() -> None:
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
