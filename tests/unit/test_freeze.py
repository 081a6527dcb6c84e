"""Freezes that always end, and clones that hold one point in time."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import ebsim
from ebsim.errors import EbsimError, ErrorCode, InvalidInputError, NotFoundError, SourceError
from ebsim.storage import freeze_guard, native
from ebsim.storage.freeze import held_frozen, open_point_in_time, reflink_clone
from ebsim.storage.sources import BlockSource, DeviceSource
from ebsim.testing import devices
from ebsim.testing.descriptors import no_descriptor_left
from ebsim.units import KIB, MIB

ROOT_FOLDER = Path(ebsim.__file__).parents[1]

HOLD = """
import os, signal, sys
from pathlib import Path
from ebsim.storage.freeze import held_frozen
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
with held_frozen(Path(sys.argv[1]), Path(sys.argv[2])):
    if len(sys.argv) > 3 and os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.write(1, b"%d\\n" % os.getpid())
        signal.pause()
    os.write(1, b"frozen\\n")
    signal.pause()
"""
"""Holds a mount point frozen for ever; with a third argument, a fork of it lives on.

Tests that run behind a shell may find both signals ignored. Each line is one write, because `print`
makes two under PYTHONUNBUFFERED, and the lines of two processes would mix."""

EVERY_KIND = [
    pytest.param("ext4", marks=pytest.mark.root("mkfs.ext4")),
    pytest.param("xfs", marks=pytest.mark.root("mkfs.xfs")),
    pytest.param("btrfs", marks=pytest.mark.root("mkfs.btrfs")),
]
CLONING_KIND = EVERY_KIND[1:]


def read_all(source: BlockSource) -> bytes:
    buffer = bytearray(source.size_bytes)
    source.read_into(0, memoryview(buffer))
    return bytes(buffer)


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    with no_descriptor_left():
        yield


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def mount_point(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system of its own."""
    image = devices.make_image(tmp_path / "fs.img", "ext4")
    with devices.mounted(image, "ext4") as mounted:
        yield mounted


def failure(mount_point: Path, store: Path) -> EbsimError:
    with pytest.raises(EbsimError) as caught, held_frozen(mount_point, store):
        pytest.fail("frozen")
    assert caught.value.code is ErrorCode.FREEZE_FAILED
    assert str(mount_point) in str(caught.value)
    return caught.value


# The guard alone, with harmless requests in the place of FIFREEZE and FITHAW

CLOSE_ON_EXEC = 0x5451
NO_CLOSE_ON_EXEC = 0x5450
NO_REQUEST = 0x1234
GUARD = [sys.executable, "-I", "-S", freeze_guard.__file__]


