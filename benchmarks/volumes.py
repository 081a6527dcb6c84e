"""Benchmark 3: managed volumes: reading, writing, points in time, and what a snapshot reads.

The engine is called in this process. Reads and writes of a volume take turns with `os.pread` and
`os.pwrite` on the very file in which its data lie, so their ratio means something on a busy machine
too. Volumes of up to 64 TiB are sparse: a few blocks of them are written.
"""

import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.measuring import BenchmarkError
from ebsim import Seams, SnapshotState, Store, VolumeRequest
from ebsim.storage.files import PosixFiles
from ebsim.testing.harness import Harness
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.observed_files import ObservedFiles
from ebsim.units import BLOCK_SIZE, GIB, KIB, MIB, TIB
from ebsim.volumes.volume_file import VolumeFile

T = TypeVar("T")

REQUEST_SIZES = (4 * KIB, 64 * KIB, 512 * KIB, MIB)
AREA = 64 * MIB
"""What is read and written: larger than any cache of the processor."""

REQUESTS_MAX = 512
ROUNDS = 21

VOLUME_SIZES = (GIB, TIB, 64 * TIB)
SCATTERED_BLOCKS = 64
SAMPLES = 15

CHANGED_VOLUME = TIB
CHANGED_BLOCKS = GIB // BLOCK_SIZE
FIRST_WRITES = 200


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast requests of one size are, in microseconds each, medians of several rounds.

    Attributes:
        request_bytes: The size of a request.
        kind: read or write.
        raw: On the file, by the system call.
        volume: On the volume.
        ratio: The median of raw by volume in one round: 1 is as fast.
        ratio_least: The least of them.
    """

    request_bytes: int
    kind: str
    raw: float
    volume: float
    ratio: float
    ratio_least: float


@dataclass(frozen=True, slots=True)
class Instant:
    """What is to be instant, on one size of volume, in milliseconds: medians and the longest.

    Attributes:
        volume_bytes: The size of the volume.
        snapshot: The call of `create_snapshot`.
        snapshot_longest: The longest of them.
        from_snapshot: Making a volume from a snapshot.
        from_snapshot_longest: The longest of them.
        first_read: Opening that volume, and reading a block that is not loaded.
    """

    volume_bytes: int
    snapshot: float
    snapshot_longest: float
    from_snapshot: float
    from_snapshot_longest: float
    first_read: float


@dataclass(frozen=True, slots=True)
class ChangedSnapshot:
    """A snapshot of a large volume of which a little changed.

    Attributes:
        volume_bytes: The volume's size.
        changed_bytes: How much was written since the last snapshot.
        read_bytes: How much of the volume's file was read.
        call: The call of `create_snapshot`, in milliseconds.
        seconds: Until it was completed.
    """

    volume_bytes: int
    changed_bytes: int
    read_bytes: int
    call: float
    seconds: float


@dataclass(frozen=True, slots=True)
class FirstWrites:
    """What a write of 4 KiB takes, in microseconds, medians.

    Attributes:
        again: To a block that was written since the last snapshot was begun.
        first: The first to a block since a snapshot that is completed.
        kept: The first to a block that a pending snapshot must still copy: it is kept first.
    """

    again: float
    first: float
    kept: float


@dataclass(frozen=True, slots=True)
class HarnessCosts:
    """What a store of the test harness takes, in milliseconds, medians.

    Attributes:
        make: Making and opening it.
        make_longest: The longest of them.
        remove: Closing and removing it.
    """

    make: float
    make_longest: float
    remove: float


@dataclass(frozen=True, slots=True)
class VolumeResults:
    """Everything."""

    rates: list[Rate]
    instants: list[Instant]
    changed: ChangedSnapshot
    first_writes: FirstWrites
    harness: HarnessCosts


def measure_volumes(work: Path) -> VolumeResults:
    """Measure all of it, below a folder."""
    print("reads and writes", file=sys.stderr)
    rates = _measure_rates(work / "rates")
    instants = []
    for size in VOLUME_SIZES:
        print(f"a volume of {size // GIB:,} GiB", file=sys.stderr)
        instants.append(_measure_instant(work / f"instant-{size}", size))
    print("1 GiB changed", file=sys.stderr)
    changed = _measure_changed(work / "changed")
    first_writes = _measure_first_writes(work / "first")
    return VolumeResults(rates, instants, changed, first_writes, _measure_harness(work))


# Reads and writes


def _measure_rates(folder: Path) -> list[Rate]:
    noise = random.Random(1).randbytes(AREA)
    with Store.create(folder) as store:
        volume_id = _new_volume(store, GIB)
        with store.volumes.open(volume_id) as volume:
            volume.pwrite(noise, 0)
            file = os.open(folder / "volumes" / f"{volume_id}.data", os.O_RDWR)
            try:
                return [
                    rate
                    for size in REQUEST_SIZES
                    for rate in (
                        measure_rate("read", size, *_reads(volume, file, size)),
                        measure_rate("write", size, *_writes(volume, file, noise[:size])),
                    )
                ]
            finally:
                os.close(file)


Request = Callable[[int], object]
"""Reads or writes at an offset."""


def _reads(volume: VolumeFile, file: int, size: int) -> tuple[Request, Request]:
    return (lambda at: os.pread(file, size, at)), (lambda at: volume.pread(size, at))


def _writes(volume: VolumeFile, file: int, data: bytes) -> tuple[Request, Request]:
    return (lambda at: os.pwrite(file, data, at)), (lambda at: volume.pwrite(data, at))


def measure_rate(kind: str, size: int, raw: Request, through: Request) -> Rate:
    """Return how fast two kinds of requests are that take turns."""
    places = list(range(0, AREA, size))
    random.Random(size).shuffle(places)
    places = places[:REQUESTS_MAX]
    raws: list[float] = []
    throughs: list[float] = []
    for round_ in range(ROUNDS):
        pair = [(raws, raw), (throughs, through)]
        for times, request in pair if round_ % 2 else reversed(pair):
            begin = time.perf_counter()
            for place in places:
                request(place)
            times.append((time.perf_counter() - begin) / len(places) * 1e6)
    ratios = [one / other for one, other in zip(raws, throughs, strict=True)]
    return Rate(
        request_bytes=size,
        kind=kind,
        raw=statistics.median(raws),
        volume=statistics.median(throughs),
        ratio=statistics.median(ratios),
        ratio_least=min(ratios),
    )


# What is to be instant


def _measure_instant(folder: Path, size: int) -> Instant:
    rng = random.Random(size)
    end = size - BLOCK_SIZE
    with Store.create(folder) as store:
        volume_id = _new_volume(store, size)
        taken, made, reads = [], [], []
        with store.volumes.open(volume_id) as volume:
            for _ in range(SAMPLES):
                for block in rng.sample(range(size // BLOCK_SIZE), SCATTERED_BLOCKS):
                    volume.pwrite(rng.randbytes(16), block * BLOCK_SIZE)
                volume.pwrite(rng.randbytes(16), end)
                seconds, shown = _timed(lambda: store.create_snapshot(volume_id))
                taken.append(seconds)
                _completed(store, shown.snapshot_id)
                request = _request(size, shown.snapshot_id)
                seconds, new = _timed(partial(store.volumes.create, request))
                made.append(seconds)
                seconds, data = _timed(partial(_read_once, store, new.volume_id, end))
                reads.append(seconds)
                if data != volume.pread(16, end):
                    raise BenchmarkError("a volume made from a snapshot has other contents")
                store.volumes.delete(new.volume_id)
    return Instant(
        volume_bytes=size,
        snapshot=statistics.median(taken) * 1e3,
        snapshot_longest=max(taken) * 1e3,
        from_snapshot=statistics.median(made) * 1e3,
        from_snapshot_longest=max(made) * 1e3,
        first_read=statistics.median(reads) * 1e3,
    )


def _read_once(store: Store, volume_id: str, offset: int) -> bytes:
    with store.volumes.open(volume_id) as file:
        return file.pread(16, offset)


# A little of a large volume changed


def _measure_changed(folder: Path) -> ChangedSnapshot:
    reads: list[Path] = []

    def before(what: str, path: Path) -> None:
        if what == "read_into" and path.suffix == ".data":
            reads.append(path)  # each is of a whole block, as a snapshot reads

    rng = random.Random(1)
    half = rng.randbytes(BLOCK_SIZE // 2)
    with Store.create(folder, Seams(files=ObservedFiles(PosixFiles(), before))) as store:
        volume_id = _new_volume(store, CHANGED_VOLUME)
        with store.volumes.open(volume_id) as volume:
            volume.pwrite(half, 0)
            _completed(store, store.create_snapshot(volume_id).snapshot_id)
            for block in rng.sample(range(CHANGED_VOLUME // BLOCK_SIZE), CHANGED_BLOCKS):
                mark = rng.randbytes(BLOCK_SIZE // 4)
                volume.pwrite(mark + half + bytes(BLOCK_SIZE // 4), block * BLOCK_SIZE)
            reads.clear()
            begin = time.perf_counter()
            call, shown = _timed(lambda: store.create_snapshot(volume_id))
            _completed(store, shown.snapshot_id)
            seconds = time.perf_counter() - begin
    return ChangedSnapshot(
        volume_bytes=CHANGED_VOLUME,
        changed_bytes=CHANGED_BLOCKS * BLOCK_SIZE,
        read_bytes=len(reads) * BLOCK_SIZE,
        call=call * 1e3,
        seconds=seconds,
    )


# The first write to a block


def _measure_first_writes(folder: Path) -> FirstWrites:
    copies = HeldCopies(holding=False)
    data = random.Random(1).randbytes(BLOCK_SIZE)
    small = data[: 4 * KIB]
    places = [block * BLOCK_SIZE for block in range(FIRST_WRITES)]

    def write_all(volume: VolumeFile) -> float:
        times = [_timed(partial(volume.pwrite, small, place))[0] for place in places]
        return statistics.median(times) * 1e6

    with Store.create(folder, Seams(before_copy=copies)) as store:
        volume_id = _new_volume(store, GIB)
        with store.volumes.open(volume_id) as volume:
            for place in places:
                volume.pwrite(data, place)
            again = write_all(volume)
            _completed(store, store.create_snapshot(volume_id).snapshot_id)
            first = write_all(volume)
            copies.hold_all()
            held = store.create_snapshot(volume_id).snapshot_id
            kept = write_all(volume)
            copies.release_all()
            _completed(store, held)
    return FirstWrites(again, first, kept)


# The test harness


def _measure_harness(work: Path) -> HarnessCosts:
    makes, removes = [], []
    for _ in range(SAMPLES):
        seconds, harness = _timed(partial(Harness, work))
        makes.append(seconds * 1e3)
        harness.new_volume()
        removes.append(_timed(harness.close)[0] * 1e3)
    return HarnessCosts(statistics.median(makes), max(makes), statistics.median(removes))


# Helpers


def _new_volume(store: Store, size: int) -> str:
    return store.volumes.create(_request(size)).volume_id


def _request(size: int, snapshot_id: str | None = None) -> VolumeRequest:
    return VolumeRequest(size_gib=size // GIB, snapshot_id=snapshot_id, volume_type="gp3")


def _completed(store: Store, snapshot_id: str) -> None:
    for shown in store.wait_snapshots([snapshot_id]):
        if shown.state is not SnapshotState.COMPLETED:
            raise BenchmarkError(f"a snapshot is {shown.state}: {shown.state_message}")


def _timed(action: Callable[[], T]) -> tuple[float, T]:
    begin = time.perf_counter()
    result = action()
    return time.perf_counter() - begin, result
