"""Benchmark 7: the AWS endpoint beside moto's server, asked by a second process over loopback.

Both servers take turns. Requests are made and signed before the time is taken, by botocore, as
boto3 sends them; `benchmarks.endpoint_load` sends them.
"""

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.endpoint_limits import Parts, measure_parts
from benchmarks.endpoint_load import Load
from benchmarks.endpoint_requests import Prepared, Preparer, write_job
from benchmarks.endpoint_servers import LARGE_BLOCKS, Server, ebsim_server, moto_server
from benchmarks.image import machine_files
from benchmarks.measuring import BenchmarkError
from ebsim.units import BLOCK_SIZE

ROUNDS = 3
SECONDS = 2.0
CONNECTIONS = 8
SNAPSHOTS = 20
ASKED = 5
CHANGED = 10_000
BLOCKS = 768
"""Distinct blocks that are put and read; moto, which keeps them in memory, has fewer."""

MOTO_BLOCKS = 128
VARIANTS = 200
_WAIT_S = 120


class Task(StrEnum):
    """What is measured."""

    DESCRIBE = f"DescribeSnapshots of {ASKED}"
    PUT = "PutSnapshotBlock"
    GET = "GetSnapshotBlock, files"
    GET_NOISE = "GetSnapshotBlock, noise"
    CHANGED = f"ListChangedBlocks, {CHANGED:,} entries"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task.

    Attributes:
        load: What the load generator saw.
        server_cpu: The server's processor seconds meanwhile.
    """

    load: Load
    server_cpu: float


@dataclass(slots=True)
class EndpointResults:
    """What was found.

    Attributes:
        runs: By server and task.
        versions: Of the servers.
        skipped: Why moto is missing; empty where it is there.
        parts: The machine's limits.
        peak_bytes: By server, the most memory that it had.
    """

    runs: dict[str, dict[Task, list[Run]]]
    versions: list[str]
    skipped: str
    parts: Parts
    peak_bytes: dict[str, int] = field(default_factory=dict)


def measure_endpoint(folder: Path, environment: Path) -> EndpointResults:
    """Measure all of it.

    Args:
        folder: Where stores and data lie.
        environment: Where moto is installed, or will be.

    Raises:
        BenchmarkError: Something answered wrongly.
    """
    data = _write_data(folder)
    parts = measure_parts(data, folder)
    skipped = ""
    with ExitStack() as stack:
        contenders = [_Contender(stack.enter_context(ebsim_server(folder)), folder, data, BLOCKS)]
        try:
            server = stack.enter_context(moto_server(environment, CHANGED))
            contenders.append(_Contender(server, folder, data, MOTO_BLOCKS))
        except BenchmarkError as error:
            skipped = str(error)
        for each in contenders:
            each.prepare()
        for number in range(ROUNDS):
            for task in (Task.DESCRIBE, Task.PUT, Task.GET, Task.CHANGED):
                for each in contenders if number % 2 else contenders[::-1]:
                    each.measure(task)
            contenders[0].measure(Task.GET_NOISE)
        return EndpointResults(
            runs={each.name: each.runs for each in contenders},
            versions=[each.version for each in contenders],
            skipped=skipped,
            parts=parts,
            peak_bytes={each.name: each.peak_bytes for each in contenders},
        )


def _write_data(folder: Path) -> Path:
    """Return a file of blocks: first those of this machine's files, then as many of noise."""
    path, wanted = folder / "data", BLOCKS * BLOCK_SIZE
    with path.open("wb") as out:
        for file, _ in machine_files():
            try:
                out.write(file.read_bytes()[: wanted - out.tell()])
            except OSError:  # not ours to read
                continue
            if out.tell() == wanted:
                break
        noise = random.Random(1)
        for _ in range(BLOCKS):
            out.write(noise.randbytes(BLOCK_SIZE))
    return path