def start_guard(freeze_request: int, thaw_request: int) -> "subprocess.Popen[bytes]":
    guard = subprocess.Popen(
        [*GUARD, "2", str(freeze_request), str(thaw_request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert guard.stdout is not None
    assert guard.stdout.read(1) == freeze_guard.READY
    return guard


def test_guard_freezes_then_thaws_at_the_end_of_the_pipe() -> None:
    with start_guard(CLOSE_ON_EXEC, NO_CLOSE_ON_EXEC) as guard:
        assert guard.stdin is not None
        assert guard.stdout is not None
        guard.stdin.write(freeze_guard.FREEZE)
        assert guard.stdout.read(1) == b"\0"
        assert guard.poll() is None
        guard.stdin.close()
        assert guard.wait() == freeze_guard.THAWED


def test_guard_that_is_never_asked_does_nothing() -> None:
    with start_guard(NO_REQUEST, NO_REQUEST) as guard:
        assert guard.stdin is not None
        guard.stdin.close()
        assert guard.wait() == freeze_guard.NOT_FROZEN


def test_guard_reports_why_it_cannot_freeze_and_ends() -> None:
    with start_guard(NO_REQUEST, NO_REQUEST) as guard:
        answer, _ = guard.communicate(freeze_guard.FREEZE)
        assert answer == bytes([errno.ENOTTY])
        assert guard.returncode == freeze_guard.NOT_FROZEN


def test_guard_reports_that_it_could_not_thaw() -> None:
    with start_guard(CLOSE_ON_EXEC, NO_REQUEST) as guard:
        assert guard.communicate(freeze_guard.FREEZE)[0] == b"\0"
        assert guard.returncode == freeze_guard.THAW_FAILED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_guard_ignores_what_ends_others(number: signal.Signals) -> None:
    with start_guard(CLOSE_ON_EXEC, NO_CLOSE_ON_EXEC) as guard:
        guard.send_signal(number)
        assert guard.communicate(freeze_guard.FREEZE)[0] == b"\0"
        assert guard.returncode == freeze_guard.THAWED


# What is refused


def test_folder_that_is_no_mount_point_is_refused(tmp_path: Path, store: Path) -> None:
    error = failure(tmp_path, store)
    assert isinstance(error, InvalidInputError)
    assert "no mount point" in str(error)


def test_missing_mount_point_is_refused(tmp_path: Path, store: Path) -> None:
    assert isinstance(failure(tmp_path / "missing", store), InvalidInputError)


def test_file_is_no_mount_point(tmp_path: Path, store: Path) -> None:
    (tmp_path / "file").touch()
    assert isinstance(failure(tmp_path / "file", store), InvalidInputError)


@pytest.mark.root
def test_file_system_that_cannot_be_frozen_says_so(store: Path) -> None:
    error = failure(Path("/proc"), store)
    assert isinstance(error, SourceError)
    assert "cannot be frozen" in str(error)


TRY = """
import sys
from pathlib import Path
from ebsim.errors import SourceError
from ebsim.storage.freeze import held_frozen
try:
    held_frozen(Path("/proc"), Path(sys.argv[1])).__enter__()
except SourceError as error:
    print(error)
"""


@pytest.mark.root("setpriv")
def test_freezing_takes_root(store: Path) -> None:
    without = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", TRY, str(store)]
    done = subprocess.run(without, cwd=ROOT_FOLDER, capture_output=True, text=True, check=True)
    assert "Run ebsim as root" in done.stdout
    assert "/proc" in done.stdout


@pytest.mark.root("mkfs.ext4")
def test_file_system_of_the_store_is_refused(mount_point: Path) -> None:
    error = failure(mount_point, mount_point / "backups" / "store")
    assert isinstance(error, InvalidInputError)
    assert "the store" in str(error)
    assert not devices.is_frozen(mount_point)


@pytest.mark.root("mkfs.ext4")
def test_file_system_that_holds_the_image_of_the_stores_is_refused(mount_point: Path) -> None:
    image = mount_point / "inner.img"
    image.touch()
    os.truncate(image, 16 * MIB)
    devices.run("mkfs.ext4", "-q", str(image))
    with devices.mounted(image, "ext4") as inner:
        assert "the store" in str(failure(mount_point, inner / "store"))


@pytest.mark.root("mkfs.ext4")
@pytest.mark.parametrize(
    ("module", "attribute"),
    [(sys, "prefix"), (sys, "executable"), (tempfile, "tempdir"), (os, "__file__")],
)
def test_file_system_of_our_own_code_is_refused(
    mount_point: Path, store: Path, module: object, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, attribute, str(mount_point))
    assert isinstance(failure(mount_point, store), InvalidInputError)


@pytest.mark.root("mkfs.ext4")
def test_file_system_with_a_file_that_we_write_is_refused(mount_point: Path, store: Path) -> None:
    with (mount_point / "log").open("w"):
        assert "log" in str(failure(mount_point, store))
    with (mount_point / "log").open("r"), held_frozen(mount_point, store):
        pass


@pytest.mark.root("mkfs.ext4")
def test_freeze_of_somebody_else_is_left_alone(mount_point: Path, store: Path) -> None:
    devices.freeze(mount_point)
    error = failure(mount_point, store)
    assert isinstance(error, SourceError)
    assert "frozen already" in str(error)
    assert devices.is_frozen(mount_point)
    devices.thaw(mount_point)


# Holding and letting go


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_held_while_the_context_lasts(tmp_path: Path, store: Path, kind: str) -> None:
    image = devices.make_image(tmp_path / "kind.img", kind)
    with devices.mounted(image, kind) as mounted:
        with held_frozen(mounted, store):
            assert devices.is_frozen(mounted)
        assert not devices.is_frozen(mounted)
        with held_frozen(mounted, store):
            assert devices.is_frozen(mounted)


@pytest.mark.root("mkfs.ext4")
def test_mount_point_may_be_given_by_a_link(mount_point: Path, store: Path) -> None:
    link = store.with_name("link")
    link.symlink_to(mount_point)
    with held_frozen(link, store):
        assert devices.is_frozen(mount_point)


@pytest.mark.root("mkfs.ext4")
def test_writers_wait_until_the_thaw(mount_point: Path, store: Path) -> None:
    with held_frozen(mount_point, store):
        writer = subprocess.Popen(["touch", mount_point / "file"])
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=0.2)
        assert not (mount_point / "file").exists()
    assert writer.wait(timeout=120) == 0


@pytest.mark.root("mkfs.ext4")
@pytest.mark.parametrize("error", [RuntimeError("read failed"), KeyboardInterrupt()])
def test_thawed_when_an_exception_passes(
    mount_point: Path, store: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught, held_frozen(mount_point, store):
        raise error
    assert caught.value is error
    assert not devices.is_frozen(mount_point)


@contextmanager
def hold_in_child(mount_point: Path, store: Path, *more: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(mount_point), str(store), *more],
        cwd=ROOT_FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            yield child
        finally:
            with suppress(ProcessLookupError):  # or a test that fails would wait for ever
                os.killpg(child.pid, signal.SIGKILL)


@pytest.mark.root("mkfs.ext4")
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
)
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["process", "group"])
def test_thawed_when_the_process_is_ended(
    mount_point: Path, store: Path, number: int, send: Callable[[int, int], None]
) -> None:
    with hold_in_child(mount_point, store) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "frozen\n"
        assert devices.is_frozen(mount_point)
        send(child.pid, number)
        assert child.wait(timeout=120) != 0
        assert devices.wait_until_thawed(mount_point)


@pytest.mark.root("mkfs.ext4")
def test_thawed_at_once_although_a_fork_of_the_killed_process_lives(
    mount_point: Path, store: Path
) -> None:
    with hold_in_child(mount_point, store, "fork") as child:
        assert child.stdout is not None
        lines = {child.stdout.readline(), child.stdout.readline()}
        fork = int(*(lines - {"frozen\n"}))
        child.kill()
        thawed = devices.wait_until_thawed(mount_point)
        os.kill(fork, signal.SIGKILL)
    assert thawed


def guards() -> list[int]:
    """The processes that guard a freeze for this one."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return [
        int(child)
        for child in children
        if b"freeze_guard" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.root("mkfs.ext4")
def test_thawed_although_the_guard_was_killed(mount_point: Path, store: Path) -> None:
    with held_frozen(mount_point, store):
        (guard,) = guards()
        os.kill(guard, signal.SIGKILL)
        os.waitid(os.P_PID, guard, os.WEXITED | os.WNOWAIT)
        assert devices.is_frozen(mount_point)
    assert not devices.is_frozen(mount_point)
    assert guards() == []


@pytest.mark.root("mkfs.ext4")
def test_thaw_by_somebody_else_is_an_error(mount_point: Path, store: Path) -> None:
    with (
        pytest.raises(SourceError, match="Somebody else thawed") as caught,
        held_frozen(mount_point, store),
    ):
        devices.thaw(mount_point)
    assert caught.value.code is ErrorCode.FREEZE_FAILED


@pytest.mark.root("mkfs.ext4")
def test_thaw_by_somebody_else_does_not_hide_an_error(
    mount_point: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        devices.thaw(mount_point)
        raise RuntimeError("first")

    with pytest.raises(RuntimeError, match="first"), held_frozen(mount_point, store):
        fail()
    assert "Somebody else thawed" in caplog.text


def test_guard_that_cannot_start_freezes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    error = failure(Path("/proc"), Path("/nowhere/store"))
    assert isinstance(error, SourceError)
    assert "before it was ready" in str(error)


def test_python_that_is_not_there_freezes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "could not be started" in str(failure(Path("/proc"), Path("/nowhere/store")))


# Clones


@pytest.fixture(params=CLONING_KIND)
def cloning(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A mounted file system that can clone files."""
    kind = request.param
    image = devices.make_image(tmp_path / "cloning.img", kind)
    with devices.mounted(image, kind) as mounted:
        yield mounted


@pytest.fixture
def disk(cloning: Path) -> Path:
    """An image on it, with a hole, of a size that is no multiple of anything."""
    path = cloning / "disk.img"
    with path.open("wb") as file:
        file.write(b"old" * 100_000)
        file.seek(2 * MIB)
        file.write(b"end")
    return path


def test_clone_stays_as_it_was(disk: Path) -> None:
    before = disk.read_bytes()
    clone = reflink_clone(disk)
    assert clone is not None
    with disk.open("r+b") as file:
        file.write(b"new" * 100_000)
        file.truncate(1 * MIB)
    assert clone.identity == str(disk)
    assert clone.size_bytes == 2 * MIB + 3
    assert read_all(clone) == before
    clone.ensure_unchanged()
    assert not clone.modified_since_open
    clone.close()


def test_clone_has_no_name_and_keeps_the_holes(disk: Path) -> None:
    clone = reflink_clone(disk)
    assert clone is not None
    assert os.listdir(disk.parent).count("disk.img") == len(os.listdir(disk.parent))
    assert list(clone.data_ranges(512 * KIB, 2 * MIB)) == []
    clone.close()


def test_clone_of_a_link_has_the_identity_of_the_file(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(disk)
    clone = reflink_clone(tmp_path / "link")
    assert clone is not None
    assert clone.identity == str(disk)
    clone.close()


@pytest.mark.root("mkfs.ext4")
def test_no_clone_where_the_file_system_has_none(mount_point: Path) -> None:
    (mount_point / "disk.img").write_bytes(b"data")
    assert reflink_clone(mount_point / "disk.img") is None


def test_no_clone_in_a_folder_of_the_kernel() -> None:
    path = Path("/sys/kernel/notes")  # a file with a size, where no file can be made
    assert reflink_clone(path) is None


@pytest.mark.root("mkfs.xfs")
def test_no_clone_on_a_read_only_file_system(tmp_path: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "xfs")
    with devices.mounted(image, "xfs") as mounted:
        (mounted / "disk.img").write_bytes(b"data")
    with devices.mounted(image, "xfs", read_only=True) as mounted:
        assert reflink_clone(mounted / "disk.img") is None


@pytest.mark.root
def test_no_clone_of_a_device(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(MIB))
    with devices.loop_device(tmp_path / "disk.img") as device:
        assert reflink_clone(device) is None


def test_clone_of_nothing_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        reflink_clone(tmp_path / "missing")


def test_failing_disk_is_reported_and_not_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(target_fd: int, source_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(native, "clone_file", fail)
    (tmp_path / "disk.img").write_bytes(b"data")
    with pytest.raises(SourceError) as caught:
        reflink_clone(tmp_path / "disk.img")
    assert caught.value.code is ErrorCode.SOURCE_READ_FAILED


# Both together


def test_file_is_opened_as_it_is_without_freeze_and_clone(tmp_path: Path, store: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"data")
    with open_point_in_time(tmp_path / "disk.img", None, store) as source:
        assert read_all(source) == b"data"


def test_source_is_closed_when_reading_fails(tmp_path: Path, store: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"data")
    with pytest.raises(RuntimeError), open_point_in_time(tmp_path / "disk.img", None, store):
        raise RuntimeError


def test_clone_is_read_without_a_freeze_too(disk: Path, store: Path) -> None:
    with open_point_in_time(disk, None, store) as source:
        before = disk.read_bytes()
        disk.write_bytes(b"new")
        assert read_all(source) == before


@pytest.mark.root("mkfs.ext4")
def test_missing_source_freezes_nothing(
    mount_point: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: pytest.fail("frozen"))
    with (
        pytest.raises(NotFoundError),
        open_point_in_time(mount_point / "missing", mount_point, store),
    ):
        pytest.fail("opened")


@pytest.mark.root("mkfs.ext4", "e2fsck")
def test_device_is_frozen_until_it_is_read(tmp_path: Path, store: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "ext4")
    copy = tmp_path / "copy.img"
    with devices.loop_device(image) as device, devices.mounted(device, "ext4") as mounted:
        for number in range(20):
            (mounted / f"file{number}").write_bytes(os.urandom(50_000))  # not synced by anybody
        with open_point_in_time(device, mounted, store) as source:
            assert isinstance(source, DeviceSource)
            assert devices.is_frozen(mounted)
            copy.write_bytes(read_all(source))
            assert not source.modified_since_open
        assert not devices.is_frozen(mounted)
        expected = {path.name: path.read_bytes() for path in mounted.glob("file*")}
    devices.run("e2fsck", "-fn", str(copy))
    with devices.mounted(copy, "ext4") as restored:
        assert {path.name: path.read_bytes() for path in restored.glob("file*")} == expected


@pytest.mark.root("mkfs.ext4")
def test_image_without_clones_is_frozen_until_it_is_read(mount_point: Path, store: Path) -> None:
    image = store.with_name("fs.img")
    clone = reflink_clone(image)
    if clone is not None:
        clone.close()
        pytest.skip("the folder for temporary files can clone")
    with open_point_in_time(image, mount_point, store) as source:
        assert devices.is_frozen(mount_point)
        assert source.identity == str(image)
    assert not devices.is_frozen(mount_point)


@pytest.mark.root("mkfs.ext4", "e2fsck")
def test_freeze_is_over_as_soon_as_the_clone_is_made(
    cloning: Path, tmp_path: Path, store: Path
) -> None:
    image = devices.make_image(cloning / "vm.img", "ext4")
    copy = tmp_path / "copy.img"
    with devices.mounted(image, "ext4") as inner:
        (inner / "file").write_bytes(b"before" * 10_000)
        with open_point_in_time(image, inner, store) as source:
            assert not devices.is_frozen(inner)
            (inner / "file").write_bytes(b"after!" * 10_000)
            devices.run("sync", "--file-system", str(inner))
            copy.write_bytes(read_all(source))
    devices.run("e2fsck", "-fn", str(copy))
    with devices.mounted(copy, "ext4") as restored:
        assert (restored / "file").read_bytes() == b"before" * 10_000


def test_file_on_the_frozen_file_system_itself_is_read_without_a_clone(
    disk: Path, cloning: Path, store: Path
) -> None:
    """A clone there would wait for the thaw for ever."""
    with open_point_in_time(disk, cloning, store) as source:
        assert devices.is_frozen(cloning)
        assert len(read_all(source)) == 2 * MIB + 3
    assert not devices.is_frozen(cloning)


@pytest.mark.root("mkfs.ext4")
def test_freeze_that_did_not_last_is_an_error_after_the_reading(
    mount_point: Path, store: Path
) -> None:
    (mount_point / "disk.img").write_bytes(b"data")
    with (
        pytest.raises(SourceError, match="no point in time"),
        open_point_in_time(mount_point / "disk.img", mount_point, store),
    ):
        devices.thaw(mount_point)
