"""The aws CLI against the endpoint: volume, snapshots, copy and restore, in text and in JSON.

`make clients` installs it, in a virtual environment of its own.
"""

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ebsim.testing.aws_service import OTHER, ZONE, Service, running_service
from ebsim.testing.contents import noise_block
from ebsim.units import BLOCK_SIZE

PROGRAM = Path(__file__).parents[2] / "build" / "clients" / "aws" / "bin" / "aws"
LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"

pytestmark = pytest.mark.skipif(
    not PROGRAM.is_file(), reason="no aws CLI: `make clients` installs it"
)
A, B = noise_block(1), noise_block(2)


class Cli:
    """The aws CLI, for an account of an endpoint."""

    def __init__(self, service: Service, folder: Path, account: str = "123456789012") -> None:
        credential = service.endpoint.credentials.of_account(account)
        self._folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "AWS_ENDPOINT_URL": service.endpoint.url,
            "AWS_ACCESS_KEY_ID": credential.access_key,
            "AWS_SECRET_ACCESS_KEY": credential.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *words],
            env=self._environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def text(self, *words: str) -> str:
        """Return what a command that succeeds prints."""
        done = self.run(*words)
        assert (done.returncode, done.stderr) == (0, ""), words
        return done.stdout.rstrip("\n")

    def json(self, *words: str) -> Any:
        return json.loads(self.text(*words, "--output", "json"))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    pytest.importorskip("botocore")
    with running_service() as running:
        yield running


@pytest.fixture
def aws(service: Service, tmp_path: Path) -> Cli:
    return Cli(service, tmp_path)


def test_whole_story(service: Service, aws: Cli, tmp_path: Path) -> None:
    """A volume, two snapshots, a share, a copy under a new key; one goes, the copy is restored."""
    where = ("--availability-zone", ZONE, "--query", "VolumeId", "--output", "text")
    volume = aws.text("ec2", "create-volume", "--size", "1", *where)
    with service.store.volumes.open(volume) as file:
        file.pwrite(A, 0)
        file.pwrite(A, 7 * BLOCK_SIZE)

    tags = "ResourceType=snapshot,Tags=[{Key=Name,Value=SampleSnapshot}]"
    described = ("--description", "Manual backup before update", "--tag-specifications", tags)
    first = aws.json("ec2", "create-snapshot", "--volume-id", volume, *described)
    assert (first["State"], first["VolumeId"], first["VolumeSize"]) == ("pending", volume, 1)
    assert first["Description"] == "Manual backup before update"
    assert first["Tags"] == [{"Key": "Name", "Value": "SampleSnapshot"}]
    service.store.wait_snapshots([first["SnapshotId"]])  # the waiter would wait for 15 s
    aws.text("ec2", "wait", "snapshot-completed", "--snapshot-ids", first["SnapshotId"])

    with service.store.volumes.open(volume) as file:
        file.pwrite(B, 7 * BLOCK_SIZE)
    second = service.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    service.store.wait_snapshots([second])

    between = ("--first-snapshot-id", first["SnapshotId"], "--second-snapshot-id", second)
    changed = aws.json("ebs", "list-changed-blocks", *between)
    (block,) = changed["ChangedBlocks"]
    assert (block["BlockIndex"], changed["BlockSize"], changed["VolumeSize"]) == (7, BLOCK_SIZE, 1)
    told = aws.json(
        *("ebs", "get-snapshot-block", "--snapshot-id", second, "--block-index", "7"),
        *("--block-token", block["SecondBlockToken"], "out.bin"),
    )
    assert told["DataLength"] == BLOCK_SIZE
    assert (tmp_path / "out.bin").read_bytes() == B

    key = service.client("kms").create_key()["KeyMetadata"]["Arn"]
    source = ("--source-region", "us-east-1", "--source-snapshot-id", second)
    encrypted = ("--encrypted", "--kms-key-id", key)
    copy = aws.json("ec2", "copy-snapshot", *source, *encrypted)["SnapshotId"]
    service.store.wait_snapshots([copy])
    of_second = ("--snapshot-id", second, "--attribute", "createVolumePermission")
    to_other = ("--operation-type", "add", "--user-ids", OTHER)
    aws.text("ec2", "modify-snapshot-attribute", *of_second, *to_other)
    aws.text("ec2", "delete-snapshot", "--snapshot-id", first["SnapshotId"])

    (shared,) = service.other.describe_snapshots(RestorableByUserIds=["self"])["Snapshots"]
    assert (shared["SnapshotId"], shared["OwnerId"]) == (second, "123456789012")
    restored = aws.json(
        *("ec2", "create-volume", "--snapshot-id", copy, "--availability-zone", ZONE)
    )
    assert (restored["SnapshotId"], restored["Encrypted"], restored["KmsKeyId"]) == (
        copy,
        True,
        key,
    )
    with service.store.volumes.open(restored["VolumeId"]) as file:
        for index, content in enumerate((A, *[bytes(BLOCK_SIZE)] * 6, B)):
            assert file.pread(BLOCK_SIZE, index * BLOCK_SIZE) == content


