"""Work that goes on after its request is answered."""

import threading
from pathlib import Path

import pytest

from ebsim.errors import ConflictError, SourceError
from ebsim.results import SnapshotState
from ebsim.server.background import BEGINNING_MAX, Background, Begun
from ebsim.server.protocol.wire import FaultError
from ebsim.testing.harness import Harness
from ebsim.testing.invariants import assert_healthy


def test_id_is_told_before_the_work_is_done_and_the_end_waited_for() -> None:
    background, go, done = Background(), threading.Event(), threading.Event()

    def work(begun: Begun) -> str:
        begun("snap-1")
        assert go.wait(120)
        done.set()
        return "snap-1"

    assert background.begin("work", work) == "snap-1"
    assert not done.is_set()
    go.set()
    background.wait()
    assert done.is_set()


def test_work_that_is_done_at_once_returns_its_id() -> None:
    assert Background().begin("work", lambda _begun: "snap-2") == "snap-2"


def test_what_is_refused_before_there_is_an_id_is_raised() -> None:
    background = Background()

    def work(_begun: Begun) -> str:
        raise ConflictError("no")

    with pytest.raises(ConflictError, match="no"):
        background.begin("work", work)
    background.wait()


@pytest.mark.parametrize("error", [ConflictError("failed later"), RuntimeError("failed later")])
def test_what_fails_later_is_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    background = Background()

    def work(begun: Begun) -> str:
        begun("snap-3")
        raise error

    assert background.begin("the work", work) == "snap-3"
    background.wait()
    assert "the work failed" in caplog.text


def test_requests_that_wait_are_bounded() -> None:
    """Else they would take all threads of the server."""
    background, go = Background(), threading.Event()
    begun_now = threading.Semaphore(0)

    def waiting(_begun: Begun) -> str:
        begun_now.release()
        assert go.wait(120)
        return "snap-4"

    waiters = [
        threading.Thread(target=background.begin, args=("work", waiting))
        for _ in range(BEGINNING_MAX)
    ]
    for each in waiters:
        each.start()
    for _ in waiters:
        assert begun_now.acquire(timeout=120)

    with pytest.raises(FaultError) as caught:
        background.begin("one more", waiting)
    assert (caught.value.code, caught.value.status) == ("RequestLimitExceeded", 503)

    go.set()
    for each in waiters:
        each.join()
    background.wait()
    assert background.begin("again", lambda _begun: "snap-5") == "snap-5"


def stopped() -> Background:
    """Return one whose time to finish is over."""
    background, ended = Background(), []

    def endless(begun: Begun) -> str:
        begun("snap-6")
        try:
            while True:
                background.progress.advance(1)
        except SourceError as error:
            ended.append(str(error))
            raise

    background.begin("endless", endless)
    background.wait(0)
    assert ended == ["the server was stopped before the copy was completed"]
    return background


def test_copy_that_is_not_done_in_time_ends_as_error(fast_path: Path) -> None:
    """It says why, and the store is as good as before."""
    background = stopped()
    with Harness(fast_path) as harness:
        store = harness.store
        source = store.create_snapshot(harness.new_volume().volume_id).snapshot_id
        store.wait_snapshots([source])
        there = store.as_account(region="eu-west-1")

        def copy(begun: Begun) -> str:
            return there.copy_snapshot(
                source, "us-east-1", progress=background.progress, begun=begun
            ).snapshot_id

        copied = background.begin("copy", copy)
        background.wait()
        found = there.get_snapshot(copied)
        assert found.state is SnapshotState.ERROR
        assert "the server was stopped" in found.state_message
        assert there.copy_snapshot(source, "us-east-1").state is SnapshotState.COMPLETED
        assert_healthy(store)
