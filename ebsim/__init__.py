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
    from ebsim.config import Compression, Quotas, SnapshotOptions
    from ebsim.engine import Seams, Store
    from ebsim.errors import EbsimError, ErrorCode
    from ebsim.policies import (
        CreateRule,
        ExpiredSnapshot,
        LifecyclePolicy,
        LifecycleRun,
        PolicyRequest,
        PolicyState,
        RetainRule,
        RetainUnit,
        Schedule,
        ScheduledSnapshot,
    )
    from ebsim.progress import Progress, SilentProgress
    from ebsim.reports import (
        CompactedSegment,
        CompactReport,
        DamagedRecord,
        RepairedRecord,
        RepairReport,
    )
    from ebsim.requests import (
        BlockDevice,
        DataCheck,
        Filter,
        ImageOptions,
        ImageQuery,
        PruneOptions,
        SnapshotQuery,
        TagQuery,
        VolumeModificationRequest,
        VolumeQuery,
        VolumeRequest,
    )
    from ebsim.results import (
        ChangedBlocks,
        ChargeCause,
        ChargeEvent,
        CheckReport,
        DataCoverage,
        DeletedSnapshot,
        DeleteReport,
        Deregistration,
        Event,
        Finding,
        Image,
        ImageDevice,
        ImagePage,
        ImageState,
        KeptSnapshot,
        ModificationState,
        MovedCharge,
        PruneReport,
        RebuildReport,
        ResourceType,
        RestoreReport,
        Snapshot,
        SnapshotPage,
        SnapshotReturnCode,
        SnapshotState,
        StoreStats,
        Tag,
        Volume,
        VolumeModification,
        VolumePage,
        VolumeShape,
        VolumeState,
    )
    from ebsim.storage.sources import BlockSource
    from ebsim.units import BLOCK_SIZE

__all__ = [
    "BLOCK_SIZE",
    "BlockDevice",
    "BlockSource",
    "ChangedBlocks",
    "ChargeCause",
    "ChargeEvent",
    "CheckReport",
    "CompactReport",
    "CompactedSegment",
    "Compression",
    "CreateRule",
    "DamagedRecord",
    "DataCheck",
    "DataCoverage",
    "DeleteReport",
    "DeletedSnapshot",
    "Deregistration",
    "EbsimError",
    "ErrorCode",
    "Event",
    "ExpiredSnapshot",
    "Filter",
    "Finding",
    "Image",
    "ImageDevice",
    "ImageOptions",
    "ImagePage",
    "ImageQuery",
    "ImageState",
    "KeptSnapshot",
    "LifecyclePolicy",
    "LifecycleRun",
    "ModificationState",
    "MovedCharge",
    "PolicyRequest",
    "PolicyState",
    "Progress",
    "PruneOptions",
    "PruneReport",
    "Quotas",
    "RebuildReport",
    "RepairReport",
    "RepairedRecord",
    "ResourceType",
    "RestoreReport",
    "RetainRule",
    "RetainUnit",
    "Schedule",
    "ScheduledSnapshot",
    "Seams",
    "SilentProgress",
    "Snapshot",
    "SnapshotOptions",
    "SnapshotPage",
    "SnapshotQuery",
    "SnapshotReturnCode",
    "SnapshotState",
    "Store",
    "StoreStats",
    "Tag",
    "TagQuery",
    "Volume",
    "VolumeModification",
    "VolumeModificationRequest",
    "VolumePage",
    "VolumeQuery",
    "VolumeRequest",
    "VolumeShape",
    "VolumeState",
]

_HOMES = {
    "BLOCK_SIZE": "ebsim.units",
    "BlockDevice": "ebsim.requests",
    "BlockSource": "ebsim.storage.sources",
    "ChangedBlocks": "ebsim.results",
    "ChargeCause": "ebsim.results",
    "ChargeEvent": "ebsim.results",
    "CheckReport": "ebsim.results",
    "CompactReport": "ebsim.reports",
    "CompactedSegment": "ebsim.reports",
    "Compression": "ebsim.config",
    "CreateRule": "ebsim.policies",
    "DamagedRecord": "ebsim.reports",
    "DataCheck": "ebsim.requests",
    "DataCoverage": "ebsim.results",
    "DeleteReport": "ebsim.results",
    "DeletedSnapshot": "ebsim.results",
    "Deregistration": "ebsim.results",
    "EbsimError": "ebsim.errors",
    "ErrorCode": "ebsim.errors",
    "Event": "ebsim.results",
    "ExpiredSnapshot": "ebsim.policies",
    "Filter": "ebsim.requests",
    "Finding": "ebsim.results",
    "Image": "ebsim.results",
    "ImageDevice": "ebsim.results",
    "ImageOptions": "ebsim.requests",
    "ImagePage": "ebsim.results",
    "ImageQuery": "ebsim.requests",
    "ImageState": "ebsim.results",
    "KeptSnapshot": "ebsim.results",
    "LifecyclePolicy": "ebsim.policies",
    "LifecycleRun": "ebsim.policies",
    "ModificationState": "ebsim.results",
    "MovedCharge": "ebsim.results",
    "PolicyRequest": "ebsim.policies",
    "PolicyState": "ebsim.policies",
    "Progress": "ebsim.progress",
    "PruneOptions": "ebsim.requests",
    "PruneReport": "ebsim.results",
    "Quotas": "ebsim.config",
    "ResourceType": "ebsim.results",
    "RebuildReport": "ebsim.results",
    "RepairReport": "ebsim.reports",
    "RepairedRecord": "ebsim.reports",
    "RestoreReport": "ebsim.results",
    "RetainRule": "ebsim.policies",
    "RetainUnit": "ebsim.policies",
    "Schedule": "ebsim.policies",
    "ScheduledSnapshot": "ebsim.policies",
    "Seams": "ebsim.engine",
    "SilentProgress": "ebsim.progress",
    "Snapshot": "ebsim.results",
    "SnapshotOptions": "ebsim.config",
    "SnapshotPage": "ebsim.results",
    "SnapshotQuery": "ebsim.requests",
    "SnapshotReturnCode": "ebsim.results",
    "SnapshotState": "ebsim.results",
    "Store": "ebsim.engine",
    "StoreStats": "ebsim.results",
    "Tag": "ebsim.results",
    "TagQuery": "ebsim.requests",
    "Volume": "ebsim.results",
    "VolumeModification": "ebsim.results",
    "VolumeModificationRequest": "ebsim.requests",
    "VolumePage": "ebsim.results",
    "VolumeQuery": "ebsim.requests",
    "VolumeRequest": "ebsim.requests",
    "VolumeShape": "ebsim.results",
    "VolumeState": "ebsim.results",
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
