"""From lifecycle policies and their runs to JSON documents and to text for people."""

from collections.abc import Sequence

from ebsim.cli import json_views, text_views
from ebsim.cli.layout import count, pairs, table
from ebsim.cli.output import Json, printable
from ebsim.clock import format_time
from ebsim.core.policy_documents import write_policy
from ebsim.policies import (
    ExpiredSnapshot,
    LifecyclePolicy,
    LifecycleRun,
    Schedule,
    ScheduledSnapshot,
)


def policy_document(policy: LifecyclePolicy) -> Json:
    """Return the document of one policy, as Data Lifecycle Manager has it."""
    return {
        "PolicyId": policy.policy_id,
        **write_policy(policy.request),
        "DateCreated": format_time(policy.create_time_us),
        "DateModified": format_time(policy.modify_time_us),
    }


def policies_document(policies: Sequence[LifecyclePolicy]) -> Json:
    """Return the document of `lifecycle list`."""
    return {"Policies": [policy_document(policy) for policy in policies]}


def policies_text(policies: Sequence[LifecyclePolicy]) -> str:
    """Return the table of `lifecycle list`."""
    if not policies:
        return "No policies."
    rows = [
        (
            policy.policy_id,
            policy.request.state.value,
            "; ".join(_when(schedule) for schedule in policy.request.schedules),
            "; ".join(_how_long(schedule) for schedule in policy.request.schedules),
            printable(policy.request.description),
        )
        for policy in policies
    ]
    return table([("POLICY", "STATE", "SNAPSHOTS", "KEPT", "DESCRIPTION"), *rows], right=set())


def policy_text(policy: LifecyclePolicy) -> str:
    """Return the text of `lifecycle show`."""
    request = policy.request
    rows = [
        ("Policy", policy.policy_id),
        ("Description", printable(request.description)),
        ("State", request.state.value),
        ("Made", format_time(policy.create_time_us)),
        ("Changed", format_time(policy.modify_time_us)),
        *(
            ("Volumes", f"with the tag {printable(key)}={printable(value)}")
            for key, value in request.target_tags
        ),
        *(("Source", printable(path)) for path in request.sources),
        *(("Schedule", _schedule(schedule)) for schedule in request.schedules),
    ]
    return pairs(rows)


def _schedule(schedule: Schedule) -> str:
    tags = [f"{printable(key)}={printable(value)}" for key, value in schedule.tags_to_add.items()]
    extras = [
        *(["the volume's tags are copied"] if schedule.copy_tags else []),
        *([f"tagged {' '.join(tags)}"] if tags else []),
    ]
    return "; ".join([f"{schedule.name}: {_when(schedule)}", _how_long(schedule), *extras])


def _when(schedule: Schedule) -> str:
    rule = schedule.create
    return rule.cron or f"every {rule.interval_hours} h from {rule.time} UTC"


def _how_long(schedule: Schedule) -> str:
    rule = schedule.retain
    if rule.count:
        return f"the last {rule.count:,}"
    return f"{rule.interval:,} {rule.unit.value.lower()}"


def deleted_document(policy_id: str) -> Json:
    """Return the document of `lifecycle delete`."""
    return {"PolicyId": policy_id}


def run_document(run: LifecycleRun) -> Json:
    """Return the document of `lifecycle run`."""
    return {
        "Created": [_created_document(each) for each in run.created],
        "Expired": [_expired_document(each) for each in run.expired],
        "Deleted": [json_views.deleted_snapshot(each) for each in run.deletion.deleted],
        "Errors": list(run.errors),
        "DryRun": run.dry_run,
    }


def _created_document(each: ScheduledSnapshot) -> Json:
    return {
        "PolicyId": each.policy_id,
        "ScheduleNames": list(each.schedules),
        "DueTime": format_time(each.due_us),
        "VolumeId": each.volume_id,
        "Source": each.source,
        "SnapshotId": each.snapshot_id,
        "Error": each.error,
    }


def _expired_document(each: ExpiredSnapshot) -> Json:
    return {
        "PolicyId": each.policy_id,
        "ScheduleName": each.schedule,
        "SnapshotId": each.snapshot_id,
        "Reason": each.reason,
        "ImageIds": list(each.images),
        "Locked": bool(each.locked),
    }


def run_text(run: LifecycleRun) -> str:
    """Return the text of `lifecycle run`."""
    lines = [_created_text(each, dry_run=run.dry_run) for each in run.created]
    for each in run.expired:
        holds = [*(f"in use by {image}" for image in each.images), each.locked]
        held = "; ".join(filter(None, holds))
        held = f"; stays, {held}" if held else ""
        lines.append(f"{each.snapshot_id} of {each.policy_id}: {each.reason}{held}.")
    if run.deletion.deleted:
        lines.append(text_views.deletion(run.deletion))
    lines += [f"Failed: {printable(error)}" for error in run.errors]
    if not lines:
        return "Nothing is due, and nothing has expired."
    made = sum(not each.error for each in run.created)
    would = "would be " if run.dry_run else ""
    gone = len(run.deletion.deleted)
    return "\n".join([*lines, f"{count(made, 'snapshot')} {would}made, {gone:,} {would}deleted."])


def _created_text(each: ScheduledSnapshot, *, dry_run: bool) -> str:
    what = printable(each.source) if each.source else str(each.volume_id)
    why = f"{each.policy_id}, due at {format_time(each.due_us)}: {', '.join(each.schedules)}"
    if each.error:
        return f"Failed to snapshot {what} ({why}): {printable(each.error)}"
    if dry_run:
        return f"Would snapshot {what} ({why})."
    return f"Created {each.snapshot_id} of {what} ({why})."
