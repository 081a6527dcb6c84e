"""The commands on the Recycle Bin: their documents, in the shapes of rbin and EC2, and texts."""

import pytest

from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.engine import Store
from ebsim.requests import VolumeRequest
from ebsim.testing.contents import NOISE
from ebsim.testing.seams import ManualClock
from ebsim.testing.shell import OneStore, Shell
from ebsim.testing.sources import disk_of

RULE = ("recycle-bin", "rule")
ENTERS, EXITS = "2026-01-01T00:00:00.000Z", "2026-01-08T00:00:00.000Z"


@pytest.fixture
def shell(store: Store, capsys: pytest.CaptureFixture[str]) -> Shell:
    environment, stores = Environment(store=store.path), OneStore(store)
    return Shell(lambda arguments: run(arguments, environment, stores), capsys)


def keep(shell: Shell, kind: str = "EBS_SNAPSHOT", *more: str) -> str:
    document = shell.json(*RULE, "create", "--resource-type", kind, "--days", "7", *more)
    return str(document["Identifier"])


def test_rule_is_shown_as_rbin_does(shell: Shell) -> None:
    tag = ("--resource-tag", "team=db", "--description", "of the db", "--tag", "owner=ops")
    rule = keep(shell, "EBS_SNAPSHOT", *tag)

    assert shell.json(*RULE, "show", rule) == {
        "Identifier": rule,
        "RuleArn": f"arn:aws:rbin:us-east-1:123456789012:rule/{rule}",
        "ResourceType": "EBS_SNAPSHOT",
        "Description": "of the db",
        "RetentionPeriod": {"RetentionPeriodValue": 7, "RetentionPeriodUnit": "DAYS"},
        "ResourceTags": [{"ResourceTagKey": "team", "ResourceTagValue": "db"}],
        "ExcludeResourceTags": [],
        "Status": "available",
        "Tags": [{"Key": "owner", "Value": "ops"}],
    }
    text = shell(*RULE, "show", rule)
    assert "EBS_SNAPSHOT for 7 days" in text
    assert "those tagged team=db" in text


def test_rules_are_listed_in_pages(shell: Shell) -> None:
    assert shell(*RULE, "list") == "No rules.\n"
    rules = [
        keep(shell),
        keep(shell, "EC2_IMAGE"),
        keep(shell, "EBS_VOLUME", "--unlock-delay", "7"),
    ]

    page = shell.json(*RULE, "list", "--max-items", "2")
    assert [each["Identifier"] for each in page["Rules"]] == rules[:2]
    rest = shell.json(*RULE, "list", "--starting-token", page["NextToken"])
    (last,) = rest["Rules"]
    assert (last["Identifier"], last["LockState"]) == (rules[2], "locked")
    assert "NextToken" not in rest
    images = shell.json(*RULE, "list", "--resource-type", "EC2_IMAGE")["Rules"]
    assert [each["Identifier"] for each in images] == rules[1:2]
    assert len(shell.json(*RULE, "list", "--lock-state", "locked")["Rules"]) == 1
    assert shell.json(*RULE, "list", "--resource-tag", "a=b")["Rules"] == []
    assert rules[2] in shell(*RULE, "list")


def test_rule_is_changed_locked_unlocked_and_deleted(shell: Shell, clock: ManualClock) -> None:
    rule = keep(shell)
    changed = shell.json(*RULE, "update", rule, "--days", "1", "--exclude-tag", "tmp=yes")
    assert changed["RetentionPeriod"]["RetentionPeriodValue"] == 1
    assert changed["ExcludeResourceTags"] == [{"ResourceTagKey": "tmp", "ResourceTagValue": "yes"}]
    assert "all but those tagged tmp=yes" in shell(*RULE, "show", rule)
    shell.json(*RULE, "update", rule, "--no-exclude-tags")
    both = ("update", rule, "--no-exclude-tags", "--exclude-tag", "a=b")
    assert "not both" in shell.failing(*RULE, *both, code=2)

    locked = shell.json(*RULE, "lock", rule, "--unlock-delay", "9")
    assert locked["LockState"] == "locked"
    delay = {"UnlockDelayValue": 9, "UnlockDelayUnit": "DAYS"}
    assert locked["LockConfiguration"] == {"UnlockDelay": delay}
    error = shell.json(*RULE, "delete", rule, code=1)["Error"]
    assert (error["Code"], error["Reason"]) == ("ConflictException", "INVALID_RULE_STATE")
    assert "it can be changed 9 days after" in shell(*RULE, "show", rule)
    unlocked = shell.json(*RULE, "unlock", rule)
    assert unlocked["LockState"] == "pending_unlock"
    assert unlocked["LockEndTime"] == "2026-01-10T00:00:00.000Z"
    assert "pending_unlock until" in shell(*RULE, "show", rule)
    clock.advance(days=9)
    assert "unlocked" in shell(*RULE, "show", rule)
    assert shell.json(*RULE, "delete", rule) == {"Identifier": rule}
    error = shell.json(*RULE, "show", rule, code=1)["Error"]
    assert (error["Code"], error["Reason"]) == ("ResourceNotFoundException", "RULE_NOT_FOUND")


