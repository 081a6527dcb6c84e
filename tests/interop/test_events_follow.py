"""`ebsim events --follow` in a process of its own, beside others that make events."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT_FOLDER = Path(__file__).resolve().parents[2]
PATIENCE_S = 240


def command(store: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ebsim", "--store", str(store), *arguments]


@pytest.mark.slow
def test_events_of_other_processes_are_printed_until_it_is_stopped(fast_path: Path) -> None:
    store, disk = fast_path / "store", fast_path / "disk.img"
    disk.write_bytes(b"some data")
    environment = os.environ | {"PYTHONPATH": str(ROOT_FOLDER)}

    def run(*arguments: str) -> None:
        subprocess.run(command(store, *arguments), env=environment, check=True, capture_output=True)

    run("snapshot", "create", str(disk))
    with subprocess.Popen(
        command(store, "events", "--follow"),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        watchdog = threading.Timer(PATIENCE_S, following.kill)
        watchdog.start()
        try:
            assert json.loads(following.stdout.readline())["number"] == 1
            run("snapshot", "create", str(disk))
            second = json.loads(following.stdout.readline())
            following.send_signal(signal.SIGINT)  # once: `timeout` would send it twice
            complaints = following.communicate()[1]
        finally:
            watchdog.cancel()
            following.kill()

    assert second["number"] == 2
    assert second["detail"]["event"] == "createSnapshot"
    assert following.returncode == 130
    assert "Traceback" not in complaints
