"""The AWS SDK for JavaScript against the endpoint: javascript/story.cjs, and what it saw.

`make clients` installs the SDK, where npm is.
"""

import hashlib
import json
import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from ebsim.testing.aws import RunningEndpoint
from ebsim.testing.contents import noise_block
from ebsim.units import BLOCK_SIZE

STORY = Path(__file__).parent / "javascript" / "story.cjs"
FOLDER = Path(__file__).parents[2] / "build" / "clients" / "javascript"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "made").is_file() or shutil.which("node") is None,
    reason="no AWS SDK for JavaScript: `make clients` installs it where node and npm are",
)


def test_story(ebsim_endpoint: RunningEndpoint) -> None:
    store, ec2 = ebsim_endpoint.store, ebsim_endpoint.client("ec2")
    volume = ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
    first, second = noise_block(1), noise_block(2)
    with store.volumes.open(volume) as file:
        file.pwrite(first, 0)
        earlier = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        store.wait_snapshots([earlier])
        file.pwrite(second, 5 * BLOCK_SIZE)
    credential = ebsim_endpoint.credentials.of_account()
    environment = {
        "PATH": os.environ["PATH"],
        "NODE_PATH": str(FOLDER / "node_modules"),
        "AWS_ACCESS_KEY_ID": credential.access_key,
        "AWS_SECRET_ACCESS_KEY": credential.secret,
    }

    done = subprocess.run(
        ["node", STORY, ebsim_endpoint.url, volume, earlier],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr  # a warning of an old node may stand there
    seen = json.loads(done.stdout)
    (shown,) = ec2.describe_snapshots(SnapshotIds=[seen["snapshot"]])["Snapshots"]
    assert (seen["state"], shown["State"]) == ("pending", "completed")
    assert seen["tags"] == shown["Tags"] == [{"Key": "Name", "Value": "<from> & JavaScript"}]
    assert datetime.fromisoformat(seen["start"]) == shown["StartTime"]
    assert seen["changed"] == [5]
    assert seen["read"] == {"0": digest(first), "5": digest(second)}
    words = b"written by JavaScript "
    assert seen["writtenBlocks"] == {
        "9": digest((words * (BLOCK_SIZE // len(words) + 1))[:BLOCK_SIZE])
    }
    assert store.get_snapshot(seen["written"]).state == "completed"
    assert seen["refused"] == [
        ["InvalidSnapshot.NotFound", 400, None],
        ["ResourceNotFoundException", 404, "SNAPSHOT_NOT_FOUND"],
        ["InvalidAction", 400, None],
        ["InvalidClientTokenId", 403, None],
        ["UnrecognizedClientException", 403, None],
    ]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
