"""Campaign: no nonce is used twice, whatever kills, full disks and compactions do.

Two records that are sealed under one key with one nonce give their plain bytes away. Each child
writes down what it is about to seal, before it does: under which key (by its commitment), with
which nonce, and where. One after the other, the children snapshot, copy, delete, compact and repair
one store with encrypted volumes; most kill themselves at a random step, also with half a write
done, and some find the disk full and go on. In the end no pair of key and nonce may be there twice,
and all that lies sealed in the segments must have been written down.
"""

import errno
import os
import random
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, cast

from ebsim import failpoints
from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError
from ebsim.format.sealing import SegmentCipher, _nonce
from ebsim.format.segment import RecordHeader
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.files import Buffer, File, Files
from ebsim.testing.contents import palette_block
from ebsim.testing.damage import records_of, segment_files
from ebsim.testing.forked_play import FrugalFiles, import_everything
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine_play import quiet_log
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import disk_of
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.worker import Counted, Steps

NAME = "nonces"
CHILDREN = 20
"""Of each case; three of four kill themselves."""

LAST_STEP = 260
"""About so many steps a child makes."""

DISKS = ("memory:one", "memory:two", "memory:plain")
BLOCKS = 5
PALETTE = 40

Seal = tuple[bytes, bytes, bytes, int]
"""Commitment of the key, nonce, segment id, offset."""

_SEAL_SIZE = 32 + 12 + 16 + 8


