"""Checking started snapshots: that their blocks are there, and that no others lie about."""

from collections.abc import Iterator

from ebsim.core.context import StoreContext
from ebsim.core.snapshots import list_snapshots
from ebsim.core.started_files import ids_present, noted
from ebsim.errors import CorruptionError, StoreError
from ebsim.reports import Finding
from ebsim.results import SnapshotState


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
