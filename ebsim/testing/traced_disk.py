"""What a process did to the files below a folder, and what a power cut leaves of it.

strace tells what it did.

`read_trace` turns the log of strace into changes; `TracedDisk` carries them out one by one on a
disk in memory that knows what is durable: the content of a file once it was synced, a name once its
folder was, whatever kind of program did it, LMDB's writes in C too. `TracedDisk.cut` puts what a
power cut leaves into a real folder. Nothing weaker is promised by POSIX.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ebsim.testing.sync_sites import MARK

CALLS = (
    "openat,open,creat,pwrite64,pwritev,pwritev2,write,writev,ftruncate,fallocate,rename,renameat,"
    "renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,close,dup,dup2,dup3,"
    "fcntl,symlink,symlinkat,truncate,sync_file_range,msync,syncfs,sync,lseek,clone,clone3,fork,"
    "vfork"
)

STRACE = ("-f", "-xx", "-s", "4000000", "-e", f"trace={CALLS}")
"""Its options."""


def strace_is_missing() -> str | None:
    """Return why nothing can be traced, or None."""
    return None if shutil.which("strace") else "strace is not installed"


_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_STARTS = ("clone", "fork", "vfork")
_PUNCH = "FALLOC_FL_PUNCH_HOLE"


class UnknownCallError(Exception):
    """A system call changed a file in a way that this module does not know."""


@dataclass(slots=True)
class Inode:
    """A file.

    Attributes:
        data: What is in it.
        durable: What is certain to be in it.
        pending: What was done to it since, oldest first.
    """

    data: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Callable[[bytearray], None]] = field(default_factory=list)

    def change(self, how: Callable[[bytearray], None], *, at_once: bool = False) -> None:
        """Change it, durably or not."""
        how(self.data)
        if at_once:
            how(self.durable)
        else:
            self.pending.append(how)

    def sync(self) -> None:
        """Make what is in it durable."""
        self.durable = bytearray(self.data)
        self.pending.clear()


Names = dict[str, "Inode | Folder"]


@dataclass(slots=True)
class Folder:
    """A folder.

    Attributes:
        names: What is in it.
        durable: What is certain to be in it.
        pending: Changes since, oldest first; each is made as a whole. None: the name goes.
    """

    names: Names = field(default_factory=dict)
    durable: Names = field(default_factory=dict)
    pending: list[dict[str, "Inode | Folder | None"]] = field(default_factory=list)

    def change(self, names: dict[str, "Inode | Folder | None"]) -> None:
        """Set or remove names."""
        _apply(self.names, names)
        self.pending.append(names)

    def sync(self) -> None:
        """Make the names in it durable."""
        self.durable = dict(self.names)
        self.pending.clear()


@dataclass(slots=True)
class Descriptor:
    """An open file: what it is, whether writes to it are durable at once, and where it stands."""

    inode: Inode | Folder
    at_once: bool = False
    position: int = 0


class TracedDisk:
    """The files below a folder, at some moment.

    Args:
        root: The folder. Its own name is durable.

    Attributes:
        marks: What the process told until then.
    """

    def __init__(self, root: Path) -> None:
        self._root = PurePosixPath(root)
        self._top = Folder()
        self._open: dict[int, Descriptor] = {}
        self.marks: list[bytes] = []

    def carry_out(self, name: str, arguments: str, result: int) -> bool:
        """Do what a system call did; return whether it may have changed what a power cut leaves.

        Raises:
            UnknownCallError: It is not known.
        """
        if result < 0:
            return False
        known: Callable[[str, int], bool] | None = getattr(self, f"_call_{name}", None)
        if known is None:
            raise UnknownCallError(f"{name}({arguments[:200]}) = {result}")
        return known(arguments, result)

    def follow(self, calls: Iterable[tuple[str, str, int]]) -> Iterator[bool]:
        """Carry out one call after the other; yield for each whether it changed something."""
        for name, arguments, result in calls:
            yield self.carry_out(name, arguments, result)

    def cut(self, target: Path, keep: Callable[[str], bool]) -> None:
        """Put what a power cut leaves into an empty folder.

        Args:
            target: The folder.
            keep: Asked for each change that is not durable, `name` or `data`, whether it is kept.
        """
        _put(self._top, target, keep)

    # Calls

    def _call_openat(self, arguments: str, result: int) -> bool:
        path = _text(arguments)
        inode = self._find(path)
        created = False
        if inode is None and "O_CREAT" in arguments and (place := self._place(path)) is not None:
            inode, created = Inode(), True
            place[0].change({place[1]: inode})
        if inode is not None:
            if "O_TRUNC" in arguments and isinstance(inode, Inode):
                inode.change(lambda data: data.clear())
            at_once = "O_DSYNC" in arguments or "O_SYNC" in arguments
            self._open[result] = Descriptor(inode, at_once)
        else:
            self._open.pop(result, None)
        return created

    def _call_pwrite64(self, arguments: str, result: int) -> bool:
        head, _, tail = arguments.rpartition('"')
        offset = int(tail.split(", ")[2])
        return self._write(int(head.split(",", 1)[0]), _text(head + '"')[:result], offset)

    def _call_pwritev(self, arguments: str, result: int) -> bool:
        whole = b"".join(_texts(arguments))[:result]
        offset = int(arguments.rpartition("]")[2].split(", ")[2])
        return self._write(int(arguments.split(",", 1)[0]), whole, offset)

    _call_pwritev2 = _call_pwritev

    def _call_write(self, arguments: str, result: int) -> bool:
        fd = int(arguments.split(",", 1)[0])
        whole = b"".join(_texts(arguments))
        if fd == 1 and whole.startswith(MARK):
            self.marks.append(whole[len(MARK) :])
            return True
        descriptor = self._open.get(fd)
        if descriptor is None:
            return False
        descriptor.position += result
        return self._write(fd, whole[:result], descriptor.position - result)

    _call_writev = _call_write

    def _call_lseek(self, arguments: str, result: int) -> bool:
        descriptor = self._open.get(int(arguments.split(",", 1)[0]))
        if descriptor is not None:
            descriptor.position = result
        return False

    def _call_ftruncate(self, arguments: str, _result: int) -> bool:
        fd, size = (int(each) for each in arguments.split(", "))
        return self._change(fd, lambda data: _resize(data, size))

    def _call_fallocate(self, arguments: str, _result: int) -> bool:
        fd, mode, offset, length = arguments.split(", ")
        start, end = int(offset), int(offset) + int(length)
        if _PUNCH in mode:
            return self._change(int(fd), lambda data: _clear(data, start, end))
        return self._change(int(fd), lambda data: _resize(data, max(len(data), end)))

    def _call_rename(self, arguments: str, _result: int) -> bool:
        source, target = (self._place(each) for each in _texts(arguments))
        if source is None or target is None:
            return False
        (folder, old), (other, new) = source, target
        inode = folder.names[old]
        if folder is other:
            folder.change({old: None, new: inode})
        else:
            other.change({new: inode})
            folder.change({old: None})
        return True

    def _call_link(self, arguments: str, _result: int) -> bool:
        source, target = _texts(arguments)
        inode, place = self._find(source), self._place(target)
        if inode is None or place is None:
            return False
        place[0].change({place[1]: inode})
        return True

    def _call_unlink(self, arguments: str, _result: int) -> bool:
        place = self._place(_text(arguments))
        if place is not None:
            place[0].change({place[1]: None})
        return place is not None

    def _call_mkdir(self, arguments: str, _result: int) -> bool:
        place = self._place(_text(arguments))
        if place is not None:
            place[0].change({place[1]: Folder()})
        return place is not None

    def _call_fsync(self, arguments: str, _result: int) -> bool:
        inode = self._known(int(arguments))
        if inode is not None:
            inode.sync()
        return inode is not None

    _call_fdatasync = _call_fsync

    def _call_close(self, arguments: str, _result: int) -> bool:
        self._open.pop(int(arguments), None)
        return False

    def _call_dup(self, arguments: str, result: int) -> bool:
        descriptor = self._open.get(int(arguments.split(",", 1)[0]))
        if descriptor is not None:
            self._open[result] = descriptor
        return False

    def _call_fcntl(self, arguments: str, result: int) -> bool:
        return self._call_dup(arguments, result) if "F_DUPFD" in arguments else False

    # Places

    def _known(self, fd: int) -> Inode | Folder | None:
        descriptor = self._open.get(fd)
        return None if descriptor is None else descriptor.inode

    def _write(self, fd: int, part: bytes, offset: int) -> bool:
        return self._change(fd, lambda data: _overwrite(data, offset, part))

    def _change(self, fd: int, how: Callable[[bytearray], None]) -> bool:
        descriptor = self._open.get(fd)
        if descriptor is None or not isinstance(descriptor.inode, Inode):
            return False
        descriptor.inode.change(how, at_once=descriptor.at_once)
        return True

    def _place(self, path: bytes) -> tuple[Folder, str] | None:
        """Return a path's folder and name; None outside of the root."""
        full = PurePosixPath(path.decode())
        if not full.is_relative_to(self._root) or full == self._root:
            return None
        folder = self._find(str(full.parent).encode())
        return (folder, full.name) if isinstance(folder, Folder) else None

    def _find(self, path: bytes) -> Inode | Folder | None:
        full = PurePosixPath(path.decode())
        if not full.is_relative_to(self._root):
            return None
        found: Inode | Folder | None = self._top
        for part in full.relative_to(self._root).parts:
            found = found.names.get(part) if isinstance(found, Folder) else None
        return found


