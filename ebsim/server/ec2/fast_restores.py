"""EnableFastSnapshotRestores, DisableFastSnapshotRestores, DescribeFastSnapshotRestores."""

from itertools import groupby

from ebsim.caller import zone_id
from ebsim.fast_restores import FastRestore, FastRestoreQuery, FastRestoreReport
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document


@OPERATIONS.add("ec2", "EnableFastSnapshotRestores")
def enable_fast_snapshot_restores(served: Served) -> Document:
    """Enable fast restore of snapshots in zones; for each pair what became of it is told."""
    given = served.parameters
    zones = documents.zones_of(
        served, given.get("AvailabilityZones", ()), given.get("AvailabilityZoneIds", ())
    )
    return _report(served.store.fast_restores.enable(given["SourceSnapshotIds"], zones))


@OPERATIONS.add("ec2", "DisableFastSnapshotRestores")
def disable_fast_snapshot_restores(served: Served) -> Document:
    """Disable fast restore of snapshots in zones; for each pair what became of it is told."""
    given = served.parameters
    zones = documents.zones_of(
        served, given.get("AvailabilityZones", ()), given.get("AvailabilityZoneIds", ())
    )
    return _report(served.store.fast_restores.disable(given["SourceSnapshotIds"], zones))


@OPERATIONS.add("ec2", "DescribeFastSnapshotRestores")
def describe_fast_snapshot_restores(served: Served) -> Document:
    """Return a page of fast restores."""
    given = served.parameters
    query = FastRestoreQuery(
        filters=documents.filters(given),
        max_results=given.get("MaxResults"),
        next_token=given.get("NextToken"),
    )
    page = served.store.fast_restores.describe(query)
    return {
        "FastSnapshotRestores": [_fast_restore(each) for each in page.fast_restores],
        "NextToken": page.next_token,
    }


def _report(report: FastRestoreReport) -> Document:
    failed = sorted(report.unsuccessful, key=lambda each: each.snapshot_id)
    return {
        "Successful": [_fast_restore(each) for each in report.successful],
        "Unsuccessful": [
            {
                "SnapshotId": name,
                "FastSnapshotRestoreStateErrors": [
                    {
                        "AvailabilityZone": each.zone,
                        "AvailabilityZoneId": zone_id(each.zone),
                        "Error": {"Code": each.code, "Message": each.message},
                    }
                    for each in each_zone
                ],
            }
            for name, each_zone in groupby(failed, key=lambda each: each.snapshot_id)
        ],
    }


def _fast_restore(fast: FastRestore) -> Document:
    return {
        "SnapshotId": fast.snapshot_id,
        "AvailabilityZone": fast.zone,
        "AvailabilityZoneId": zone_id(fast.zone),
        "State": fast.state.value,
        "StateTransitionReason": fast.reason,
        "OwnerId": fast.owner,
        "EnablingTime": documents.moment(fast.enabling_us),
        "OptimizingTime": documents.optional_moment(fast.optimizing_us),
        "EnabledTime": documents.optional_moment(fast.enabled_us),
        "DisablingTime": documents.optional_moment(fast.disabling_us),
        "DisabledTime": documents.optional_moment(fast.disabled_us),
    }
