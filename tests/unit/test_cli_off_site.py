"""`ebsim snapshot copy --to-store`: what it takes, prints and exits with."""

from pathlib import Path

import pytest

from ebsim.cli.environment import Environment
from ebsim.cli.keys import KeyOptions
from ebsim.cli.main import run
from ebsim.cli.stores import EngineStores
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT
from ebsim.testing.damage import damage_block
from ebsim.testing.shell import Shell
from ebsim.units import BLOCK_SIZE


class Terminal(Shell):
    """Runs commands on two stores."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.here = folder / "here"
        self.there = folder / "there"
        self.image = folder / "disk.img"
        self.image.write_bytes(NOISE + TEXT)
        super().__init__(self._run_here, capsys)

    def _run_here(self, arguments: list[str]) -> int:
        keys = KeyOptions()
        return run(arguments, Environment(store=self.here), EngineStores(keys=keys), keys=keys)

    def snapshot(self) -> str:
        return str(self.json("snapshot", "create", self.image)["SnapshotId"])


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], fast_path: Path) -> Terminal:
    return Terminal(capsys, fast_path)


def test_document(terminal: Terminal) -> None:
    first = terminal.snapshot()
    terminal.image.write_bytes(NOISE + TAIL)
    second = terminal.snapshot()
    to_there = ("snapshot", "copy", "--to-store", terminal.there)

    done = terminal.json(*to_there, first, "--create")
    again = terminal.json(*to_there, "--all")

    (copy,) = done["Copies"]
    stored = copy.pop("StoredSizeInBytes")
    assert copy == {
        "SourceSnapshotId": first,
        "SnapshotId": copy["SnapshotId"],
        "Outcome": "copied",
        "Message": "",
        "ParentSnapshotId": None,
        "Incremental": False,
        "ReadSizeInBytes": 2 * BLOCK_SIZE,
        "CrossedSizeInBytes": 2 * BLOCK_SIZE,
        "ResumedSizeInBytes": 0,
    }
    assert stored > BLOCK_SIZE
    assert done["StoredSizeInBytes"] == stored
    assert (done["Store"], done["DryRun"]) == (str(terminal.there), False)
    assert [each["Outcome"] for each in again["Copies"]] == ["present", "copied"]
    assert again["Copies"][1]["SourceSnapshotId"] == second
    assert again["Copies"][1]["ParentSnapshotId"] == copy["SnapshotId"]
    assert again["CrossedSizeInBytes"] == BLOCK_SIZE
    listed = terminal.json("snapshot", "list", "--store", terminal.there)["Snapshots"]
    assert [each["SnapshotId"] for each in listed] == [
        each["SnapshotId"] for each in again["Copies"]
    ]


def test_text(terminal: Terminal) -> None:
    name = terminal.snapshot()
    terminal("init", "--store", terminal.there)

    planned = terminal("snapshot", "copy", name, "--to-store", terminal.there, "--dry-run")
    done = terminal("snapshot", "copy", name, "--to-store", terminal.there)
    again = terminal("snapshot", "copy", name, "--to-store", terminal.there)

    assert planned == (
        f"{name} would be copied: full, 1 MiB to be read.\n"
        f"Would copy 1 snapshot to {terminal.there}: 1 MiB to be read, of which that crosses which"
        " is not there.\n"
    )
    assert "now: full, 1 MiB read, 1 MiB crossed, " in done
    assert done.endswith(" stored.\n")
    assert again.endswith("1 snapshot was there already.\n")


def test_damage_is_told_with_exit_code_1(terminal: Terminal) -> None:
    name = terminal.snapshot()
    damage_block(terminal.here, NOISE)
    terminal.image.write_bytes(HEAD)
    to_there = ("--to-store", terminal.there, "--create")

    told = terminal("snapshot", "copy", "--all", *to_there, code=1)

    assert f"{name} failed: " in told
    assert "at offset 0" in told
    assert told.endswith("Failed: 1 snapshot.\n")
    (failed,) = terminal.json("snapshot", "list", "--store", terminal.there)["Snapshots"]
    assert failed["State"] == "error"


def test_store_that_is_not_there(terminal: Terminal) -> None:
    """As when a disk is not mounted: nothing is made unless that was asked for."""
    name = terminal.snapshot()

    terminal("snapshot", "copy", name, "--to-store", terminal.there, code=1)

    assert "--create" in terminal.errors
    assert not terminal.there.exists()
    dry = ("--create", "--dry-run")
    terminal("snapshot", "copy", name, "--to-store", terminal.there, *dry, code=1)
    assert not terminal.there.exists()


def test_same_store_by_another_name(terminal: Terminal, fast_path: Path) -> None:
    name = terminal.snapshot()
    (fast_path / "link").symlink_to(terminal.here)

    document = terminal.json("snapshot", "copy", name, "--to-store", fast_path / "link", code=1)

    assert document["Error"]["Code"] == "InvalidParameterValue"


def key_file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(name.encode() * 8)
    path.chmod(0o600)
    return path


def test_other_store_has_a_keyring_of_its_own(terminal: Terminal, fast_path: Path) -> None:
    """Its place is remembered by a store that is made; what opens it is not the first one's."""
    one, two = key_file(fast_path, "key-one"), key_file(fast_path, "key-two")
    place = fast_path / "second.json"
    made = terminal.json("snapshot", "create", terminal.image, "--encrypted", "--key-file", one)
    copy = ("snapshot", "copy", made["SnapshotId"], "--to-store", terminal.there)
    told = terminal.json(
        *copy, "--create", "--key-file", one, "--to-key-file", two, "--to-keyring", place
    )

    name = told["Copies"][0]["SnapshotId"]
    restore = ("restore", name, fast_path / "out.img")
    terminal(*restore, "--key-file", one, "--store", terminal.there, code=1)
    terminal(*restore, "--key-file", two, "--store", terminal.there)

    assert place.exists()
    assert not (terminal.there / "keyring.json").exists()
    assert (fast_path / "out.img").read_bytes() == NOISE + TEXT
    shown = terminal.json("snapshot", "show", name, "--store", terminal.there)
    assert shown["Encrypted"] is True


