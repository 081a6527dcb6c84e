"""`ebsim events --follow` in a process of its own, beside others that make events."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT_FOLDER = Path(__file__).resolve().parents[2]
PATIENCE_S = 30


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
        ["timeout", str(PATIENCE_S), *command(store, "events", "--follow")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert json.loads(following.stdout.readline())["number"] == 1
        run("snapshot", "create", str(disk))
        second = json.loads(following.stdout.readline())
        following.send_signal(signal.SIGINT)
        complaints = following.stderr.read()
        code = following.wait()

    assert second["number"] == 2
    assert second["detail"]["event"] == "createSnapshot"
    assert code == 130
    assert "Traceback" not in complaints
