"""Checking started snapshots: that their blocks are there, and that no others lie about."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress

from ebsim.core.context import StoreContext
from ebsim.core.snapshots import find_snapshot, list_snapshots
from ebsim.core.started_files import ids_present, noted, reading_staging
from ebsim.errors import CorruptionError, EbsimError, NotFoundError, StoreError
from ebsim.format.records import SnapshotRecord
from ebsim.reports import Finding
from ebsim.results import SnapshotState
from ebsim.storage.files import File
from ebsim.units import BLOCK_SIZE

_LOOKS = 3
"""How often what looks wrong is looked at: blocks are put meanwhile."""


def check_started(context: StoreContext) -> Iterator[Finding]:
    """Compare the files of started snapshots with the snapshots that are being written.

    Snapshots may be started and end meanwhile: what looks wrong is looked at again.
    """
    wrong = _wrong(context)
    for name in sorted(wrong.keys() & _wrong(context).keys() if wrong else ()):
        yield wrong[name]


def _wrong(context: StoreContext) -> dict[str, Finding]:
    try:
        present = ids_present(context.files, context.path)
    except StoreError as error:
        return {"": Finding(kind="unreadable-folder", message=str(error))}
    with context.catalog.read() as reader:
        known = set(noted(reader))
        try:
            records = list_snapshots(reader)
        except CorruptionError:
            return {}  # that is told elsewhere
    found: dict[str, Finding] = {
        name: Finding(
            kind="unknown-started",
            message=f"the blocks of {name} lie in the store, and it is not being written: they are "
            "removed when a snapshot is started",
        )
        for name in present - known
    }
    for record in records:
        name = record.snapshot_id
        if record.started is None or record.state != SnapshotState.PENDING:
            continue
        if name not in known:
            message = f"the catalog does not note that {name} is being written"
            found[name] = Finding(kind="wrong-reference", message=message)
        elif name not in present:
            message = f"the blocks that were written of {name} are missing"
            found[name] = Finding(kind="missing-started", message=message)
    return found


def check_started_blocks(context: StoreContext) -> Iterator[Finding]:
    """Read the blocks that were put to snapshots, and prove them by their digests.

    Blocks may be put meanwhile, and snapshots end: what looks wrong is looked at again. A snapshot
    whose key cannot be had is left out: that is told elsewhere.
    """
    with context.catalog.read() as reader:
        present = [find_snapshot(reader, each) for each in noted(reader)]
    for record in present:
        if record is not None and record.state == SnapshotState.PENDING:
            with suppress(NotFoundError):
                yield from _wrong_blocks(context, record)


def _wrong_blocks(context: StoreContext, record: SnapshotRecord) -> Iterator[Finding]:
    name, wrong, whole = record.snapshot_id, set[int](), True
    for look in range(_LOOKS):
        try:
            with reading_staging(context, record) as (data, digests, whole):
                looked_at = sorted(wrong) if look else sorted(digests)
                wrong = {each for each in looked_at if not _is_proved(data, each, digests)}
        except EbsimError:
            return  # it was completed or deleted just now, or its key cannot be had
        if whole and not wrong:
            return
    with context.catalog.read() as reader:
        again = find_snapshot(reader, name)
    if again is None or again.state != SnapshotState.PENDING:
        return
    if not whole:
        yield Finding(
            kind="damaged-started",
            message=f"the list of the blocks that were put to {name} is damaged: what stands "
            "behind that is to be put again",
        )
    for index in sorted(wrong):
        yield Finding(
            kind="damaged-started",
            message=f"block {index} of {name}, which is being written, is not what was put: put it "
            "again, or completing the snapshot fails",
        )


def _is_proved(data: File, index: int, digests: dict[int, bytes]) -> bool:
    """Return whether a block has the digest of what was put, or was put anew just now."""
    if index not in digests:
        return True
    try:
        block = data.read_at(index * BLOCK_SIZE, BLOCK_SIZE)
    except OSError:
        return False
    return hashlib.sha256(block).digest() == digests[index]
