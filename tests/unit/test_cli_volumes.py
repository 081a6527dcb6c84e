"""Each command on volumes parses, calls the store, and prints. The store here is a fake."""

import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from ebsim.caller import Caller
from ebsim.cli.binary_streams import PIECE_SIZE
from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.ids import VolumeId
from ebsim.patience import Patience
from ebsim.requests import Filter, VolumeModificationRequest, VolumeQuery, VolumeRequest
from ebsim.results import (
    ModificationState,
    Volume,
    VolumeModification,
    VolumePage,
    VolumeShape,
    VolumeState,
)
from ebsim.testing.devices import loop_device, missing
from ebsim.testing.shell import NoStores
from ebsim.units import GIB, MIB

if TYPE_CHECKING:
    from ebsim.engine import Store

VOLUME_ID = VolumeId("vol-0123456789abcdef0")
SNAP = "snap-0123456789abcdef0"
NOON_US = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z

VOLUME = Volume(
    volume_id=VOLUME_ID,
    size_bytes=8 * GIB,
    state=VolumeState.AVAILABLE,
    volume_type="gp3",
    iops=3000,
    throughput=125,
    zone="us-east-1a",
    snapshot_id=SNAP,
    create_time_us=NOON_US,
    tags={"Name": "web1"},
    initialization_percent=42,
    initialization_rate=100,
)
EMPTY = replace(
    VOLUME,
    volume_type="standard",
    iops=0,
    throughput=0,
    snapshot_id="",
    tags={},
    initialization_percent=100,
    initialization_rate=0,
)
MODIFICATION = VolumeModification(
    volume_id=VOLUME_ID,
    state=ModificationState.OPTIMIZING,
    original=VolumeShape(size_gib=4, volume_type="standard", iops=0, throughput=0),
    target=VolumeShape(size_gib=8, volume_type="gp3", iops=3000, throughput=125),
    progress_percent=7,
    start_time_us=NOON_US,
    end_time_us=None,
)