def read_trace(log: Path) -> Iterator[tuple[str, str, int]]:
    """Yield name, arguments and result of each system call, in the order in which they ended.

    Those of other processes that the traced one started are left out.
    """
    begun: dict[str, str] = {}
    threads: dict[str, bool] = {}
    starts_process = False
    with log.open(encoding="ascii") as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                continue
            thread, text = match[1], match[2].rstrip()
            if thread not in threads:
                threads[thread], starts_process = not starts_process, False
            if not threads[thread]:
                continue
            if text.startswith(_STARTS):
                starts_process = "CLONE_THREAD" not in text
            if text.endswith("<unfinished ...>"):
                begun[thread] = text.removesuffix("<unfinished ...>")
                if text.startswith("close("):  # its number may be given again before it ends
                    yield "close", begun.pop(thread)[6:].rstrip(" )"), 0
                continue
            if text.startswith("<... "):
                text = begun.pop(thread, "") + text.partition(" resumed>")[2]
            call = _CALL.match(text)
            if call is not None and not call[1].startswith(_STARTS):
                yield call[1], call[2], int(call[3])


def _texts(arguments: str) -> list[bytes]:
    return [bytes.fromhex(each.replace("\\x", "")) for each in _TEXT.findall(arguments)]


def _text(arguments: str) -> bytes:
    return _texts(arguments)[0]


def _apply(names: Names, change: dict[str, Inode | Folder | None]) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _overwrite(data: bytearray, offset: int, part: bytes) -> None:
    _resize(data, max(len(data), offset + len(part)))
    data[offset : offset + len(part)] = part


def _resize(data: bytearray, size: int) -> None:
    del data[size:]
    data.extend(bytes(size - len(data)))


def _clear(data: bytearray, start: int, end: int) -> None:
    end = min(end, len(data))
    if start < end:
        data[start:end] = bytes(end - start)


def _put(folder: Folder, target: Path, keep: Callable[[str], bool]) -> None:
    names = dict(folder.durable)
    for change in folder.pending:
        if keep("name"):
            _apply(names, change)
    for name, inode in names.items():
        path = target / name
        if isinstance(inode, Folder):
            path.mkdir(mode=0o700)
            _put(inode, path, keep)
            continue
        data = bytearray(inode.durable)
        for how in inode.pending:
            if keep("data"):
                how(data)
        path.write_bytes(data)
        path.chmod(0o600)
