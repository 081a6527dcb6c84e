"""Writing sessions: which process writes what, and how others know that it died.

A store handle that writes has one session. It holds the session's kernel lock for as long as it
lives, so a session in the catalog whose lock is free belongs to a dead process, and
`ebsim.core.recovery` cleans up after it. The session owns the segments it writes; each is lent to
one operation at a time and never appended to by another process, nor after a failure.
"""

import os
import threading
from dataclasses import replace

from ebsim import failpoints
from ebsim.core.burial import bury_session
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.space import forget_segment, get_segment, mark_sealed, put_segment
from ebsim.errors import EbsimError
from ebsim.format.catalog_values import Counter, SegmentRecord, SegmentState, Table, number_key
from ebsim.format.records import encode_json
from ebsim.format.segment import ALIGNMENT, SEGMENT_ID_SIZE, SegmentHeader
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.locks import Lock, Region
from ebsim.storage.segments import SegmentWriter
from ebsim.units import GIB

SEGMENT_SIZE_MAX = GIB
"""A segment this long is sealed and another begun. Large enough that a store of 64 TiB has 65,536
files, small enough that compaction needs little room at a time."""


class OpenSegment:
    """A segment lent to one operation.

    Attributes:
        number: Its number in the catalog.
        writer: Appends to it.
    """

    def __init__(self, number: int, writer: SegmentWriter) -> None:
        self.number = number
        self.writer = writer

    def publish(self, writer: CatalogWriter, end: int) -> None:
        """Record, in a transaction, that everything before `end` is referred to or freed."""
        record = replace(get_segment(writer, self.number), published_end=end)
        put_segment(writer, self.number, record)

    @property
    def full(self) -> bool:
        """Whether another segment should be begun."""
        return self.writer.end >= SEGMENT_SIZE_MAX


class Session:
    """The writing session of one store handle. Its methods may be called from several threads."""

    def __init__(self, context: StoreContext, number: int, lock: Lock) -> None:
        self._context = context
        self._lock = lock
        self._idle: list[OpenSegment] = []
        self._open: dict[int, OpenSegment] = {}
        self._mutex = threading.Lock()
        self.number = number

    @classmethod
    def begin(cls, context: StoreContext) -> "Session":
        """Register a session and take its lock."""
        locks: list[Lock] = []

        def register(writer: CatalogWriter) -> int:
            number = take(writer, Counter.SESSION)
            locks.append(context.locks.hold(Region.SESSION + number))
            writer.on_abort(lambda: locks.pop().release())
            facts = {
                "pid": os.getpid(),
                "started_us": context.clock.now_us(),
                "boot": context.boot_id,
            }
            writer.put(Table.SESSIONS, number_key(number), encode_json(facts))
            return number

        try:
            number = context.catalog.update(register)
        except BaseException:
            for lock in locks:  # if it was registered nevertheless, it is a dead process's
                lock.release()
            raise
        failpoints.reach("session.begun")
        return cls(context, number, locks[0])

    def borrow_segment(self) -> OpenSegment:
        """Return a segment for one operation to append to.

        Raises:
            LimitExceededError: No space.
            StoreError: The device failed.
        """
        with self._mutex:
            if self._idle:
                return self._idle.pop()
        segment_id = self._context.entropy.token_bytes(SEGMENT_ID_SIZE)
        record = SegmentRecord(segment_id, SegmentState.OPEN, ALIGNMENT, 0, self.number)

        def register(writer: CatalogWriter) -> int:
            number = take(writer, Counter.SEGMENT)
            put_segment(writer, number, record)
            return number

        number = self._context.catalog.update(register)
        failpoints.reach("segment.registered")
        header = SegmentHeader(
            store_id=self._context.header.store_id,
            segment_id=segment_id,
            hash_key=self._context.hash_key,
            created_us=self._context.clock.now_us(),
        )
        try:
            segment = OpenSegment(number, self._context.segments.create(header))
        except EbsimError:
            self._context.catalog.update(lambda writer: forget_segment(writer, number))
            raise
        failpoints.reach("segment.created")
        with self._mutex:
            self._open[number] = segment
        return segment

    def return_segment(self, segment: OpenSegment) -> None:
        """Take a segment back after everything appended to it was published.

        A full one is closed; the end of the session seals it.
        """
        with self._mutex:
            if not segment.full:
                self._idle.append(segment)
                return
            self._open.pop(segment.number, None)
        segment.writer.close()

    def seal_segment(self, segment: OpenSegment) -> None:
        """Close a segment for ever, cut off behind what the catalog says is published."""
        context = self._context
        with self._mutex:
            self._open.pop(segment.number, None)
        segment.writer.close()
        with context.catalog.read() as reader:
            end = get_segment(reader, segment.number).published_end
        context.segments.truncate(segment.writer.segment_id, end)
        context.catalog.update(lambda writer: mark_sealed(writer, [segment.number]))

    def end(self) -> None:
        """Close what is open and leave. After a failed write the next opener cleans up instead."""
        try:
            for segment in self._open.values():
                segment.writer.close()
            if not self._context.poison:
                bury_session(self._context, self.number, "its making was broken off")
        finally:
            self._lock.release()


def current_session(context: StoreContext) -> Session:
    """Return the handle's session, beginning it with the first write.

    Raises:
        StorePoisonedError: A write of this handle failed before.
    """
    context.ensure_writable()
    with context.session_mutex:
        if context.session is None:
            context.session = Session.begin(context)
        return context.session
