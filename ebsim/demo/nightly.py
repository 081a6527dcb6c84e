"""The main job on a real image: two snapshots, the first deleted, the second restored."""

from collections.abc import Callable
from pathlib import Path

from ebsim.demo.checks import require_equal
from ebsim.demo.image import build_image, change_image, check_file_system
from ebsim.demo.report import ImageReport
from ebsim.engine import Store
from ebsim.progress import Progress
from ebsim.reports import CheckReport
from ebsim.results import DeletedSnapshot, Snapshot
from ebsim.units import BLOCK_SIZE, MIB, format_size

Say = Callable[[str], None]
"""Tells the user one thing that was done."""

_COMPARED_AT_ONCE = 8 * MIB


def run_nightly(folder: Path, say: Say, progress: Progress) -> ImageReport:
    """Do the main job in an empty folder, and leave image, store and restored image there.

    Raises:
        EbsimError: A step failed, or a result is not what it must be (DEMO_FAILED).
    """
    image, restored = folder / "disk.img", folder / "restored.img"
    say("The main job, on a real ext4 image built from files of this machine\n")
    tree = build_image(image, _new_folder(folder / "tree"))
    size = image.stat().st_size
    files = f"{len(tree.paths):,} files of {format_size(tree.size_bytes)}"
    say(f"  disk.img has {format_size(size)} and holds {files}.")
    with Store.open(folder / "store", create=True) as store:
        first = _create(store, image, say, progress)
        changes = change_image(image, tree, _new_folder(folder / "changes"))
        say(
            f"  In disk.img {changes.replaced} files are replaced, {changes.removed} removed, and"
            f" one of {format_size(changes.added_size_bytes)} is added."
        )
        second = _create(store, image, say, progress)
        changed = store.diff_snapshots(first.snapshot_id, second.snapshot_id)
        require_equal("the parent", second.parent_id, first.snapshot_id)
        changed_bytes = changed.block_count * BLOCK_SIZE
        require_equal("the difference in bytes", changed_bytes, second.charged_size_bytes)
        deletion = _delete(store, first.snapshot_id, say)
        survivor = store.get_snapshot(second.snapshot_id)
        require_equal(
            "the survivor's charge", survivor.charged_size_bytes, survivor.full_size_bytes
        )
        say(f"  $ ebsim restore {second.snapshot_id} restored.img")
        restoration = store.restore_snapshot(second.snapshot_id, restored, progress=progress)
        compared = compare_files(image, restored)
        check_file_system(restored)
        say(f"      all {compared:,} bytes are equal to disk.img's, and e2fsck finds no fault")
        return ImageReport(
            image_size_bytes=size,
            tree=tree,
            changes=changes,
            first=first,
            second=second,
            changed=changed,
            deletion=deletion,
            survivor=survivor,
            restoration=restoration,
            compared_bytes=compared,
            checked=_check(store, say, progress),
            stats=store.stats(),
        )


def compare_files(first: Path, second: Path) -> int:
    """Compare two files, and return how many bytes that were.

    Raises:
        InternalError: They differ (DEMO_FAILED).
    """
    offset = 0
    with first.open("rb") as one, second.open("rb") as other:
        while True:
            part = one.read(_COMPARED_AT_ONCE)
            if part != other.read(_COMPARED_AT_ONCE):
                where = f"the content within {_COMPARED_AT_ONCE} bytes from offset {offset}"
                require_equal(where, "changed", "restored")
            if not part:
                return offset
            offset += len(part)


def _create(store: Store, image: Path, say: Say, progress: Progress) -> Snapshot:
    say("  $ ebsim snapshot create disk.img")
    snapshot = store.create_snapshot(image, progress=progress)
    kind = "full" if snapshot.parent_id is None else "incremental"
    say(
        f"      {snapshot.snapshot_id}: {kind}, charged"
        f" {format_size(snapshot.charged_size_bytes)}; {_stored(store)}"
    )
    return snapshot


def _delete(store: Store, snapshot_id: str, say: Say) -> DeletedSnapshot:
    """Delete a snapshot after a dry run, which must foretell every figure."""
    say(f"  $ ebsim snapshot delete {snapshot_id}")
    planned = store.delete_snapshots([snapshot_id], dry_run=True).deleted
    (deleted,) = store.delete_snapshots([snapshot_id]).deleted
    require_equal("the deletion", (deleted,), planned)
    say(
        f"      {format_size(deleted.moved_size_bytes)} charged moved to the second,"
        f" {format_size(deleted.freed_size_bytes)} freed; {_stored(store)}"
    )
    return deleted


def _check(store: Store, say: Say, progress: Progress) -> CheckReport:
    say("  $ ebsim check --data")
    report = store.check(data=True, progress=progress)
    require_equal("the number of findings of the check", len(report.findings), 0)
    say(f"      {report.blocks:,} stored blocks read and proved: healthy")
    return report


def _stored(store: Store) -> str:
    return f"the store has {format_size(store.stats().stored_size_bytes)} stored"


def _new_folder(path: Path) -> Path:
    path.mkdir()
    return path