class FakeFile:
    """A small volume in memory; only what the commands use."""

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self.data = bytearray(b"0123456789abcdef")
        self.calls = calls

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append(("close file",))

    @property
    def size(self) -> int:
        return len(self.data)

    def pread(self, length: int, offset: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def pwrite(self, data: bytes, offset: int) -> int:
        assert offset + len(data) <= len(self.data)
        self.data[offset : offset + len(data)] = data
        self.calls.append(("pwrite", len(data), offset))
        return len(data)

    def discard(self, offset: int, length: int) -> None:
        self.calls.append(("discard", offset, length))

    def flush(self) -> None:
        self.calls.append(("flush",))


class FakeStore:
    """Answers with fixed records, and remembers what it was asked; its volumes are itself."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.file = FakeFile(self.calls)
        self.shown = [VOLUME]
        self.next_token: str | None = None
        self.modified = [MODIFICATION]
        self.left = VolumeState.DELETED
        self.volumes = self
        self.path = Path("/default")
        self.patience = Patience()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append(("close",))

    def create(self, request: VolumeRequest, progress: object) -> Volume:
        assert progress is not None
        self.calls.append(("create", request))
        return self.shown[0]

    def import_image(self, path: str, request: VolumeRequest, progress: object) -> Volume:
        assert progress is not None
        self.calls.append(("import", path, request))
        return EMPTY

    def describe(self, query: VolumeQuery) -> VolumePage:
        self.calls.append(("describe", query))
        return VolumePage(volumes=tuple(self.shown), next_token=self.next_token)

    def get(self, volume_id: str) -> Volume:
        self.calls.append(("get", volume_id))
        return self.shown[0]

    def modifications(self, volume_ids: Sequence[str]) -> list[VolumeModification]:
        self.calls.append(("modifications", volume_ids))
        return self.modified

    def modify(self, volume_id: str, request: VolumeModificationRequest) -> VolumeModification:
        self.calls.append(("modify", volume_id, request))
        return MODIFICATION

    def delete(self, volume_id: str) -> VolumeState:
        self.calls.append(("delete", volume_id))
        return self.left

    def open(self, volume_id: str) -> FakeFile:
        self.calls.append(("open", volume_id))
        return self.file

    def initialize(self, volume_id: str, rate: int | None, progress: object) -> None:
        assert progress is not None
        self.calls.append(("initialize", volume_id, rate))


class FakeStores(NoStores):
    """Opens one fake store, whatever the path."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.made: list[bool] = []

    def open(
        self, path: Path, caller: Caller, *, create: bool = False, resume: bool = False, **_: Any
    ) -> "Store":
        assert path == Path("/default")
        self.made.append(create)
        return cast("Store", self.store)


class Terminal:
    """Runs commands on one fake store."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self.stores = FakeStores()
        self.store = self.stores.store
        self.errors = ""
        self.begun: list[tuple[Path, list[str]]] = []
        self._capture = capture

    def start(self, store: Path, arguments: Sequence[str]) -> int:
        """Note a command that is left to a process, as `Background`."""
        self.begun.append((store, list(arguments)))
        return 4711

    def bytes(self, *arguments: str, expect: int = 0) -> bytes:
        """Run a command, check its exit code, and return its standard output."""
        code = run(arguments, Environment(store=Path("/default")), self.stores, self)
        output, errors = self._capture.readouterr()
        self.errors = errors.decode()
        assert code == expect, output.decode() + self.errors
        return output

    def run(self, *arguments: str, expect: int = 0) -> str:
        """Run a command and return its standard output as text."""
        return self.bytes(*arguments, expect=expect).decode()

    def json(self, *arguments: str, expect: int = 0) -> Any:
        """Run a command with --json, and return its only document."""
        return json.loads(self.run(*arguments, "--json", expect=expect))


@pytest.fixture
def terminal(capfdbinary: pytest.CaptureFixture[bytes]) -> Terminal:
    return Terminal(capfdbinary)


def type_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Have standard input hold these bytes, as from a pipe."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


VOLUME_DOCUMENT = {
    "VolumeId": VOLUME_ID,
    "Size": 8,
    "State": "available",
    "VolumeType": "gp3",
    "Iops": 3000,
    "Throughput": 125,
    "AvailabilityZone": "us-east-1a",
    "SnapshotId": SNAP,
    "CreateTime": "2026-01-01T12:00:00.000Z",
    "Tags": [{"Key": "Name", "Value": "web1"}],
    "Encrypted": False,
    "KmsKeyId": None,
    "MultiAttachEnabled": False,
    "Attachments": [],
    "SourceVolumeId": None,
    "FastRestored": False,
    "InitializationProgress": "42%",
    "VolumeInitializationRate": 100,
}
MODIFICATION_DOCUMENT = {
    "VolumeId": VOLUME_ID,
    "ModificationState": "optimizing",
    "Progress": 7,
    "StartTime": "2026-01-01T12:00:00.000Z",
    "EndTime": None,
    "OriginalSize": 4,
    "OriginalVolumeType": "standard",
    "OriginalIops": None,
    "OriginalThroughput": None,
    "TargetSize": 8,
    "TargetVolumeType": "gp3",
    "TargetIops": 3000,
    "TargetThroughput": 125,
}


def test_create_passes_its_options_on(terminal: Terminal) -> None:
    document = terminal.json(
        *("volume", "create", "--size", "100", "--snapshot", SNAP, "--type", "gp3"),
        *("--iops", "4000", "--throughput", "250", "--az", "us-east-1c"),
        *("--tag", "Name=a=b", "--tag", "x=", "--initialization-rate", "300"),
    )
    request = VolumeRequest(
        size_gib=100,
        snapshot_id=SNAP,
        volume_type="gp3",
        iops=4000,
        throughput=250,
        zone="us-east-1c",
        tags={"Name": "a=b", "x": ""},
        initialization_rate=300,
    )
    assert terminal.store.calls == [("create", request), ("close",)]
    assert document == VOLUME_DOCUMENT
    assert terminal.stores.made == [False], "a new store has no snapshots"
    acting = ["--account", "123456789012", "--region", "us-east-1"]
    loading = [*acting, "volume", "initialize", VOLUME_ID, "--rate", "300"]
    assert terminal.begun == [(Path("/default"), loading)]


def test_create_that_is_refused_makes_no_store(terminal: Terminal) -> None:
    terminal.run("volume", "create", "--size", "0", expect=1)
    assert terminal.stores.made == []


def test_create_tells_who_loads_the_volume(terminal: Terminal) -> None:
    text = terminal.run("volume", "create", "--snapshot", SNAP, "--initialization-rate", "100")
    assert text.splitlines()[1:] == [
        "Process 4711 loads it. To go on if it was stopped:",
        f"  ebsim volume initialize {VOLUME_ID} --rate 100",
    ]


def test_create_without_a_rate_leaves_nothing_to_a_process(terminal: Terminal) -> None:
    terminal.run("volume", "create", "--snapshot", SNAP)
    assert terminal.begun == []


def test_create_without_options_uses_the_defaults(terminal: Terminal) -> None:
    text = terminal.run("volume", "create", "--size", "8")
    assert terminal.store.calls[0] == ("create", VolumeRequest(size_gib=8))
    assert text == (
        f"Created {VOLUME_ID} from {SNAP}: 8 GiB, gp3, 3,000 IOPS, 125 MiB/s, us-east-1a.\n"
    )


def test_import_passes_its_options_on(terminal: Terminal, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"x")
    options = ["--size", "10", "--type", "standard"]
    document = terminal.json("volume", "import", str(image), *options)
    request = VolumeRequest(size_gib=10, volume_type="standard")
    assert terminal.store.calls[0] == ("import", str(image), request)
    assert (document["Iops"], document["Throughput"], document["SnapshotId"]) == (None, None, "")
    assert document["VolumeInitializationRate"] is None
    assert terminal.stores.made == [True]


def test_image_that_may_not_be_read_is_a_failure_and_no_wrong_usage(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is the operation that finds out, and says so with its own code."""
    image = tmp_path / "image"
    image.write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda *_args, **_named: False)
    terminal.run("volume", "import", str(image))
    assert terminal.store.calls[0][0] == "import"


