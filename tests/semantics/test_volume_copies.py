"""Copies of volumes (semantics section 3.5; EC2's CopyVolumes)."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from ebsim.config import Quotas
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode
from ebsim.requests import VolumeModificationRequest, VolumeQuery, VolumeRequest
from ebsim.results import VolumeState
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, ZEROS
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Killed, Machine
from ebsim.testing.refused import refused
from ebsim.units import BLOCK_SIZE, GIB
from ebsim.volumes import copying

VOLUMES = Path("/store/volumes")
STRIDE = 1 if os.environ.get("EBSIM_TEST_PROFILE") == "long" else 19
"""Of the steps of a copy, each of these is died at."""


def written(store: Store, volume: str, **blocks: bytes) -> str:
    """Write blocks, named b0 and so on, to a volume, and return it."""
    with store.volumes.open(volume) as file:
        for name, content in blocks.items():
            file.pwrite(content, int(name[1:]) * BLOCK_SIZE)
    return volume


def new_volume(store: Store, **options: object) -> str:
    return store.volumes.create(VolumeRequest(size_gib=1, **options)).volume_id  # type: ignore[arg-type]


def content(store: Store, volume: str, count: int = 4) -> list[bytes]:
    with store.volumes.open(volume) as file:
        return [file.pread(BLOCK_SIZE, index * BLOCK_SIZE) for index in range(count)]


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def source(request: pytest.FixtureRequest, store: Store) -> str:
    """A volume made from a snapshot, and written to since."""
    first = written(store, new_volume(store, encrypted=request.param or None), b0=NOISE, b2=TEXT)
    taken = store.create_snapshot(first)
    store.wait_snapshots([taken.snapshot_id])
    made = store.volumes.create(VolumeRequest(snapshot_id=taken.snapshot_id)).volume_id
    return written(store, made, b1=HEAD, b2=TAIL)


def test_copy_has_what_its_source_had_at_the_moment_of_the_call(store: Store, source: str) -> None:
    told: list[str] = []
    copy = store.volumes.copy(
        source,
        VolumeRequest(volume_type="gp3", size_gib=8, iops=4000, tags={"a": "b"}),
        begun=told.append,
    )
    written(store, source, b0=ZEROS, b3=NOISE)

    assert told == [copy.volume_id]
    assert (copy.state, copy.source_volume_id) == (VolumeState.AVAILABLE, source)
    assert (copy.volume_type, copy.size_bytes, copy.iops) == ("gp3", 8 * GIB, 4000)
    assert (copy.snapshot_id, copy.tags) == ("", {"a": "b"})
    original = store.volumes.get(source)
    assert (copy.zone, copy.kms_key_id) == (original.zone, original.kms_key_id)
    assert content(store, copy.volume_id) == [NOISE, HEAD, TAIL, ZEROS]
    assert content(store, source) == [ZEROS, HEAD, TAIL, NOISE]
    taken = store.create_snapshot(copy.volume_id)
    (full,) = store.wait_snapshots([taken.snapshot_id])
    assert (full.parent_id, full.full_size_bytes) == (None, 3 * BLOCK_SIZE)
    (status,) = store.volumes.describe_status(VolumeQuery(volume_ids=[copy.volume_id])).statuses
    assert status.initialization is not None
    assert (status.initialization.kind, status.initialization.progress_percent) == (
        "volume-copy",
        100,
    )
    store.volumes.delete(source)
    assert content(store, copy.volume_id) == [NOISE, HEAD, TAIL, ZEROS]
    assert_healthy(store)


def test_encryption_of_a_copy(store: Store) -> None:
    """As of a volume from a snapshot of one's own (section 5.2)."""
    plain = written(store, new_volume(store), b0=NOISE)
    key = store.keys.create("another").arn

    copy = store.volumes.copy(plain, VolumeRequest(encrypted=True, kms_key_id=key))
    again = store.volumes.copy(copy.volume_id)
    other = store.volumes.copy(copy.volume_id, VolumeRequest(encrypted=True))

    assert (copy.encrypted, copy.kms_key_id) == (True, key)
    assert (again.kms_key_id, other.kms_key_id) == (key, key)
    assert not store.volumes.copy(plain).encrypted
    assert content(store, again.volume_id, 1) == [NOISE]
    assert refused(lambda: store.volumes.copy(plain, VolumeRequest(kms_key_id=key))) is (
        ErrorCode.INVALID_PARAMETER_DEPENDENCY
    )
    store.keys.disable(key)
    assert refused(lambda: store.volumes.copy(copy.volume_id)) is ErrorCode.CUSTOMER_KEY_REVOKED


