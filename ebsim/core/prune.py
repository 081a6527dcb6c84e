"""Pruning: what the rules of retention do not keep is deleted, in one go and told beforehand."""

from collections.abc import Sequence

from ebsim import refusals
from ebsim.core.access import own_snapshots, owns
from ebsim.core.context import StoreContext
from ebsim.core.delete import SNAPSHOTS_MAX, delete_snapshots
from ebsim.core.image_links import still_needed
from ebsim.core.lock_rules import locked_until
from ebsim.core.retention import Decision, Rules, decide
from ebsim.core.tier_rules import in_archive
from ebsim.core.volumes import get_volume
from ebsim.format.records import SnapshotRecord
from ebsim.ids import parse_volume_id
from ebsim.requests import PruneOptions
from ebsim.results import DeleteReport, PruneReport, Snapshot


def prune_snapshots(context: StoreContext, options: PruneOptions, *, dry_run: bool) -> PruneReport:
    """Delete the snapshots that no rule keeps, or tell what that would do.

    At most `SNAPSHOTS_MAX` go at once, oldest first; the report says how many are left over.

    Raises:
        InvalidInputError: No rule is given, or one cannot be read; an id is malformed.
        NotFoundError: There is no such volume.
        ConflictError: A snapshot came into use meanwhile; nothing was deleted.
        StoreError, LimitExceededError: A write failed.
    """
    decision = _decide(context, options)
    going = decision.pruned
    if len(going) > SNAPSHOTS_MAX:
        oldest = sorted(going, key=lambda each: each.start_time_us)[:SNAPSHOTS_MAX]
        chosen = {each.snapshot_id for each in oldest}
        going = tuple(each for each in going if each.snapshot_id in chosen)
    return PruneReport(
        kept=decision.kept,
        pruned=going,
        deletion=_delete(context, going, dry_run=dry_run),
        postponed=len(decision.pruned) - len(going),
        dry_run=dry_run,
    )


def _decide(context: StoreContext, options: PruneOptions) -> Decision:
    rules = Rules.of(options)
    volumes = {parse_volume_id(text) for text in options.volume_ids}
    with context.catalog.read() as reader:
        for volume_id in volumes:
            if not owns(context.caller, get_volume(reader, volume_id)):
                raise refusals.volume_not_found(volume_id)
        records = own_snapshots(context, reader)
        images = still_needed(reader, [record.snapshot_id for record in records])
        now_us = context.clock.now_us()
        holds = {name: [f"in use by {each}" for each in found] for name, found in images.items()}
        for name, until in locked_until(records, now_us).items():
            holds.setdefault(name, []).append(until)
        archived = in_archive(records)
        for name, where in archived.items():
            holds.setdefault(name, []).append(where)

    def looked_at(record: SnapshotRecord) -> bool:
        tagged = options.tags.items() <= record.tags.items()
        return tagged and (not volumes or record.volume_id in volumes)

    found = [record.to_result() for record in records if looked_at(record)]
    return decide(found, rules, now_us, holds, archived)


def _delete(context: StoreContext, going: Sequence[Snapshot], *, dry_run: bool) -> DeleteReport:
    if not going:
        return DeleteReport(deleted=(), dry_run=dry_run)
    ids = [each.snapshot_id for each in going]
    return delete_snapshots(context, ids, dry_run=dry_run)
