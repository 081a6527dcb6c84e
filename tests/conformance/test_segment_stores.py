"""What every segment store does: local files, and the same over the fake files that tests use.

The suite is `SegmentStoreTests`; a further backend passes it as a subclass that makes a store and
gives access to its raw bytes. What lies in a segment is made and read here by hand, with `struct`
and `xxhash`, because the layout is a promise to every later version.
"""

import errno
import os
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash

from ebsim.errors import CorruptionError, ErrorCode, LimitExceededError, StoreError
from ebsim.format.segment import PAYLOAD_SIZE_MAX, Codec, RecordKind, SegmentHeader
from ebsim.storage.files import File, Files, PosixFiles
from ebsim.storage.segments import (
    BlockFacts,
    LocalSegmentStore,
    SegmentStore,
    SegmentWriter,
    merge_ranges,
)
from ebsim.testing.memory_files import MemoryFiles
from ebsim.testing.observed_files import ObservedFile, ObservedFiles
from ebsim.units import BLOCK_SIZE, MIB

UNIT = 4096
STORE_ID = bytes(range(16))
HASH_KEY = bytes(range(100, 132))
ONE, TWO, NONE = b"1" * 16, b"2" * 16, b"0" * 16
BLOCK_HASH = bytes(range(200, 232))


def header_of(segment_id: bytes) -> SegmentHeader:
    return SegmentHeader(
        store_id=STORE_ID, segment_id=segment_id, hash_key=HASH_KEY, created_us=1 << 50
    )


def raw_header(segment_id: bytes) -> bytes:
    """Return the first 4096 bytes of a segment, made by hand."""
    body = b"EBSIMSEG" + struct.pack("<HHI", 1, 0, 0) + STORE_ID + segment_id + HASH_KEY
    body += struct.pack("<Q", 1 << 50)
    body = body.ljust(UNIT - 16, b"\0")
    return body + xxhash.xxh3_128_digest(body)


def raw_record(
    segment_id: bytes,
    offset: int,
    payload: bytes,
    *,
    kind: int = 4,
    codec: int = 0,
    plain_size: int | None = None,
    block_hash: bytes = bytes(32),
) -> bytes:
    """Return a whole record, made by hand."""
    size = len(payload) if plain_size is None else plain_size
    head = b"EBR1" + struct.pack("<BBHII", kind, codec, 0, len(payload), size)
    head += segment_id + struct.pack("<QII", offset, 0, 0) + block_hash
    padding = bytes(-(len(head) + 16 + len(payload)) % UNIT)
    return head + xxhash.xxh3_128_digest(head + payload + padding) + payload + padding


def fill(store: SegmentStore, segment_id: bytes, *payloads: bytes) -> list[tuple[int, int]]:
    """Make a segment with these journal records; return their places."""
    writer = store.create(header_of(segment_id))
    places = [writer.append(RecordKind.JOURNAL, payload) for payload in payloads]
    writer.sync()
    writer.close()
    return places


def read(store: SegmentStore, segment_id: bytes, place: tuple[int, int]) -> bytes:
    return bytes(store.read_record(segment_id, *place)[1])


def refusal(store: SegmentStore, segment_id: bytes, place: tuple[int, int]) -> CorruptionError:
    with pytest.raises(CorruptionError) as caught:
        store.read_record(segment_id, *place)
    assert caught.value.code is ErrorCode.CORRUPT_SEGMENT
    return caught.value


