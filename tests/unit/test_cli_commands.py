"""Each command parses, calls the store once, and prints. The store here is a fake."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from ebsim.caller import Caller
from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.config import Compression, SnapshotOptions
from ebsim.errors import (
    ConflictError,
    ErrorCode,
    InternalError,
    NotFoundError,
    SnapshotFailedError,
)
from ebsim.ids import SnapshotId, VolumeId
from ebsim.reports import (
    CheckReport,
    CompactedSegment,
    CompactReport,
    DamagedRecord,
    DataCoverage,
    Finding,
    StoreStats,
)
from ebsim.requests import DataCheck, Filter, SnapshotQuery, TagQuery
from ebsim.results import (
    ChangedBlocks,
    ChargeCause,
    ChargeEvent,
    DeletedSnapshot,
    DeleteReport,
    MovedCharge,
    ResourceType,
    RestoreReport,
    Snapshot,
    SnapshotPage,
    SnapshotState,
    Tag,
)
from ebsim.testing.shell import NoStores, Shell
from ebsim.units import BLOCK_SIZE, GIB, MIB

if TYPE_CHECKING:
    from ebsim.engine import Store

SNAP = SnapshotId("snap-0123456789abcdef0")
OTHER = SnapshotId("snap-0fedcba9876543210")
VOLUME = VolumeId("vol-00000000000000001")
NOON_US = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z

SNAPSHOT = Snapshot(
    snapshot_id=SNAP,
    volume_id=VOLUME,
    state=SnapshotState.COMPLETED,
    state_message="",
    progress_percent=100,
    start_time_us=NOON_US,
    completion_time_us=NOON_US + 1_500_000,
    description="nightly",
    tags={"Name": "web1"},
    size_bytes=10 * GIB + 1,
    full_size_bytes=10 * GIB,
    incremental_size_bytes=4 * GIB,
    charged_size_bytes=2 * GIB,
    parent_id=OTHER,
    source="/images/disk.img",
    owner="123456789012",
)
TAG = Tag(resource_id=SNAP, resource_type=ResourceType.SNAPSHOT, key="Name", value="web1")
STATS = StoreStats(
    snapshots=2,
    volumes=1,
    charged_size_bytes=16 * GIB,
    full_size_bytes=32 * GIB,
    stored_size_bytes=5 * GIB,
    catalog_size_bytes=MIB,
    live_size_bytes=4 * GIB,
    blocks=9000,
    segments=3,
)
DELETED = DeletedSnapshot(
    snapshot_id=SNAP,
    freed_size_bytes=2 * GIB,
    moved_size_bytes=6 * GIB,
    moved_to=(MovedCharge(snapshot_id=OTHER, size_bytes=6 * GIB),),
    reclaimed_bytes=700 * MIB,
)
FINDING = Finding(
    kind="corrupt-block",
    message="segment 7, offset 64: checksum differs",
    snapshots=(SNAP,),
    ranges=((0, BLOCK_SIZE),),
)
COMPACTED = tuple(
    CompactedSegment(
        segment_id=digit * 32, reason=reason, copied_bytes=MIB, reclaimed_bytes=reclaimed
    )
    for digit, reason, reclaimed in (("a", "dead", 3 * MIB), ("b", "small", 4096))
)


class FakeTags:
    """The operations on tags of a `FakeStore`."""

    def __init__(self, store: "FakeStore") -> None:
        self._store = store

    def create(self, ids: Sequence[str], tags: Mapping[str, str]) -> None:
        self._store.called("tags.create", ids, tags)

    def delete(self, ids: Sequence[str], tags: Mapping[str, str | None] | None) -> None:
        self._store.called("tags.delete", ids, tags)

    def list(self, query: TagQuery) -> list[Tag]:
        self._store.called("tags.list", query)
        return [TAG]


class FakeStore:
    """Answers with fixed records, and remembers what it was asked."""

    path = Path("/store")
    store_id = "5" * 32

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: BaseException | None = None
        self.findings: tuple[Finding, ...] = ()
        self.damaged: tuple[DamagedRecord, ...] = ()
        self.ended = [SNAPSHOT]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append(("close",))

    def called(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    def create_snapshot(self, source: str, options: SnapshotOptions, _progress: object) -> Snapshot:
        self.called("create_snapshot", source, options)
        return SNAPSHOT

    def list_snapshots(self, query: SnapshotQuery) -> list[Snapshot]:
        self.called("list_snapshots", query)
        return [SNAPSHOT]

    def describe_snapshots(self, query: SnapshotQuery) -> SnapshotPage:
        self.called("describe_snapshots", query)
        return SnapshotPage(snapshots=(SNAPSHOT,), next_token="bmV4dA==")

    def wait_snapshots(self, ids: Sequence[str], progress: object) -> list[Snapshot]:
        assert progress is not None
        self.called("wait_snapshots", ids)
        return self.ended

    @property
    def tags(self) -> "FakeTags":
        return FakeTags(self)

    def get_snapshot(self, snapshot_id: str) -> Snapshot:
        self.called("get_snapshot", snapshot_id)
        return SNAPSHOT

    def diff_snapshots(self, first: str, second: str) -> ChangedBlocks:
        self.called("diff_snapshots", first, second)
        return ChangedBlocks(ranges=((0, 3), (8, 9)))

    def delete_snapshots(self, ids: Sequence[str], dry_run: bool = False) -> DeleteReport:
        self.called("delete_snapshots", ids, dry_run)
        return DeleteReport(deleted=(DELETED,), dry_run=dry_run)

    def restore_snapshot(
        self,
        snapshot_id: str,
        target: str,
        *,
        in_place: bool,
        force: bool,
        zero_damaged: bool,
        progress: object,
    ) -> RestoreReport:
        assert progress is not None
        self.called("restore_snapshot", snapshot_id, target, in_place, force)
        return RestoreReport(
            snapshot_id=SNAP,
            target=target,
            size_bytes=10 * GIB + 1,
            written_bytes=MIB,
            in_place=in_place,
            damaged_ranges=((0, BLOCK_SIZE), (MIB, 2 * MIB)) if zero_damaged else (),
        )

    def snapshot_history(self, snapshot_id: str) -> list[ChargeEvent]:
        self.called("snapshot_history", snapshot_id)
        return [
            ChargeEvent(
                sequence=1,
                time_us=NOON_US,
                cause=cause,
                snapshot_id=SNAP,
                volume_id=VOLUME,
                blocks=blocks,
                other_id=other,
            )
            for cause, blocks, other in (
                (ChargeCause.CREATED, 8192, None),
                (ChargeCause.MOVED_OUT, -4096, OTHER),
            )
        ]

    def check(self, *, data: DataCheck | bool, progress: object) -> CheckReport:
        assert progress is not None
        self.called("check", data)
        coverage = None
        if isinstance(data, DataCheck):
            coverage = DataCoverage(
                live_bytes=10 * GIB,
                proved_before_bytes=0 if data.older_than_s is None else 4 * GIB,
                sample_percent=data.sample_percent,
                older_than_s=data.older_than_s,
            )
        return CheckReport(
            level="data" if data else "structure",
            snapshots=1,
            blocks=9000,
            read_bytes=GIB if data else 0,
            orphan_bytes=4096,
            findings=self.findings,
            coverage=coverage,
        )

    def compact(self, *, dry_run: bool, progress: object) -> CompactReport:
        assert progress is not None
        self.called("compact", dry_run)
        return CompactReport(compacted=COMPACTED, damaged=self.damaged, dry_run=dry_run)

    def stats(self) -> StoreStats:
        self.called("stats")
        return STATS


class FakeStores(NoStores):
    """Opens one fake store, whatever the path."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.opened: list[tuple[Path, str]] = []
        self.resumed: list[bool] = []

    def create(self, path: Path) -> "Store":
        self.opened.append((path, "make"))
        return cast("Store", self.store)

    def open(
        self, path: Path, caller: Caller, *, create: bool = False, resume: bool = False, **_: Any
    ) -> "Store":
        self.opened.append((path, "open or make" if create else "open"))
        self.resumed.append(resume)
        return cast("Store", self.store)