def test_list_asks_for_what_is_named(terminal: Terminal) -> None:
    document = terminal.json(
        *("volume", "list", VOLUME_ID, "--state", "error", "--max-items", "7"),
        *("--starting-token", "bmV4", "--filter", "Name=tag:Name,Values=web*,db?"),
    )
    query = VolumeQuery(
        volume_ids=(VOLUME_ID,),
        states=("error",),
        filters=(Filter("tag:Name", ("web*", "db?")),),
        max_results=7,
        next_token="bmV4",
    )
    assert terminal.store.calls[0] == ("describe", query)
    assert document == {"Volumes": [VOLUME_DOCUMENT]}
    assert terminal.stores.made == [False]


def test_list_tells_how_to_go_on(terminal: Terminal) -> None:
    terminal.store.next_token = "bmV4"
    assert terminal.json("volume", "list")["NextToken"] == "bmV4"
    assert terminal.run("volume", "list").endswith("\nThere are more: --starting-token bmV4\n")


def test_list_table(terminal: Terminal) -> None:
    terminal.store.shown = [VOLUME, EMPTY]
    header, first, second = terminal.run("volume", "list").splitlines()
    assert header.split() == [
        "VOLUME",
        "STATE",
        "TYPE",
        "SIZE",
        "ZONE",
        "MADE",
        "FROM",
        "LOADED",
        "NAME",
    ]
    assert first.split()[5:] == ["us-east-1a", SNAP, "42%", "web1"]
    assert second.split()[5:] == ["us-east-1a", "-", "-"]


def test_list_of_nothing(terminal: Terminal) -> None:
    terminal.store.shown = []
    assert terminal.run("volume", "list") == "No volumes.\n"


def test_show_has_the_last_modification(terminal: Terminal) -> None:
    shown = terminal.json("volume", "show", VOLUME_ID)
    assert shown == {**VOLUME_DOCUMENT, "VolumeModification": MODIFICATION_DOCUMENT}
    text = terminal.run("volume", "show", VOLUME_ID)
    assert "Loaded     42% at up to 100 MiB/s\n" in text
    assert "from 4 GiB standard to 8 GiB gp3, 3,000 IOPS, 125 MiB/s\n" in text
    assert "Tag        Name=web1\n" in text


def test_show_of_an_empty_volume_that_was_never_modified(terminal: Terminal) -> None:
    terminal.store.shown, terminal.store.modified = [EMPTY], []
    assert terminal.json("volume", "show", VOLUME_ID)["VolumeModification"] is None
    text = terminal.run("volume", "show", VOLUME_ID)
    assert "Made from  nothing: it was empty" in text
    assert "Loaded" not in text
    assert "Modified" not in text


