"""Checking fast restores: one that was not ended has a snapshot that volumes can be made of."""

from collections.abc import Iterator

from ebsim.caller import Caller
from ebsim.core.access import may_use
from ebsim.core.fast_restore_rules import is_on
from ebsim.core.fast_restores import all_fast_restores, restorable
from ebsim.core.snapshots import find_snapshot
from ebsim.reports import Finding
from ebsim.storage.catalog import CatalogReader


def check_fast_restores(reader: CatalogReader) -> Iterator[Finding]:
    """Look that each snapshot is there, completed, not archived, and its account's to use."""
    for record in filter(is_on, all_fast_restores(reader)):
        snapshot = find_snapshot(reader, record.snapshot_id)
        caller = Caller(record.owner, record.region)
        if snapshot is None:
            wrong = "does not exist"
        elif not restorable(snapshot):
            wrong = f"is '{snapshot.state}', in the {snapshot.tier} tier"
        elif not snapshot.public and not may_use(reader, caller, snapshot):
            wrong = "is not shared with it"
        else:
            continue
        message = (
            f"account {record.owner} pays for fast restore of {record.snapshot_id} in "
            f"{record.zone}, which {wrong}"
        )
        yield Finding(kind="wrong-reference", message=message)
