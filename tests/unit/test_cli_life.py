"""The commands on images, events, pruning and lifecycle policies, on real stores."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ebsim.caller import Caller
from ebsim.cli.environment import Environment
from ebsim.cli.following import PAUSE_S, follow
from ebsim.cli.main import run
from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.results import Event
from ebsim.testing.contents import NOISE, noise_block
from ebsim.testing.seams import START_US, ManualClock
from ebsim.testing.shell import ClockedStores, Shell
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

HOUR_US = 3_600_000_000


class ClockedShell(Shell):
    """Commands on one store whose clock is held."""

    def __init__(self, path: Path, clock: ManualClock, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.clock, self.stores = path, clock, ClockedStores(clock)
        environment = Environment(store=path)
        super().__init__(lambda arguments: run(arguments, environment, self.stores), capsys)
        self.stores.create(path).close()

    def snapshots(self, count: int, **tags: str) -> list[str]:
        with self.stores.open(self.path, Caller()) as store:
            disk = disk_of(NOISE)
            made = []
            for number in range(count):
                disk.write(0, noise_block(number))
                shown = store.create_snapshot(disk, SnapshotOptions(tags=tags))
                made.append(shown.snapshot_id)
                self.clock.advance(3600)
        return list(made)


@pytest.fixture
def shell(store_path: Path, clock: ManualClock, capsys: pytest.CaptureFixture[str]) -> ClockedShell:
    return ClockedShell(store_path, clock, capsys)


# Images


def test_image_documents_have_the_names_of_ec2(shell: ClockedShell) -> None:
    (snap,) = shell.snapshots(1)

    made = shell.json(
        "image",
        "register",
        "web",
        "--device",
        f"/dev/xvda={snap}:8:gp3",
        "--device",
        f"/dev/sdb={snap}",
        "--description",
        "d",
        "--tag",
        "a=b",
        "--root-device",
        "/dev/sdb",
    )

    image_id = made.pop("ImageId")
    assert made == {
        "Name": "web",
        "State": "available",
        "Description": "d",
        "Architecture": "x86_64",
        "ImageType": "machine",
        "RootDeviceName": "/dev/sdb",
        "RootDeviceType": "ebs",
        "VirtualizationType": "hvm",
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "SnapshotId": snap,
                    "VolumeSize": 8,
                    "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                    "Encrypted": False,
                },
            },
            {
                "DeviceName": "/dev/sdb",
                "Ebs": {
                    "SnapshotId": snap,
                    "VolumeSize": 1,
                    "VolumeType": "gp2",
                    "DeleteOnTermination": True,
                    "Encrypted": False,
                },
            },
        ],
        "CreationDate": "2026-01-01T01:00:00.000Z",
        "DeprecationTime": None,
        "OwnerId": "123456789012",
        "Public": False,
        "Tags": [{"Key": "a", "Value": "b"}],
    }
    assert shell.json("image", "list") == {"Images": [{"ImageId": image_id, **made}]}
    assert shell.json("image", "show", image_id)["ImageId"] == image_id


def test_image_goes_through_its_states(shell: ClockedShell) -> None:
    (snap,) = shell.snapshots(1)
    image_id = shell.json("image", "register", "web", "--device", f"/dev/xvda={snap}")["ImageId"]

    later = shell.json("image", "deprecate", image_id, "--at", "2026-02-01")
    assert later["DeprecationTime"] == "2026-02-01T00:00:00.000Z"
    assert "will be deprecated at 2026-02-01" in shell("image", "show", image_id)
    shell.clock.advance(40 * 86_400)
    assert "deprecated since 2026-02-01" in shell("image", "show", image_id)
    assert "deprecated" in shell("image", "list")
    assert shell("image", "list", "--exclude-deprecated") == "No images.\n"
    assert "deprecated" not in shell("image", "deprecate", image_id, "--cancel")
    assert shell.json("image", "disable", image_id)["State"] == "disabled"
    assert shell("image", "list") == "No images.\n"
    assert "disabled" in shell("image", "list", "--include-disabled")
    assert shell.json("image", "enable", image_id)["State"] == "available"
    gone = shell.json("image", "deregister", image_id, "--delete-associated-snapshots")
    assert gone == {
        "ImageId": image_id,
        "Return": True,
        "DeleteSnapshotResults": [{"SnapshotId": snap, "ReturnCode": "success"}],
    }
    assert "InvalidAMIID.NotFound" in shell("image", "show", image_id, "--json", code=1)


def test_snapshot_in_use_is_refused_by_name(shell: ClockedShell) -> None:
    (snap,) = shell.snapshots(1)
    image_id = shell.json("image", "register", "web", "--device", f"/dev/xvda={snap}")["ImageId"]

    refused = shell.json("snapshot", "delete", snap, code=1)

    assert refused == {
        "Error": {
            "Code": "InvalidSnapshot.InUse",
            "Message": f"The snapshot {snap} is currently in use by {image_id}",
        }
    }
    assert f"Deregistered {image_id}." in shell("image", "deregister", image_id)


def test_images_are_listed_in_pages(shell: ClockedShell) -> None:
    (snap,) = shell.snapshots(1)
    for number in range(7):
        shell("image", "register", f"web {number}", "--device", f"/dev/xvda={snap}")

    first = shell.json("image", "list", "--max-items", "5")
    rest = shell.json("image", "list", "--starting-token", first["NextToken"])

    names = [each["Name"] for each in [*first["Images"], *rest["Images"]]]
    assert names == [f"web {number}" for number in range(7)]
    assert "NextToken" not in rest
    assert "--starting-token" in shell("image", "list", "--max-items", "5")


@pytest.mark.parametrize(
    "arguments",
    [
        ("image", "register", "web"),
        ("image", "register", "web", "--device", "/dev/xvda"),
        ("image", "register", "web", "--device", "a=snap-1:x"),
        ("image", "register", "web", "--device", "a=snap-1:1:gp2:x"),
        ("image", "register", "web", "--device", "a=snap-1:1:"),
        ("image", "register", "web", "--device", "a=s", "--device", "a=s"),
        ("image", "deprecate", "ami-0123456789abcdef0"),
        ("image", "deprecate", "ami-0123456789abcdef0", "--at", "tomorrow"),
        ("image", "deprecate", "ami-0123456789abcdef0", "--at", "2027-01-01", "--cancel"),
        ("prune", "--keep-last", "x"),
        ("prune", "--keep-tag", "x"),
        ("events", "--after", "x"),
        ("events", "--follow", "--json"),
        ("lifecycle", "create"),
        ("lifecycle", "create", "--description", "x", "--every", "1"),
        ("lifecycle", "create", "--description", "x", "--keep", "1"),
        ("lifecycle", "create", "--description", "x", "--every", "1", "--keep", "0"),
        ("lifecycle", "create", "--description", "x", "--keep", "1", "--every", "0"),
        ("lifecycle", "create", "--description", "x", "--every", "1", "--keep-for", "7"),
        ("lifecycle", "create", "--description", "x", "--every", "1", "--keep-for", ""),
        ("lifecycle", "update", "policy-0123456789abcdef0"),
        ("lifecycle", "update", "policy-0123456789abcdef0", "--state", "PAUSED"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told(shell: ClockedShell, arguments: Sequence[str]) -> None:
    assert "Error" in shell(*arguments, "--json", code=2)


# Pruning


def test_pruning_is_told_beforehand_and_done(shell: ClockedShell) -> None:
    snaps = shell.snapshots(4)

    planned = shell("prune", "--keep-last", "2", "--keep-within", "1h", "--dry-run")

    assert planned.splitlines()[0].split() == ["KEPT", "STARTED", "(UTC)", "VOLUME", "WHY"]
    assert f"{snaps[3]}  2026-01-01 03:00:00" in planned
    assert "last, within" in planned
    assert f"Would delete {snaps[1]}" in planned
    assert planned.endswith("2 snapshots kept, 2 would go.\n")
    done = shell.json("prune", "--keep-last", "2")
    assert [each["SnapshotId"] for each in done["Deleted"]] == [snaps[1], snaps[0]]
    assert [each["SnapshotId"] for each in done["Kept"]] == snaps[2:]
    assert done["Kept"][0]["Reasons"] == ["last"]
    assert done["FreedSizeInBytes"] == 2 * BLOCK_SIZE
    assert done["Deleted"][0]["StartTime"] == "2026-01-01T01:00:00.000Z"
    assert (done["Postponed"], done["DryRun"]) == (0, False)
    assert shell("prune", "--keep-last", "2").endswith("2 snapshots kept, 0 went.\n")


def test_pruning_needs_a_rule(shell: ClockedShell) -> None:
    refused = shell.json("prune", code=1)

    assert refused["Error"]["Code"] == "InvalidParameterValue"
    assert "give at least one rule" in refused["Error"]["Message"]
    assert "not between" in shell.failing("prune", "--keep-last", "-1")


def test_pruning_passes_every_option_on(shell: ClockedShell) -> None:
    mine = shell.snapshots(3, env="test")
    with shell.stores.open(shell.path, Caller()) as store:
        volume_id = store.get_snapshot(mine[0]).volume_id

    done = shell.json(
        "prune", "--keep-hourly", "1", "--keep-daily", "0", "--keep-weekly", "0",
        "--keep-monthly", "0", "--keep-yearly", "0", "--keep-tag", "keep=yes",
        "--volume", volume_id, "--tag", "env=test",
    )  # fmt: skip

    assert len(done["Deleted"]) == 2
    assert shell.json("prune", "--keep-last", "1", "--tag", "env=prod")["Kept"] == []


# Events


def test_events_are_lines_of_json_as_eventbridge_has_them(shell: ClockedShell) -> None:
    snaps = shell.snapshots(2)

    lines = [json.loads(line) for line in shell("events").splitlines()]

    assert [line["number"] for line in lines] == [1, 2]
    assert lines[1] == {
        "version": "0",
        "id": lines[1]["id"],
        "detail-type": "EBS Snapshot Notification",
        "source": "aws.ec2",
        "account": "123456789012",
        "time": "2026-01-01T01:00:00Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:ec2::us-east-1:snapshot/{snaps[1]}"],
        "detail": lines[1]["detail"],
        "number": 2,
    }
    assert lines[1]["detail"]["result"] == "succeeded"
    assert shell.json("events") == {"Events": lines}
    assert shell.json("events", "--after", "1") == {"Events": lines[1:]}
    assert shell("events", "--after", "2") == ""
    assert shell.json("events", "--after", "-5") == {"Events": lines}


def take_all(events: Iterator[Event], told: list[int]) -> None:
    for event in events:
        told.append(event.number)  # noqa: PERF401 - what was told before the end is kept


def test_following_prints_what_comes_between_two_looks(store: Store) -> None:
    disk, pauses = disk_of(NOISE), list[float]()
    store.create_snapshot(disk)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            store.create_snapshot(disk)
            store.create_snapshot(disk)
        if len(pauses) == 4:
            raise KeyboardInterrupt

    told: list[int] = []
    events = follow(store.events, 0, pause)

    with pytest.raises(KeyboardInterrupt):
        take_all(events, told)

    assert told == [1, 2, 3]
    assert set(pauses) == {PAUSE_S}


# Lifecycle policies


def test_policy_is_made_shown_changed_run_and_deleted(shell: ClockedShell, fast_path: Path) -> None:
    disk = fast_path / "disk.img"
    disk.write_bytes(noise_block(1))
    made = shell.json(
        "lifecycle", "create", "--description", "nightly", "--source", str(disk), "--every", "1",
        "--at", "00:30", "--keep", "1", "--name", "Hourly", "--tag-to-add", "by=policy",
        "--target-tag", "a=1", "--target-tag", "a=2", "--copy-tags",
    )  # fmt: skip
    policy_id = made["PolicyId"]
    assert made["PolicyDetails"] == {
        "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
        "ResourceTypes": ["VOLUME"],
        "TargetTags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}],
        "Schedules": [
            {
                "Name": "Hourly",
                "CopyTags": True,
                "TagsToAdd": [{"Key": "by", "Value": "policy"}],
                "CreateRule": {"Interval": 1, "IntervalUnit": "HOURS", "Times": ["00:30"]},
                "RetainRule": {"Count": 1},
            }
        ],
        "Sources": [str(disk)],
    }
    assert made["DateCreated"] == made["DateModified"] == "2026-01-01T00:00:00.000Z"
    assert shell.json("lifecycle", "list") == {"Policies": [made]}
    assert "every 1 h from 00:30 UTC" in shell("lifecycle", "list")
    assert "the volume's tags are copied; tagged by=policy" in shell("lifecycle", "show", policy_id)
    assert shell("lifecycle", "run") == "Nothing is due, and nothing has expired.\n"

    shell.clock.advance(3600)
    assert "Would snapshot" in shell("lifecycle", "run", "--dry-run")
    first = shell.json("lifecycle", "run")
    (created,) = first["Created"]
    assert created["ScheduleNames"] == ["Hourly"]
    assert created["DueTime"] == "2026-01-01T00:30:00.000Z"
    assert (created["PolicyId"], created["Error"]) == (policy_id, "")
    shell.clock.advance(3600)
    second = shell("lifecycle", "run")
    assert "more than 1." in second
    assert second.endswith("1 snapshot made, 1 deleted.\n")

    assert (
        shell.json("lifecycle", "update", policy_id, "--state", "DISABLED")["State"] == "DISABLED"
    )
    assert shell.json("lifecycle", "delete", policy_id) == {"PolicyId": policy_id}
    assert shell("lifecycle", "list") == "No policies.\n"
    assert "ResourceNotFoundException" in shell("lifecycle", "show", policy_id, "--json", code=1)


def test_policy_comes_from_a_file_and_goes_back(shell: ClockedShell, fast_path: Path) -> None:
    file = fast_path / "policy.json"
    made = shell.json(
        "lifecycle", "create", "--description", "x", "--target-tag", "a=b", "--cron",
        "cron(0 18 ? * MON-FRI *)", "--keep-for", "4w", "--disabled",
    )  # fmt: skip
    assert made["State"] == "DISABLED"
    file.write_text(json.dumps(made))

    again = shell.json("lifecycle", "create", "--file", str(file))

    assert again["PolicyId"] != made["PolicyId"]
    assert again["PolicyDetails"] == made["PolicyDetails"]
    assert "cron(0 18 ? * MON-FRI *)" in shell("lifecycle", "show", again["PolicyId"])
    made["PolicyDetails"]["Schedules"][0]["RetainRule"]["Interval"] = 8
    file.write_text(json.dumps(made))
    changed = shell.json("lifecycle", "update", again["PolicyId"], "--file", str(file))
    assert changed["PolicyDetails"]["Schedules"][0]["RetainRule"]["Interval"] == 8
    assert "leave the other options out" in shell.failing(
        "lifecycle", "create", "--file", str(file), "--keep", "1", code=2
    )
    file.write_text("{")
    assert "no JSON" in shell.failing("lifecycle", "create", "--file", str(file), code=2)
    file.write_text("{}")
    refused = shell.json("lifecycle", "create", "--file", str(file), code=1)
    assert refused["Error"]["Code"] == "InvalidRequestException"


def test_run_that_failed_says_so_and_exits_with_1(shell: ClockedShell, fast_path: Path) -> None:
    shell(
        "lifecycle", "create", "--description", "x", "--source", str(fast_path / "missing.img"),
        "--every", "1", "--keep", "1",
    )  # fmt: skip
    shell.clock.set_us(START_US + HOUR_US)

    assert "Failed to snapshot" in shell("lifecycle", "run", code=1)
    told = shell.json("lifecycle", "run", code=1)
    assert "missing.img" in told["Created"][0]["Error"]


def test_image_that_holds_an_expired_snapshot_is_named(
    shell: ClockedShell, fast_path: Path
) -> None:
    disk = fast_path / "disk.img"
    disk.write_bytes(noise_block(1))
    shell(
        "lifecycle", "create", "--description", "x", "--source", str(disk), "--every", "1",
        "--keep", "1",
    )  # fmt: skip
    shell.clock.advance(3600)
    snap = shell.json("lifecycle", "run")["Created"][0]["SnapshotId"]
    image_id = shell.json("image", "register", "web", "--device", f"/dev/xvda={snap}")["ImageId"]
    shell.clock.advance(3600)

    told = shell("lifecycle", "run")

    assert f"more than 1; stays, in use by {image_id}." in told
    assert told.endswith("1 snapshot made, 0 deleted.\n")