def test_other_keyring_is_opened_as_this_one_where_nothing_is_said(
    terminal: Terminal, fast_path: Path
) -> None:
    one, two = key_file(fast_path, "key-one"), key_file(fast_path, "key-two")
    terminal("snapshot", "create", terminal.image, "--encrypted", "--key-file", one)
    to_there = ("snapshot", "copy", "--all", "--to-store", terminal.there)
    terminal(*to_there, "--create", "--key-file", one)
    terminal.image.write_bytes(HEAD)
    terminal("snapshot", "create", terminal.image, "--key-file", one, "--new-volume")
    terminal.image.write_bytes(TAIL)
    encrypted = ("--encrypted", "--key-file", one, "--to-key-file", two)
    terminal(*to_there, *encrypted, code=1)
    assert "--to-key-file" in terminal.errors

    terminal(*to_there, "--encrypted", "--key-file", one)

    listed = terminal.json("snapshot", "list", "--store", terminal.there)["Snapshots"]
    assert [each["Encrypted"] for each in listed] == [True, True]


def test_keyring_of_the_other_store_may_not_lie_in_it(terminal: Terminal) -> None:
    name = terminal.snapshot()
    inside = terminal.there / "k.json"
    to_there = ("--to-store", terminal.there, "--create", "--to-keyring", inside)

    terminal("snapshot", "copy", name, *to_there, code=1)

    assert not terminal.there.exists()


def test_repair_opens_the_keyring_of_the_store_it_heals_from(
    terminal: Terminal, fast_path: Path
) -> None:
    one, two = key_file(fast_path, "key-one"), key_file(fast_path, "key-two")
    made = terminal.json("snapshot", "create", terminal.image, "--encrypted", "--key-file", one)
    to_there = ("--to-store", terminal.there, "--create", "--to-key-file", two)
    terminal("snapshot", "copy", "--all", "--key-file", one, *to_there)
    terminal.image.unlink()
    (segment,) = [
        each for each in (terminal.here / "segments").iterdir() if each.stat().st_size > BLOCK_SIZE
    ]
    torn = bytearray(segment.read_bytes())
    torn[50000] ^= 255
    segment.write_bytes(torn)
    repair = ("repair", "--from", terminal.there, "--key-file", one)

    terminal(*repair, code=1)
    assert "left out" in terminal.errors
    terminal(*repair, "--from-key-file", two)

    terminal("restore", made["SnapshotId"], fast_path / "out.img", "--key-file", one)
    assert (fast_path / "out.img").read_bytes() == NOISE + TEXT
    terminal("repair", "--from-key-file", two, code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--to-store", "x"),
        ("--to-store", "x", "--all", "snap-00000000000000000"),
        ("--to-store", "x", "--all", "--to-region", "eu-central-1"),
        ("snap-00000000000000000", "--to-keyring", "x"),
        ("snap-00000000000000000", "--to-key-file", "x"),
        ("snap-00000000000000000", "--to-passphrase-command", "true"),
        ("--all",),
        ("snap-00000000000000000", "--dry-run"),
        ("snap-00000000000000000", "--copy-tags"),
        ("snap-00000000000000000", "snap-00000000000000001"),
        (),
    ],
)
def test_wrong_usage(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    terminal("snapshot", "copy", *arguments, code=2)
