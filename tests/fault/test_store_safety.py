"""A store that others may have written to, and links in the place of its parts, are refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError, ErrorCode, StoreError
from ebsim.storage.files import PosixFiles
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.seams import SeededEntropy
from ebsim.testing.sources import disk_of

OTHER_USER = 4321
PARTS = [
    ".",
    "store.json",
    "lock",
    "reserve",
    "catalog",
    "catalog/data.mdb",
    "catalog/lock.mdb",
    "segments",
    "volumes",
]


@pytest.fixture(scope="module")
def whole(fast_module_path: Path) -> Path:
    """A store with a snapshot and a managed volume."""
    from ebsim.requests import VolumeRequest

    with Store.create(fast_module_path / "whole", Seams(entropy=SeededEntropy(5))) as store:
        store.create_snapshot(disk_of(NOISE, TEXT))
        volume = store.volumes.create(VolumeRequest(size_gib=1))
        with store.volumes.open(volume.volume_id) as file:
            file.pwrite(TEXT, 0)
    return fast_module_path / "whole"


@pytest.fixture
def path(whole: Path, fast_path: Path) -> Iterator[Path]:
    """A copy of it, and what lies beside it must stay as it is."""
    copied = fast_path / "store"
    shutil.copytree(whole, copied)
    yield copied
    assert {each.name for each in fast_path.iterdir()} <= {"store", "elsewhere"}


def facts(path: Path) -> tuple[int, ...]:
    found = path.lstat()
    return (found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def tree(folder: Path) -> dict[str, tuple[int, ...]]:
    return {str(each.relative_to(folder)): facts(each) for each in folder.rglob("*")}


def use(path: Path, seams: Seams | None = None) -> None:
    """Read every block of every snapshot."""
    with Store.open(path, seams or Seams()) as store:
        for shown in store.list_snapshots():
            store.read_block(shown.snapshot_id, 0)


def assert_refused(path: Path, code: ErrorCode = ErrorCode.STORE_UNSAFE) -> StoreError:
    """Refused, whoever comes, and not a byte is changed."""
    before = tree(path)
    seams = Seams()
    ways: list[Callable[[], object]] = [
        lambda: Store.open(path, seams),
        lambda: Store.open(path, seams, create=True),
        lambda: Store.rebuild(path, seams),
    ]
    errors = []
    for way in ways:
        with pytest.raises(StoreError) as caught:
            way()
        assert caught.value.code is code
        errors.append(caught.value)
    assert tree(path) == before
    return errors[0]


@pytest.mark.parametrize("mode", [0o002, 0o020, 0o022], ids=oct)
@pytest.mark.parametrize("part", PARTS)
def test_part_that_others_may_write_to_is_refused(path: Path, part: str, mode: int) -> None:
    (path / part).chmod((path / part).stat().st_mode | mode)

    error = assert_refused(path)

    assert str(path / part) in str(error)
    assert "EBSIM_TRUST_OTHERS" in str(error)
    use(path, Seams(files=PosixFiles(trust_others=True)))


@pytest.mark.root
@pytest.mark.parametrize("part", PARTS)
def test_part_of_another_user_is_refused(path: Path, part: str) -> None:
    os.chown(path / part, OTHER_USER, -1)

    error = assert_refused(path)

    assert f"belongs to another user (number {OTHER_USER})" in str(error)
    use(path, Seams(files=PosixFiles(trust_others=True)))


@pytest.mark.parametrize("part", PARTS[1:])
def test_link_in_the_place_of_a_part_is_refused(path: Path, part: str) -> None:
    elsewhere = path.parent / "elsewhere"
    (path / part).rename(elsewhere)
    (path / part).symlink_to(elsewhere)
    before = facts(elsewhere)

    error = assert_refused(path)

    assert f"{path / part} is a symbolic link" in str(error)
    assert facts(elsewhere) == before
    with pytest.raises(StoreError):  # nothing lets a link pass
        Store.open(path, Seams(files=PosixFiles(trust_others=True)))


@pytest.mark.parametrize("part", PARTS[1:])
def test_link_to_nowhere_makes_no_file(path: Path, part: str) -> None:
    gone = path / part
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink()
    gone.symlink_to(path.parent / "elsewhere")

    assert_refused(path)

    assert not (path.parent / "elsewhere").exists()


@pytest.mark.parametrize("part", PARTS[1:])
def test_fifo_or_folder_in_the_place_of_a_part_is_refused(path: Path, part: str) -> None:
    was_folder = (path / part).is_dir()
    if was_folder:
        shutil.rmtree(path / part)
        os.mkfifo(path / part)
    else:
        (path / part).unlink()
        (path / part).mkdir()

    assert_refused(path)


def files_of(path: Path, folder: str) -> list[Path]:
    return sorted(each for each in (path / folder).iterdir() if each.is_file())


@pytest.mark.parametrize("harm", ["writable", "link", "fifo"])
def test_segment_that_is_not_safe_is_not_read(path: Path, harm: str) -> None:
    for segment in files_of(path, "segments"):
        spoil(segment, harm)

    with pytest.raises(EbsimError):
        use(path)


@pytest.mark.parametrize("harm", ["writable", "link", "fifo"])
def test_volume_that_is_not_safe_is_not_opened(path: Path, harm: str) -> None:
    for file in files_of(path, "volumes"):
        spoil(file, harm)

    with Store.open(path, Seams()) as store:
        (volume,) = store.volumes.list()
        with pytest.raises(EbsimError):
            store.volumes.open(volume.volume_id)


def spoil(file: Path, harm: str) -> None:
    if harm == "writable":
        file.chmod(0o666)
        return
    moved = file.parent.parent.parent / "elsewhere" / file.name
    moved.parent.mkdir(exist_ok=True)
    file.rename(moved)
    if harm == "link":
        file.symlink_to(moved)
    else:
        os.mkfifo(file)


def test_folder_may_be_named_by_a_link(path: Path) -> None:
    (path.parent / "elsewhere").symlink_to(path)

    use(path.parent / "elsewhere")


def test_store_made_in_a_folder_of_all_is_its_users_alone(fast_path: Path) -> None:
    folder = fast_path / "store"
    folder.mkdir()
    folder.chmod(0o777)

    Store.create(folder).close()

    assert folder.stat().st_mode & 0o022 == 0
    use(folder)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077], ids=oct)
def test_files_are_their_users_alone_whatever_the_umask(umask: int, fast_path: Path) -> None:
    program = (
        "import os, sys\n"
        f"os.umask({umask})\n"
        "from ebsim.engine import Store\n"
        "from ebsim.requests import VolumeRequest\n"
        "from ebsim.testing.contents import NOISE\n"
        "from ebsim.testing.sources import disk_of\n"
        "with Store.create(sys.argv[1]) as store:\n"
        "    shown = store.create_snapshot(disk_of(NOISE))\n"
        "    volume = store.volumes.create(VolumeRequest(size_gib=1))\n"
        "    with store.volumes.open(volume.volume_id) as file:\n"
        "        file.pwrite(NOISE, 0)\n"
        "        store.create_snapshot(volume.volume_id)\n"
        "        file.pwrite(bytes(len(NOISE)), 0)\n"
        "    store.compact()\n"
        "    store.delete_snapshots([shown.snapshot_id])\n"
        "Store.rebuild(sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", program, str(fast_path / "store")], check=True)

    modes = {
        str(each.relative_to(fast_path)): each.stat().st_mode & 0o7777
        for each in fast_path.rglob("*")
    }
    assert {name: mode for name, mode in modes.items() if mode not in (0o600, 0o700)} == {}
    assert modes["store/catalog/data.mdb"] == modes["store/store.json"] == 0o600
    assert modes["store"] == modes["store/segments"] == 0o700


@pytest.mark.slow
def test_command_says_what_is_wrong_and_can_be_overridden(path: Path) -> None:
    (path / "catalog").chmod(0o770)
    command = [sys.executable, "-m", "ebsim", "snapshot", "list", "--store", str(path), "--json"]

    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    trusted = subprocess.run(
        command,
        env=os.environ | {"EBSIM_TRUST_OTHERS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 1
    error = json.loads(refused.stdout)["Error"]
    assert error["Code"] == "StoreUnsafe"
    assert "catalog may be written to by other users (mode 0770)" in error["Message"]
    assert trusted.returncode == 0
    assert len(json.loads(trusted.stdout)["Snapshots"]) == 1


def test_check_that_is_left_out_is_missed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests show is shown by the check alone."""
    (path / "catalog").chmod(0o777)
    monkeypatch.setattr("ebsim.storage.store_folder.ensure_safe", lambda *_: None)

    use(path)
