"""Files that are encrypted sector by sector: plain bytes above, nothing of them below."""

import errno
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebsim.format.sector_cipher import HOLE_SIZE, SECTOR_SIZE, SectorCipher
from ebsim.storage.files import Buffer, File
from ebsim.storage.sealed_file import SealedFile, SectorCiphers
from ebsim.testing.contents import HEAD, NOISE, TEXT, ZEROS
from ebsim.testing.memory_files import MemoryFile, MemoryFiles
from ebsim.units import BLOCK_SIZE

KEY = bytes(range(64))
PATH = Path("/data")


def ciphers() -> SectorCiphers:
    return SectorCiphers(SectorCipher(KEY))


@pytest.fixture
def under() -> File:
    files = MemoryFiles()
    files.make_directory(PATH.parent)
    return files.create(PATH)


@pytest.fixture
def sealed(under: File) -> SealedFile:
    return SealedFile(under, ciphers())


def as_stored(block: int, plain: bytes) -> bytes:
    """Return a block as any other program encrypts it: all of it at once."""
    out = bytearray(BLOCK_SIZE)
    SectorCipher(KEY).encrypt_into(block * BLOCK_SIZE, memoryview(plain), memoryview(out))
    return bytes(out)


# what is written is read

EDGES = st.sampled_from([0, 1, 15, 16, 511, 512, 777, 4095, 4096, 4097, BLOCK_SIZE - 1])
PLACES = st.builds(
    lambda block, sector, edge: block * BLOCK_SIZE + sector * SECTOR_SIZE + edge,
    st.integers(0, 2),
    st.integers(0, 3),
    EDGES,
)
LENGTHS = st.one_of(EDGES, st.integers(0, 3 * SECTOR_SIZE), st.sampled_from([2 * BLOCK_SIZE + 5]))
REQUESTS = st.lists(st.tuples(PLACES, LENGTHS, st.sampled_from("wwwrip")), max_size=12)
NOISE_LONG = (NOISE + TEXT + HEAD) * 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=REQUESTS)
def test_any_requests_do_what_they_do_to_a_plain_file(requests: list[tuple[int, int, str]]) -> None:
    files = MemoryFiles()
    files.make_directory(PATH.parent)
    sealed, plain = SealedFile(files.create(PATH), ciphers()), bytearray()
    for number, (offset, length, kind) in enumerate(requests):
        if kind == "w":
            data = NOISE_LONG[number : number + length]
            half = length // 3
            sealed.write_at(offset, [data] if number % 2 else [data[:half], data[half:]])
            end = -(-(offset + length) // SECTOR_SIZE) * SECTOR_SIZE if length else len(plain)
            plain.extend(bytes(max(0, end - len(plain))))
            plain[offset : offset + length] = data
        elif kind == "p":
            start = offset // SECTOR_SIZE * SECTOR_SIZE
            size = min(length // SECTOR_SIZE * SECTOR_SIZE, max(0, len(plain) - start))
            assert sealed.punch(start, size)
            plain[start : start + size] = bytes(size)
        elif kind == "r":
            assert sealed.read_at(offset, length) == plain[offset : offset + length]
        else:
            buffer = memoryview(bytearray(b"\xff" * length))
            got = sealed.read_into(offset, buffer)
            assert buffer[:got] == plain[offset : offset + length]
    assert sealed.size() == len(plain)
    same = sealed.read_at(0, 8 * BLOCK_SIZE) == plain
    assert same, "another content"


def test_stored_bytes_are_those_of_the_whole_block(sealed: SealedFile, under: File) -> None:
    """However it was written: docs/format.md says how anybody reads it."""
    plain = bytearray(BLOCK_SIZE)
    sealed.write_at(BLOCK_SIZE, [ZEROS])
    last = NOISE[: BLOCK_SIZE - 400_000]
    for place, data in ((777, HEAD[:5000]), (SECTOR_SIZE, TEXT[:SECTOR_SIZE]), (400_000, last)):
        sealed.write_at(BLOCK_SIZE + place, [data])
        plain[place : place + len(data)] = data

    assert under.read_at(BLOCK_SIZE, BLOCK_SIZE) == as_stored(1, bytes(plain))


def test_zeros_that_are_written_are_no_hole(sealed: SealedFile, under: File) -> None:
    sealed.write_at(0, [ZEROS])

    assert not under.is_hole(0, BLOCK_SIZE)
    assert not any(under.is_hole(start, SECTOR_SIZE) for start in range(0, BLOCK_SIZE, SECTOR_SIZE))
    assert sealed.read_at(0, BLOCK_SIZE) == ZEROS
    assert bytes(HOLE_SIZE) not in under.read_at(0, BLOCK_SIZE)


def test_hole_reads_as_zeros_and_stays_one(sealed: SealedFile, under: File) -> None:
    sealed.write_at(2 * BLOCK_SIZE, [NOISE])
    assert sealed.punch(2 * BLOCK_SIZE, BLOCK_SIZE)

    assert sealed.read_at(0, 3 * BLOCK_SIZE) == bytes(3 * BLOCK_SIZE)
    assert sealed.is_hole(2 * BLOCK_SIZE, BLOCK_SIZE)
    assert under.is_hole(0, 3 * BLOCK_SIZE)
    assert not sealed.punch(1, BLOCK_SIZE), "part of a sector cannot be given back"


def test_sealed_blocks_are_as_in_the_file(sealed: SealedFile, under: File) -> None:
    sealed.write_at(5 * BLOCK_SIZE, [TEXT])
    found = memoryview(bytearray(BLOCK_SIZE))

    stored = ciphers().seal_block(5, memoryview(TEXT))
    ciphers().open_block(5, stored, found)

    assert stored == under.read_at(5 * BLOCK_SIZE, BLOCK_SIZE)
    assert found == TEXT


# what a crash leaves


@pytest.mark.parametrize("cut", [1, 511, 512, 4096 - 512, 4095])
def test_sector_that_is_cut_off_is_what_is_whole_of_it(
    sealed: SealedFile, under: File, cut: int
) -> None:
    """The file ends within a sector that was never there before: its rest was zeros."""
    sealed.write_at(0, [NOISE[: 2 * SECTOR_SIZE]])
    under.truncate(SECTOR_SIZE + cut)
    whole = SECTOR_SIZE + cut // HOLE_SIZE * HOLE_SIZE

    found = sealed.read_at(0, 2 * SECTOR_SIZE)
    assert found == NOISE[:whole].ljust(SECTOR_SIZE + cut, b"\0")
    sealed.write_at(2 * SECTOR_SIZE - 1, [b"x"])
    assert (
        sealed.read_at(0, 2 * SECTOR_SIZE) == NOISE[:whole].ljust(2 * SECTOR_SIZE - 1, b"\0") + b"x"
    )


@pytest.mark.parametrize("before", [None, HEAD[:SECTOR_SIZE]], ids=["hole", "data"])
def test_sector_that_a_power_cut_broke_up_is_old_and_new(
    sealed: SealedFile, under: File, before: bytes | None
) -> None:
    """A disk writes 512 bytes or none of them: all of these are old, or all are new."""
    if before is not None:
        sealed.write_at(0, [before])
    under.write_at(SECTOR_SIZE, [bytes(SECTOR_SIZE)])
    old = under.read_at(0, SECTOR_SIZE)
    sealed.write_at(0, [NOISE[:SECTOR_SIZE]])
    new = under.read_at(0, SECTOR_SIZE)
    units = range(0, SECTOR_SIZE, HOLE_SIZE)
    torn = [(old, new)[at // HOLE_SIZE % 2][at : at + HOLE_SIZE] for at in units]
    under.write_at(0, [b"".join(torn)])

    was = before or bytes(SECTOR_SIZE)
    plain = b"".join((was, NOISE)[at // HOLE_SIZE % 2][at : at + HOLE_SIZE] for at in units)
    assert sealed.read_at(0, SECTOR_SIZE) == plain
    sealed.write_at(9, [b"y"])
    assert sealed.read_at(0, SECTOR_SIZE) == plain[:9] + b"y" + plain[10:]


# several threads


class Interrupted(MemoryFile):
    """A file of which half of a request is done, then something else, and then the rest."""

    reading: Callable[[], object] | None = None
    writing: Callable[[], object] | None = None

    def read_into(self, offset: int, buffer: memoryview) -> int:
        between, self.reading = self.reading, None
        if between is None:
            return super().read_into(offset, buffer)
        half = len(buffer) // 2 + 5
        super().read_into(offset, buffer[:half])
        between()
        super().read_into(offset + half, buffer[half:])
        return len(buffer)

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        between, self.writing = self.writing, None
        data = b"".join(parts)
        half = len(data) // 2 + 5 if between else 0
        super().write_at(offset, [data[:half]])
        if between:
            between()
        super().write_at(offset + half, [data[half:]])


@pytest.fixture
def interrupted() -> Interrupted:
    files = MemoryFiles()
    files.make_directory(PATH.parent)
    files.create(PATH).close()
    return Interrupted(files, files._content(PATH), writable=True)


@pytest.mark.parametrize("before", [b"", HEAD], ids=["hole", "data"])
@pytest.mark.parametrize(("offset", "length"), [(0, BLOCK_SIZE), (777, 10), (4096, 4096)])
def test_reader_between_whose_reads_somebody_writes_reads_again(
    interrupted: Interrupted, before: bytes, offset: int, length: int
) -> None:
    sealed = SealedFile(interrupted, ciphers())
    sealed.write_at(0, [before.ljust(BLOCK_SIZE, b"\0")])
    if not before:
        sealed.punch(0, BLOCK_SIZE)
    interrupted.reading = lambda: sealed.write_at(0, [NOISE])

    assert sealed.read_at(offset, length) == NOISE[offset : offset + length]


def test_reader_between_whose_reads_somebody_discards_reads_again(
    interrupted: Interrupted,
) -> None:
    sealed = SealedFile(interrupted, ciphers())
    sealed.write_at(0, [NOISE])
    interrupted.reading = lambda: sealed.punch(0, BLOCK_SIZE)

    assert sealed.read_at(0, BLOCK_SIZE) == ZEROS


class Watched:
    """A lock that tells when somebody wants it."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.wanted = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.wanted.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_reader_waits_for_a_write_that_is_half_done(interrupted: Interrupted) -> None:
    sealed = SealedFile(interrupted, ciphers())
    sealed.write_at(0, [HEAD])
    lock = Watched(threading.Lock())
    sealed._locks = (lock,) * 16  # type: ignore[assignment]
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(sealed.read_at(0, BLOCK_SIZE)))

    def half() -> None:
        lock.wanted.acquire()  # by the writer itself
        reader.start()
        lock.wanted.acquire()  # by the reader, which waits
        assert not found

    interrupted.writing = half
    sealed.write_at(0, [NOISE])
    reader.join()

    assert found == [NOISE]


def test_writers_of_one_sector_lose_nothing_of_each_other(sealed: SealedFile) -> None:
    count = 64

    def write_some(first: int) -> None:
        for at in range(first, count, 4):
            sealed.write_at(at, [bytes([at])])

    threads = [threading.Thread(target=write_some, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sealed.read_at(0, count) == bytes(range(count))


def test_write_that_fails_leaves_the_block_readable(interrupted: Interrupted) -> None:
    sealed = SealedFile(interrupted, ciphers())
    sealed.write_at(0, [HEAD])

    def fail() -> None:
        raise OSError(errno.EIO, "a test")

    interrupted.writing = fail
    with pytest.raises(OSError, match="a test"):
        sealed.write_at(4096, [NOISE[:4096]])
    sealed.write_at(4096, [TEXT[:4096]])

    assert sealed.read_at(0, BLOCK_SIZE) == HEAD[:4096] + TEXT[:4096] + HEAD[8192:]
