"""Fast snapshot restores, as JSON documents and as text for people."""

from ebsim.cli.layout import more, table
from ebsim.cli.output import Json, JsonValue
from ebsim.clock import format_time
from ebsim.fast_restores import (
    FastRestore,
    FastRestoreFailure,
    FastRestorePage,
    FastRestoreReport,
)


def fast_restore_document(record: FastRestore) -> Json:
    """Return the document of one: EC2's members, and ebsim's on credits and minutes."""
    document: dict[str, JsonValue] = {
        "SnapshotId": record.snapshot_id,
        "AvailabilityZone": record.zone,
        "State": record.state.value,
        "StateTransitionReason": record.reason,
        "OwnerId": record.owner,
    }
    times = {
        "EnablingTime": record.enabling_us,
        "OptimizingTime": record.optimizing_us,
        "EnabledTime": record.enabled_us,
        "DisablingTime": record.disabling_us,
        "DisabledTime": record.disabled_us,
    }
    document |= {name: format_time(us) for name, us in times.items() if us is not None}
    return document | {
        "CreditsBalance": float(record.credits),
        "CreditsBucketSize": float(record.credits_max),
        "BilledMinutes": record.billed_minutes,
    }


def report_document(report: FastRestoreReport) -> Json:
    """Return the document of `fast-restore enable` and `disable`, as EC2 answers."""
    failures: dict[str, list[FastRestoreFailure]] = {}
    for each in report.unsuccessful:
        failures.setdefault(each.snapshot_id, []).append(each)
    return {
        "Successful": [fast_restore_document(each) for each in report.successful],
        "Unsuccessful": [
            {
                "SnapshotId": snapshot_id,
                "FastSnapshotRestoreStateErrors": [
                    {
                        "AvailabilityZone": each.zone,
                        "Error": {"Code": each.code, "Message": each.message},
                    }
                    for each in of_snapshot
                ],
            }
            for snapshot_id, of_snapshot in failures.items()
        ],
    }


def report_text(report: FastRestoreReport) -> str:
    """Return what became of each snapshot and zone, a line each."""
    done = [f"{each.snapshot_id} {each.zone}: {each.state.value}." for each in report.successful]
    refused = [
        f"{each.snapshot_id} {each.zone}: refused: {each.message} ({each.code})"
        for each in report.unsuccessful
    ]
    return "\n".join([*done, *refused])


def page_document(page: FastRestorePage) -> Json:
    """Return the document of `fast-restore list`; `NextToken` is there where there is more."""
    document: dict[str, JsonValue] = {
        "FastSnapshotRestores": [fast_restore_document(each) for each in page.fast_restores]
    }
    if page.next_token is not None:
        document["NextToken"] = page.next_token
    return document


def page_text(page: FastRestorePage) -> str:
    """Return a table of fast restores."""
    if not page.fast_restores:
        return "No fast restores."
    header = ("SNAPSHOT", "ZONE", "STATE", "CREDITS", "BILLED", "SINCE (UTC)")
    rows = [
        (
            each.snapshot_id,
            each.zone,
            each.state.value,
            f"{float(each.credits):.2f} of {float(each.credits_max):g}",
            f"{each.billed_minutes:,} min",
            format_time(each.enabling_us),
        )
        for each in page.fast_restores
    ]
    return table([header, *rows], right={3, 4}) + more(page.next_token)
