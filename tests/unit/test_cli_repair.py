"""`ebsim repair`, and how other commands name it."""

import shutil
from pathlib import Path

import pytest

from ebsim.cli.environment import Environment
from ebsim.cli.failures import describe_failure
from ebsim.cli.main import run
from ebsim.cli.next_steps import next_command
from ebsim.cli.repair_views import repair_text
from ebsim.cli.stores import EngineStores
from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.ids import SnapshotId
from ebsim.reports import Finding, RepairedRecord, RepairReport
from ebsim.testing.contents import HEAD, NOISE, TEXT
from ebsim.testing.damage import damage_block
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.shell import Shell
from ebsim.units import BLOCK_SIZE

SNAP = SnapshotId("snap-0123456789abcdef0")


@pytest.fixture
def image(fast_path: Path) -> Path:
    path = fast_path / "disk.img"
    path.write_bytes(NOISE + TEXT)
    return path


@pytest.fixture
def snapshot_id(store_path: Path, image: Path) -> str:
    with Store.create(store_path, Seams(clock=ManualClock(), entropy=SeededEntropy())) as store:
        return store.create_snapshot(image).snapshot_id


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], store_path: Path, snapshot_id: str) -> Shell:
    assert snapshot_id
    environment, stores = Environment(store=store_path), EngineStores()
    return Shell(lambda arguments: run(arguments, environment, stores), capsys)


def test_healthy_store_is_told(terminal: Shell) -> None:
    assert terminal("repair").startswith("Nothing is damaged: every stored byte read")
    document = terminal.json("repair", "--dry-run")
    assert (document["Healthy"], document["DryRun"], document["Records"]) == (True, True, [])


def test_plan_and_repair_tell_the_same(terminal: Shell, store_path: Path, snapshot_id: str) -> None:
    place = damage_block(store_path, TEXT)
    planned = terminal.json("repair", "--dry-run")
    assert "would be healed from its source" in terminal("repair", "--dry-run")
    made = terminal.json("repair")
    (record,) = made["Records"]
    assert record.pop("SetAside").startswith("set-aside/")
    assert planned["Records"] == [{**record, "SetAside": None}]
    assert (record["Kind"], record["Remedy"], record["Healed"]) == ("block", "source", True)
    assert (record["SegmentId"], record["Offset"]) == (place.path.stem, place.header.offset)
    assert record["Snapshots"] == [
        {"SnapshotId": snapshot_id, "Start": BLOCK_SIZE, "End": 2 * BLOCK_SIZE}
    ]
    assert "Healthy." in terminal("check", "--data")


def test_what_stays_damaged_ends_with_1_and_the_next_commands(
    terminal: Shell, store_path: Path, image: Path, snapshot_id: str
) -> None:
    shutil.copytree(store_path, image.parent / "other")
    image.write_bytes(NOISE + HEAD)
    damage_block(store_path, TEXT)
    assert terminal.json("repair", "--dry-run", code=1)["Healthy"] is False
    shown = terminal("repair", code=1)
    assert "  not healed yet\n1 damaged record, 0 healed" in shown
    assert "  next: ebsim repair --from STORE\n" in shown
    rescue = f"  next: ebsim restore {snapshot_id} TARGET --damaged zero\n"
    assert shown.endswith(rescue)
    assert rescue in terminal("check", code=1)
    shown = terminal("repair", "--from", str(image.parent / "other"))
    assert "healed from the store" in shown
    terminal("check", "--data")


def test_failed_restore_names_the_repair(
    terminal: Shell, store_path: Path, image: Path, snapshot_id: str
) -> None:
    damage_block(store_path, TEXT)
    target = str(image.parent / "out.img")
    terminal("restore", snapshot_id, target, code=1)
    assert "; `ebsim repair --dry-run` tells what can be healed" in terminal.errors
    shown = terminal("restore", snapshot_id, target, "--damaged", "zero", code=1)
    assert shown.endswith("  next: ebsim repair --dry-run\n")


def test_store_that_is_none_is_refused(terminal: Shell, store_path: Path, image: Path) -> None:
    terminal("repair", "--from", str(image.parent / "none"), code=1)
    assert "there is no store" in terminal.errors
    terminal("repair", "--from", store_path, code=1)
    assert "name another" in terminal.errors
    terminal("repair", "--from", "", code=2)


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (ErrorCode.CORRUPT_BLOCK, "ebsim repair"),
        (ErrorCode.CORRUPT_SEGMENT, "ebsim repair"),
        (ErrorCode.CORRUPT_CATALOG, "ebsim rebuild"),
        (ErrorCode.CORRUPT_VOLUME, ""),
    ],
)
def test_damage_that_is_met_names_what_helps(code: ErrorCode, command: str) -> None:
    message = describe_failure(CorruptionError("it is damaged", code)).message
    assert message.startswith("it is damaged")
    assert (f"`{command} --dry-run`" in message) == bool(command)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("corrupt-block", "ebsim repair --dry-run"),
        ("missing-segment", "ebsim repair --dry-run"),
        ("corrupt-value", "ebsim rebuild --dry-run"),
        ("unhealed-block", f"ebsim restore {SNAP} TARGET --damaged zero"),
        ("lost-page", f"ebsim restore {SNAP} TARGET --damaged zero"),
    ],
)
def test_findings_name_the_next_command(kind: str, command: str) -> None:
    finding = Finding(kind=kind, message="m", snapshots=(SNAP,), ranges=((0, 1),))
    assert next_command(finding) == command


def test_finding_that_needs_nothing_names_no_command() -> None:
    assert next_command(Finding(kind="unknown-segment", message="m")) is None


def test_many_hits_are_told_in_short() -> None:
    record = RepairedRecord(
        kind="block",
        segment_id="a" * 32,
        offset=4096,
        size_bytes=8192,
        message="rotten\n",
        remedy="",
        where="",
        healed=False,
        set_aside="",
        snapshots=(SNAP,) * 5,
        ranges=((0, 1),) * 5,
    )
    text = repair_text(RepairReport(records=(record,), read_bytes=1, dry_run=False))
    assert text.startswith("block: rotten\\n\n")
    assert "  hits 2 more; --json tells them all" in text
