"""The servers that are compared: `ebsim serve` and moto's, each in a process of its own."""

import json
import os
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.endpoint_requests import REGION, Target
from benchmarks.measuring import BenchmarkError
from benchmarks.sparse_source import SparseSource
from ebsim import Store
from ebsim.config import SnapshotOptions
from ebsim.entropy import SystemEntropy
from ebsim.server.credentials import Credentials
from ebsim.storage.files import PosixFiles
from ebsim.units import GIB

LARGE = 10 * GIB
LARGE_BLOCKS = 20_480
"""Blocks of a volume of 10 GiB, all of them written."""

START_S = 30
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        target: Where it is, and a key that it takes.
        changed: Two snapshots that differ in many blocks.
        version: What it is.
    """

    target: Target
    changed: tuple[str, str]
    version: str

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.target.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak_bytes(self) -> int:
        """Return the most memory that it had."""
        for line in Path(f"/proc/{self.target.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0


@contextmanager
def ebsim_server(folder: Path) -> Iterator[Server]:
    """Return a context in which a new store is served by one worker, as a user would serve it."""
    path = folder / "store"
    with Store.create(path) as store:
        changed = _large_snapshots(store)
        credential = Credentials(path, PosixFiles(), SystemEntropy()).of_account()
    command = [sys.executable, "-m", "ebsim", "--store", str(path), "--json", "serve"]
    with _process([*command, "--port", "0"]) as process:
        url = json.loads(_line(process))["Endpoint"]
        target = Target("ebsim", url, credential.access_key, credential.secret, process.pid)
        yield Server(target, changed, f"ebsim, Python {sys.version.split()[0]}")


def _large_snapshots(store: Store) -> tuple[str, str]:
    """Return two snapshots of 10 GiB that differ in each block; few contents, taken in turns."""
    source = SparseSource.scattered(LARGE, LARGE_BLOCKS, 1)
    made = []
    for _ in range(2):
        made.append(store.create_snapshot(source, SnapshotOptions()).snapshot_id)
        source.change(LARGE_BLOCKS)
    return made[0], made[1]


@contextmanager
def moto_server(folder: Path, changed_blocks: int) -> Iterator[Server]:
    """Return a context in which moto's server runs, installed in an environment of its own.

    Args:
        folder: Where the environment is, or is made: it stays for the next time.
        changed_blocks: In how many blocks two of its snapshots differ.

    Raises:
        BenchmarkError: It cannot be installed, or does not start.
    """
    python = _installed(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("endpoint_moto.py")
    with _process([str(python), str(script), str(port), str(changed_blocks)]) as process:
        first, second = json.loads(_line(process))["Changed"]
        url = f"http://127.0.0.1:{port}"
        _await(url)
        say = "import importlib.metadata as m; print('moto', m.version('moto'))"
        version = subprocess.check_output([str(python), "-c", say], text=True).strip()
        yield Server(
            Target("moto", url, "123456789012", "secret", process.pid), (first, second), version
        )


def _installed(folder: Path) -> Path:
    """Return a Python that has moto.

    Raises:
        BenchmarkError: It cannot be installed.
    """
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    print("installing moto[server]", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "moto[server]"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode != 0:
        lines = found.stderr.strip().splitlines() or ["pip said nothing"]
        raise BenchmarkError(f"moto cannot be installed: {lines[-1]}")
    done.touch()
    return python


@contextmanager
def _process(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    variables = {**os.environ, "AWS_DEFAULT_REGION": REGION}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=variables
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    found = process.stdout.readline()
    if not found:
        raise BenchmarkError(f"{process.args!r} ended before it served")
    return found


def _await(url: str) -> None:
    """Wait until a server answers.

    Raises:
        BenchmarkError: It does not.
    """
    end = time.monotonic() + START_S
    while True:
        try:
            place = urlsplit(url)
            with socket.create_connection((place.hostname, place.port), START_S):
                return
        except OSError as error:
            if time.monotonic() > end:
                raise BenchmarkError(f"{url} does not answer: {error}") from None
            time.sleep(0.05)