def test_modify_passes_its_options_on(terminal: Terminal) -> None:
    document = terminal.json(
        *("volume", "modify", VOLUME_ID, "--size", "8", "--type", "gp3", "--iops", "3000"),
        *("--throughput", "125"),
    )
    request = VolumeModificationRequest(size_gib=8, volume_type="gp3", iops=3000, throughput=125)
    assert terminal.store.calls[0] == ("modify", VOLUME_ID, request)
    assert document == {"VolumeModification": MODIFICATION_DOCUMENT}
    terminal.run("volume", "modify", VOLUME_ID)
    assert terminal.store.calls[2] == ("modify", VOLUME_ID, VolumeModificationRequest())


def test_delete(terminal: Terminal) -> None:
    assert terminal.json("volume", "delete", VOLUME_ID) == {
        "VolumeId": VOLUME_ID,
        "State": "deleted",
    }
    assert terminal.run("volume", "delete", VOLUME_ID) == f"Deleted {VOLUME_ID}.\n"
    assert terminal.store.calls[0] == ("delete", VOLUME_ID)


def test_delete_of_a_volume_with_pending_snapshots_says_that_it_takes_time(
    terminal: Terminal,
) -> None:
    terminal.store.left = VolumeState.DELETING
    assert terminal.json("volume", "delete", VOLUME_ID)["State"] == "deleting"
    text = terminal.run("volume", "delete", VOLUME_ID)
    assert f"Deleting {VOLUME_ID}" in text
    assert "pending snapshots are completed" in text


def test_initialize_passes_its_rate_on(terminal: Terminal) -> None:
    terminal.run("volume", "initialize", VOLUME_ID)
    terminal.json("volume", "initialize", VOLUME_ID, "--rate", "100")
    calls = [call for call in terminal.store.calls if call[0] == "initialize"]
    assert calls == [("initialize", VOLUME_ID, None), ("initialize", VOLUME_ID, 100)]


