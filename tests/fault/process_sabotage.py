"""Deliberate faults, put into each process of the campaign `processes` when it starts."""

from collections.abc import Sequence
from typing import Any

from ebsim.engine import Store
from ebsim.results import DeleteReport
from ebsim.storage.locks import Lock, LockFile
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.volume_file import VolumeFile


def replace(owner: type, name: str, function: object) -> None:
    setattr(owner, name, function)


def delete_one_more() -> None:
    """A deletion takes another snapshot with it, and does not say so."""
    delete = Store.delete_snapshots

    def deleting(self: Store, ids: Sequence[str], **options: Any) -> DeleteReport:
        report = delete(self, ids, **options)
        others = [each.snapshot_id for each in self.list_snapshots()]
        delete(self, others[:1])
        return report

    replace(Store, "delete_snapshots", deleting)


def delete_nothing() -> None:
    """A deletion reports what it would do, and does not do it."""
    delete = Store.delete_snapshots

    def deleting(self: Store, ids: Sequence[str], **_options: Any) -> DeleteReport:
        return delete(self, ids, dry_run=True)

    replace(Store, "delete_snapshots", deleting)


def read_zeros() -> None:
    """A block is read as zeros."""
    replace(Store, "read_block", lambda _self, _snapshot_id, _index: bytes(BLOCK_SIZE))


def write_nothing() -> None:
    """A write to a volume is reported, and nothing is written."""
    replace(VolumeFile, "pwrite", lambda _self, data, _offset: len(bytes(data)))


def hold_no_lock() -> None:
    """Every lock is free, so that living processes are taken for dead ones."""
    hold = LockFile._hold

    def holding(self: LockFile, region: int, **options: Any) -> Lock | None:
        return hold(self, region + (1 << 45), **(options | {"exclusive": False}))

    replace(LockFile, "_hold", holding)