def test_refusal_is_told(aws: Cli) -> None:
    done = aws.run("ec2", "delete-snapshot", "--snapshot-id", "snap-00000000000000000")

    assert done.returncode == 255
    assert "(InvalidSnapshot.NotFound) when calling the DeleteSnapshot operation" in done.stderr
    assert "The snapshot 'snap-00000000000000000' does not exist" in done.stderr


@pytest.mark.skipif(not LONG, reason="20 more calls: EBSIM_TEST_PROFILE=long")
def test_blocks_are_written_and_pages_and_tables_printed(
    service: Service, aws: Cli, tmp_path: Path
) -> None:
    (tmp_path / "block.bin").write_bytes(A)
    digest = base64.b64encode(hashlib.sha256(A).digest()).decode()
    whole = base64.b64encode(hashlib.sha256(hashlib.sha256(A).digest()).digest()).decode()
    started = aws.json("ebs", "start-snapshot", "--volume-size", "1", "--description", "by blocks")
    snapshot = started["SnapshotId"]
    put = aws.json(
        *("ebs", "put-snapshot-block", "--snapshot-id", snapshot, "--block-index", "3"),
        *("--block-data", "block.bin", "--data-length", str(BLOCK_SIZE)),
        *("--checksum", digest, "--checksum-algorithm", "SHA256"),
    )
    assert put == {"Checksum": digest, "ChecksumAlgorithm": "SHA256"}
    done = aws.json(
        *("ebs", "complete-snapshot", "--snapshot-id", snapshot, "--changed-blocks-count", "1"),
        *("--checksum", whole, "--checksum-algorithm", "SHA256"),
        *("--checksum-aggregation-method", "LINEAR"),
    )
    assert done == {"Status": "pending"}
    service.store.wait_snapshots([snapshot])
    index = ("--query", "Blocks[].BlockIndex", "--output", "text")
    assert aws.text("ebs", "list-snapshot-blocks", "--snapshot-id", snapshot, *index) == "3"

    table = aws.text("ec2", "describe-snapshots", "--snapshot-ids", snapshot, "--output", "table")
    assert "|  Description" in table
    assert "by blocks" in table

    made = [service.volume(tags={"Name": "page"}) for _ in range(7)]
    chosen = ("--query", "[SnapshotId,State,Progress]", "--output", "text")
    taken = aws.text("ec2", "create-snapshot", "--volume-id", made[0], *chosen).split("\t")
    assert taken[1:] == ["pending", ""]
    service.store.wait_snapshots([taken[0]])
    permission = ("--attribute", "createVolumePermission", "--operation-type", "add")
    to = ("--user-ids", OTHER)
    aws.text("ec2", "modify-snapshot-attribute", "--snapshot-id", taken[0], *permission, *to)
    shared = ("--restorable-by-user-ids", "self", "--query", "Snapshots[].[SnapshotId,OwnerId]")
    other = Cli(service, tmp_path, OTHER)
    seen = other.text("ec2", "describe-snapshots", *shared, "--output", "text").splitlines()
    assert f"{taken[0]}\t123456789012" in seen
    key = aws.text("kms", "create-key", "--query", "KeyMetadata.Arn", "--output", "text")
    assert key.startswith("arn:aws:kms:us-east-1:123456789012:key/")
    named = ("--filters", "Name=tag:Name,Values=page")
    ids = ("--query", "Volumes[].VolumeId", "--output", "text")
    listed = aws.text("ec2", "describe-volumes", *named, "--page-size", "5", *ids)
    assert sorted(listed.split()) == sorted(made)
    two = aws.json("ec2", "describe-volumes", *named, "--max-items", "2")
    more = ("--starting-token", two["NextToken"])
    rest = aws.json("ec2", "describe-volumes", *named, *more)
    shown = [each["VolumeId"] for page in (two, rest) for each in page["Volumes"]]
    assert sorted(shown) == sorted(made)

    aws.text("ec2", "create-tags", "--resources", made[0], "--tags", "Key=Name,Value=other")
    assert aws.text("ec2", "describe-volumes", *named, *ids).split() == made[1:]
    aws.text("ec2", "delete-volume", "--volume-id", made[0])
    aws.text("ec2", "wait", "volume-deleted", "--volume-ids", made[0])
    assert aws.run("ec2", "delete-volume", "--volume-id", made[1], "--dry-run").returncode == 255
    aws.text("rbin", "list-rules", "--resource-type", "EBS_SNAPSHOT")
    aws.text("dlm", "get-lifecycle-policies")
    who = aws.text("sts", "get-caller-identity", "--query", "Account", "--output", "text")
    assert who == "123456789012"