class _Contender:
    """A server, and what is asked of it.

    Args:
        server: It runs.
        folder: For jobs.
        data: The blocks.
        count: How many of them are put and read.
    """

    def __init__(self, server: Server, folder: Path, data: Path, count: int) -> None:
        self.name = server.target.name
        self.version = server.version
        self.runs: dict[Task, list[Run]] = {}
        self._server = server
        self._data = data
        self._count = count
        self._job = folder / f"{self.name}.json"
        self._preparer = Preparer(server.target)
        self._ec2, self._ebs = (self._preparer.client(each) for each in ("ec2", "ebs"))
        with data.open("rb") as file:
            self._digests = [
                hashlib.sha256(file.read(BLOCK_SIZE)).digest() for _ in range(2 * BLOCKS)
            ]
        self._prepared: dict[Task, list[Prepared]] = {}

    @property
    def peak_bytes(self) -> int:
        """The most memory that the server had."""
        return self._server.peak_bytes()

    def prepare(self) -> None:
        """Fill the server, have it prove what it answers, and sign what is to be asked."""
        print(f"filling {self.name}", file=sys.stderr)
        self._prepared[Task.DESCRIBE] = self._describes()
        self._prepared[Task.GET] = self._gets(0)
        first, second = self._server.changed
        asked: dict[str, Any] = {
            "FirstSnapshotId": first,
            "SecondSnapshotId": second,
            "MaxResults": CHANGED,
        }
        answer = self._ebs.list_changed_blocks(**asked)
        if len(answer["ChangedBlocks"]) != CHANGED:
            raise BenchmarkError(f"{self.name} lists {len(answer['ChangedBlocks'])} blocks")
        self._prepared[Task.CHANGED] = [
            self._preparer.prepare("ebs", "list_changed_blocks", **asked)
        ]
        if self.name == "ebsim":
            self._prepared[Task.GET_NOISE] = self._gets(BLOCKS)

    def measure(self, task: Task) -> None:
        """Do a task once."""
        print(f"{self.name}: {task}", file=sys.stderr)
        if task is Task.PUT:
            snapshot, requests = self._puts(0)
            self._send(task, requests, once=True)
            self._complete(snapshot, 0)
            self._ec2.delete_snapshot(SnapshotId=snapshot)
            return
        connections = 1 if task is Task.CHANGED else CONNECTIONS
        self._send(task, self._prepared[task], connections=connections)

    # requests

    def _describes(self) -> list[Prepared]:
        """Return requests for several snapshots each, always others."""
        volume = self._ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
        tags = [{"Key": "Name", "Value": "nightly"}, {"Key": "Team", "Value": "storage"}]
        specification = [{"ResourceType": "snapshot", "Tags": tags}]
        made = []
        for number in range(SNAPSHOTS):
            snapshot = self._ec2.create_snapshot(
                VolumeId=volume, Description=f"backup {number}", TagSpecifications=specification
            )["SnapshotId"]
            self._await_completed(snapshot)
            made.append(snapshot)
        chooser = random.Random(1)
        return [
            self._preparer.prepare(
                "ec2", "describe_snapshots", SnapshotIds=chooser.sample(made, ASKED)
            )
            for _ in range(VARIANTS)
        ]

    def _puts(self, first: int) -> tuple[str, list[Prepared]]:
        """Return a new snapshot, and the requests that put blocks of the data to it."""
        import base64

        snapshot = self._ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        with self._data.open("rb") as file:
            file.seek(first * BLOCK_SIZE)
            requests = [
                self._preparer.prepare(
                    "ebs",
                    "put_snapshot_block",
                    body=((first + index) * BLOCK_SIZE, BLOCK_SIZE),
                    SnapshotId=snapshot,
                    BlockIndex=index,
                    BlockData=file.read(BLOCK_SIZE),
                    DataLength=BLOCK_SIZE,
                    Checksum=base64.b64encode(self._digests[first + index]).decode("ascii"),
                    ChecksumAlgorithm="SHA256",
                )
                for index in range(self._count)
            ]
        return snapshot, requests

    def _gets(self, first: int) -> list[Prepared]:
        """Return requests for blocks of the data, which are put before, and proved."""
        snapshot, requests = self._puts(first)
        self._send(None, requests, once=True)
        self._complete(snapshot, first)
        prepared = self._gets_of(snapshot)
        token = self._ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"][7]
        found = self._ebs.get_snapshot_block(
            SnapshotId=snapshot, BlockIndex=token["BlockIndex"], BlockToken=token["BlockToken"]
        )["BlockData"].read()
        if hashlib.sha256(found).digest() != self._digests[first + token["BlockIndex"]]:
            raise BenchmarkError(f"{self.name} returned another block than was put")
        return prepared

    def _complete(self, snapshot: str, first: int) -> None:
        import base64

        digests = b"".join(self._digests[first : first + self._count])
        self._ebs.complete_snapshot(
            SnapshotId=snapshot,
            ChangedBlocksCount=self._count,
            Checksum=base64.b64encode(hashlib.sha256(digests).digest()).decode("ascii"),
            ChecksumAlgorithm="SHA256",
            ChecksumAggregationMethod="LINEAR",
        )
        self._await_completed(snapshot)

    def _await_completed(self, snapshot: str) -> None:
        end = time.monotonic() + _WAIT_S
        while self._state(snapshot) != "completed":
            if time.monotonic() > end:
                raise BenchmarkError(f"{snapshot} of {self.name} is not completed")
            time.sleep(0.05)

    def _state(self, snapshot: str) -> str:
        described = self._ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
        return str(described[0]["State"])

    def _gets_of(self, snapshot: str) -> list[Prepared]:
        return [
            self._preparer.prepare(
                "ebs",
                "get_snapshot_block",
                SnapshotId=snapshot,
                BlockIndex=each["BlockIndex"],
                BlockToken=each["BlockToken"],
            )
            for each in _pages(self._ebs, snapshot)
        ]

    def _send(
        self,
        task: Task | None,
        requests: Sequence[Prepared],
        *,
        connections: int = CONNECTIONS,
        once: bool = False,
    ) -> None:
        write_job(
            self._job,
            self._server.target,
            requests,
            connections=connections,
            seconds=_WAIT_S if once else SECONDS,
            data=self._data,
            once=once,
        )
        before = self._server.cpu_seconds()
        command = [sys.executable, "-m", "benchmarks.endpoint_load", str(self._job)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchmarkError(f"{self.name}: {task}: {done.stderr.strip()[-500:]}")
        load = Load(**json.loads(done.stdout))
        if task is not None:
            run = Run(load, self._server.cpu_seconds() - before)
            self.runs.setdefault(task, []).append(run)


def _pages(client: Any, snapshot: str) -> Iterator[dict[str, Any]]:
    """Yield all blocks of a snapshot."""
    asked: dict[str, Any] = {"SnapshotId": snapshot}
    while True:
        page = client.list_snapshot_blocks(**asked)
        yield from page["Blocks"]
        if not page.get("NextToken"):
            return
        asked["NextToken"] = page["NextToken"]


assert LARGE_BLOCKS > CHANGED
