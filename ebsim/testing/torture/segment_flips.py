"""Flipped bits of segments: every single one of a store of 64 MiB, one at a time."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError
from ebsim.testing.damage import flip_bit, segment_files
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.torture.flip_pieces import (
    Piece,
    flip_range,
    other_pieces,
    segment_pieces,
    total_bytes,
)
from ebsim.units import BLOCK_SIZE, KIB, MIB

PAYLOADS = (*(100, 4000, 16 * KIB, 40 * KIB, 64 * KIB) * 12, BLOCK_SIZE)
"""How much of a block is noise, and so about the size of its record; the rest is zeros."""

BLOCKS_OF_A_DISK = 8

SEALED_ONE_OF = 3
"""One of so many disks is encrypted."""

CASES_BETWEEN_CHECKS = 16
"""So many cases have one flip that is made on the disk, and looked for by a check of the store."""


def build_store(path: Path, seed: int, size_bytes: int) -> None:
    """Make a closed store whose segments have at least so many bytes of live records.

    One snapshot is deleted, so that there are holes too.
    """
    chosen = random.Random(f"flips/{seed}")  # noqa: S311 - it must be repeatable
    with Store.create(path, _seams()) as store:
        gone = store.create_snapshot(disk_of(chosen.randbytes(BLOCK_SIZE), name="memory:gone"))
        count = 0
        while store.stats().live_size_bytes < size_bytes + BLOCK_SIZE + 64 * KIB:
            sizes = chosen.choices(PAYLOADS, k=BLOCKS_OF_A_DISK)
            blocks = (chosen.randbytes(size).ljust(BLOCK_SIZE, b"\0") for size in sizes)
            disk = disk_of(*blocks, name=f"memory:disk{count}")
            sealed = True if count % SEALED_ONE_OF == 1 else None
            tags = {"Name": f"disk {count}"}
            store.create_snapshot(disk, SnapshotOptions(tags=tags, encrypted=sealed))
            count += 1
        store.delete_snapshots([gone.snapshot_id])


def _seams() -> Seams:
    return Seams(clock=ManualClock(), entropy=SeededEntropy())


class SegmentFlips(Campaign):
    """The campaign. A case flips every bit of a stretch of the store.

    Args:
        size_bytes: How large the store is, at least.
        cases: Into how many stretches it is cut.
        sample: How many of them are tried in `make test`.
    """

    name = "segment-flips"
    promise = "every flipped bit of a segment is found by what reads it, and by check --data"
    excludes = "bytes that were given back, data of volumes, several flips at once"

    def __init__(self, size_bytes: int = 64 * MIB, cases: int = 2048, sample: int = 2) -> None:
        self._size_bytes = size_bytes
        self.cases = cases
        self.sample = sample

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Make the store, and return what flips a stretch of it."""
        path = folder / "store"
        build_store(path, seed, self._size_bytes)
        of_segment, _ = segment_pieces(path)
        _ensure_check_reads_them(path, pieces_bytes=total_bytes(of_segment))
        pieces = [*of_segment, *other_pieces(path)]
        total = total_bytes(pieces)

        def run_case(number: int) -> int:
            start, end = (number * total // self.cases, (number + 1) * total // self.cases)
            flips = flip_range(pieces, start, end).total()
            if number % CASES_BETWEEN_CHECKS == 0:
                _flip_on_disk(path, of_segment, case_random(self.name, seed, number))
                flips += 1
            return flips

        yield run_case


def _ensure_check_reads_them(path: Path, *, pieces_bytes: int) -> None:
    """Look that the pieces are what `check --data` reads: not a byte less, nor one more.

    Raises:
        Violation: They are not.
    """
    headers = sum(4096 for _ in segment_files(path))
    with Store.open(path, _seams()) as store:
        report = store.check(data=True)
    if not report.healthy or report.read_bytes + headers != pieces_bytes:
        raise Violation(
            f"check --data read {report.read_bytes} bytes and {headers} of headers, the segments "
            f"have {pieces_bytes}, and it found {len(report.findings)} things"
        )


def _flip_on_disk(path: Path, pieces: list[Piece], chosen: random.Random) -> None:
    """Flip one bit in the file of a segment, and have the store checked.

    Raises:
        Violation: The check finds nothing.
    """
    piece = chosen.choice([piece for piece in pieces if piece.start < piece.end])
    (file,) = segment_files(path)
    bit = 8 * (piece.place + chosen.randrange(piece.start, piece.end)) + chosen.randrange(8)
    flip_bit(file, bit)
    try:
        with Store.open(path, _seams()) as store:
            if store.check(data=True).healthy:
                raise Violation(f"check --data does not find bit {bit} of {file.name}")
    except EbsimError:
        pass  # it is refused
    finally:
        flip_bit(file, bit)
