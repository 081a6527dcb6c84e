"""`ebsim` commands on the store that an endpoint serves, while it copies a snapshot; and boto3."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from ebsim.testing.aws_service import Service, refusal

pytest.importorskip("boto3")

from ebsim.storage.locks import LockFile, named_region
from ebsim.units import BLOCK_SIZE

BEFORE, AFTER = b"before".ljust(BLOCK_SIZE, b"."), b"after".ljust(BLOCK_SIZE, b".")


def ebsim(aws: Service, *arguments: str, given: bytes = b"") -> bytes:
    """Run a command in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "ebsim", *arguments],
        env={**os.environ, "EBSIM_STORE": str(aws.harness.path)},
        input=given,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "it tells what it waits for at a terminal only"
    return done.stdout


def wait_completed(aws: Service, snapshot: str) -> None:
    aws.ec2.get_waiter("snapshot_completed").wait(
        SnapshotIds=[snapshot], WaiterConfig={"Delay": 0, "MaxAttempts": 20_000}
    )


def test_commands_use_a_volume_of_which_the_server_copies_a_snapshot(aws: Service) -> None:
    """Neither is refused, and the snapshot has the bytes of its moment (S-76)."""
    volume = aws.ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
    with aws.store.volumes.open(volume) as file:
        file.pwrite(BEFORE, 0)
    with aws.harness.faults.hold_snapshots():
        snapshot = aws.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        ebsim(aws, "volume", "write", volume, given=AFTER)
        shown = aws.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]
        assert shown["State"] == "pending"
        later = aws.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        assert b"deleting" in ebsim(aws, "volume", "delete", volume, "--json")
    for name, wanted in ((snapshot, BEFORE), (later, AFTER)):
        wait_completed(aws, name)
        assert aws.store.read_block(name, 0) == wanted


def test_volume_that_a_command_has_open_is_unavailable_for_a_while(aws: Service) -> None:
    """503, which SDKs try again, and after a bounded time; others are served meanwhile."""
    volume = aws.volume()
    before = aws.store.patience
    lock = LockFile(aws.harness.path / "lock").try_hold(named_region(f"volume {volume}"))
    assert lock is not None
    aws.store.patience = replace(before, seconds=0.05)
    try:
        with lock:
            for call in (aws.ec2.create_snapshot, aws.ec2.delete_volume):
                assert refusal(call, VolumeId=volume) == ("Unavailable", 503)
            aws.ec2.modify_volume(VolumeId=volume, Size=2)
            assert not aws.ec2.describe_snapshots(
                Filters=[{"Name": "volume-id", "Values": [volume]}]
            )["Snapshots"]
    finally:
        aws.store.patience = before
    wait_completed(aws, aws.ec2.create_snapshot(VolumeId=volume)["SnapshotId"])
