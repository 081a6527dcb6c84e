"""Rebuilding the catalog: it is made again from the segments alone.

The old catalog is not opened: it may be missing, damaged, or kill who looks at it. All records of
all segments are read and proved, the journal is told again, and a new catalog is written beside the
old one, checked, and put in its place (`ebsim.storage.catalog_swap`). Segments are only read. What
is damaged or missing is told; the rest is there again.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ebsim import failpoints
from ebsim.clock import Clock
from ebsim.core.context import StoreContext
from ebsim.core.rebuild_catalog import Findings, write_catalog
from ebsim.core.rebuild_journal import History, lineage_nodes, replay
from ebsim.core.rebuild_kept import Kept, put_kept
from ebsim.core.rebuild_maps import find_blocks, map_findings, walk_maps
from ebsim.core.rebuild_scan import Scan, chained_entries, scan_store
from ebsim.core.rebuild_volumes import suspect_everything, with_epochs
from ebsim.core.started_files import discard_all
from ebsim.entropy import Entropy
from ebsim.errors import ConflictError, ErrorCode, StoreError
from ebsim.format.store_header import StoreHeader
from ebsim.progress import Progress, SilentProgress
from ebsim.reports import Finding, RebuildReport
from ebsim.storage.catalog_swap import begin_catalog, swap_catalog
from ebsim.storage.catalog_watch import CatalogWatch
from ebsim.storage.files import Files
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.storage.locks import Lock, LockFile
from ebsim.storage.reserve import Reserve
from ebsim.storage.segments import LocalSegmentStore
from ebsim.storage.set_aside import SetAside
from ebsim.storage.store_folder import LOCK_NAME, read_store_header

_NOT_ITS_FAULT = (
    "unknown-volume",
    "missing-volume",
    "short-volume",
    "unreadable-volume",
    "unknown-started",
)
"""What a check finds wrong with files that a catalog does not make, and that is told anyway."""


class Parts(Protocol):
    """What a rebuild needs of the seams of a store."""

    @property
    def files(self) -> Files:
        """The store's own files."""
        ...

    @property
    def clock(self) -> Clock:
        """The time, for people."""
        ...

    @property
    def entropy(self) -> Entropy:
        """Ids."""
        ...


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be made.

    Attributes:
        known: What goes into the new catalog.
        findings: What is damaged or missing.
        present: The names in the folder of live data.
        read_bytes: Bytes read from segments.
    """

    known: Findings
    findings: list[Finding]
    present: set[str]
    read_bytes: int

    @property
    def unreadable_bytes(self) -> int:
        """Bytes that are neither records nor holes."""
        return sum(self.known.scan.unreadable.values())

    @property
    def tidy(self) -> bool:
        """Whether what nothing refers to belongs to nothing."""
        return not self.findings and not self.unreadable_bytes


def rebuild_store(
    folder: Path,
    parts: Parts,
    progress: Progress,
    *,
    dry_run: bool,
    lock: Lock | None = None,
    kept: Kept | None = None,
) -> RebuildReport:
    """Make a store's catalog again, or tell what that would make.

    Args:
        folder: The store's.
        parts: Where disk, time and randomness come from.
        progress: Told how far the reading is.
        dry_run: Change nothing.
        lock: A lock of the store's, of one who rebuilds unasked: it is extended to all of it, and
            nothing is changed where anything is damaged or missing.
        kept: What the old catalog knows beside the journal, where it was proved to be whole.

    Raises:
        NotFoundError, FormatVersionError, CorruptionError: There is no store, or no readable one.
        ConflictError: StoreInUse.
        StoreError, LimitExceededError: The segments cannot be read, or no catalog be written; the
            store has its old catalog, or its new one.
    """
    files = parts.files
    header = read_store_header(folder, files)
    unasked = lock is not None
    if lock is None:
        lock = LockFile(folder / LOCK_NAME).try_hold_all()
    elif not lock.extend(0, 0):
        lock = None
    if lock is None:
        raise ConflictError(
            f"a process has the store {folder} open for writing: let it end first",
            ErrorCode.STORE_IN_USE,
        )
    with lock:
        plan = _plan(folder, files, header, progress)
        told_only = dry_run or (unasked and bool(plan.findings))
        aside = "" if told_only else _carry_out(folder, parts, header, plan, kept)
        if not told_only:
            discard_all(files, folder)
    history = plan.known.history
    return RebuildReport(
        dry_run=told_only,
        snapshots=len(history.snapshots),
        volumes=len(history.volumes),
        images=len(history.images),
        policies=len(history.policies),
        blocks=len(plan.known.blocks.ids),
        read_bytes=plan.read_bytes,
        unreadable_bytes=plan.unreadable_bytes,
        old_catalog=aside,
        findings=tuple(plan.findings),
    )


def _plan(folder: Path, files: Files, header: StoreHeader, progress: Progress) -> _Plan:
    segments = LocalSegmentStore(folder / "segments", files)
    read_bytes = 0

    def advance(count: int) -> None:
        nonlocal read_bytes
        read_bytes += count
        progress.advance(count)

    progress.start("rebuild", segments.stored_bytes())
    try:
        scan = scan_store(folder, files, header, segments.list_ids(), advance)
    finally:
        progress.finish()
    entries, breaks = chained_entries(scan)
    present = _live_data(folder, files)
    history = with_epochs(replay(entries), present)
    gone: list[Finding] = []
    if breaks:
        history, gone = _without_lost(scan, history)
    nodes = lineage_nodes(history)
    needs = walk_maps(scan, nodes)
    blocks = find_blocks(scan, needs)
    findings = [*scan.findings, *breaks, *history.findings, *gone]
    findings += map_findings(scan, history, needs, blocks)
    return _Plan(
        Findings(scan, entries, history, nodes, needs, blocks), findings, present, read_bytes
    )


def _live_data(folder: Path, files: Files) -> set[str]:
    """Return the names in the folder of managed volumes."""
    try:
        return set(files.list(folder / "volumes"))
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise StoreError(f"cannot list {folder / 'volumes'}: {error.strerror}") from error


def _without_lost(scan: Scan, history: History) -> tuple[History, list[Finding]]:
    """Leave out snapshots without their maps: the entry that is missing may have deleted them."""
    gone = [
        record
        for record in history.snapshots.values()
        if record.root and record.root not in scan.pages
    ]
    kept = {name: each for name, each in history.snapshots.items() if each not in gone}
    findings = [
        Finding(
            kind="lost-snapshot",
            message=f"{record.snapshot_id} has no map any more, and may have been deleted",
        )
        for record in gone
    ]
    return replace(history, snapshots=kept), findings


def _carry_out(
    folder: Path, parts: Parts, header: StoreHeader, plan: _Plan, kept: Kept | None
) -> str:
    """Write the new catalog, check it, and put it in its place; return where the old one is."""
    files = parts.files
    failpoints.reach("rebuild.planned")
    catalog = LmdbCatalog(begin_catalog(folder, files))
    failpoints.reach("rebuild.begun")
    segments = LocalSegmentStore(folder / "segments", files)
    context = StoreContext(
        path=folder,
        header=header,
        catalog=catalog,
        segments=segments,
        locks=LockFile(folder / LOCK_NAME),
        reserve=Reserve(folder / "reserve", files),
        files=files,
        clock=parts.clock,
        entropy=parts.entropy,
    )
    try:
        _set_aside_damaged(context, plan.known)
        write_catalog(catalog, plan.known, header.store_id, tidy=plan.tidy)
        if kept is not None:
            history = plan.known.history
            catalog.update(lambda writer: put_kept(context, writer, kept, history))
        failpoints.reach("rebuild.written")
        suspect_everything(context, plan.known.history, plan.present)
        if plan.tidy:
            _prove(context)
        last = catalog.last_commit()
    finally:
        segments.close()
        catalog.close()
    failpoints.reach("rebuild.closed")
    aside = swap_catalog(folder, files)
    CatalogWatch(folder, files, context.locks, "").vouch(last)
    return aside


def _set_aside_damaged(context: StoreContext, known: Findings) -> None:
    """Keep what is left of damaged blocks: the next snapshot with their content replaces them."""
    places = [known.blocks.places[block_hash] for block_hash in sorted(known.blocks.damaged)]
    ids = known.scan.segments
    SetAside(context.path, context.files).keep(
        (
            ids[place.segment - 1],
            place.offset,
            context.segments.read_raw(ids[place.segment - 1], place.offset, place.extent),
        )
        for place in places
    )


def _prove(context: StoreContext) -> None:
    """Check the new catalog, of which nothing is known to be wrong.

    Raises:
        StoreError: Something is wrong: it must not take the place of the old one.
    """
    from ebsim.core.check import check_store

    report = check_store(context, SilentProgress(), None, keyring=False)
    for finding in report.findings:
        if finding.kind not in _NOT_ITS_FAULT:
            raise StoreError(f"the new catalog is not whole, and was not put in place: {finding}")