class Terminal(Shell):
    """Runs commands on one fake store."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        environment, stores = Environment(store=Path("/default")), FakeStores()
        super().__init__(lambda arguments: run(arguments, environment, stores), capture)
        self.stores, self.store = stores, stores.store


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


COMMANDS: list[tuple[str, ...]] = [
    ("init",),
    ("snapshot", "create", "disk.img"),
    ("snapshot", "list"),
    ("snapshot", "show", SNAP),
    ("snapshot", "diff", OTHER, SNAP),
    ("snapshot", "delete", SNAP),
    ("snapshot", "history", SNAP),
    ("snapshot", "wait", SNAP),
    ("tag", "create", SNAP, "--tag", "Name=web1"),
    ("tag", "delete", SNAP, "--tag", "Name"),
    ("tag", "list", SNAP),
    ("restore", SNAP, "out.img"),
    ("check",),
    ("compact",),
    ("stats",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_closes_the_store_and_prints_text(
    command: tuple[str, ...], terminal: Terminal
) -> None:
    assert terminal(*command).strip()
    assert terminal.store.calls[-1] == ("close",)
    assert terminal.errors == ""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_prints_one_json_document(
    command: tuple[str, ...], terminal: Terminal
) -> None:
    assert isinstance(terminal.json(*command), dict)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_shared_options_stand_before_or_after_the_command(
    command: tuple[str, ...], terminal: Terminal
) -> None:
    before = terminal("--store", "/here", "--json", *command)
    after = terminal(*command, "--store", "/here", "--json")
    assert before == after
    assert {path for path, _ in terminal.stores.opened} == {Path("/here")}


def test_the_innermost_store_option_counts(terminal: Terminal) -> None:
    terminal("--store", "/outer", "snapshot", "--store", "/middle", "list", "--store", "/inner")
    assert terminal.stores.opened == [(Path("/inner"), "open")]


def test_the_store_of_the_environment_is_used_by_default(terminal: Terminal) -> None:
    terminal("stats")
    assert terminal.stores.opened == [(Path("/default"), "open")]


def test_only_init_and_snapshot_create_make_a_store(terminal: Terminal) -> None:
    for command in COMMANDS:
        terminal(*command)
    making = [
        command[:2]
        for command, (_, how) in zip(COMMANDS, terminal.stores.opened, strict=True)
        if how != "open"
    ]
    assert making == [("init",), ("snapshot", "create")]


def test_only_waiting_goes_on_with_what_was_left_pending(terminal: Terminal) -> None:
    for command in COMMANDS[1:]:
        terminal(*command)
    resuming = [
        command[:2]
        for command, resumed in zip(COMMANDS[1:], terminal.stores.resumed, strict=True)
        if resumed
    ]
    assert resuming == [("snapshot", "wait")]


def test_create_passes_its_options_on(terminal: Terminal) -> None:
    terminal(
        *("snapshot", "create", "disk.img", "--description", "nightly"),
        *("--tag", "Name=web1", "--tag", "Query=a=b", "--tag", "Empty="),
        *("--volume", VOLUME, "--new-volume", "--parent", OTHER),
        *("--compression", "zstd:7", "--freeze", "/mnt"),
    )
    options = SnapshotOptions(
        description="nightly",
        tags={"Name": "web1", "Query": "a=b", "Empty": ""},
        volume_id=VOLUME,
        new_volume=True,
        parent=OTHER,
        compression=Compression(7),
        freeze=Path("/mnt"),
    )
    assert terminal.store.calls[0] == ("create_snapshot", "disk.img", options)


def test_create_without_options_uses_the_defaults(terminal: Terminal) -> None:
    terminal("snapshot", "create", "disk.img")
    assert terminal.store.calls[0] == ("create_snapshot", "disk.img", SnapshotOptions())


def test_snapshot_document_has_the_names_of_ec2(terminal: Terminal) -> None:
    assert terminal.json("snapshot", "show", SNAP) == {
        "SnapshotId": SNAP,
        "VolumeId": VOLUME,
        "State": "completed",
        "StateMessage": "",
        "Progress": "100%",
        "StartTime": "2026-01-01T12:00:00.000Z",
        "CompletionTime": "2026-01-01T12:00:01.500Z",
        "Description": "nightly",
        "Tags": [{"Key": "Name", "Value": "web1"}],
        "VolumeSize": 11,
        "SizeInBytes": 10 * GIB + 1,
        "FullSnapshotSizeInBytes": 10 * GIB,
        "IncrementalSizeInBytes": 4 * GIB,
        "ChargedSizeInBytes": 2 * GIB,
        "ParentSnapshotId": OTHER,
        "Source": "/images/disk.img",
        "OwnerId": "123456789012",
        "StorageTier": "standard",
        "Encrypted": False,
        "KmsKeyId": None,
        "DataEncryptionKeyId": None,
    }


def test_list_document_holds_the_same_snapshot_documents(terminal: Terminal) -> None:
    shown = terminal.json("snapshot", "show", SNAP)
    assert terminal.json("snapshot", "list") == {"Snapshots": [shown]}
    assert terminal.json("snapshot", "create", "disk.img") == shown


def test_list_table_names_both_sizes(terminal: Terminal) -> None:
    header, row, totals = terminal("snapshot", "list").splitlines()
    columns = "SNAPSHOT STATE STARTED (UTC) VOLUME SIZE FULL CHARGED NAME"
    assert header.split() == columns.split()
    assert row.startswith(f"{SNAP}  completed  2026-01-01 12:00:00  {VOLUME}  ")
    assert row.endswith("  10 GiB  10 GiB    2 GiB  web1: nightly")
    assert totals == "The store: 2 snapshots, charged 16 GiB, stored 5 GiB."


def test_list_asks_for_what_is_named(terminal: Terminal) -> None:
    terminal(
        *("snapshot", "list", SNAP, "--state", "error", "--state", "pending", "--owner", "self"),
        *("--restorable-by", "all"),
        *(
            "--filter",
            "Name=tag:Name,Values=web*,'a,b',\\*",
            "--filter",
            "Name=status,Values=error",
        ),
    )
    query = SnapshotQuery(
        snapshot_ids=(SNAP,),
        states=("error", "pending"),
        owner_ids=("self",),
        restorable_by=("all",),
        filters=(Filter("tag:Name", ("web*", "a,b", "\\*")), Filter("status", ("error",))),
    )
    assert terminal.store.calls[0] == ("list_snapshots", query)


@pytest.mark.parametrize("option", [("--max-items", "5"), ("--starting-token", "bmV4")])
def test_list_of_a_page_tells_how_to_go_on(option: tuple[str, str], terminal: Terminal) -> None:
    document = terminal.json("snapshot", "list", *option)
    assert list(document) == ["Snapshots", "NextToken"]
    assert document["NextToken"] == "bmV4dA=="
    assert "\nThere are more: --starting-token bmV4dA==\n" in terminal("snapshot", "list", *option)
    assert terminal.store.calls[0][0] == "describe_snapshots"


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("error", 1)])
def test_wait_ends_with_1_if_a_snapshot_failed(state: str, code: int, terminal: Terminal) -> None:
    terminal.store.ended = [dataclasses.replace(SNAPSHOT, state=SnapshotState(state))]
    document = terminal.json("snapshot", "wait", SNAP, code=code)
    assert document["Snapshots"][0]["State"] == state
    assert terminal.store.calls[0] == ("wait_snapshots", (SNAP,))


def test_tag_create_passes_its_tags_on(terminal: Terminal) -> None:
    document = terminal.json("tag", "create", SNAP, VOLUME, "--tag", "a=1", "--tag", "b=")
    assert terminal.store.calls[0] == ("tags.create", (SNAP, VOLUME), {"a": "1", "b": ""})
    assert document == {
        "ResourceIds": [SNAP, VOLUME],
        "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}],
    }


def test_tag_delete_tells_a_missing_value_from_an_empty_one(terminal: Terminal) -> None:
    terminal("tag", "delete", SNAP, "--tag", "any", "--tag", "empty=", "--tag", "one=1")
    terminal("tag", "delete", SNAP, "--all")
    wanted = {"any": None, "empty": "", "one": "1"}
    assert terminal.store.calls[0] == ("tags.delete", (SNAP,), wanted)
    assert terminal.store.calls[2] == ("tags.delete", (SNAP,), None)


def test_tag_list_document_has_the_names_of_ec2(terminal: Terminal) -> None:
    document = terminal.json("tag", "list", "--filter", "Name=key,Values=Name")
    assert terminal.store.calls[0] == ("tags.list", TagQuery(filters=(Filter("key", ("Name",)),)))
    assert document == {
        "Tags": [{"ResourceId": SNAP, "ResourceType": "snapshot", "Key": "Name", "Value": "web1"}]
    }


def test_diff_document_has_half_open_ranges(terminal: Terminal) -> None:
    assert terminal.json("snapshot", "diff", OTHER, SNAP) == {
        "BlockSize": BLOCK_SIZE,
        "ChangedRanges": [[0, 3], [8, 9]],
        "ChangedSizeInBytes": 4 * BLOCK_SIZE,
    }
    assert terminal.store.calls[0] == ("diff_snapshots", OTHER, SNAP)


@pytest.mark.parametrize("dry_run", [False, True])
def test_delete_document_tells_what_moved_and_what_was_freed(
    dry_run: bool, terminal: Terminal
) -> None:
    options = ["--dry-run"] if dry_run else []
    assert terminal.json("snapshot", "delete", SNAP, OTHER, *options) == {
        "Deleted": [
            {
                "SnapshotId": SNAP,
                "FreedSizeInBytes": 2 * GIB,
                "MovedSizeInBytes": 6 * GIB,
                "MovedTo": [{"SnapshotId": OTHER, "SizeInBytes": 6 * GIB}],
                "ReclaimedBytes": 700 * MIB,
            }
        ],
        "DryRun": dry_run,
    }
    assert terminal.store.calls[0] == ("delete_snapshots", [SNAP, OTHER], dry_run)


def test_delete_text_says_which_size_is_which(terminal: Terminal) -> None:
    assert terminal("snapshot", "delete", SNAP).splitlines() == [
        f"Deleted {SNAP}: freed 2 GiB charged and reclaimed 700 MiB stored.",
        f"  moved 6 GiB charged to {OTHER}, which needs the blocks",
    ]
    assert terminal("snapshot", "delete", SNAP, "--dry-run").splitlines() == [
        f"Would delete {SNAP}: would free 2 GiB charged and reclaim 700 MiB stored.",
        f"  would move 6 GiB charged to {OTHER}, which needs the blocks",
    ]


def test_history_document_names_the_other_snapshot_of_a_move(terminal: Terminal) -> None:
    event = {
        "Time": "2026-01-01T12:00:00.000Z",
        "SnapshotId": SNAP,
        "VolumeId": VOLUME,
        "StorageTier": "standard",
    }
    assert terminal.json("snapshot", "history", SNAP) == {
        "SnapshotId": SNAP,
        "Events": [
            {**event, "Event": "created", "Blocks": 8192, "SizeInBytes": 4 * GIB},
            {
                **event,
                "Event": "moved-out",
                "Blocks": -4096,
                "SizeInBytes": -2 * GIB,
                "OtherSnapshotId": OTHER,
            },
        ],
    }


def test_history_text_ends_with_the_charge_of_today(terminal: Terminal) -> None:
    last = terminal("snapshot", "history", SNAP).splitlines()[-1]
    assert last == "Charged now: 2 GiB (4,096 blocks)."


def test_restore_passes_its_options_on(terminal: Terminal) -> None:
    document = terminal.json("restore", SNAP, "/dev/loop1", "--in-place", "--force")
    assert document == {
        "SnapshotId": SNAP,
        "Target": "/dev/loop1",
        "SizeInBytes": 10 * GIB + 1,
        "WrittenSizeInBytes": MIB,
        "InPlace": True,
        "DamagedRanges": [],
    }
    assert terminal.store.calls[0] == ("restore_snapshot", SNAP, "/dev/loop1", True, True)


def test_restore_lists_what_was_lost_and_ends_with_1(terminal: Terminal) -> None:
    arguments = ("restore", SNAP, "rescued.img", "--damaged", "zero")
    document = terminal.json(*arguments, code=1)
    assert document["DamagedRanges"] == [[0, BLOCK_SIZE], [MIB, 2 * MIB]]
    lines = terminal(*arguments, code=1).splitlines()
    assert lines[1:] == [
        "  zeros: bytes 0 to 524,288",
        "  zeros: bytes 1,048,576 to 2,097,152",
        "Damaged: 1.5 MiB (1,572,864 bytes) of it are lost, and were written as zeros.",
        "  next: ebsim repair --dry-run",
    ]


def test_check_of_a_healthy_store_ends_with_0(terminal: Terminal) -> None:
    assert terminal.json("check") == {
        "Level": "structure",
        "Healthy": True,
        "Snapshots": 1,
        "Blocks": 9000,
        "ReadSizeInBytes": 0,
        "OrphanSizeInBytes": 4096,
        "Findings": [],
    }
    assert "1 GiB" in terminal("check", "--data")


@pytest.mark.parametrize(
    ("options", "wanted", "text"),
    [
        (["--sample", "5%"], DataCheck(sample_percent=5), "a sample of 5 % read and proved"),
        (["--sample", "0.5"], DataCheck(sample_percent=0.5), "a sample of 0.5 % read and proved"),
        (
            ["--older-than", "7d"],
            DataCheck(older_than_s=7 * 86_400),
            "4 GiB stored were proved before and not read again.",
        ),
        (
            ["--older-than", "12h", "--sample", "10%"],
            DataCheck(sample_percent=10, older_than_s=12 * 3600),
            "a sample of 10 % of what was not proved lately read and proved",
        ),
    ],
)
def test_check_of_a_part_says_what_it_covered(
    terminal: Terminal, options: list[str], wanted: DataCheck, text: str
) -> None:
    assert text in terminal("check", "--data", *options)
    assert terminal.store.calls[0] == ("check", wanted)
    assert terminal.json("check", "--data", *options)["Coverage"] == {
        "LiveSizeInBytes": 10 * GIB,
        "ProvedBeforeSizeInBytes": 0 if wanted.older_than_s is None else 4 * GIB,
        "SealedBlocks": 0,
        "SamplePercent": wanted.sample_percent,
        "OlderThanSeconds": wanted.older_than_s,
    }


@pytest.mark.parametrize(
    "options",
    [
        ["--sample", "5%"],
        ["--older-than", "7d"],
        ["--data", "--sample", "0%"],
        ["--data", "--sample", "101%"],
        ["--data", "--sample", "some"],
        ["--data", "--older-than", "7"],
        ["--data", "--older-than", "-7d"],
    ],
)
def test_check_refuses_parts_that_are_none(terminal: Terminal, options: list[str]) -> None:
    terminal("check", *options, code=2)
    assert terminal.store.calls == []


def test_check_with_findings_prints_its_document_and_ends_with_1(terminal: Terminal) -> None:
    terminal.store.findings = (FINDING,)
    document = terminal.json("check", "--data", code=1)
    assert not document["Healthy"]
    assert document["Findings"] == [
        {
            "Kind": "corrupt-block",
            "Message": "segment 7, offset 64: checksum differs",
            "Snapshots": [{"SnapshotId": SNAP, "Start": 0, "End": BLOCK_SIZE}],
            "NextCommand": "ebsim repair --dry-run",
        }
    ]
    text = terminal("check", code=1)
    assert "corrupt-block: segment 7, offset 64: checksum differs" in text
    assert f"hits {SNAP}, bytes 0 to 524,288" in text
    assert "  next: ebsim repair --dry-run\n" in text
    assert terminal.errors == ""


def test_stats_document_has_both_sizes(terminal: Terminal) -> None:
    assert terminal.json("stats") == {
        "Snapshots": 2,
        "Volumes": 1,
        "ChargedSizeInBytes": 16 * GIB,
        "ArchivedSizeInBytes": 0,
        "FullSizeInBytes": 32 * GIB,
        "StoredSizeInBytes": 5 * GIB,
        "LiveSizeInBytes": 4 * GIB,
        "CatalogSizeInBytes": MIB,
        "Blocks": 9000,
        "Segments": 3,
    }


def test_init_document_names_the_store(terminal: Terminal) -> None:
    assert terminal.json("init") == {"Store": "/store", "StoreId": "5" * 32}


def test_a_refusal_is_one_sentence_on_standard_error(terminal: Terminal) -> None:
    terminal.store.error = NotFoundError(f"There is no snapshot {SNAP}.")
    assert terminal("snapshot", "show", SNAP, code=1) == ""
    assert terminal.errors == f"ebsim: error: There is no snapshot {SNAP}.\n"
    assert terminal.store.calls[-1] == ("close",)


def test_a_refusal_is_a_document_with_json(terminal: Terminal) -> None:
    terminal.store.error = ConflictError("It is pending.")
    document = terminal.json("snapshot", "delete", SNAP, code=1)
    assert document == {"Error": {"Code": "IncorrectState", "Message": "It is pending."}}
    assert terminal.errors == ""


def test_a_failed_snapshot_is_named_in_the_error(terminal: Terminal) -> None:
    terminal.store.error = SnapshotFailedError(
        "Reading failed at offset 0.", ErrorCode.SOURCE_READ_FAILED, SNAP
    )
    assert terminal.json("snapshot", "create", "disk.img", code=1)["Error"] == {
        "Code": "SourceReadFailed",
        "Message": "Reading failed at offset 0.",
        "SnapshotId": SNAP,
    }


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("lost"), "KeyError: 'lost'; please report this"),
        (InternalError("The sums differ."), "The sums differ; please report this"),
        (RecursionError(), "RecursionError; please report this"),
        (ValueError("two\nlines"), "ValueError: two lines; please report this"),
    ],
)
def test_an_unexpected_exception_is_one_line(
    error: Exception, message: str, terminal: Terminal
) -> None:
    terminal.store.error = error
    terminal("stats", code=1)
    assert terminal.errors == f"ebsim: internal error: {message}\n"
    document = terminal.json("stats", code=1)
    assert document == {"Error": {"Code": "InternalError", "Message": message}}


def test_debugging_shows_the_traceback_of_an_unexpected_exception(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.store.error = KeyError("lost")
    run(["stats"], Environment(store=Path("/x"), debug=True), terminal.stores)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            PermissionError(13, "Permission denied", "/store"),
            "StoreFailed",
            "/store: Permission denied",
        ),
        (OSError(28, "No space left on device"), "NoSpace", "No space left on device"),
    ],
)
def test_an_error_of_the_system_names_file_and_reason(
    error: OSError, code: str, message: str, terminal: Terminal
) -> None:
    terminal.store.error = error
    document = terminal.json("stats", code=1)
    assert document == {"Error": {"Code": code, "Message": message}}


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("--bogus",),
        ("snapshot", "lst"),
        ("snapshot", "list", "--bogus"),
        ("snapshot", "show"),
        ("snapshot", "show", SNAP, SNAP),
        ("snapshot", "delete"),
        ("snapshot", "create", "x", "--tag", "nothing"),
        ("snapshot", "create", "x", "--tag", "a=1", "--tag", "a=2"),
        ("snapshot", "create", "x", "--compression", "zstd:99"),
        ("snapshot", "list", "--filter", "status=pending"),
        ("snapshot", "list", "--filter", "Name=status"),
        ("snapshot", "list", "--max-items", "many"),
        ("snapshot", "wait"),
        ("tag", "create", SNAP, "--tag", "nothing"),
        ("tag", "create", "--tag", "a=1"),
        ("tag", "delete", SNAP),
        ("tag", "delete", SNAP, "--all", "--tag", "a"),
        ("tag", "delete", SNAP, "--tag", "a", "--tag", "a=1"),
        ("stats", "--store", ""),
        ("snapshot", "create", ""),
        ("restore", SNAP, ""),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], terminal: Terminal) -> None:
    assert terminal(*arguments, code=2) == ""
    assert terminal.errors.startswith("ebsim: error: ")
    assert terminal.errors.count("\n") == 1
    assert terminal.json(*arguments, code=2)["Error"]["Code"] == "InvalidParameterValue"
    assert terminal.errors == ""
    assert terminal.store.calls == []


def test_malformed_ids_of_options_are_refused_as_ec2_does(terminal: Terminal) -> None:
    document = terminal.json("snapshot", "create", "x", "--volume", "vol-1", code=1)
    assert document["Error"]["Code"] == "InvalidVolumeID.Malformed"


def test_a_mistyped_command_is_answered_with_the_nearest(terminal: Terminal) -> None:
    terminal("snapshot", "lst", code=2)
    assert "No such command 'lst'. Did you mean 'list'?" in terminal.errors


@pytest.mark.parametrize("group", [(), ("snapshot",), ("volume",), ("tag",)])
def test_a_group_alone_prints_its_help(group: tuple[str, ...], terminal: Terminal) -> None:
    assert "Commands:" in terminal(*group, code=2)
    assert terminal.errors == ""


def test_a_group_alone_is_an_error_document_with_json(terminal: Terminal) -> None:
    assert "Missing command" in terminal.json(code=2)["Error"]["Message"]
    output = terminal("--json", "snapshot", code=2)
    assert "Missing command" in json.loads(output)["Error"]["Message"]


@pytest.mark.parametrize("command", [*COMMANDS, ("demo",)], ids=" ".join)
def test_every_help_has_a_summary_and_an_example(
    command: tuple[str, ...], terminal: Terminal
) -> None:
    text = terminal(*command, "--help")
    assert text.splitlines()[2].endswith(".")
    assert "Examples:\n    ebsim " in text
    assert "--store DIR" in text
    assert "--json" in text


def test_control_characters_do_not_reach_the_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = dataclasses.replace(SNAPSHOT, description="a\x1b[31m\nb", source="/x\udcff")
    monkeypatch.setattr(FakeStore, "list_snapshots", lambda _self, _query: [evil])
    monkeypatch.setattr(FakeStore, "get_snapshot", lambda _self, _id: evil)
    assert r"web1: a\x1b[31m\nb" in terminal("snapshot", "list")
    assert r"/x\udcff" in terminal("snapshot", "show", SNAP)
    assert terminal.json("snapshot", "show", SNAP)["Source"] == "/x\udcff"


def test_no_store_anywhere_says_how_to_name_one(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["stats"], Environment(store=None), terminal.stores) == 1
    assert "--store DIR or set EBSIM_STORE" in capsys.readouterr().err


def test_compact_tells_what_is_copied_and_given_back(terminal: Terminal) -> None:
    shown = terminal.json("compact", "--dry-run")

    assert ("compact", True) in terminal.store.calls
    assert shown == {
        "SealedBlocks": 0,
        "DryRun": True,
        "Compacted": [
            {
                "SegmentId": digit * 32,
                "Reason": reason,
                "CopiedSizeInBytes": MIB,
                "ReclaimedSizeInBytes": reclaimed,
            }
            for digit, reason, reclaimed in (("a", "dead", 3 * MIB), ("b", "small", 4096))
        ],
        "CopiedSizeInBytes": 2 * MIB,
        "ReclaimedSizeInBytes": 3 * MIB + 4096,
        "Damaged": [],
    }
    assert terminal("compact", "--dry-run").startswith("Would compact 2 segments: 2 MiB")
    assert terminal("compact").startswith("Compacted 2 segments: 2 MiB stored copied, 3 MiB")


def test_compact_ends_with_1_if_a_record_had_to_stay(terminal: Terminal) -> None:
    terminal.store.damaged = (DamagedRecord(segment_id="a" * 32, offset=4096, message="rotten\n"),)

    assert terminal("compact", code=1).splitlines()[1:] == [
        "corrupt-record: rotten\\n",
        "Damaged: 1 record left in place; `ebsim check --data` tells whom that hits.",
    ]
    assert terminal.json("compact", code=1)["Damaged"] == [
        {"SegmentId": "a" * 32, "Offset": 4096, "Message": "rotten\n"}
    ]
