"""`ebsim serve` as a process: its options, and what signals do to it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ebsim.engine import Store
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState

pytest.importorskip("boto3")
WAIT_S = 240


@contextmanager
def serving(store: Path, *options: str) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    """Return a context in which a process serves a store: the process, and its URL."""
    command = [sys.executable, "-m", "ebsim", "--store", str(store), "--json", "serve"]
    with subprocess.Popen(
        [*command, "--port", "0", "--no-auth", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(store.parent)},
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["Endpoint"]
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    told = process.communicate(timeout=WAIT_S)[1]
    return process.returncode, told


def asked(url: str, *pairs: str) -> str:
    """Return the answer to a request of EC2 that nobody signed."""
    import urllib.request

    query = "&".join(["Version=2016-11-15", *pairs])
    with urllib.request.urlopen(url, query.encode(), timeout=WAIT_S) as response:
        return str(response.read().decode())


def test_process_stops_in_order_and_at_the_second_signal_at_once(fast_path: Path) -> None:
    path = fast_path / "store"
    with Store.create(path) as store:
        request = VolumeRequest(size_gib=1)
        volume, other = (store.volumes.create(request).volume_id for _ in range(2))

    with serving(path, "--hold-snapshot", "1", "--grace", "30") as (process, url):
        answer = asked(url, "Action=CreateSnapshot", f"VolumeId={volume}")
        held = answer.split("<snapshotId>")[1].split("<")[0]
        process.send_signal(signal.SIGTERM)
        code, told = ended(process)
    assert code == 0
    assert f"stopped: {held} pending still: the next process goes on with it" in told

    log = fast_path / "log"
    options = ["--access-log", str(log), "--profile", "strict", "--hold-snapshot", "1"]
    with serving(path, *options) as (process, url):
        answer = asked(url, "Action=CreateSnapshot", f"VolumeId={other}")
        let_go = answer.split("<snapshotId>")[1].split("<")[0]
        query = ("Action=DescribeSnapshots", f"SnapshotId.1={let_go}")
        assert "<status>pending" in asked(url, *query)
        process.send_signal(signal.SIGUSR1)
        while "<status>completed" not in asked(url, *query):
            pass
        place = urlsplit(url)
        with socket.create_connection((place.hostname, place.port), WAIT_S) as half:
            half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            asked(url, *query)  # as it came later, the half is there, too
            process.send_signal(signal.SIGTERM)
            while True:  # until it takes no further clients, and waits for the half of a request
                try:
                    socket.create_connection((place.hostname, place.port), WAIT_S).close()
                except ConnectionError:
                    break
            process.send_signal(signal.SIGTERM)
            code, told = ended(process)
    assert code == -signal.SIGTERM
    assert "stopped at once" in told
    lines = log.read_text(encoding="ascii").splitlines()
    assert json.loads(lines[0])["operation"] == "CreateSnapshot"

    with Store.open(path) as store:
        assert store.wait_snapshots([held])[0].state is SnapshotState.COMPLETED
        assert store.quotas.snapshot_spacing_s == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--throttle", "CreateSnapshot"], "OPERATION=N"),
        (["--throttle", "CreateSnapshot=3-2"], "OPERATION=N"),
        (["--throttle", "Fly=1"], "Fly is no operation that is served"),
        (["--throttle", "CreateSnapsot=1"], "Is it CreateSnapshot?"),
        (["--tls-cert", "x.pem"], "--tls-cert and --tls-key go together"),
        (["--tls-cert", "x.pem", "--tls-key", "y.pem"], "the key y.pem cannot be read"),
        (["--max-held", "1", "--max-body", "2"], "A block has 524288 bytes"),
        (["--access-log", "/nowhere/log"], "/nowhere/log"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    fast_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    from ebsim.cli.environment import Environment
    from ebsim.cli.main import run
    from ebsim.cli.stores import EngineStores

    arguments = ["serve", "--port", "0", *options]
    assert run(arguments, Environment(store=fast_path / "store"), EngineStores()) in {1, 2}
    assert told in capsys.readouterr().err
