"""A file whose bytes are encrypted sector by sector: the live data of an encrypted volume.

Whoever uses a `SealedFile` sees plain bytes at any offset; the file underneath gets whole encrypted
sectors at the same offsets, and nothing else. Writing a part of a sector reads, changes and writes
it. Of the file's own holes, and behind its end, zeros are read; zeros that are written are
encrypted like anything, so that they are no hole.

On a plain file, somebody who reads while others write finds each byte old or new, and no more than
that is sure: on ext4 and tmpfs even a page was found half old and half new, on XFS none. Of such a
sector the 16 bytes at the seam may decrypt to garbage, and of one that was a hole half a sector. So
the stored bytes of a block are read at a moment when nobody writes there: a count for each stripe
of blocks is odd during a write, and if it is odd before, or another one after, the block is read
again under the lock that writers take. A reader waits for no more than one write, and only then.

What a process or a machine that dies leaves of a write are sectors that are old or new, or, where
the disk broke one up, units of 512 bytes that are (`ebsim.format.sector_cipher`): each decrypts to
old or to new bytes.
"""

import mmap
import threading
from collections.abc import Iterator, Sequence

from ebsim.format.sector_cipher import HOLE_SIZE, SECTOR_SIZE, SLACK, SectorCipher
from ebsim.storage.files import Buffer, File
from ebsim.units import BLOCK_SIZE

STRIPES = 16
"""So many locks are shared by all blocks."""


class _Bench:
    """A cipher, and room for a block as stored and as plain bytes, for one thread at a time."""

    __slots__ = ("cipher", "plain", "stored")

    def __init__(self, cipher: SectorCipher) -> None:
        self.cipher = cipher
        self.plain = memoryview(bytearray(BLOCK_SIZE + SLACK))
        self.stored = memoryview(mmap.mmap(-1, BLOCK_SIZE + SECTOR_SIZE))  # begins at a page


class SectorCiphers:
    """Encrypts and decrypts the data of one volume; for several threads.

    There are as many ciphers as threads have worked at once, with 1 MiB each.

    Args:
        cipher: One of the volume's key.
    """

    def __init__(self, cipher: SectorCipher) -> None:
        self._cipher = cipher
        self._benches: list[_Bench] = []

    def seal_block(self, block: int, plain: memoryview) -> memoryview:
        """Return a whole block encrypted."""
        bench = self.borrow()
        try:
            out = memoryview(bytearray(BLOCK_SIZE + SLACK))
            bench.cipher.encrypt_into(block * BLOCK_SIZE, plain, out)
            return out[:BLOCK_SIZE]
        finally:
            self.give_back(bench)

    def open_block(self, block: int, stored: memoryview, out: memoryview) -> None:
        """Write a whole block's plain bytes to the beginning of `out`; holes stay zeros."""
        bench = self.borrow()
        try:
            bench.cipher.decrypt_run_into(block * BLOCK_SIZE, stored, out)
        finally:
            self.give_back(bench)

    def borrow(self) -> _Bench:
        """Return a place to work at; give it back."""
        try:
            return self._benches.pop()
        except IndexError:
            return _Bench(self._cipher.another())

    def give_back(self, bench: _Bench) -> None:
        """Let others have it."""
        self._benches.append(bench)


