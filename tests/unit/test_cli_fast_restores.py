"""The commands on fast snapshot restores."""

import pytest

from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.engine import Store
from ebsim.testing.contents import NOISE
from ebsim.testing.seams import ManualClock
from ebsim.testing.shell import OneStore, Shell
from ebsim.testing.sources import disk_of

ZONE = "us-east-1a"


@pytest.fixture
def shell(store: Store, capsys: pytest.CaptureFixture[str]) -> Shell:
    environment, stores = Environment(store=store.path), OneStore(store)
    return Shell(lambda arguments: run(arguments, environment, stores), capsys)


@pytest.fixture
def name(store: Store) -> str:
    return store.create_snapshot(disk_of(NOISE)).snapshot_id


def test_enable_answers_as_ec2(shell: Shell, name: str) -> None:
    document = shell.json(
        "fast-restore", "enable", name, "--az", ZONE, "--az", "us-east-1z", code=1
    )

    (done,) = document["Successful"]
    assert done == {
        "SnapshotId": name,
        "AvailabilityZone": ZONE,
        "State": "enabling",
        "StateTransitionReason": "Client.UserInitiated",
        "OwnerId": "123456789012",
        "EnablingTime": "2026-01-01T00:00:00.000Z",
        "CreditsBalance": 0.0,
        "CreditsBucketSize": 10.0,
        "BilledMinutes": 60,
    }
    (refused,) = document["Unsuccessful"]
    assert refused == {
        "SnapshotId": name,
        "FastSnapshotRestoreStateErrors": [
            {
                "AvailabilityZone": "us-east-1z",
                "Error": {
                    "Code": "InvalidZone.NotFound",
                    "Message": "The zone 'us-east-1z' does not exist.",
                },
            }
        ],
    }


def test_text_says_what_became_of_each(shell: Shell, name: str) -> None:
    text = shell("fast-restore", "enable", name, "--az", ZONE, "--az", "us-east-1z", code=1)

    assert text.splitlines() == [
        f"{name} {ZONE}: enabling.",
        f"{name} us-east-1z: refused: The zone 'us-east-1z' does not exist. (InvalidZone.NotFound)",
    ]
    assert shell("fast-restore", "disable", name, "--az", ZONE) == f"{name} {ZONE}: disabling.\n"


def test_list(shell: Shell, clock: ManualClock, name: str) -> None:
    assert shell("fast-restore", "list") == "No fast restores.\n"
    shell("fast-restore", "enable", name, "--az", ZONE, "--az", "us-east-1b")
    clock.advance(hours=2)
    shell("fast-restore", "disable", name, "--az", "us-east-1b")

    text = shell("fast-restore", "list").splitlines()
    document = shell.json("fast-restore", "list", "--filter", "Name=state,Values=enabled")

    assert [line.split()[:6] for line in text[1:]] == [
        [name, ZONE, "enabled", "10.00", "of", "10"],
        [name, "us-east-1b", "disabling", "0.00", "of", "10"],
    ]
    (found,) = document["FastSnapshotRestores"]
    assert found["OptimizingTime"] == "2026-01-01T00:00:01.000Z"
    assert found["EnabledTime"] == "2026-01-01T00:00:04.515Z"
    assert found["BilledMinutes"] == 120


def test_volumes_say_whether_they_are_fast_restored(
    shell: Shell, clock: ManualClock, name: str
) -> None:
    shell("fast-restore", "enable", name, "--az", ZONE)
    clock.advance(hours=1)

    fast = shell.json("volume", "create", "--snapshot", name, "--az", ZONE)
    lazy = shell.json("volume", "create", "--snapshot", name, "--az", "us-east-1b")

    assert (fast["FastRestored"], lazy["FastRestored"]) == (True, False)
    assert fast["InitializationProgress"] == "100%"
    assert f"{name}, fast restored" in shell("volume", "show", fast["VolumeId"])
    assert "fast restored" not in shell("volume", "show", lazy["VolumeId"])
    text = shell("volume", "create", "--snapshot", name, "--az", ZONE)
    assert text.splitlines()[1] == (
        "All of it is loaded: it took a credit of fast snapshot restore."
    )


def test_zones_and_snapshots_must_be_named(shell: Shell, name: str) -> None:
    for command in ("enable", "disable"):
        shell("fast-restore", command, name, code=2)
        shell("fast-restore", command, "--az", ZONE, code=2)
