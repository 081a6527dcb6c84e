"""What keeps a server within its bounds, and how it stops."""

import resource
import signal
import threading
from pathlib import Path

import pytest

from ebsim.core.stopping import StoppedError
from ebsim.errors import InvalidInputError, LimitExceededError, SourceError, StoreError
from ebsim.ids import SnapshotId
from ebsim.results import SnapshotState
from ebsim.server.limits import FILES_BESIDE, HttpLimits, Limits, ensure_files, ensure_sensible
from ebsim.server.observing import AccessLog, Metrics, MetricsFor, Seen, Watch
from ebsim.server.process import finish, limits_here
from ebsim.server.snapshot_faults import REASON, SnapshotFaults, SnapshotPlan
from ebsim.server.stopping import Stopping, asked_by_signals
from ebsim.testing.harness import Harness

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "raised_to", "possible"),
    [
        (20_000, 20_000, 1000, None, 1000),
        (INFINITE, INFINITE, 1000, None, 1000),
        (1024, 4096, 1000, 1000 + FILES_BESIDE, 1000),
        (1024, INFINITE, 1000, 1000 + FILES_BESIDE, 1000),
        (256, 1024, 1000, 1024, 1024 - FILES_BESIDE),
        (1024, 1024, 1000, None, 1024 - FILES_BESIDE),
        (64, 64, 1000, None, 1),
    ],
)
def test_limit_of_open_files_is_raised_or_told(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    wanted: int,
    raised_to: int | None,
    possible: int,
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, both: told.append(both))

    assert ensure_files(wanted) == possible
    assert told == ([] if raised_to is None else [(raised_to, hard)])
    limits, fewer = limits_here({"connections": wanted}, {})
    assert limits.connections == possible
    assert fewer == (
        "" if possible == wanted else f"only {possible} connections are taken, not {wanted}"
    )


def test_limits_under_which_no_block_could_be_written_are_refused() -> None:
    ensure_sensible(Limits())
    for limits in (
        Limits(http=HttpLimits(body_bytes=1000)),
        Limits(held_bytes=1000),
    ):
        with pytest.raises(InvalidInputError, match="524288"):
            ensure_sensible(limits)


def test_time_to_stop_runs_from_the_first_request() -> None:
    now = [100.0]
    stopping = Stopping(10, lambda: now[0])
    assert not stopping.is_asked
    stopping.ask()
    now[0] += 4
    stopping.ask()
    assert stopping.left_s() == 6
    now[0] += 60
    assert stopping.left_s() == 0


def test_signal_that_is_ignored_stays_ignored() -> None:
    asked: list[None] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_by_signals(lambda: asked.append(None)):
            signal.raise_signal(signal.SIGHUP)
            assert asked == []
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
                signal.raise_signal(signal.SIGTERM)
                assert asked == [None]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# Snapshots that fail, and those that are held


def test_planned_snapshots_fail_or_are_held_until_they_are_let_go(fast_path: Path) -> None:
    """Counted from 1, without those that were begun before."""
    faults = SnapshotFaults(SnapshotPlan(fail=[1], hold=[2]))
    with Harness(fast_path) as harness:
        store = harness.store
        with harness.faults.hold_snapshots():
            early = store.create_snapshot(harness.new_volume().volume_id).snapshot_id
            faults.watch(store)
        store.wait_snapshots([early])

    faults.before_copy(SnapshotId(early))
    with pytest.raises(SourceError) as caught:
        faults.before_copy(SnapshotId("snap-1"))
    assert str(caught.value) == REASON
    held = threading.Thread(target=faults.before_copy, args=(SnapshotId("snap-2"),))
    held.start()
    while faults.held != {"snap-2"}:
        assert held.is_alive()
    faults.let_go()
    held.join()
    assert faults.held == frozenset()
    faults.before_copy(SnapshotId("snap-3"))


def test_held_snapshots_are_left_to_the_next_process(fast_path: Path) -> None:
    """Also one that was started and is sealed: neither ends as error."""
    with Harness(fast_path) as harness:
        volume = harness.new_volume().volume_id
        with harness.faults.hold_snapshots():
            held = harness.store.create_snapshot(volume).snapshot_id
            sealed = started(harness)
            store = harness.reopen(leave_pending=True)
        found = store.wait_snapshots([held, sealed])
        assert [each.state for each in found] == [SnapshotState.COMPLETED] * 2


