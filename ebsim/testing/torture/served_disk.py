"""A disk that a child process serves: it writes down what is written to it, and fails when told to.

The child mounts itself, by the kernel's FUSE protocol, on one regular file; a loop device over that
file is the disk. Only what a loop device asks of its file is answered. The child must be another
process than the one that uses the disk: who waits for a page of a map that lies on it holds
Python's lock meanwhile.

Three files belong to a disk: its content, a log with an entry for each write, zeroing and flush, in
the order in which they were answered, and the bytes that were written, one write behind the other.
A fourth, of 8 bytes, says what fails; see `Switch`.

The structures are those of the kernel's include/uapi/linux/fuse.h, version 7.31.
"""

import ctypes
import errno
import mmap
import os
import select
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

ENTRY = struct.Struct("<QQQ")
"""An entry of the log: what, the offset and the length in bytes."""

WRITE, ZERO, FLUSH = 1, 2, 3
"""What an entry of the log says."""

SWITCH_SIZE = 8
FAIL_WRITES, FAIL_FLUSHES = 1, 2

_IN = struct.Struct("<IIQQIIII")
_OUT = struct.Struct("<IiQ")
_ATTR = struct.Struct("<QIIQQQQQQIIIIIIIIII")
_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_READ_OR_WRITE_IN = struct.Struct("<QQIIQII")
_FALLOCATE_IN = struct.Struct("<QQQII")
_STATFS = struct.Struct("<QQQQQIII28x")

_VERSION, _MINOR = 7, 31
_ROOT = 1
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
_DIRECT_IO = 1
"""Neither reads nor writes stay in a cache between the loop device and this process."""

_WRITE_SIZE_MAX = 1 << 20
_PAGE = 4096
_MS_NOSUID_NODEV = 2 | 4


class Disk:
    """What is on the disk, and what was done to it.

    Args:
        folder: Where its files `content`, `log`, `data` and `switch` are.
    """

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC
        self._content = os.open(folder / "content", flags)
        self._log = os.open(folder / "log", flags | os.O_APPEND)
        self._data = os.open(folder / "data", flags | os.O_APPEND)
        switch = os.open(folder / "switch", flags)
        self._switch = mmap.mmap(switch, SWITCH_SIZE)
        self.size = os.fstat(self._content).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return what is there."""
        return os.pread(self._content, size, offset)

    def write(self, offset: int, data: memoryview) -> None:
        """Write, and write it down."""
        self._fail_if_told(FAIL_WRITES)
        os.pwrite(self._content, data, offset)
        os.write(self._data, data)
        os.write(self._log, ENTRY.pack(WRITE, offset, len(data)))

    def zero(self, offset: int, size: int) -> None:
        """Make it zeros, and write that down."""
        self._fail_if_told(FAIL_WRITES)
        for start in range(offset, offset + size, _WRITE_SIZE_MAX):
            part = min(_WRITE_SIZE_MAX, offset + size - start)
            os.pwrite(self._content, bytes(part), start)
        os.write(self._log, ENTRY.pack(ZERO, offset, size))

    def flush(self) -> None:
        """Write down that everything so far is durable."""
        if self._switch[0] and self._switch[1]:
            self._switch[1] -= 1
        else:
            self._fail_if_told(FAIL_FLUSHES)
        os.write(self._log, ENTRY.pack(FLUSH, 0, 0))

    def _fail_if_told(self, what: int) -> None:
        if self._switch[0] & what and not self._switch[1]:
            self._switch[2] = 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))


class Server:
    """Answers the kernel.

    Args:
        disk: What is served.
        device: An open /dev/fuse.
    """

    def __init__(self, disk: Disk, device: int) -> None:
        self._disk = disk
        self._device = device
        self._answers: dict[int, Callable[[memoryview], bytes]] = {
            3: self._attributes,
            4: self._attributes,
            14: lambda _body: struct.pack("<QII", 1, _DIRECT_IO, 0),
            15: self._read,
            16: self._write,
            17: self._statfs,
            18: lambda _body: b"",
            20: self._fsync,
            25: lambda _body: b"",
            26: self._init,
            43: self._fallocate,
        }

    def serve(self, until: int) -> None:
        """Answer until the file is unmounted, or until the descriptor `until` is at its end."""
        buffer = bytearray(_WRITE_SIZE_MAX + 2 * _PAGE)
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.register(until, select.POLLIN | select.POLLHUP)
        while True:
            if until in (fd for fd, _ in poll.poll()):
                return
            try:
                size = os.readv(self._device, [buffer])
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                if error.errno in (errno.ENOENT, errno.EINTR):  # the request was taken back
                    continue
                raise
            self._answer(memoryview(buffer)[:size])

    def _answer(self, request: memoryview) -> None:
        _, operation, unique, *_ = _IN.unpack_from(request)
        if operation in (2, 36, 42):  # forget, interrupt, forget several: nothing is answered
            return
        body, failure = b"", 0
        try:
            answer = self._answers.get(operation)
            if answer is None:
                failure = -errno.ENOSYS
            else:
                body = answer(request[_IN.size :])
        except OSError as error:
            failure = -(error.errno or errno.EIO)
        head = _OUT.pack(_OUT.size + len(body), failure, unique)
        os.writev(self._device, [head, body])

    def _init(self, _body: memoryview) -> bytes:
        pages = _WRITE_SIZE_MAX // _PAGE
        flags = _BIG_WRITES | _MAX_PAGES
        return _INIT_OUT.pack(
            _VERSION, _MINOR, _WRITE_SIZE_MAX, flags, 16, 12, _WRITE_SIZE_MAX, 1, pages, 0, 0
        )

    def _attributes(self, _body: memoryview) -> bytes:
        size = self._disk.size
        times = (0,) * 6
        mode = stat.S_IFREG | 0o600
        return _ATTR.pack(3600, 0, 0, _ROOT, size, size // 512, *times, mode, 1, 0, 0, 0, _PAGE, 0)

    def _statfs(self, _body: memoryview) -> bytes:
        return _STATFS.pack(self._disk.size // _PAGE, 0, 0, 1, 0, _PAGE, 255, _PAGE)

    def _read(self, body: memoryview) -> bytes:
        _, offset, size, *_ = _READ_OR_WRITE_IN.unpack_from(body)
        return self._disk.read(offset, size)

    def _write(self, body: memoryview) -> bytes:
        _, offset, size, *_ = _READ_OR_WRITE_IN.unpack_from(body)
        start = _READ_OR_WRITE_IN.size
        self._disk.write(offset, body[start : start + size])
        return struct.pack("<II", size, 0)

    def _fsync(self, _body: memoryview) -> bytes:
        self._disk.flush()
        return b""

    def _fallocate(self, body: memoryview) -> bytes:
        _, offset, size, _, _ = _FALLOCATE_IN.unpack_from(body)
        self._disk.zero(offset, size)
        return b""


def mount_file(place: Path) -> int:
    """Mount a file system of one file on an existing file; return the descriptor to serve it by.

    Raises:
        OSError: The kernel refuses.
    """
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode={stat.S_IFREG | 0o600:o},user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    names = (b"ebsim-disk", os.fsencode(place), b"fuse", _MS_NOSUID_NODEV, options.encode())
    if libc.mount(*names) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(place))
    return device


def main(folder: Path) -> None:
    """Serve the disk whose files are in a folder; no interrupt of the terminal comes here."""
    os.setsid()
    disk = Disk(folder)
    device = mount_file(folder / "disk")
    sys.stdout.write("served\n")
    sys.stdout.flush()
    Server(disk, device).serve(until=sys.stdin.fileno())
