"""The command line as a user has it: real processes, a real store, real files.

Commands that are run to their end are forked from an interpreter that has imported ebsim
(`ebsim.testing.forked_programs`); those that tests start, and look at while they run, are not.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import pytest

from ebsim.caller import Caller
from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.testing.forked_programs import ProgramServer
from ebsim.testing.shell import NoStores
from ebsim.testing.sources import MemorySource, ObservedSource
from ebsim.units import BLOCK_SIZE

if TYPE_CHECKING:
    from ebsim.config import SnapshotOptions
    from ebsim.engine import Store
    from ebsim.progress import Progress
    from ebsim.results import Snapshot

REPOSITORY = Path(__file__).resolve().parents[2]


class User:
    """Somebody at a shell, with a folder and an empty home."""

    def __init__(self, folder: Path, quick: list[str]) -> None:
        self.folder = folder
        self.quick = quick
        self.store = folder / "store"
        self.variables = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "EBSIM_STORE": str(self.store),
        }

    def start(
        self,
        *arguments: str,
        stdout: int | IO[Any] = subprocess.PIPE,
        program: Sequence[str] = (sys.executable, "-m", "ebsim"),
    ) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [*program, *arguments],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, expect: int = 0) -> tuple[str, str]:
        """Run a command to its end, check its exit code, and return both its streams."""
        with self.start(*arguments, program=self.quick) as process:
            output, errors = process.communicate(timeout=240)
        assert process.returncode == expect, output + errors
        assert "Traceback" not in errors
        return output, errors

    def json(self, *arguments: str, expect: int = 0) -> Any:
        """Run a command with --json: one document, and nothing on standard error."""
        output, errors = self.run(*arguments, "--json", expect=expect)
        assert errors == ""
        assert output.endswith("\n")
        return json.loads(output)

    def error(self, *arguments: str, expect: int = 1) -> dict[str, str]:
        """Run a command that is refused, and return what its document says."""
        error = self.json(*arguments, expect=expect)["Error"]
        assert isinstance(error, dict)
        text, errors = self.run(*arguments, expect=expect)
        assert text == ""
        assert errors.startswith("ebsim: error: ")
        assert errors.count("\n") == 1
        return error

    def write_image(self, name: str, blocks: int, tail: int = 0) -> Path:
        """Make an image of random blocks, and a last one of only `tail` bytes."""
        path = self.folder / name
        path.write_bytes(os.urandom(blocks * BLOCK_SIZE + tail))
        return path

    def change(self, path: Path, index: int) -> None:
        """Change one byte in the middle of a block."""
        with path.open("r+b") as file:
            file.seek(index * BLOCK_SIZE + 100)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0xFF]))


@pytest.fixture(scope="module")
def server(fast_module_path: Path) -> Iterator[ProgramServer]:
    packages = ("cli", "core", "keys", "storage", "volumes")
    with ProgramServer(fast_module_path / "server", [f"ebsim.{each}" for each in packages]) as one:
        yield one


@pytest.fixture
def user(fast_path: Path, server: ProgramServer) -> User:
    return User(fast_path, server.command("ebsim"))


def test_nightly_snapshots_are_made_shown_compared_deleted_and_restored(user: User) -> None:
    image = user.write_image("disk.img", blocks=10, tail=777)
    monday_bytes = image.read_bytes()

    monday = user.json("snapshot", "create", "disk.img", "--tag", "Name=web1")
    assert monday["State"] == "completed"
    assert monday["ParentSnapshotId"] is None
    assert monday["SizeInBytes"] == len(monday_bytes)
    assert monday["VolumeSize"] == 1
    assert monday["ChargedSizeInBytes"] == monday["FullSnapshotSizeInBytes"] == 11 * BLOCK_SIZE
    assert monday["Tags"] == [{"Key": "Name", "Value": "web1"}]

    user.change(image, 2)
    user.change(image, 3)
    user.change(image, 10)
    tuesday_bytes = image.read_bytes()
    tuesday = user.json("snapshot", "create", "disk.img", "--description", "nightly")
    assert tuesday["ParentSnapshotId"] == monday["SnapshotId"]
    assert tuesday["VolumeId"] == monday["VolumeId"]
    assert tuesday["ChargedSizeInBytes"] == tuesday["IncrementalSizeInBytes"] == 3 * BLOCK_SIZE
    assert tuesday["FullSnapshotSizeInBytes"] == 11 * BLOCK_SIZE

    assert user.json("snapshot", "list") == {"Snapshots": [monday, tuesday]}
    assert user.json("snapshot", "show", tuesday["SnapshotId"]) == tuesday
    difference = user.json("snapshot", "diff", monday["SnapshotId"], tuesday["SnapshotId"])
    assert difference == {
        "BlockSize": BLOCK_SIZE,
        "ChangedRanges": [[2, 4], [10, 11]],
        "ChangedSizeInBytes": 3 * BLOCK_SIZE,
    }
    assert user.json("check")["Healthy"]
    assert user.json("check", "--data")["Healthy"]

    user.json("restore", monday["SnapshotId"], "monday.img")
    assert (user.folder / "monday.img").read_bytes() == monday_bytes

    planned = user.json("snapshot", "delete", "--dry-run", monday["SnapshotId"])
    deleted = user.json("snapshot", "delete", monday["SnapshotId"])
    assert planned.pop("DryRun") is True
    assert deleted.pop("DryRun") is False
    assert planned == deleted
    (entry,) = deleted["Deleted"]
    assert entry["FreedSizeInBytes"] == 3 * BLOCK_SIZE
    assert entry["MovedTo"] == [
        {"SnapshotId": tuesday["SnapshotId"], "SizeInBytes": 8 * BLOCK_SIZE}
    ]

    document = user.json("restore", tuesday["SnapshotId"], "tuesday.img")
    assert (user.folder / "tuesday.img").read_bytes() == tuesday_bytes
    assert document["SizeInBytes"] == len(tuesday_bytes)
    stats = user.json("stats")
    assert stats["Snapshots"] == 1
    assert stats["ChargedSizeInBytes"] == 11 * BLOCK_SIZE
    assert 0 < stats["LiveSizeInBytes"] <= stats["StoredSizeInBytes"]
    history = user.json("snapshot", "history", monday["SnapshotId"])
    assert sum(event["Blocks"] for event in history["Events"]) == 0
    assert {event["Event"] for event in history["Events"]} == {"created", "moved-out", "freed"}
    assert user.json("check", "--data")["Healthy"]


def test_in_place_restore_writes_only_what_differs(user: User) -> None:
    image = user.write_image("disk.img", blocks=6)
    before = image.read_bytes()
    snapshot_id = user.json("snapshot", "create", "disk.img")["SnapshotId"]
    user.change(image, 5)
    document = user.json("restore", snapshot_id, "disk.img", "--in-place")
    assert image.read_bytes() == before
    assert document["InPlace"]
    assert document["WrittenSizeInBytes"] == BLOCK_SIZE


def test_text_of_every_command_names_its_sizes(user: User) -> None:
    user.write_image("disk.img", blocks=4)
    assert "Made an empty store" in user.run("init")[0]
    created, _ = user.run("snapshot", "create", "disk.img")
    assert "charged    2 MiB" in created
    assert "stored" in created
    (snapshot,) = user.json("snapshot", "list")["Snapshots"]
    snapshot_id = snapshot["SnapshotId"]
    listed, _ = user.run("snapshot", "list")
    assert snapshot_id in listed
    assert "charged 2 MiB, stored" in listed
    assert "Charged    2 MiB (4 blocks) now" in user.run("snapshot", "show", snapshot_id)[0]
    assert "created" in user.run("snapshot", "history", snapshot_id)[0]
    assert "No blocks differ." in user.run("snapshot", "diff", snapshot_id, snapshot_id)[0]
    assert "Healthy." in user.run("check")[0]
    assert "Charged    2 MiB" in user.run("stats")[0]
    assert "Restored" in user.run("restore", snapshot_id, "out.img")[0]
    assert "freed 2 MiB charged" in user.run("snapshot", "delete", snapshot_id)[0]


def test_refusals_have_their_codes_and_change_nothing(user: User) -> None:
    missing = "snap-0123456789abcdef0"
    assert user.error("snapshot", "list")["Code"] == "StoreNotFound"
    assert not user.store.exists()
    image = user.write_image("disk.img", blocks=2)
    snapshot_id = user.json("snapshot", "create", "disk.img")["SnapshotId"]
    before = user.json("snapshot", "list")

    assert user.error("init")["Code"] == "StoreExists"
    assert user.error("snapshot", "show", missing)["Code"] == "InvalidSnapshot.NotFound"
    assert user.error("snapshot", "show", "snap-1")["Code"] == "InvalidSnapshotID.Malformed"
    assert user.error("snapshot", "show", "disk")["Code"] == "InvalidParameterValue"
    assert user.error("snapshot", "history", missing)["Code"] == "InvalidSnapshot.NotFound"
    assert (
        user.error("snapshot", "diff", snapshot_id, missing)["Code"] == "InvalidSnapshot.NotFound"
    )
    assert user.error("snapshot", "delete", snapshot_id, missing)["Code"]
    assert user.error("snapshot", "create", "no.img")["Code"] == "SourceNotFound"
    assert user.error("snapshot", "create", ".")["Code"] == "SourceUnsupported"
    tag = ("--tag", "aws:x=1")
    assert user.error("snapshot", "create", "disk.img", *tag)["Code"] == "InvalidTagKey.Malformed"
    assert user.error("restore", snapshot_id, "disk.img")["Code"] == "TargetExists"
    os.truncate(image, BLOCK_SIZE)
    assert user.error("snapshot", "create", "disk.img")["Code"] == "SourceShrunk"

    assert user.json("snapshot", "list") == before
    assert user.json("snapshot", "create", "disk.img", "--new-volume")["State"] == "completed"


def test_restore_over_a_file_needs_force(user: User) -> None:
    image = user.write_image("disk.img", blocks=2)
    snapshot_id = user.json("snapshot", "create", "disk.img")["SnapshotId"]
    other = user.write_image("other.img", blocks=3)
    user.error("restore", snapshot_id, "other.img")
    user.json("restore", snapshot_id, "other.img", "--force")
    assert other.read_bytes() == image.read_bytes()


def test_wrong_usage_ends_with_2_and_touches_nothing(user: User) -> None:
    for arguments in (("snapshot", "bogus"), ("restore", "snap-1"), ("check", "--bogus")):
        assert user.error(*arguments, expect=2)["Code"] == "InvalidParameterValue"
    assert list(user.folder.iterdir()) == []


def test_a_folder_that_holds_something_else_is_no_store(user: User) -> None:
    user.write_image("disk.img", blocks=1)
    user.store.mkdir()
    (user.store / "mine").write_bytes(b"mine")
    user.error("snapshot", "create", "disk.img")
    assert [path.name for path in user.store.iterdir()] == ["mine"]


def test_odd_names_and_descriptions_come_back_in_json(user: User) -> None:
    name = os.fsdecode(b"caf\xe9 \xff\n.img")
    user.write_image(name, blocks=1)
    text = "naïve \x1b[31m 🙂"
    created = user.json("snapshot", "create", name, "--description", text)
    assert created["Description"] == text
    assert created["Source"] == str(user.folder / name)
    listed, _ = user.run("snapshot", "list")
    assert "\x1b" not in listed
    user.run("snapshot", "show", created["SnapshotId"])


def test_the_store_is_in_the_home_folder_by_default(user: User) -> None:
    del user.variables["EBSIM_STORE"]
    user.write_image("disk.img", blocks=1)
    user.json("snapshot", "create", "disk.img")
    assert (user.folder / ".local" / "share" / "ebsim" / "store.json").exists()
    assert len(user.json("snapshot", "list")["Snapshots"]) == 1


def test_version_is_printed(user: User) -> None:
    output, _ = user.run("--version")
    assert output.startswith("ebsim ")


def test_listing_imports_nothing_heavy(user: User) -> None:
    user.write_image("disk.img", blocks=1)
    user.run("snapshot", "create", "disk.img")
    program = (
        "import sys\n"
        "from ebsim.cli.environment import read_environment\n"
        "from ebsim.cli.main import run\n"
        "from ebsim.cli.stores import EngineStores\n"
        "assert run(['snapshot', 'list'], read_environment(), EngineStores()) == 0\n"
        "print([n for n in ('numpy', 'rich', 'zstandard', 'ebsim.demo') if n in sys.modules])\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", program],
        env=user.variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_error(user: User) -> None:
    user.json("init")
    reading, writing = os.pipe()
    os.close(reading)
    with user.start("snapshot", "list", stdout=writing) as process:
        os.close(writing)
        _, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (141, "")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_output_that_cannot_be_written_is_a_clear_error(
    options: tuple[str, ...], user: User
) -> None:
    user.json("init")
    with Path("/dev/full").open("w") as full:
        process = user.start("snapshot", "list", *options, stdout=full)
        _, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert errors == "ebsim: error: stdout: No space left on device\n"


def test_a_closed_standard_output_is_told(user: User) -> None:
    """Silence must not be taken for an empty answer."""
    user.json("init")
    command = [sys.executable, "-m", "ebsim", "snapshot", "list"]
    done = subprocess.run(
        ["bash", "-c", 'exec "$@" >&-', "bash", *command],
        env=user.variables,
        stderr=subprocess.PIPE,
        check=False,
    )
    told = b"ebsim: error: stdout: Bad file descriptor\n"
    assert (done.returncode, done.stderr) == (1, told)


class SignalledStore:
    """A real store whose source, while it is read, gets a signal sent to this process."""

    def __init__(self, store: "Store", number: signal.Signals) -> None:
        self._store = store
        self._number = number

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def create_snapshot(
        self, source: str, options: "SnapshotOptions", progress: "Progress"
    ) -> "Snapshot":
        """Snapshot another source than the one that was named."""

        def send_signal(offset: int, _length: int) -> None:
            if offset == 0:
                os.kill(os.getpid(), self._number)

        data = bytearray(os.urandom(64 * BLOCK_SIZE))
        observed = ObservedSource(MemorySource(f"memory:{source}", data), send_signal)
        return self._store.create_snapshot(observed, options, progress)


class SignalledStores(NoStores):
    """Opens a `SignalledStore`."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def open(
        self, path: Path, caller: Caller, *, create: bool = False, resume: bool = False, **_: Any
    ) -> Any:
        from ebsim.engine import Store

        return SignalledStore(Store.open(path, create=create), self._number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_a_source_is_read_leaves_a_store_in_order(
    number: signal.Signals, code: int, user: User, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = Environment(store=user.store)
    arguments = ["snapshot", "create", "web1"]
    assert run(arguments, environment, SignalledStores(number)) == code
    assert capsys.readouterr().err.count("\n") == 1
    states = [snapshot["State"] for snapshot in user.json("snapshot", "list")["Snapshots"]]
    assert states in ([], ["error"])
    user.write_image("disk.img", blocks=2)
    assert user.json("snapshot", "create", "disk.img")["State"] == "completed"
    assert user.json("check", "--data")["Healthy"]
    assert user.json("stats")["ChargedSizeInBytes"] == 2 * BLOCK_SIZE