class SegmentStoreTests(ABC):
    """The suite: `store` is empty."""

    @pytest.fixture
    @abstractmethod
    def store(self, fast_path: Path) -> SegmentStore: ...

    @abstractmethod
    def get_raw(self, segment_id: bytes) -> bytes:
        """Return all bytes of a segment, without the store's help."""

    @abstractmethod
    def put_raw(self, segment_id: bytes, data: bytes) -> None:
        """Make a segment of these bytes, or replace it, without the store's help."""

    # space

    def test_segment_occupies_what_was_written_and_not_freed(self, store: SegmentStore) -> None:
        place, _ = fill(store, ONE, b"1" * UNIT, b"2" * UNIT)
        fill(store, TWO, b"3")
        assert store.occupied_bytes(ONE) >= 5 * UNIT
        assert store.occupied_bytes(ONE) + store.occupied_bytes(TWO) == store.stored_bytes()

        before = store.occupied_bytes(ONE)
        store.free(ONE, [place])

        assert store.occupied_bytes(ONE) == before - place[1]
        assert store.occupied_bytes(NONE) == 0

    # the layout

    def test_segment_begins_with_its_header(self, store: SegmentStore) -> None:
        store.create(header_of(ONE))

        assert self.get_raw(ONE) == raw_header(ONE)

    def test_header_that_was_put_is_read(self, store: SegmentStore) -> None:
        self.put_raw(ONE, raw_header(ONE))

        assert store.read_header(ONE) == header_of(ONE)
        assert store.list_ids() == {ONE}

    def test_record_lies_in_the_segment_as_the_format_says(self, store: SegmentStore) -> None:
        writer = store.create(header_of(ONE))
        first = writer.append(RecordKind.JOURNAL, b"first")
        second = writer.append(
            RecordKind.BLOCK,
            b"second" * 1000,
            BlockFacts(Codec.ZSTD, BLOCK_HASH),
        )
        writer.close()

        assert (first, second) == ((UNIT, UNIT), (2 * UNIT, 2 * UNIT))
        assert self.get_raw(ONE) == raw_header(ONE) + raw_record(ONE, UNIT, b"first") + raw_record(
            ONE,
            2 * UNIT,
            b"second" * 1000,
            kind=1,
            codec=1,
            plain_size=BLOCK_SIZE,
            block_hash=BLOCK_HASH,
        )

    @pytest.mark.parametrize("kind", list(RecordKind))
    @pytest.mark.parametrize("codec", list(Codec))
    def test_record_that_was_put_is_read(
        self, store: SegmentStore, kind: RecordKind, codec: Codec
    ) -> None:
        record = raw_record(
            ONE,
            UNIT,
            b"payload",
            kind=kind,
            codec=codec,
            plain_size=BLOCK_SIZE,
            block_hash=BLOCK_HASH,
        )
        self.put_raw(ONE, raw_header(ONE) + record)

        header, payload = store.read_record(ONE, UNIT, len(record))

        assert bytes(payload) == b"payload"
        assert (header.kind, header.codec, header.plain_size) == (kind, codec, BLOCK_SIZE)
        assert (header.block_hash, header.offset, header.extent) == (BLOCK_HASH, UNIT, UNIT)

    # writing

    @pytest.mark.parametrize("size", [0, 1, UNIT - 97, UNIT - 96, UNIT - 95, PAYLOAD_SIZE_MAX])
    def test_payload_of_any_size_comes_back(self, store: SegmentStore, size: int) -> None:
        writer = store.create(header_of(ONE))
        payload = b"x" * size

        place = writer.append(RecordKind.PAGES, payload)

        assert place[1] % UNIT == 0
        assert place[1] - UNIT < 96 + size <= place[1]
        assert writer.end == sum(place)
        assert read(store, ONE, place) == payload

    def test_record_can_be_read_before_it_is_synced(self, store: SegmentStore) -> None:
        """A snapshot that is being made refers to blocks of its own."""
        writer = store.create(header_of(ONE))
        first = writer.append(RecordKind.JOURNAL, b"first")
        assert read(store, ONE, first) == b"first"

        second = writer.append(RecordKind.JOURNAL, b"second")
        writer.sync()

        assert read(store, ONE, second) == b"second"

    def test_writer_knows_its_segment_and_its_end(self, store: SegmentStore) -> None:
        writer = store.create(header_of(ONE))

        assert (writer.segment_id, writer.end) == (ONE, UNIT)

    def test_threads_append_side_by_side(self, store: SegmentStore) -> None:
        writer = store.create(header_of(ONE))
        written: list[tuple[tuple[int, int], bytes]] = []

        def append(number: int) -> None:
            for size in (10, 5000, 3, 9000, 4000):
                payload = bytes([number]) * size
                written.append((writer.append(RecordKind.JOURNAL, payload), payload))

        threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        end = UNIT
        for place, payload in sorted(written):
            assert place[0] == end
            assert read(store, ONE, place) == payload
            end = sum(place)
        assert writer.end == end

    def test_closed_segment_keeps_what_was_appended(self, store: SegmentStore) -> None:
        """Whether it was published is for the catalog to say, and `truncate` to carry out."""
        writer = store.create(header_of(ONE))
        first = writer.append(RecordKind.JOURNAL, b"first")

        writer.close()
        writer.close()

        assert len(self.get_raw(ONE)) == sum(first)
        assert read(store, ONE, first) == b"first"

    def test_id_that_exists_is_refused(self, store: SegmentStore) -> None:
        (place,) = fill(store, ONE, b"first")

        with pytest.raises(StoreError):
            store.create(header_of(ONE))

        assert read(store, ONE, place) == b"first"

    # reading

    def test_each_segment_has_its_own_records(self, store: SegmentStore) -> None:
        places = {bytes([n]) * 16: fill(store, bytes([n]) * 16, bytes([n])) for n in range(80)}

        for _ in range(2):
            for segment_id, (place,) in places.items():
                assert read(store, segment_id, place) == segment_id[:1]
        assert store.list_ids() == set(places)
        store.close()

    def test_missing_segment_is_damage(self, store: SegmentStore) -> None:
        """F26"""
        assert NONE.hex() in str(refusal(store, NONE, (UNIT, UNIT)))
        with pytest.raises(CorruptionError, match=NONE.hex()):
            store.read_header(NONE)

    @pytest.mark.parametrize(
        "place",
        [
            (UNIT, UNIT),
            (UNIT, 3 * UNIT),
            (2 * UNIT, 2 * UNIT),
            (UNIT + 16, 2 * UNIT),
            (UNIT, 0),
            (0, UNIT),
            (UNIT, 1),
            (100 * UNIT, UNIT),
            (((1 << 32) - 1) * UNIT, UNIT),
            (UNIT, ((1 << 32) - 1) * UNIT),
        ],
    )
    def test_place_where_no_record_lies_is_damage(
        self, store: SegmentStore, place: tuple[int, int]
    ) -> None:
        """F44: a length out of bounds is refused before memory is taken for it."""
        fill(store, ONE, b"x" * 5000, b"second")

        refusal(store, ONE, place)

    @pytest.mark.parametrize("position", [0, 4, 5, 6, 8, 12, 16, 32, 40, 44, 48, 80, 96, 100, 4095])
    def test_altered_byte_is_damage(self, store: SegmentStore, position: int) -> None:
        """F20, F21: one byte of each field, of the payload and of the padding."""
        first, second = fill(store, ONE, b"first", b"second")
        raw = bytearray(self.get_raw(ONE))
        raw[first[0] + position] ^= 0x04
        self.put_raw(ONE, bytes(raw))

        refusal(store, ONE, first)
        assert read(store, ONE, second) == b"second"

    @pytest.mark.parametrize("position", [0, 8, 10, 12, 16, 32, 48, 80, 88, 1000, 4080, 4095])
    def test_altered_byte_of_the_header_is_damage(self, store: SegmentStore, position: int) -> None:
        """F22: the records behind it can be read all the same."""
        (place,) = fill(store, ONE, b"first")
        raw = bytearray(self.get_raw(ONE))
        raw[position] ^= 0x04
        self.put_raw(ONE, bytes(raw))

        with pytest.raises(CorruptionError):
            store.read_header(ONE)
        assert read(store, ONE, place) == b"first"

    def test_header_that_was_damaged_is_written_anew(self, store: SegmentStore) -> None:
        (place,) = fill(store, ONE, b"first")
        raw = self.get_raw(ONE)
        self.put_raw(ONE, b"?" * UNIT + raw[UNIT:])

        store.rewrite_header(header_of(ONE))

        assert self.get_raw(ONE) == raw
        assert read(store, ONE, place) == b"first"

    def test_raw_bytes_are_read_as_they_are(self, store: SegmentStore) -> None:
        ((offset, extent),) = fill(store, ONE, b"first")
        raw = bytearray(self.get_raw(ONE))
        raw[offset + 5] ^= 0x04
        self.put_raw(ONE, bytes(raw))

        assert store.read_raw(ONE, offset, extent) == bytes(raw[offset : offset + extent])
        assert store.read_raw(ONE, 0, UNIT) == raw_header(ONE)
        assert store.read_raw(ONE, offset, 2 * extent + UNIT) == bytes(raw[offset:])
        assert store.read_raw(NONE, offset, extent) == b""

    def test_every_cut_of_the_last_record_is_damage(self, store: SegmentStore) -> None:
        """F19"""
        first, last = fill(store, ONE, b"first", b"last" * 2000)
        raw = self.get_raw(ONE)

        for end in [*range(last[0], sum(last), 97), sum(last) - 1]:
            self.put_raw(ONE, raw[:end])
            refusal(store, ONE, last)
        assert read(store, ONE, first) == b"first"

    @pytest.mark.parametrize("size", [0, 1, 16, 4080, 4095])
    def test_header_that_is_cut_off_is_damage(self, store: SegmentStore, size: int) -> None:
        self.put_raw(ONE, raw_header(ONE)[:size])

        with pytest.raises(CorruptionError):
            store.read_header(ONE)

    def test_records_that_changed_places_are_damage(self, store: SegmentStore) -> None:
        """F28, within a segment."""
        places = fill(store, ONE, b"first", b"other")
        raw = self.get_raw(ONE)
        self.put_raw(ONE, raw[:UNIT] + raw[2 * UNIT :] + raw[UNIT : 2 * UNIT])

        for place in places:
            assert str(place[0]) in str(refusal(store, ONE, place))

    def test_records_that_changed_segments_are_damage(self, store: SegmentStore) -> None:
        """F28, between segments; F27, a segment under the name of another."""
        (place,) = fill(store, ONE, b"first")
        fill(store, TWO, b"other")
        one, two = self.get_raw(ONE), self.get_raw(TWO)
        self.put_raw(ONE, one[:UNIT] + two[UNIT:])
        self.put_raw(TWO, one)

        assert TWO.hex() in str(refusal(store, ONE, place))
        assert ONE.hex() in str(refusal(store, TWO, place))
        assert store.read_header(TWO).segment_id == ONE  # whoever asks compares it

    # giving back

    def test_freed_range_holds_nothing_any_more(self, store: SegmentStore) -> None:
        places = fill(store, ONE, b"a" * 5000, b"b" * 50_000, b"c" * 5000)
        before = store.stored_bytes()

        store.free(ONE, [places[1]])

        assert store.stored_bytes() == before - places[1][1]
        refusal(store, ONE, places[1])
        assert read(store, ONE, places[0]) == b"a" * 5000
        assert read(store, ONE, places[2]) == b"c" * 5000

    def test_several_ranges_are_freed_in_any_order(self, store: SegmentStore) -> None:
        places = fill(store, ONE, *(bytes([number]) * 5000 for number in range(6)))
        before = store.stored_bytes()

        store.free(ONE, [places[4], places[0], places[1], places[1]])

        assert store.stored_bytes() == before - 3 * places[0][1]
        for number in (0, 1, 4):
            refusal(store, ONE, places[number])
        for number in (2, 3, 5):
            assert read(store, ONE, places[number]) == bytes([number]) * 5000

    def test_freeing_again_or_nothing_or_elsewhere_is_fine(self, store: SegmentStore) -> None:
        first, second = fill(store, ONE, b"first", b"second")

        store.free(ONE, [first])
        store.free(ONE, [first])
        store.free(ONE, [])
        store.free(NONE, [first])
        store.free(ONE, [(100 * UNIT, UNIT)])

        assert read(store, ONE, second) == b"second"
        assert store.list_ids() == {ONE}
        assert len(self.get_raw(ONE)) == sum(second)

    def test_range_of_a_segment_that_is_being_written_can_be_freed(
        self, store: SegmentStore
    ) -> None:
        """A transaction that did not commit gives its journal entry back."""
        writer = store.create(header_of(ONE))
        first = writer.append(RecordKind.JOURNAL, b"first")

        store.free(ONE, [first])
        second = writer.append(RecordKind.JOURNAL, b"second")

        refusal(store, ONE, first)
        assert read(store, ONE, second) == b"second"

    def test_truncate_cuts_off_behind_the_end(self, store: SegmentStore) -> None:
        first, second = fill(store, ONE, b"first", b"second")

        store.truncate(ONE, sum(first))

        assert len(self.get_raw(ONE)) == sum(first)
        assert read(store, ONE, first) == b"first"
        refusal(store, ONE, second)

    def test_truncate_of_what_is_shorter_or_missing_is_fine(self, store: SegmentStore) -> None:
        (place,) = fill(store, ONE, b"first")

        store.truncate(ONE, 10 * UNIT)
        store.truncate(NONE, UNIT)

        assert len(self.get_raw(ONE)) == sum(place)
        assert store.list_ids() == {ONE}

    def test_dropped_segment_is_gone(self, store: SegmentStore) -> None:
        (place,) = fill(store, ONE, b"first")
        fill(store, TWO, b"other")
        read(store, ONE, place)  # it is open for reading now

        store.drop(ONE)
        store.drop(ONE)
        store.drop(NONE)

        assert store.list_ids() == {TWO}
        refusal(store, ONE, place)
        with pytest.raises(CorruptionError):
            store.read_header(ONE)

    def test_stored_bytes_are_those_of_all_segments(self, store: SegmentStore) -> None:
        assert store.stored_bytes() == 0

        fill(store, ONE, b"x" * 10_000)
        fill(store, TWO, b"x")

        assert store.stored_bytes() == (1 + 3) * UNIT + (1 + 1) * UNIT