class Nonces(Campaign):
    """See the module."""

    name = NAME
    promise = (
        "no two records are sealed under one key with one nonce, after SIGKILLs and full disks"
    )
    excludes = "a machine that is set back while it runs: it has the same keys and numbers again"
    cases = 300
    sample = 1

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Return what runs a case, each on a store of its own in memory."""
        del folder
        import_everything()
        with quiet_log():
            yield lambda number: self._case(seed, number)

    def _case(self, seed: int, number: int) -> int:
        place = fast_folder()
        kills = 0
        try:
            for child in range(CHILDREN + 1):
                chance = case_random(f"{NAME}/{child}", seed, number)
                kills += _fork(Life(place, chance, child))
            seals = read_seals(place / "seals")
            ensure_used_once(seals)
            ensure_complete(place / "store", seals)
        except Exception as error:
            raise Violation(f"case {number} of seed {seed}: {error}") from error
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return kills


def read_seals(path: Path) -> list[Seal]:
    """Return what was written down about all that was sealed."""
    data = path.read_bytes()
    found = []
    for at in range(0, len(data), _SEAL_SIZE):
        part = data[at : at + _SEAL_SIZE]
        found.append((part[:32], part[32:44], part[44:60], int.from_bytes(part[60:], "big")))
    return found


def ensure_used_once(seals: Sequence[Seal]) -> None:
    """See that no nonce was used twice under one key.

    Raises:
        AssertionError: One was.
    """
    seen: dict[tuple[bytes, bytes], Seal] = {}
    for seal in seals:
        pair = seal[:2]
        if pair in seen:
            raise AssertionError(
                f"nonce {pair[1].hex()} was used twice under one key: in segment "
                f"{seen[pair][2].hex()} at {seen[pair][3]}, and in {seal[2].hex()} at {seal[3]}"
            )
        seen[pair] = seal


def ensure_complete(store: Path, seals: Sequence[Seal]) -> None:
    """See that all that lies sealed in a store was written down.

    Raises:
        AssertionError: Something was not, or nothing is there.
    """
    known = {seal[2:] for seal in seals}
    sealed = 0
    for path in segment_files(store):
        for record in records_of(path):
            if record.header.domain:
                sealed += 1
                if (record.header.segment_id, record.header.offset) not in known:
                    raise AssertionError(f"{path.name} at {record.header.offset}: by nobody")
    if not sealed:
        raise AssertionError("a store without a sealed record shows nothing")


class FullAt:
    """Files that are told once, at some write, that the disk is full."""

    def __init__(self, inner: Files, write: int) -> None:
        self._inner = inner
        self._left = write
        self._mutex = threading.Lock()

    def __getattr__(self, name: str) -> object:
        method = getattr(self._inner, name)
        if name not in ("create", "open"):
            return method
        return lambda *args, **more: _FullFile(method(*args, **more), self.ensure_room)

    def ensure_room(self) -> None:
        """Count a write.

        Raises:
            OSError: It is the one.
        """
        with self._mutex:
            self._left -= 1
            if self._left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _FullFile:
    def __init__(self, file: File, ensure_room: Callable[[], None]) -> None:
        self._file = file
        self._ensure_room = ensure_room

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        """Write, or half of it where the disk is full."""
        try:
            self._ensure_room()
        except OSError:
            whole = b"".join(parts)
            self._file.write_at(offset, [whole[: len(whole) // 2]])
            raise
        self._file.write_at(offset, parts)


class Life:
    """What one child does.

    Args:
        place: The folder of the store, and of what is written down.
        chance: Decides everything.
        number: Makes its ids; the last child only looks.
    """

    def __init__(self, place: Path, chance: random.Random, number: int) -> None:
        self._place = place
        self._chance = chance
        self._number = number
        dies = 0 < number < CHILDREN and chance.random() < 0.8
        self._steps = Steps(chance.randrange(1, LAST_STEP) if dies else None)
        self._full = not dies and 0 < number < CHILDREN and chance.random() < 0.7

    def live(self) -> None:
        """Do it."""
        failpoints.arm(lambda _name: self._steps.step())
        self._write_down_seals()
        files: object = FrugalFiles()
        if self._full:
            files = FullAt(cast("Files", files), self._chance.randrange(1, 40))
        seams = Seams(
            files=cast("Files", Counted(files, self._steps)),
            clock=ManualClock(),
            entropy=SeededEntropy(self._number),
            boot_id="one boot",
        )
        with Store.open(self._place / "store", seams, create=self._number == 0) as store:
            if self._number == CHILDREN:
                _look(store)
                return
            if self._number == 0:
                store.keys.create(alias="alias/k")
            for _ in range(self._chance.randrange(2, 6) if self._number else 3):
                with suppress(EbsimError):  # without space
                    self._act(store)

    def _act(self, store: Store) -> None:
        chance = self._chance
        done = [each for each in store.list_snapshots() if each.state is SnapshotState.COMPLETED]
        what = chance.choice(["create", "create", "create", "delete", "compact", "copy", "repair"])
        if what == "delete" and len(done) > 2:
            store.delete_snapshots([chance.choice(done).snapshot_id])
        elif what == "compact":
            store.compact()
        elif what == "repair":
            store.repair()
        elif what == "copy" and done:
            key = chance.choice(["alias/k", "alias/aws/ebs"])
            numbers = chance.choice(done)
            options = SnapshotOptions(encrypted=True, kms_key_id=key, tags=numbers.tags)
            store.copy_snapshot(numbers.snapshot_id, None, options)
        else:
            _create(store, chance)

    def _write_down_seals(self) -> None:
        log = os.open(self._place / "seals", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        seal_into = SegmentCipher.seal_into

        def noted(
            cipher: SegmentCipher, header: RecordHeader, plain: Buffer, out: bytearray
        ) -> memoryview:
            key = cipher._commitment
            nonce, offset = _nonce(header), header.offset.to_bytes(8, "big")
            os.write(log, key + nonce + header.segment_id + offset)
            return seal_into(cipher, header, plain, out)

        SegmentCipher.seal_into = noted  # type: ignore[method-assign, assignment]


def _create(store: Store, chance: random.Random) -> Snapshot:
    name = chance.choice(DISKS)
    numbers = [chance.randrange(PALETTE) for _ in range(BLOCKS)]
    disk = disk_of(*(palette_block(each) for each in numbers), name=name)
    known = any(each.tags.get("disk") == name for each in store.list_snapshots())
    wanted = None if known or name == "memory:plain" else True
    tags = {"disk": name, "blocks": " ".join(map(str, numbers))}
    return store.create_snapshot(disk, SnapshotOptions(encrypted=wanted, tags=tags))


def _look(store: Store) -> None:
    """See that every snapshot holds what its tags say."""
    assert_healthy(store)
    for shown in store.list_snapshots():
        if shown.state is not SnapshotState.COMPLETED:
            continue
        for index, number in enumerate(shown.tags["blocks"].split()):
            if store.read_block(shown.snapshot_id, index) != palette_block(int(number)):
                raise AssertionError(f"{shown.snapshot_id}: block {index} is not what it was")


def _fork(life: Life) -> bool:
    """Have a child live; return whether it killed itself.

    Raises:
        AssertionError: It failed instead.
    """
    incoming, outgoing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(incoming)
        _live(life, outgoing)
    os.close(outgoing)
    told = b""
    while part := os.read(incoming, 1 << 16):
        told += part
    os.close(incoming)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise AssertionError(told.decode(errors="replace") or f"a child ended with {status}")
    return False


def _live(life: Life, outgoing: int) -> NoReturn:
    status = 1
    try:
        signal.alarm(120)
        life.live()
        status = 0
    except BaseException:  # noqa: BLE001 - the parent is told
        os.write(outgoing, traceback.format_exc().encode())
    finally:
        os._exit(status)
