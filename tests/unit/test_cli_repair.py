"""`ebsim repair`, and how other commands name it."""

import json
import shutil
from pathlib import Path
from typing import Any

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
from ebsim.units import BLOCK_SIZE

SNAP = SnapshotId("snap-0123456789abcdef0")


class Terminal:
    """Runs commands on one store."""

    def __init__(self, capsys: pytest.CaptureFixture[str], path: Path) -> None:
        self._capsys = capsys
        self.path = path

    def type(self, *arguments: str, expect: int = 0) -> str:
        """Return what a command printed on standard output."""
        environment = Environment(store=self.path)
        code = run(arguments, environment, EngineStores())
        out, self.error_output = self._capsys.readouterr()
        assert code == expect, self.error_output
        return out

    def json(self, *arguments: str, expect: int = 0) -> Any:
        """Return the document of a command."""
        return json.loads(self.type(*arguments, "--json", expect=expect))


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
def terminal(capsys: pytest.CaptureFixture[str], store_path: Path, snapshot_id: str) -> Terminal:
    assert snapshot_id
    return Terminal(capsys, store_path)


def test_healthy_store_is_told(terminal: Terminal) -> None:
    assert terminal.type("repair").startswith("Nothing is damaged: every stored byte read")
    document = terminal.json("repair", "--dry-run")
    assert (document["Healthy"], document["DryRun"], document["Records"]) == (True, True, [])


def test_plan_and_repair_tell_the_same(terminal: Terminal, snapshot_id: str) -> None:
    place = damage_block(terminal.path, TEXT)
    planned = terminal.json("repair", "--dry-run")
    assert "would be healed from its source" in terminal.type("repair", "--dry-run")
    made = terminal.json("repair")
    (record,) = made["Records"]
    assert record.pop("SetAside").startswith("set-aside/")
    assert planned["Records"] == [{**record, "SetAside": None}]
    assert (record["Kind"], record["Remedy"], record["Healed"]) == ("block", "source", True)
    assert (record["SegmentId"], record["Offset"]) == (place.path.stem, place.header.offset)
    assert record["Snapshots"] == [
        {"SnapshotId": snapshot_id, "Start": BLOCK_SIZE, "End": 2 * BLOCK_SIZE}
    ]
    assert "Healthy." in terminal.type("check", "--data")


def test_what_stays_damaged_ends_with_1_and_the_next_commands(
    terminal: Terminal, image: Path, snapshot_id: str
) -> None:
    shutil.copytree(terminal.path, image.parent / "other")
    image.write_bytes(NOISE + HEAD)
    damage_block(terminal.path, TEXT)
    assert terminal.json("repair", "--dry-run", expect=1)["Healthy"] is False
    shown = terminal.type("repair", expect=1)
    assert "  not healed yet\n1 damaged record, 0 healed" in shown
    assert "  next: ebsim repair --from STORE\n" in shown
    rescue = f"  next: ebsim restore {snapshot_id} TARGET --damaged zero\n"
    assert shown.endswith(rescue)
    assert rescue in terminal.type("check", expect=1)
    shown = terminal.type("repair", "--from", str(image.parent / "other"))
    assert "healed from the store" in shown
    terminal.type("check", "--data")


def test_failed_restore_names_the_repair(terminal: Terminal, image: Path, snapshot_id: str) -> None:
    damage_block(terminal.path, TEXT)
    target = str(image.parent / "out.img")
    terminal.type("restore", snapshot_id, target, expect=1)
    assert "; `ebsim repair --dry-run` tells what can be healed" in terminal.error_output
    shown = terminal.type("restore", snapshot_id, target, "--damaged", "zero", expect=1)
    assert shown.endswith("  next: ebsim repair --dry-run\n")


def test_store_that_is_none_is_refused(terminal: Terminal, image: Path) -> None:
    terminal.type("repair", "--from", str(image.parent / "none"), expect=1)
    assert "there is no store" in terminal.error_output
    terminal.type("repair", "--from", str(terminal.path), expect=1)
    assert "name another" in terminal.error_output
    terminal.type("repair", "--from", "", expect=2)


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