def test_deletions_say_until_when_it_is_in_the_bin(shell: Shell, store: Store) -> None:
    keep(shell)
    name = store.create_snapshot(disk_of(NOISE)).snapshot_id

    planned = shell.json("snapshot", "delete", "--dry-run", name)
    text = shell("snapshot", "delete", "--dry-run", name)
    assert text.startswith(f"Would move {name} to the Recycle Bin until {EXITS}, with its charge")
    store.create_snapshot(disk_of(NOISE))
    (pruned,) = shell.json("prune", "--keep-last", "1", "--dry-run")["Deleted"]
    assert pruned["RecycleBinExitTime"] == EXITS
    done = shell.json("snapshot", "delete", name)

    assert done["Deleted"] == planned["Deleted"]
    assert done["Deleted"][0]["RecycleBinExitTime"] == EXITS


def test_what_is_in_the_bin_is_listed_and_restored(shell: Shell, store: Store) -> None:
    assert shell("recycle-bin", "list") == "The Recycle Bin is empty.\n"
    for kind in ("EBS_SNAPSHOT", "EC2_IMAGE", "EBS_VOLUME"):
        keep(shell, kind)
    snapshot = store.create_snapshot(disk_of(NOISE))
    name = snapshot.snapshot_id
    image = store.images.register("web", {"/dev/sda1": name}).image_id
    volume = store.volumes.create(VolumeRequest(size_gib=2)).volume_id
    gone = shell.json("image", "deregister", image, "--delete-associated-snapshots")
    assert gone["RecycleBinExitTime"] == EXITS
    assert shell.json("volume", "delete", volume) == {"VolumeId": volume, "State": "recoverable"}

    times = {"RecycleBinEnterTime": ENTERS, "RecycleBinExitTime": EXITS}
    document = shell.json("recycle-bin", "list")
    assert document["Snapshots"] == [
        {
            "SnapshotId": name,
            "VolumeId": snapshot.volume_id,
            "Description": "",
            "ChargedSizeInBytes": snapshot.charged_size_bytes,
            **times,
        }
    ]
    assert document["Images"] == [
        {"ImageId": image, "Name": "web", "Description": "", "SnapshotIds": [name], **times}
    ]
    (shown,) = document["Volumes"]
    assert (shown["VolumeId"], shown["Size"], shown["State"]) == (volume, 2, "recoverable")
    text = shell("recycle-bin", "list")
    assert all(each in text for each in (name, image, volume, "2 GiB, gp2"))
    some = shell.json("recycle-bin", "list", name, volume)
    assert [len(some[kind]) for kind in ("Snapshots", "Images", "Volumes")] == [1, 0, 1]
    assert "is no id" in shell.failing("recycle-bin", "list", "disk.img", code=2)
    assert "restore it first" in shell.failing("recycle-bin", "restore", image)
    assert shell.json("recycle-bin", "restore", name)["State"] == "completed"
    assert shell.json("recycle-bin", "restore", image) == {"ImageId": image, "Return": True}
    assert shell("recycle-bin", "restore", volume) == f"{volume} is back, available.\n"
    error = shell.json("recycle-bin", "restore", volume, code=1)["Error"]
    assert error["Code"] == "InvalidVolume.NotFound"


def test_user_is_told_that_a_missing_snapshot_is_in_the_bin(shell: Shell, store: Store) -> None:
    keep(shell)
    name = store.create_snapshot(disk_of(NOISE)).snapshot_id
    store.delete_snapshots([name])

    assert "ebsim recycle-bin restore" in shell.failing("snapshot", "show", name)


def test_events_of_rules_come_from_rbin(shell: Shell, store: Store) -> None:
    keep(shell, "EBS_SNAPSHOT", "--unlock-delay", "7")
    store.create_snapshot(disk_of(NOISE))

    events = shell.json("events")["Events"]
    assert [each["source"] for each in events] == ["aws.rbin", "aws.ec2"]


def test_bin_is_one_of_the_commands_on_snapshots_too(shell: Shell) -> None:
    rule = keep(shell)
    assert shell("snapshot", *RULE, "show", rule) == shell(*RULE, "show", rule)
