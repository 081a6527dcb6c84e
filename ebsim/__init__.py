"""A local block-snapshot engine with the semantics of Amazon EBS, over real bytes.

    import ebsim

    with ebsim.Store.open("backups", create=True) as store:
        snapshot = store.create_snapshot("disk.img")
        store.restore_snapshot(snapshot.snapshot_id, "restored.img")

The errors are in `ebsim.errors`; what tests are made of is in `ebsim.testing`.
"""

from ebsim.config import Compression, SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError, ErrorCode
from ebsim.progress import Progress, SilentProgress
from ebsim.results import (
    ChangedBlocks,
    ChargeCause,
    ChargeEvent,
    CheckReport,
    DeletedSnapshot,
    DeleteReport,
    Finding,
    MovedCharge,
    RestoreReport,
    Snapshot,
    SnapshotState,
    StoreStats,
)
from ebsim.storage.sources import BlockSource
from ebsim.units import BLOCK_SIZE

__all__ = [
    "BLOCK_SIZE",
    "BlockSource",
    "ChangedBlocks",
    "ChargeCause",
    "ChargeEvent",
    "CheckReport",
    "Compression",
    "DeleteReport",
    "DeletedSnapshot",
    "EbsimError",
    "ErrorCode",
    "Finding",
    "MovedCharge",
    "Progress",
    "RestoreReport",
    "Seams",
    "SilentProgress",
    "Snapshot",
    "SnapshotOptions",
    "SnapshotState",
    "Store",
    "StoreStats",
]
