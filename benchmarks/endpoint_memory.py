"""What memory the endpoint takes while many clients read a large snapshot at once.

Run as `python -m benchmarks.endpoint_memory [--clients N] [--work FOLDER]`; prints JSON. Each block
of a snapshot of 10 GiB is read once, by GetSnapshotBlock, over as many connections as there are
clients; each has a request under way all the time. The kernel's account of the server is looked at
meanwhile: pages of the catalog, which is mapped, are in it, and can be taken back by the kernel at
any time.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.endpoint_requests import Prepared, Preparer, write_job
from benchmarks.endpoint_servers import LARGE, LARGE_BLOCKS, ebsim_server
from benchmarks.measuring import BenchmarkError
from benchmarks.work_folder import work_folder
from ebsim.units import BLOCK_SIZE, GIB

CLIENTS = 64
LIMIT_BYTES = 300 * 1024 * 1024
LOOK_S = 0.05
READING_S = 600
PAGE = 10_000


class Watcher:
    """The memory of a process, looked at again and again.

    Attributes:
        most: By the kernel's name, the largest value seen, in bytes.
    """

    names = ("VmRSS", "RssAnon", "RssFile")

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.most = dict.fromkeys(self.names, 0)
        self._over = threading.Event()

    def look(self) -> None:
        """Look once."""
        for line in self._status.read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            if name in self.most:
                self.most[name] = max(self.most[name], int(rest.split()[0]) * 1024)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Return a context in which is looked."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            self.look()


def measure(folder: Path, clients: int) -> dict[str, Any]:
    """Return what was found, for a new store in a folder.

    Raises:
        BenchmarkError: A request failed, or not all blocks came.
    """
    with ebsim_server(folder) as server:
        preparer = Preparer(server.target)
        requests = _requests(preparer, server.changed[0])
        watcher = Watcher(server.target.pid)
        watcher.look()
        before = dict(watcher.most)
        job = folder / "job.json"
        write_job(job, server.target, requests, connections=clients, seconds=READING_S, once=True)
        with watcher.watching():
            found = subprocess.run(
                [sys.executable, "-m", "benchmarks.endpoint_load", str(job)],
                check=False,
                capture_output=True,
                text=True,
            )
        if found.returncode != 0:
            raise BenchmarkError(f"the load failed: {found.stderr.strip()[-300:]}")
        load = json.loads(found.stdout)
        peak = server.peak_bytes()
    if load["body_bytes"] != LARGE_BLOCKS * BLOCK_SIZE:
        raise BenchmarkError(f"{load['body_bytes']} bytes came, not {LARGE}")
    return {
        "Clients": clients,
        "ReadSizeInBytes": load["body_bytes"],
        "Seconds": round(load["seconds"], 1),
        "PeakSizeInBytes": peak,
        "BeforeSizeInBytes": before,
        "MostSizeInBytes": watcher.most,
        "LimitSizeInBytes": LIMIT_BYTES,
        "Kept": peak < LIMIT_BYTES,
    }


def _requests(preparer: Preparer, snapshot: str) -> list[Prepared]:
    client = preparer.client("ebs")
    more: dict[str, str] = {}
    found: list[Prepared] = []
    while True:
        page = client.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=PAGE, **more)
        found += [
            preparer.prepare("ebs", "get_snapshot_block", SnapshotId=snapshot, **each)
            for each in page["Blocks"]
        ]
        if "NextToken" not in page:
            return found
        more = {"NextToken": page["NextToken"]}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    with work_folder(arguments.work, GIB // 2) as folder:
        found = measure(folder, arguments.clients)
    print(json.dumps(found, indent=1))
    sys.exit(0 if found["Kept"] else 1)


if __name__ == "__main__":
    main()