def test_copies_that_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = new_volume(store)
    store.volumes.modify(volume, VolumeModificationRequest(size_gib=4))

    def code(**options: object) -> ErrorCode:
        return refused(lambda: store.volumes.copy(volume, VolumeRequest(**options)))  # type: ignore[arg-type]

    assert code(size_gib=3) is ErrorCode.INVALID_PARAMETER_VALUE
    assert code(volume_type="io1") is not None
    assert code(snapshot_id="snap-00000000000000000") is ErrorCode.INVALID_PARAMETER_COMBINATION
    assert code(zone="us-east-1a") is ErrorCode.INVALID_PARAMETER_COMBINATION
    missing = "vol-00000000000000000"
    assert refused(lambda: store.volumes.copy(missing)) is ErrorCode.INVALID_VOLUME_NOT_FOUND
    theirs = store.as_account("111122223333")
    assert refused(lambda: theirs.volumes.copy(volume)) is ErrorCode.INVALID_VOLUME_NOT_FOUND
    assert Quotas().volume_copies == 5
    store.quotas = Quotas(volume_copies=0)
    assert code() is ErrorCode.RESOURCE_LIMIT_EXCEEDED
    store.quotas = Quotas()

    def fail(*_: object) -> None:
        raise OSError(5, "broken")

    monkeypatch.setattr(copying, "_copy_blocks", fail)
    with pytest.raises(OSError, match="broken"):
        store.volumes.copy(volume)
    assert [each.volume_id for each in store.volumes.list()] == [volume]
    assert_healthy(store)


def test_client_token_makes_one_copy(store: Store) -> None:
    one, two = new_volume(store), new_volume(store)
    request = VolumeRequest(client_token="once")

    made = store.volumes.copy(one, request)

    assert store.volumes.copy(one, request).volume_id == made.volume_id
    code = refused(lambda: store.volumes.copy(two, request))
    assert code is ErrorCode.IDEMPOTENT_PARAMETER_MISMATCH
    assert len(store.volumes.list()) == 3


def test_copy_is_creating_meanwhile_and_of_no_use(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = written(store, new_volume(store), b0=NOISE)
    copy_blocks, begun, go_on = copying._copy_blocks, threading.Event(), threading.Event()
    told: list[str] = []

    def hold(*arguments: object) -> None:
        begun.set()
        go_on.wait(120)
        copy_blocks(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(copying, "_copy_blocks", hold)
    thread = threading.Thread(target=lambda: store.volumes.copy(volume, begun=told.append))
    thread.start()
    assert begun.wait(120)
    (copy,) = told

    assert store.volumes.get(copy).state is VolumeState.CREATING
    assert refused(lambda: store.volumes.open(copy)) is ErrorCode.INCORRECT_STATE
    assert refused(lambda: store.create_snapshot(copy)) is ErrorCode.INCORRECT_STATE
    assert_healthy(store)
    go_on.set()
    thread.join(120)

    assert content(store, copy, 1) == [NOISE]


def test_copies_outlive_the_catalog(store: Store, store_path: Path, seams: Seams) -> None:
    volume = written(store, new_volume(store), b0=NOISE)
    store.volumes.copy(volume)
    shown = store.volumes.list()
    store.close()
    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        assert again.volumes.list() == shown
        assert content(again, shown[1].volume_id, 1) == [NOISE]


def copy_and_die(machine: Machine, volume: str, die_at: int | None) -> tuple[list[str], int]:
    """Copy a volume which is written to meanwhile; return the ids told, and how many steps."""
    told: list[str] = []
    process = machine.start(die_at)

    def begun(copy: str) -> None:
        told.append(copy)
        written(store, volume, b0=HEAD, b1=TAIL)

    with suppress(Killed):
        store = process.open()
        store.volumes.copy(volume, begun=begun)
        store.close()
    steps = process.steps
    process.kill()
    return told, steps


def machine_with_volume(folder: Path) -> tuple[Machine, str]:
    folder.mkdir()
    machine = Machine(folder)
    process = machine.start()
    store = process.open()
    volume = written(store, new_volume(store), b0=NOISE, b3=TEXT)
    store.close()
    process.kill()
    return machine, volume


def test_copy_whose_process_dies_is_whole_or_gone(tmp_path: Path) -> None:
    _, steps = copy_and_die(*machine_with_volume(tmp_path / "trial"), None)
    ends = set()
    for die_at in sorted({*range(1, steps + 1, STRIDE), steps}):
        machine, volume = machine_with_volume(tmp_path / str(die_at))
        told, _ = copy_and_die(machine, volume, die_at)
        process = machine.start()
        store = process.open()
        left = [each for each in store.volumes.list() if each.volume_id != volume]
        for copy in left:
            assert copy.state is VolumeState.AVAILABLE
            assert content(store, copy.volume_id) == [NOISE, ZEROS, ZEROS, TEXT]
        assert len(left) <= 1
        ends.add((bool(told), len(left)))
        first, second, *rest = content(store, volume)
        assert first in (NOISE, HEAD)
        assert second in (ZEROS, TAIL)
        assert rest == [ZEROS, TEXT]
        assert not [name for name in machine.files.list(VOLUMES) if name.endswith(".kept")]
        assert_healthy(store)
        store.close()
        process.kill()

    assert ends >= {(False, 0), (True, 0), (True, 1)}
