"""What happens to a catalog that nobody vouches for: proved in another process, else rebuilt.

Whether it is whole is one question; the other is whether it is the newest. A catalog that fell back
to an older state is whole and wrong. Two things tell: `catalog.state` names a later commit, or the
segments hold journal entries that the catalog does not know. An entry is written before its commit,
so one of them may be of a commit that its process did not live to see: that is counted too, as a
rebuild does, because it cannot be told from a commit that was reported as done and is lost.

Such a catalog is not brought forward by the entries that it lacks. A commit does more than its
entry says, some have no entry, and which of those are missing is not known: places of blocks that
a compaction moved, bytes that were given back. So it is made again; but what it alone knows is kept
(`ebsim.core.rebuild_kept`).
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ebsim.errors import ConflictError, CorruptionError, ErrorCode
from ebsim.format.catalog_values import SegmentRecord, Table
from ebsim.format.meta_records import decode_journal
from ebsim.format.segment import ALIGNMENT, RecordKind
from ebsim.format.store_header import StoreHeader
from ebsim.progress import Progress
from ebsim.storage.catalog_proof import prove_catalog
from ebsim.storage.catalog_swap import CATALOG
from ebsim.storage.catalog_watch import CatalogWatch
from ebsim.storage.files import Files
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.storage.locks import Lock
from ebsim.storage.segment_scan import scan_segment, segment_path
from ebsim.storage.segments import LocalSegmentStore
from ebsim.storage.store_folder import not_this_store

if TYPE_CHECKING:  # a rebuild is seldom needed
    from ebsim.core.opening import Parts
    from ebsim.core.rebuild_kept import Kept

_log = logging.getLogger(__name__)


def end_doubt(
    folder: Path,
    seams: "Parts",
    header: StoreHeader,
    watch: CatalogWatch,
    progress: Progress,
    doubt: str,
) -> None:
    """Prove the catalog; rebuild it if it is damaged or not the newest, and the segments are whole.

    Args:
        folder: The store's.
        seams: Where disk, time and randomness come from.
        header: Whose catalog it must be.
        watch: The word on the catalog.
        progress: Told how far it is, and what was done.
        doubt: Why it is proved; empty for one that somebody vouches for: that is not rebuilt.

    Raises:
        CorruptionError: It is damaged, and cannot be rebuilt whole; or somebody had vouched for it.
        StoreError: It cannot be looked at.
    """
    with ExitStack() as stack:
        lock: Lock | None = None
        if not LmdbCatalog.lies_read_only(folder):
            lock = stack.enter_context(watch.alone())
            if lock is None or (doubt and not watch.doubt(alone=True)):
                return  # a writer is alive, or another opener was faster
        damage, commit, whole = _prove(folder, seams.files, header, watch, progress)
        if lock is None:
            if damage:
                raise _damaged(folder, damage, "make its file system writable, and open it again")
        elif not damage:
            watch.vouch(commit)
        elif doubt:
            _rebuild(folder, seams, progress, damage, (lock, whole))
        else:
            watch.withdraw()
            raise _damaged(folder, damage, "make it again with `ebsim rebuild`, or `ebsim repair`")


def _prove(
    folder: Path, files: Files, header: StoreHeader, watch: CatalogWatch, progress: Progress
) -> tuple[str, int, bool]:
    """Return what is wrong, the number of the last commit, and whether it is whole."""
    path = folder / CATALOG
    size = (path / "data.mdb").stat().st_size
    done = 0

    def told(part: float) -> None:
        nonlocal done
        now = int(size * part)
        progress.advance(now - done)
        done = now

    progress.start("proving the catalog", size)
    try:
        proof = prove_catalog(path, told)
    finally:
        progress.finish()
    if proof.damage:
        return "; ".join(proof.damage[:3]), 0, False
    if proof.store_id != header.store_id:
        raise not_this_store(path)  # its own may be put back: it is not made again unasked
    state = watch.read()
    if state is not None and state.commit > proof.commit:
        return f"it fell back from its commit {state.commit} to {proof.commit}", 0, True
    if watch.saw_no_restart():
        return "", proof.commit, True  # no commit was lost: what is behind belongs to none
    newest = max(_sequences(folder, files), default=0)
    known = (proof.sequence or 1) - 1
    if newest > known:
        return f"the journal goes on to entry {newest}, and the catalog knows {known}", 0, True
    return "", proof.commit, True


def _sequences(folder: Path, files: Files) -> Iterator[int]:
    """Yield the numbers of the journal's entries that the catalog, which is whole, does not know.

    Only what it does not know is read: segments, and what lies behind their published ends.
    """
    catalog = LmdbCatalog(folder / CATALOG)
    try:
        with catalog.read() as reader:
            records = [SegmentRecord.decode(value) for _, value in reader.items(Table.SEGMENTS)]
    finally:
        catalog.close()
    ends = {record.segment_id: record.published_end for record in records}
    for segment_id in LocalSegmentStore(folder / "segments", files).list_ids():
        path = segment_path(folder, segment_id)
        start = max(ends.get(segment_id, ALIGNMENT), ALIGNMENT)
        for record in scan_segment(files, path, segment_id, start=start):
            if (
                record.header is not None
                and record.payload is not None
                and record.header.kind is RecordKind.JOURNAL
            ):
                yield int(decode_journal(record.payload)["sequence"])


def _rebuild(
    folder: Path,
    seams: "Parts",
    progress: Progress,
    damage: str,
    state: tuple[Lock, bool],
) -> None:
    """Make the catalog again, and tell the user what that was and what it cannot bring back.

    `state` is the lock, and whether the old catalog is whole.

    Raises:
        CorruptionError: The segments are damaged too, or somebody uses the store.
    """
    from ebsim.core.rebuild import rebuild_store
    from ebsim.core.rebuild_kept import read_kept

    lock, whole = state
    kept: Kept | None = read_kept(folder / CATALOG) if whole else None
    try:
        report = rebuild_store(folder, seams, progress, dry_run=False, lock=lock, kept=kept)
    except ConflictError:
        then = "other processes use the store: end them, and open it again"
        raise _damaged(folder, damage, then) from None
    if report.findings:
        first = report.findings[0].message
        raise _damaged(
            folder,
            damage,
            f"the segments are damaged too ({len(report.findings)} findings; {first}): see "
            "`ebsim rebuild --dry-run` for all, then run `ebsim rebuild`, or `ebsim repair`",
        )
    lost = "Events, and snapshots that were pending or in error, are not"
    if whole:
        lost = "So are events, and snapshots in error; those that were pending are in error now"
    told = (
        f"the catalog was damaged or not the newest ({damage}), and was made again from the "
        f"segments: {report.snapshots} completed snapshots with their contents and charges are "
        f"there again. {lost}; the old catalog is kept as {report.old_catalog}"
    )
    _log.warning("%s: %s", folder, told)


def _damaged(folder: Path, damage: str, then: str) -> CorruptionError:
    return CorruptionError(
        f"the catalog {folder / CATALOG} is damaged ({damage}): {then}", ErrorCode.CORRUPT_CATALOG
    )