class SealedFile:
    """See the module. For several threads.

    Args:
        file: What is encrypted; it is closed with this one.
        ciphers: What encrypts it.
    """

    def __init__(self, file: File, ciphers: SectorCiphers) -> None:
        self._file = file
        self._ciphers = ciphers
        self._locks = tuple(threading.Lock() for _ in range(STRIPES))
        self._changes = [0] * STRIPES

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""
        parts = []
        bench = self._ciphers.borrow()
        try:
            for place, count in _pieces(offset, length):
                start = place % SECTOR_SIZE
                got = self._read_piece(bench, place, count)
                parts.append(bytes(bench.plain[start : start + got]))
                if got < count:
                    break
        finally:
            self._ciphers.give_back(bench)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from `offset` on; return how many bytes, fewer only at the file's end."""
        done = 0
        bench = self._ciphers.borrow()
        try:
            for place, count in _pieces(offset, len(buffer)):
                start = place % SECTOR_SIZE
                got = self._read_piece(bench, place, count)
                buffer[done : done + got] = bench.plain[start : start + got]
                done += got
                if got < count:
                    break
        finally:
            self._ciphers.give_back(bench)
        return done

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        """Write all parts one after the other at `offset`."""
        data = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))
        done = 0
        bench = self._ciphers.borrow()
        try:
            for place, count in _pieces(offset, len(data)):
                self._write_piece(bench, place, data[done : done + count])
                done += count
        finally:
            self._ciphers.give_back(bench)

    def size(self) -> int:
        """Return the size in bytes; it ends with a whole sector."""
        return self._file.size()

    def sync(self) -> None:
        """Make everything written so far durable."""
        self._file.sync()

    def truncate(self, size: int) -> None:
        """Cut the file off at `size`, which is the end of a sector."""
        assert size % SECTOR_SIZE == 0
        self._file.truncate(size)

    def punch(self, offset: int, length: int) -> bool:
        """Give the bytes back to the file system; False where it cannot."""
        if offset % SECTOR_SIZE or length % SECTOR_SIZE:
            return False
        done = True
        for place, count in _pieces(offset, length):
            stripe = place // BLOCK_SIZE % STRIPES
            with self._locks[stripe]:
                self._changes[stripe] += 1
                try:
                    done = self._file.punch(place, count) and done
                finally:
                    self._changes[stripe] += 1
        return done

    def is_hole(self, offset: int, length: int) -> bool:
        """Return whether the bytes take no space, and so are zeros; False where unknown."""
        return self._file.is_hole(offset, length)

    def reserve(self, size: int) -> None:
        """Allocate the first `size` bytes."""
        self._file.reserve(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_piece(self, bench: _Bench, place: int, count: int) -> int:
        """Have the plain sectors around bytes of one block at the bench; return how many there are.

        The bytes asked for begin there as far behind the beginning as within their sector.
        """
        first = place - place % SECTOR_SIZE
        stored = bench.stored[: _sectors_end(place + count) - first]
        got = self._read_settled(first, stored)
        self._decrypt(bench, first, stored, got)
        return max(0, min(count, got - (place - first)))

    def _read_settled(self, first: int, stored: memoryview) -> int:
        """Read stored bytes of one block that no write changed meanwhile; return how many."""
        stripe = first // BLOCK_SIZE % STRIPES
        before = self._changes[stripe]
        if not before & 1:
            got = self._file.read_into(first, stored)
            if self._changes[stripe] == before:
                return got
        with self._locks[stripe]:
            return self._file.read_into(first, stored)

    @staticmethod
    def _decrypt(bench: _Bench, first: int, stored: memoryview, got: int, at: int = 0) -> None:
        """Decrypt sectors to where they go at the bench; what the file lacks of them is zeros."""
        if got < len(stored):
            got -= got % HOLE_SIZE  # a unit that is cut off was never written
            stored[got:] = bytes(len(stored) - got)
        bench.cipher.decrypt_run_into(first, stored, bench.plain[at:])

    def _write_piece(self, bench: _Bench, place: int, data: memoryview) -> None:
        """Encrypt and write bytes of one block."""
        first, end = place - place % SECTOR_SIZE, _sectors_end(place + len(data))
        stripe = first // BLOCK_SIZE % STRIPES
        stored = bench.stored[: end - first]
        with self._locks[stripe]:
            plain = data
            if len(data) < end - first:
                plain = bench.plain[: end - first]
                self._read_edges(bench, place, place + len(data))
                plain[place - first : place - first + len(data)] = data
            bench.cipher.encrypt_into(first, plain, bench.stored)
            self._changes[stripe] += 1
            try:
                self._file.write_at(first, [stored])
            finally:
                self._changes[stripe] += 1

    def _read_edges(self, bench: _Bench, start: int, end: int) -> None:
        """Have at the bench, as plain bytes, the sectors that a write changes in part only."""
        first, last = start - start % SECTOR_SIZE, end - end % SECTOR_SIZE
        edges = {first} if start > first else set()
        if end > last:
            edges.add(last)
        stored = bench.stored[:SECTOR_SIZE]
        for sector in edges:
            got = self._file.read_into(sector, stored)
            self._decrypt(bench, sector, stored, got, sector - first)


def _pieces(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield where each part that lies within one block begins, and how long it is."""
    end = offset + length
    while offset < end:
        count = min(BLOCK_SIZE - offset % BLOCK_SIZE, end - offset)
        yield offset, count
        offset += count


def _sectors_end(end: int) -> int:
    return -(-end // SECTOR_SIZE) * SECTOR_SIZE