class SolidFile(ObservedFile):
    """A file of a file system without holes."""

    def punch(self, offset: int, length: int) -> bool:
        return False


class SolidFiles(ObservedFiles):
    """A file system without holes."""

    def open(self, path: Path, *, writable: bool = False) -> File:
        return SolidFile(super().open(path, writable=writable), path, lambda *_: None)


class LocalSegmentStoreTests(SegmentStoreTests):
    """What local files do besides: failures of the files, and foreign files beside the segments."""

    files: Files
    folder: Path

    def path(self, segment_id: bytes) -> Path:
        return self.folder / f"{segment_id.hex()}.seg"

    @pytest.fixture
    def store(self) -> SegmentStore:
        return LocalSegmentStore(self.folder, self.files)

    def failing(self, operation: str, number: int) -> SegmentStore:
        """Return a store whose files fail in this operation with this error of the kernel."""

        def before(called: str, _path: Path) -> None:
            if called == operation:
                raise OSError(number, os.strerror(number))

        return LocalSegmentStore(self.folder, ObservedFiles(self.files, before))

    def test_files_that_are_no_segments_are_not_listed(self, store: SegmentStore) -> None:
        fill(store, ONE, b"first")
        for name in ("README", "x.seg", f"{ONE.hex()}.seg~", f".{TWO.hex()}.seg", TWO.hex()):
            self.files.create(self.folder / name)
        for name in (f"{'AB' * 16}.seg", f"{'ab' * 16}.seg", f"{'0' * 33}.seg"):
            self.files.create(self.folder / name)

        assert store.list_ids() == {ONE, bytes.fromhex("ab" * 16)}

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    @pytest.mark.parametrize("operation", ["create", "write_at", "sync", "sync_directory"])
    def test_segment_without_space_is_not_made(self, operation: str, number: int) -> None:
        store = self.failing(operation, number)

        with pytest.raises(LimitExceededError, match="no space") as caught:
            store.create(header_of(ONE))

        assert caught.value.code is ErrorCode.NO_SPACE
        assert store.list_ids() == set()

    @pytest.mark.parametrize("operation", ["create", "write_at", "sync", "sync_directory"])
    def test_segment_that_cannot_be_written_is_not_made(self, operation: str) -> None:
        store = self.failing(operation, errno.EIO)

        with pytest.raises(StoreError, match="Input/output error") as caught:
            store.create(header_of(ONE))

        assert caught.value.code is ErrorCode.STORE_FAILED
        assert store.list_ids() == set()

    @pytest.mark.parametrize(
        ("number", "error"), [(errno.ENOSPC, LimitExceededError), (errno.EIO, StoreError)]
    )
    @pytest.mark.parametrize("operation", ["write_at", "sync"])
    def test_failure_of_a_writer_is_told(
        self, operation: str, number: int, error: type[Exception]
    ) -> None:
        failing = False

        def before(called: str, _path: Path) -> None:
            if failing and called == operation:
                raise OSError(number, os.strerror(number))

        store = LocalSegmentStore(self.folder, ObservedFiles(self.files, before))
        writer = store.create(header_of(ONE))
        first = writer.append(RecordKind.JOURNAL, b"first")
        failing = True
        uses: dict[str, Callable[[SegmentWriter], object]] = {
            "write_at": lambda writer: writer.append(RecordKind.JOURNAL, b"second"),
            "sync": lambda writer: writer.sync(),
        }

        with pytest.raises(error, match=ONE.hex()):
            uses[operation](writer)

        assert read(store, ONE, first) == b"first"

    @pytest.mark.parametrize("operation", ["open", "punch"])
    def test_failure_to_free_is_told(self, operation: str) -> None:
        (place,) = fill(LocalSegmentStore(self.folder, self.files), ONE, b"first")

        with pytest.raises(StoreError, match=ONE.hex()):
            self.failing(operation, errno.EIO).free(ONE, [place])

    @pytest.mark.parametrize("operation", ["open", "size", "truncate"])
    def test_failure_to_cut_off_is_told(self, operation: str) -> None:
        fill(LocalSegmentStore(self.folder, self.files), ONE, b"first")

        with pytest.raises(StoreError, match=ONE.hex()):
            self.failing(operation, errno.EIO).truncate(ONE, UNIT)

    @pytest.mark.parametrize("operation", ["remove", "sync_directory"])
    def test_failure_to_drop_is_told(self, operation: str) -> None:
        fill(LocalSegmentStore(self.folder, self.files), ONE, b"first")

        with pytest.raises(StoreError, match=ONE.hex()):
            self.failing(operation, errno.EIO).drop(ONE)

    @pytest.mark.parametrize("operation", ["open", "read_at"])
    def test_failure_to_read_is_no_damage(self, operation: str) -> None:
        """A bad sector of the store's disk: the bytes may be whole, so the answer is another."""
        (place,) = fill(LocalSegmentStore(self.folder, self.files), ONE, b"first")
        store = self.failing(operation, errno.EIO)

        with pytest.raises(StoreError, match=f"{ONE.hex()}.*Input/output error"):
            store.read_record(ONE, *place)

    def test_segment_that_is_dropped_while_sizes_are_summed_up_counts_for_nothing(self) -> None:
        fill(LocalSegmentStore(self.folder, self.files), ONE, b"first")
        fill(LocalSegmentStore(self.folder, self.files), TWO, b"second")

        def drop_one(called: str, path: Path) -> None:
            if called == "allocated_bytes" and path == self.path(ONE):
                self.files.remove(path)

        store = LocalSegmentStore(self.folder, ObservedFiles(self.files, drop_one))

        assert store.stored_bytes() == 2 * UNIT

    def test_file_system_without_holes_keeps_what_is_freed(self) -> None:
        """Nothing fails; the space comes back when the segment is dropped."""

        store = LocalSegmentStore(self.folder, SolidFiles(self.files, lambda *_: None))
        places = fill(store, ONE, b"first", b"second")

        store.free(ONE, places)

        assert store.stored_bytes() == 3 * UNIT


