"""An image of a disk goes up by the EBS direct APIs and comes down again, 64 requests at once."""

import base64
import hashlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ebsim.requests import VolumeRequest
from ebsim.testing.aws import RunningEndpoint
from ebsim.units import BLOCK_SIZE

pytest.importorskip("boto3")
from botocore.config import Config

PARALLEL = 64
IMAGE_SIZE = 64 * 1024 * 1024
ZEROS = bytes(BLOCK_SIZE)


def write_image(path: Path) -> None:
    """Write a sparse image: data of all lengths, zeros that are no hole, and an end that is one."""
    chosen = random.Random(64)
    with path.open("wb") as file:
        file.truncate(IMAGE_SIZE)
        for at in range(0, IMAGE_SIZE - 4 * 1024 * 1024, 1024 * 1024):
            file.seek(at + chosen.randrange(0, 700_000, 4096))
            file.write(chosen.randbytes(chosen.randrange(1, 900_000)))
        file.seek(IMAGE_SIZE - 2 * 1024 * 1024)
        file.write(ZEROS)


def blocks_with_data(path: Path) -> list[int]:
    """Return the blocks that are no holes of a file."""
    found: set[int] = set()
    with path.open("rb") as file:
        end = 0
        while True:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                return sorted(found)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.update(range(start // BLOCK_SIZE, (end - 1) // BLOCK_SIZE + 1))


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def upload(ebs: Any, image: Path, pool: ThreadPoolExecutor) -> str:
    """Make a snapshot of an image; return its id."""
    snapshot: str = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with image.open("rb") as file:
        descriptor = file.fileno()

        def put(index: int) -> bytes:
            block = os.pread(descriptor, BLOCK_SIZE, index * BLOCK_SIZE)
            found = digest(block)
            ebs.put_snapshot_block(
                SnapshotId=snapshot,
                BlockIndex=index,
                BlockData=block,
                DataLength=BLOCK_SIZE,
                Checksum=text(found),
                ChecksumAlgorithm="SHA256",
            )
            return found

        digests = list(pool.map(put, blocks_with_data(image)))
    ebs.complete_snapshot(
        SnapshotId=snapshot,
        ChangedBlocksCount=len(digests),
        Checksum=text(digest(b"".join(digests))),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    return snapshot


def listed(ebs: Any, snapshot: str) -> Iterator[dict[str, Any]]:
    more: dict[str, str] = {}
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=100, **more)
        yield from page["Blocks"]
        if "NextToken" not in page:
            return
        more = {"NextToken": page["NextToken"]}


def download(ebs: Any, snapshot: str, image: Path, pool: ThreadPoolExecutor) -> None:
    with image.open("wb") as file:
        file.truncate(IMAGE_SIZE)
        descriptor = file.fileno()

        def get(block: dict[str, Any]) -> None:
            got = ebs.get_snapshot_block(SnapshotId=snapshot, **block)
            data = got["BlockData"].read()
            assert text(digest(data)) == got["Checksum"]
            os.pwrite(descriptor, data, block["BlockIndex"] * BLOCK_SIZE)

        list(pool.map(get, listed(ebs, snapshot)))


def test_image_goes_up_and_comes_down(ebsim_endpoint: RunningEndpoint, fast_path: Path) -> None:
    """Holes are left out both ways; what comes down is what went up, byte for byte."""
    up, down = fast_path / "up.img", fast_path / "down.img"
    write_image(up)
    sent = blocks_with_data(up)
    assert 64 < len(sent) < IMAGE_SIZE // BLOCK_SIZE
    ebs = ebsim_endpoint.client("ebs", config=Config(max_pool_connections=PARALLEL))
    with ThreadPoolExecutor(PARALLEL) as pool:
        snapshot = upload(ebs, up, pool)
        ebsim_endpoint.store.wait_snapshots([snapshot])
        download(ebs, snapshot, down, pool)

    assert down.read_bytes() == up.read_bytes()
    assert blocks_with_data(down) == sent
    volumes = ebsim_endpoint.store.volumes
    restored = volumes.create(VolumeRequest(snapshot_id=snapshot))
    with volumes.open(restored.volume_id) as file:
        assert file.pread(IMAGE_SIZE, 0) == up.read_bytes()
