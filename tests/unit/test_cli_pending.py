"""What the commands say of snapshots that are pending: interrupted, deleted, one too many."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from ebsim.caller import Caller
from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.cli.signals import StoppedBySignal
from ebsim.engine import Seams, Store
from ebsim.requests import VolumeRequest
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.shell import NoStores, Shell
from ebsim.volumes.snapshot_job import SnapshotJob


class HeldStores(NoStores):
    """Real stores whose snapshots of managed volumes stay pending."""

    def __init__(self) -> None:
        self.copies = HeldCopies(holding=True)

    def open(self, path: Path, caller: Caller, *, resume: bool = False, **_others: object) -> Store:
        if self.copies.is_holding:  # what one process was released from, the next one is not
            self.copies = HeldCopies(holding=True)
        return Store.open(path, Seams(before_copy=self.copies, caller=caller), resume=resume)


class Terminal(Shell):
    def __init__(self, path: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.path, self.stores = path, HeldStores()
        super().__init__(
            lambda arguments: run(arguments, Environment(store=path), self.stores), capture
        )


@pytest.fixture
def terminal(store_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    shown = Terminal(store_path, capsys)
    stop = SnapshotJob.stop

    def stop_and_let_go(job: SnapshotJob) -> None:
        stop(job)
        shown.stores.copies.release(job.snapshot_id)

    with mock.patch.object(SnapshotJob, "stop", stop_and_let_go):
        yield shown


@pytest.fixture
def volume(store_path: Path) -> str:
    with Store.create(store_path) as store:
        made = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(made) as file:
            file.pwrite(b"x", 0)
    return made


def interrupted(*_: object, **__: object) -> None:
    raise StoppedBySignal(signal.SIGINT)


@pytest.mark.parametrize("as_json", [False, True])
def test_interrupted_snapshot_of_a_volume_is_named(
    terminal: Terminal, volume: str, as_json: bool
) -> None:
    arguments = ["snapshot", "create", volume, *(["--json"] if as_json else [])]
    with mock.patch.object(Store, "wait_snapshots", interrupted):
        text = terminal(*arguments, code=130)
    with Store.open(terminal.path, resume=False) as store:
        (pending,) = (each.snapshot_id for each in store.list_snapshots())
    told = json.loads(text)["Error"]["Message"] if as_json else terminal.errors
    assert f"interrupted: {pending} stays pending" in told
    assert f"ebsim snapshot wait {pending}" in told
    assert f"ebsim snapshot delete {pending}" in told
    if as_json:
        assert json.loads(text)["Error"]["SnapshotId"] == pending


def test_pending_snapshot_that_is_deleted_is_told_everywhere(
    terminal: Terminal, volume: str
) -> None:
    with mock.patch.object(Store, "wait_snapshots", interrupted):
        error = terminal.json("snapshot", "create", volume, code=130)["Error"]
    pending = error["SnapshotId"]
    planned = terminal("snapshot", "delete", "--dry-run", pending)
    assert f"{pending} is pending and would go as soon as it is completed." in planned

    (deleted,) = terminal.json("snapshot", "delete", pending)["Deleted"]
    assert deleted["WhenCompleted"] is True
    assert f"ebsim snapshot wait {pending}" in terminal("snapshot", "delete", pending)
    shown = terminal.json("snapshot", "show", pending)
    assert "as soon as it is completed" in shown["StateMessage"]
    assert "as soon as it is completed" in terminal("snapshot", "show", pending)
    assert "it was deleted while pending" in terminal("snapshot", "list")

    terminal.stores.copies.release_all()
    text = terminal("snapshot", "wait", pending)
    assert text == f"{pending} was deleted while it was pending, and is gone.\n"


def test_one_snapshot_too_many_names_those_that_are_pending(
    terminal: Terminal, volume: str
) -> None:
    names = []
    with mock.patch.object(Store, "wait_snapshots", interrupted):
        for _ in range(5):
            error = terminal.json("snapshot", "create", volume, code=130)["Error"]
            names.append(error["SnapshotId"])
        error = terminal.json("snapshot", "create", volume, code=1)["Error"]
    assert error["Code"] == "ConcurrentSnapshotLimitExceeded"
    for name in names:
        assert name in error["Message"]
    assert "ebsim snapshot wait" in error["Message"]