def started(harness: Harness) -> str:
    from ebsim.started import StartRequest

    made = harness.store.started.start(StartRequest(volume_size_gib=1))
    harness.store.started.complete(made.snapshot_id, 0)
    return made.snapshot_id


def test_what_is_left_when_the_time_is_over_stays_pending(fast_path: Path) -> None:
    with Harness(fast_path) as harness:
        faults = SnapshotFaults(SnapshotPlan(hold=[1]))
        with harness.faults.hold_snapshots():
            held = harness.store.create_snapshot(harness.new_volume().volume_id).snapshot_id
            stopping = Stopping(0)
            closer = threading.Timer(0.2, harness.faults.leave_pending)
            closer.start()
            assert finish(harness.store, stopping, faults) == [held]
            closer.join()
        harness.faults.reset()
        store = harness.reopen()
        assert store.wait_snapshots([held])[0].state is SnapshotState.COMPLETED


def test_snapshots_behind_one_that_was_left_are_left_too() -> None:
    faults = SnapshotFaults(SnapshotPlan(hold=[1]))

    def held() -> None:
        with pytest.raises(StoppedError):
            faults.before_copy(SnapshotId("a"))

    first = threading.Thread(target=held)
    first.start()
    while not faults.held:
        assert first.is_alive()
    faults.leave()
    first.join()
    with pytest.raises(StoppedError):
        faults.before_copy(SnapshotId("b"))
    assert faults.held == {"a", "b"}


def test_snapshot_that_is_to_be_held_and_comes_late_is_left_too() -> None:
    """It was begun, and its thread had not come so far when the server was told to stop."""
    faults = SnapshotFaults(SnapshotPlan(hold=[2]))
    faults.leave()
    faults.before_copy(SnapshotId("a"))
    for name in ("b", "c"):
        with pytest.raises(StoppedError):
            faults.before_copy(SnapshotId(name))
    assert faults.held == {"b", "c"}

    faults = SnapshotFaults(SnapshotPlan(hold=[1]))
    faults.let_go()
    faults.leave()
    faults.before_copy(SnapshotId("a"))
    assert faults.held == frozenset()


# What is told of requests


def test_access_log_that_cannot_be_written_is_told_of_once(
    fast_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = Path("/dev/full")
    log = AccessLog(full)
    log.note(Seen())
    log.note(Seen())
    log.close()
    assert [each.getMessage() for each in caplog.records] == [
        "the access log cannot be written: [Errno 28] No space left on device"
    ]
    with pytest.raises((StoreError, LimitExceededError)):
        AccessLog(fast_path / "none" / "log")


def test_line_of_a_path_that_is_no_text_is_one_line(fast_path: Path) -> None:
    path = fast_path / "log"
    log = AccessLog(path)
    log.note(Seen(path='/a\n{"status": 200}\x1b[31m\ud800' + "b" * 500))
    log.close()
    (line,) = path.read_text(encoding="ascii").splitlines()
    assert "\x1b" not in line
    assert len(line) < 900


@pytest.mark.parametrize(
    ("wanted", "client", "may"),
    [
        (MetricsFor.LOOPBACK, "127.0.0.1", True),
        (MetricsFor.LOOPBACK, "::1", True),
        (MetricsFor.LOOPBACK, "10.0.0.1", False),
        (MetricsFor.LOOPBACK, "", False),
        (MetricsFor.ANY, "10.0.0.1", True),
        (MetricsFor.NONE, "127.0.0.1", False),
    ],
)
def test_who_may_read_metrics(wanted: MetricsFor, client: str, may: bool) -> None:
    assert Watch(metrics_for=wanted).may_read(client) is may


def test_durations_are_counted_up_to_each_bound() -> None:
    pytest.importorskip("prometheus_client")
    metrics = Metrics()
    for duration in (0.001, 0.002, 0.3, 60):
        metrics.note(Seen(service="ec2", operation="X", status=200, duration_s=duration))
    lines = metrics.text().decode().splitlines()
    found = {
        line.split('le="')[1].split('"')[0]: float(line.split()[-1])
        for line in lines
        if line.startswith("ebsim_request_seconds_bucket")
    }
    assert (found["0.001"], found["0.0025"], found["0.25"], found["0.5"]) == (1, 2, 2, 3)
    assert (found["10"], found["+Inf"]) == (3, 4)