def test_discard_takes_sizes_with_units(terminal: Terminal) -> None:
    document = terminal.json(
        "volume", "discard", VOLUME_ID, "--offset", "1GiB", "--length", "512KiB"
    )
    assert document == {"VolumeId": VOLUME_ID, "Offset": GIB, "SizeInBytes": MIB // 2}
    assert terminal.store.calls[1:3] == [("discard", GIB, MIB // 2), ("flush",)]


# bytes


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ((), b"0123456789abcdef"),
        (("--offset", "10"), b"abcdef"),
        (("--offset", "10", "--length", "2"), b"ab"),
        (("--length", "0"), b""),
        (("--offset", "16"), b""),
    ],
)
def test_read_prints_the_bytes_alone(
    options: tuple[str, ...], data: bytes, terminal: Terminal
) -> None:
    assert terminal.bytes("volume", "read", VOLUME_ID, *options) == data
    assert terminal.errors == ""
    assert terminal.store.calls[-2:] == [("close file",), ("close",)]


def test_read_to_a_full_disk_says_where_there_is_no_space(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        terminal.run("volume", "read", VOLUME_ID, expect=1)
        monkeypatch.undo()
    assert "stdout: No space left on device" in terminal.errors


def test_answer_to_a_closed_standard_output_is_no_success(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    terminal.run("volume", "list", expect=1)
    assert "stdout: Bad file descriptor" in terminal.errors
    terminal.run("volume", "list", "--json", expect=1)


def test_read_of_a_large_range_comes_in_pieces(terminal: Terminal) -> None:
    terminal.store.file.data = bytearray(os.urandom(2 * PIECE_SIZE + 3))
    assert terminal.bytes("volume", "read", VOLUME_ID) == terminal.store.file.data


@pytest.mark.parametrize("options", [("--offset", "17"), ("--offset", "1", "--length", "16")])
def test_read_behind_the_end_is_refused_before_any_byte(
    options: tuple[str, ...], terminal: Terminal
) -> None:
    assert terminal.bytes("volume", "read", VOLUME_ID, *options, expect=1) == b""
    assert "which has 16 bytes" in terminal.errors
    assert "Bytes 17 to 16" not in terminal.errors


def test_read_has_no_place_for_a_document(terminal: Terminal) -> None:
    document = terminal.json("volume", "read", VOLUME_ID, expect=2)
    assert "leave out --json" in document["Error"]["Message"]
    assert terminal.store.calls == []


def test_read_to_a_terminal_is_refused(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert terminal.run("volume", "read", VOLUME_ID, expect=2) == ""
    assert "standard output is a terminal" in terminal.errors
    assert terminal.store.calls == []


def test_write_writes_what_comes_and_flushes(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, b"\0\xff\n")
    document = terminal.json("volume", "write", VOLUME_ID, "--offset", "3")
    assert document == {"VolumeId": VOLUME_ID, "Offset": 3, "SizeInBytes": 3}
    assert bytes(terminal.store.file.data) == b"012\0\xff\n6789abcdef"
    assert terminal.store.calls[1:] == [
        ("pwrite", 3, 3),
        ("flush",),
        ("close file",),
        ("close",),
    ]


def test_write_of_much_comes_in_pieces(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(PIECE_SIZE + 5)
    terminal.store.file.data = bytearray(len(data))
    type_in(monkeypatch, data)
    terminal.run("volume", "write", VOLUME_ID)
    assert terminal.store.file.data == data


def test_write_of_nothing_is_no_error(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"")
    text = terminal.run("volume", "write", VOLUME_ID, "--offset", "16")
    assert text == f"Wrote 0 B (0 bytes) at offset 16 of {VOLUME_ID}.\n"


def test_write_from_a_pipe_stops_at_the_end(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, bytes(17))
    terminal.run("volume", "write", VOLUME_ID, expect=1)
    assert "Bytes 0 to 17 are not within volume" in terminal.errors
    assert "were written" not in terminal.errors


def test_write_from_a_pipe_that_ends_half_way_tells_what_is_written(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.store.file.data = bytearray(2 * PIECE_SIZE)
    type_in(monkeypatch, b"x" * (2 * PIECE_SIZE + 1))
    arguments = ("volume", "write", VOLUME_ID, "--offset", "5")
    terminal.run(*arguments, expect=1)
    assert "1,048,576 bytes were written at offset 5, and they stay" in terminal.errors
    assert terminal.store.file.data[5 : 5 + PIECE_SIZE] == b"x" * PIECE_SIZE
    type_in(monkeypatch, b"x" * (2 * PIECE_SIZE + 1))
    error = terminal.json(*arguments, expect=1)["Error"]
    assert "1,048,576 bytes were written" in error["Message"]


@pytest.mark.root
@pytest.mark.skipif(missing() != "", reason=missing() or "-")
def test_write_from_a_device_that_is_too_large_writes_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"y" * 2 * PIECE_SIZE)
    terminal.store.file.data = bytearray(b"x" * (PIECE_SIZE + 1))
    with loop_device(image) as device, open(device, "rb") as opened:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(opened))
        terminal.run("volume", "write", VOLUME_ID, expect=1)
        assert set(terminal.store.file.data) == {ord("x")}
        opened.seek(PIECE_SIZE)
        terminal.run("volume", "write", VOLUME_ID)
    assert terminal.store.file.data == b"y" * PIECE_SIZE + b"x"


def test_write_from_a_file_that_is_too_large_writes_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(2 * PIECE_SIZE))
    terminal.store.file.data = bytearray(b"x" * (PIECE_SIZE + 1))
    with image.open("rb") as opened:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(opened))
        terminal.run("volume", "write", VOLUME_ID, expect=1)
    assert set(terminal.store.file.data) == {ord("x")}


# usage


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--size", "big"),
        ("create", "--tag", "nothing"),
        ("import",),
        ("import", ""),
        ("list", "--filter", "size=1"),
        ("show",),
        ("show", VOLUME_ID, VOLUME_ID),
        ("modify",),
        ("delete",),
        ("discard", VOLUME_ID, "--offset", "0"),
        ("discard", VOLUME_ID, "--length", "1"),
        ("read", VOLUME_ID, "--offset", "-1"),
        ("read", VOLUME_ID, "--offset", "1KB"),
        ("read", VOLUME_ID, "--length", "1.5GiB"),
        ("write", VOLUME_ID, "--offset", ""),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], terminal: Terminal) -> None:
    assert terminal.run("volume", *arguments, expect=2) == ""
    assert terminal.errors.startswith("ebsim: error: ")
    assert terminal.errors.count("\n") == 1
    assert terminal.store.calls == []


@pytest.mark.parametrize(
    "name",
    [
        "create",
        "import",
        "list",
        "show",
        "modify",
        "delete",
        "read",
        "write",
        "discard",
        "initialize",
    ],
)
def test_every_help_has_a_summary_and_an_example(name: str, terminal: Terminal) -> None:
    text = terminal.run("volume", name, "--help")
    assert text.splitlines()[2].endswith(".")
    assert f"Examples:\n    ebsim volume {name}" in text.replace("echo hello | ", "")
