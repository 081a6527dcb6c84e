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
    from ebsim.images import (
        Deregistration,
        Image,
        ImageDevice,
        ImagePage,
        ImageState,
        SnapshotReturnCode,
    )
    from ebsim.keys.unlocking import KeyringAccess
    from ebsim.off_site import CopyOutcome, OffSiteCopy, OffSiteReport, OffSiteRequest
    from ebsim.patience import Patience
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
        CheckReport,
        CompactedSegment,
        CompactReport,
        DamagedRecord,
        DataCoverage,
        Finding,
        RebuildReport,
        RepairedRecord,
        RepairReport,
        StoreStats,
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
        DeletedSnapshot,
        DeleteReport,
        Event,
        KeptSnapshot,
        ModificationState,
        MovedCharge,
        PruneReport,
        ResourceType,
        RestoreReport,
        Snapshot,
        SnapshotPage,
        SnapshotState,
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
    "CopyOutcome",
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
    "KeyringAccess",
    "LifecyclePolicy",
    "LifecycleRun",
    "ModificationState",
    "MovedCharge",
    "OffSiteCopy",
    "OffSiteReport",
    "OffSiteRequest",
    "Patience",
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
    "CheckReport": "ebsim.reports",
    "CompactReport": "ebsim.reports",
    "CompactedSegment": "ebsim.reports",
    "Compression": "ebsim.config",
    "CopyOutcome": "ebsim.off_site",
    "CreateRule": "ebsim.policies",
    "DamagedRecord": "ebsim.reports",
    "DataCheck": "ebsim.requests",
    "DataCoverage": "ebsim.reports",
    "DeleteReport": "ebsim.results",
    "DeletedSnapshot": "ebsim.results",
    "Deregistration": "ebsim.images",
    "EbsimError": "ebsim.errors",
    "ErrorCode": "ebsim.errors",
    "Event": "ebsim.results",
    "ExpiredSnapshot": "ebsim.policies",
    "Filter": "ebsim.requests",
    "Finding": "ebsim.reports",
    "Image": "ebsim.images",
    "ImageDevice": "ebsim.images",
    "ImageOptions": "ebsim.requests",
    "ImagePage": "ebsim.images",
    "ImageQuery": "ebsim.requests",
    "ImageState": "ebsim.images",
    "KeptSnapshot": "ebsim.results",
    "KeyringAccess": "ebsim.keys.unlocking",
    "LifecyclePolicy": "ebsim.policies",
    "LifecycleRun": "ebsim.policies",
    "ModificationState": "ebsim.results",
    "MovedCharge": "ebsim.results",
    "OffSiteCopy": "ebsim.off_site",
    "OffSiteReport": "ebsim.off_site",
    "OffSiteRequest": "ebsim.off_site",
    "Patience": "ebsim.patience",
    "PolicyRequest": "ebsim.policies",
    "PolicyState": "ebsim.policies",
    "Progress": "ebsim.progress",
    "PruneOptions": "ebsim.requests",
    "PruneReport": "ebsim.results",
    "Quotas": "ebsim.config",
    "ResourceType": "ebsim.results",
    "RebuildReport": "ebsim.reports",
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
    "SnapshotReturnCode": "ebsim.images",
    "SnapshotState": "ebsim.results",
    "Store": "ebsim.engine",
    "StoreStats": "ebsim.reports",
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