class TestLocalSegmentStore(LocalSegmentStoreTests):
    @pytest.fixture(autouse=True)
    def _place(self, fast_path: Path) -> None:
        self.files = PosixFiles()
        self.folder = fast_path

    def get_raw(self, segment_id: bytes) -> bytes:
        return self.path(segment_id).read_bytes()

    def put_raw(self, segment_id: bytes, data: bytes) -> None:
        self.path(segment_id).write_bytes(data)


class TestLocalSegmentStoreInMemory(LocalSegmentStoreTests):
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        self.files = MemoryFiles(capacity_bytes=64 * MIB)
        self.folder = Path("/store/segments")
        self.files.make_directory(self.folder)

    def get_raw(self, segment_id: bytes) -> bytes:
        return self.files.open(self.path(segment_id)).read_at(0, 64 * MIB)

    def put_raw(self, segment_id: bytes, data: bytes) -> None:
        path = self.path(segment_id)
        exists = path.name in self.files.list(self.folder)
        file = self.files.open(path, writable=True) if exists else self.files.create(path)
        file.truncate(0)
        file.write_at(0, [data])


@pytest.mark.parametrize(
    ("ranges", "merged"),
    [
        ([], []),
        ([(0, 1)], [(0, 1)]),
        ([(4, 2), (0, 2)], [(0, 2), (4, 2)]),
        ([(2, 2), (0, 2), (4, 2)], [(0, 6)]),
        ([(0, 4), (1, 2), (0, 4)], [(0, 4)]),
        ([(0, 10), (2, 3), (9, 4), (14, 1)], [(0, 13), (14, 1)]),
    ],
)
def test_ranges_that_touch_become_one(
    ranges: list[tuple[int, int]], merged: list[tuple[int, int]]
) -> None:
    assert merge_ranges(ranges) == merged
