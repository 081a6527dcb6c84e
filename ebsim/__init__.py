"""A local block-snapshot engine with the semantics of Amazon EBS, over real bytes.

    import ebsim

    with ebsim.Store.open("backups", create=True) as store:
        snapshot = store.create_snapshot("disk.img")
        store.restore_snapshot(snapshot.snapshot_id, "restored.img")

The errors are in `ebsim.errors`; what tests are made of is in `ebsim.testing`.

Names are imported when first used: the command line begins without the engine, and can be stopped
cleanly from its first moment.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_HOMES = {
    "BLOCK_SIZE": "ebsim.units",
    "BlockSource": "ebsim.storage.sources",
    "ChangedBlocks": "ebsim.results",
    "ChargeCause": "ebsim.results",
    "ChargeEvent": "ebsim.results",
    "CheckReport": "ebsim.results",
    "Compression": "ebsim.config",
    "DeleteReport": "ebsim.results",
    "DeletedSnapshot": "ebsim.results",
    "EbsimError": "ebsim.errors",
    "ErrorCode": "ebsim.errors",
    "Finding": "ebsim.results",
    "MovedCharge": "ebsim.results",
    "Progress": "ebsim.progress",
    "RestoreReport": "ebsim.results",
    "Seams": "ebsim.engine",
    "SilentProgress": "ebsim.progress",
    "Snapshot": "ebsim.results",
    "SnapshotOptions": "ebsim.config",
    "SnapshotState": "ebsim.results",
    "Store": "ebsim.engine",
    "StoreStats": "ebsim.results",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
