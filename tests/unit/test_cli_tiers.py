"""The commands on the archive tier: `snapshot archive`, `unarchive` and `tiers`."""

from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.config import Quotas
from ebsim.engine import Seams, Store
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.shell import ClockedStores, Shell
from ebsim.testing.sources import disk_of


@pytest.fixture
def names(store_path: Path, seams: Seams) -> list[str]:
    """Three snapshots: of two blocks, of the same, and of one that changed."""
    with Store.create(store_path, replace(seams, entropy=SeededEntropy(1000))) as store:
        disks = [disk_of(NOISE, TEXT), disk_of(NOISE, TEXT), disk_of(NOISE, NOISE)]
        return [str(store.create_snapshot(each).snapshot_id) for each in disks]


@pytest.fixture
def ebsim(
    store_path: Path, names: list[str], clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> Shell:
    assert names
    environment, stores = Environment(store=store_path), ClockedStores(clock)
    return Shell(lambda arguments: run(arguments, environment, stores), capsys)


def slow(store_path: Path, clock: ManualClock) -> None:
    with Store.open(store_path, Seams(clock=clock, entropy=SeededEntropy(2000))) as store:
        store.quotas = Quotas(archival_s=3600, tier_restore_s=3600)


def test_archive_and_unarchive_as_json(ebsim: Shell, names: list[str], clock: ManualClock) -> None:
    """Members are those of EC2's ModifySnapshotTier, RestoreSnapshotTier and Describe..."""
    now = "2026-01-01T00:00:00.000Z"
    archived = ebsim.json("snapshot", "archive", names[2])
    assert archived == {"SnapshotId": names[2], "TieringStartTime": now}

    restored = ebsim.json("snapshot", "unarchive", names[2], "--days", "3")
    assert restored == {
        "SnapshotId": names[2],
        "RestoreStartTime": now,
        "RestoreDuration": 3,
        "IsPermanentRestore": False,
    }
    (found,) = ebsim.json("snapshot", "tiers")["SnapshotTierStatuses"]
    assert found == {
        "SnapshotId": names[2],
        "VolumeId": found["VolumeId"],
        "Status": "completed",
        "OwnerId": "123456789012",
        "Tags": [],
        "StorageTier": "standard",
        "LastTieringStartTime": now,
        "LastTieringProgress": 100,
        "LastTieringOperationStatus": "temporary-restore-completed",
        "LastTieringOperationStatusDetail": "",
        "ArchivalCompleteTime": now,
        "RestoreExpiryTime": "2026-01-04T00:00:00.000Z",
    }
    shown = ebsim.json("snapshot", "show", names[2])
    assert (shown["StorageTier"], shown["RestoreExpiryTime"]) == (
        "standard",
        "2026-01-04T00:00:00.000Z",
    )
    clock.advance(days=3)
    shown = ebsim.json("snapshot", "show", names[2])
    assert shown["StorageTier"] == "archive"
    assert "RestoreExpiryTime" not in shown
    restored = ebsim.json("snapshot", "unarchive", names[2], "--permanent")
    assert restored["IsPermanentRestore"] is True
    assert "RestoreDuration" not in restored
    history = ebsim.json("snapshot", "history", names[2])["Events"]
    tiers = [(each["Event"], each["StorageTier"], each["Blocks"]) for each in history]
    assert tiers == [
        ("created", "standard", 1),
        ("freed", "standard", -1),
        ("archived", "archive", 2),
        ("retrieved", "archive", 0),
        ("restored", "standard", 2),
        ("expired", "standard", -2),
        ("retrieved", "archive", 0),
        ("restored", "standard", 2),
        ("restored", "archive", -2),
    ]
    assert [each.get("RetrievedSizeInBytes") for each in history if each["Blocks"] == 0] == [
        1 << 20,
        1 << 20,
    ]


def test_archive_and_unarchive_as_text(
    ebsim: Shell, names: list[str], clock: ManualClock, store_path: Path
) -> None:
    name = names[0]
    assert ebsim("snapshot", "tiers") == "No snapshot was ever archived.\n"
    said = ebsim("snapshot", "archive", name)
    assert said == f"{name} is in the archive, which is charged 1 MiB for it.\n"
    assert "completed, archived" in ebsim("snapshot", "list")
    assert "Tier       archive: it cannot be read" in ebsim("snapshot", "show", name)
    assert "Archived" in ebsim("stats")
    history = ebsim("snapshot", "history", name)
    assert "in the archive" in history
    assert "Charged now: 0 B (0 blocks), and 1 MiB (2 blocks) in the archive." in history
    refused = ebsim.failing("snapshot", "diff", name, names[1])
    assert "is in the archive tier: restore it to the standard tier first" in refused

    said = ebsim("snapshot", "unarchive", name)
    until = "2026-01-02T00:00:00.000Z"
    assert said == f"{name} is restored until {until}; its copy in the archive stays.\n"
    assert f"standard until {until}, then archive" in ebsim("snapshot", "show", name)
    assert until in ebsim("snapshot", "tiers")
    assert "1 MiB read from the archive" in ebsim("snapshot", "history", name)
    said = ebsim("snapshot", "unarchive", name, "--permanent")
    assert said == f"{name} is restored for good, and not in the archive any more.\n"

    slow(store_path, clock)
    said = ebsim("snapshot", "archive", name)
    assert said.startswith(f"{name} is being archived; until then it can be used")
    assert "archival-in-progress" in ebsim("snapshot", "tiers", name)
    clock.advance(hours=2)
    for options, how in (((), "for 1 day"), (("--days", "2"), "for 2 days")):
        said = ebsim("snapshot", "unarchive", name, *options)
        assert said.startswith(f"{name} is being restored {how}; it can be used once")
        clock.advance(days=5)
    said = ebsim("snapshot", "unarchive", name, "--permanent")
    assert said.startswith(f"{name} is being restored for good")


def test_archival_that_fails_says_why(
    ebsim: Shell, names: list[str], clock: ManualClock, store_path: Path
) -> None:
    slow(store_path, clock)
    ebsim("snapshot", "archive", names[0])
    ebsim("image", "register", "web", "--device", f"/dev/sda1={names[0]}")
    clock.advance(hours=1)

    (found,) = ebsim.json("snapshot", "tiers")["SnapshotTierStatuses"]

    assert found["LastTieringOperationStatus"] == "archival-failed"
    assert "came into use by ami-" in found["LastTieringOperationStatusDetail"]


def test_tiers_are_filtered_and_paged(ebsim: Shell, names: list[str]) -> None:
    for name in names:
        ebsim("snapshot", "archive", name)
    ebsim("snapshot", "unarchive", names[1])
    wanted = "Name=last-tiering-operation,Values=archival-*"
    filtered = ebsim.json("snapshot", "tiers", "--filter", wanted)
    found = [each["SnapshotId"] for each in filtered["SnapshotTierStatuses"]]
    assert found == [names[0], names[2]]
    assert ebsim("snapshot", "tiers", names[1]).count("snap-") == 1
    page = ebsim.json("snapshot", "tiers", "--max-items", "5")
    assert "NextToken" not in page


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("unarchive", "SNAP", "--days", "2", "--permanent"), 2, "either --days N or --permanent"),
        (("unarchive", "SNAP", "--days", "181"), 1, "Expected 1 to 180 days"),
        (("unarchive", "SNAP"), 1, "is in the standard tier"),
        (("archive", "snap-x"), 1, "snap-x"),
        (("tiers", "--filter", "Name=status,Values=x"), 1, "status"),
    ],
)
def test_what_is_refused(
    ebsim: Shell, names: list[str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    named = [names[0] if each == "SNAP" else each for each in arguments]
    assert words in ebsim.failing("snapshot", *named, code=code)
