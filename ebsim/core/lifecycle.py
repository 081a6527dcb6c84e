"""`Store.lifecycle`: keeping policies, and running them (semantics section 10.3).

A run looks at what is there, takes the snapshots that are due, waits for them, looks again, and
deletes what is not kept any more. Something outside calls it, cron or a timer.
One run at a time: a second one waits, and then finds little to do.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from ebsim import refusals
from ebsim.config import SnapshotOptions
from ebsim.core.access import own_snapshots, owns
from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.image_links import still_needed
from ebsim.core.lifecycle_plan import (
    DueSnapshot,
    Target,
    due_snapshots,
    expired_snapshots,
)
from ebsim.core.lock_rules import locked_until
from ebsim.core.policy_documents import read_policy, write_policy
from ebsim.core.policy_rules import POLICIES_MAX
from ebsim.core.tag_rules import check_tags, tag_values
from ebsim.core.tier_rules import in_archive
from ebsim.core.volume_records import managed_volumes
from ebsim.core.volumes import find_volume
from ebsim.errors import EbsimError, StoreError
from ebsim.format.catalog_values import Table
from ebsim.format.life_records import PolicyRecord, decode_policy, encode_policy
from ebsim.ids import (
    ImageId,
    PolicyId,
    SnapshotId,
    VolumeId,
    new_policy_id,
    parse_policy_id,
)
from ebsim.policies import (
    ExpiredSnapshot,
    LifecyclePolicy,
    LifecycleRun,
    PolicyRequest,
    ScheduledSnapshot,
)
from ebsim.progress import Progress, SilentProgress
from ebsim.results import DeletedSnapshot, DeleteReport, Snapshot, SnapshotState, VolumeState
from ebsim.storage.catalog import CatalogReader
from ebsim.storage.locks import Lock, Region

_LIVE_STATES = (VolumeState.AVAILABLE, VolumeState.IN_USE)


class SnapshotMaker(Protocol):
    """What a run needs of an open store: `ebsim.engine.Store` has it."""

    def create_snapshot(
        self, source: str, options: SnapshotOptions | None = None, progress: Progress | None = None
    ) -> Snapshot:
        """Begin a snapshot of a volume, or take one of a source."""
        ...

    def wait_snapshots(
        self, snapshot_ids: Sequence[str], *, progress: Progress | None = None
    ) -> list[Snapshot]:
        """Wait until snapshots are completed or in error."""
        ...

    def delete_snapshots(
        self, snapshot_ids: Sequence[str], *, dry_run: bool = False
    ) -> DeleteReport:
        """Delete snapshots, or tell what that would do."""
        ...


@dataclass(frozen=True, slots=True)
class _View:
    """What a run decides from, as of one moment."""

    policies: list[LifecyclePolicy]
    targets: list[Target]
    snapshots: list[Snapshot]
    images: dict[SnapshotId, list[ImageId]]
    locked: dict[SnapshotId, str]
    archived: Collection[SnapshotId]

    @property
    def managed(self) -> list[Snapshot]:
        """What policies may expire: what is in the archive is neither counted nor deleted."""
        return [each for each in self.snapshots if each.snapshot_id not in self.archived]


class LifecycleOperations:
    """The operations on lifecycle policies of one open store."""

    def __init__(self, context: StoreContext, maker: SnapshotMaker) -> None:
        self._context = context
        self._maker = maker

    def put(
        self,
        request: PolicyRequest,
        policy_id: str | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> LifecyclePolicy:
        """Make a policy, or change an existing one as a whole.

        Args:
            request: What it says. The paths of its sources are kept with all links followed.
            policy_id: The policy to change; None makes one.
            tags: A new one's own tags; an existing one's stay as they are.

        Raises:
            InvalidInputError: InvalidRequestException: Data Lifecycle Manager would not take it.
            NotFoundError: There is no such policy.
            LimitExceededError: There are 100 policies.
        """
        sources = tuple(dict.fromkeys(os.path.realpath(path) for path in request.sources))
        document = write_policy(replace(request, sources=sources))
        read_policy(document)  # checks it
        check_tags(tags or {})
        known = None if policy_id is None else parse_policy_id(policy_id)
        wanted = known or new_policy_id(self._context.entropy)

        def change(reader: CatalogReader) -> PolicyRecord:
            record = self._next(reader, wanted, document, new=known is None)
            return record if known else replace(record, tags=tag_values(tags or {}))

        return self._changed(change)

    def add_tags(self, policy_id: str, tags: Mapping[str, str | None]) -> LifecyclePolicy:
        """Give a policy tags of its own, in place of those with the same keys.

        Raises:
            InvalidInputError: The id or a tag is malformed, or there are too many.
            NotFoundError: There is no such policy.
        """
        wanted = parse_policy_id(policy_id)

        def change(reader: CatalogReader) -> PolicyRecord:
            record = _get(self._context, reader, wanted)
            together = {**record.tags, **tag_values(tags)}
            check_tags(together)
            return replace(record, tags=together)

        return self._changed(change)

    def remove_tags(self, policy_id: str, keys: Collection[str]) -> LifecyclePolicy:
        """Take tags of its own from a policy; those that it does not have are passed over.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such policy.
        """
        wanted = parse_policy_id(policy_id)

        def change(reader: CatalogReader) -> PolicyRecord:
            record = _get(self._context, reader, wanted)
            left = {key: value for key, value in record.tags.items() if key not in keys}
            return replace(record, tags=left)

        return self._changed(change)

    def _changed(self, change: Callable[[CatalogReader], PolicyRecord]) -> LifecyclePolicy:
        """Keep a policy as `change` returns it."""

        def run(commit: JournaledCommit) -> PolicyRecord:
            record = change(commit.writer)
            facts = {name: value for name, value in asdict(record).items() if name != "number"}
            number = commit.journal("policy", facts)
            record = replace(record, number=record.number or number)
            commit.writer.put(Table.POLICIES, record.policy_id.encode(), encode_policy(record))
            return record

        with writing(self._context):
            with self._context.catalog.read() as reader:  # refused before anything is written
                change(reader)
            return _policy(commit_journaled(self._context, run))

    def _next(
        self, reader: CatalogReader, policy_id: PolicyId, document: dict[str, object], *, new: bool
    ) -> PolicyRecord:
        now = self._context.clock.now_us()
        if not new:
            known = _get(self._context, reader, policy_id)
            return replace(known, modified_us=now, document=document)
        caller = self._context.acting
        if len(list(_policies(self._context, reader))) >= POLICIES_MAX:
            raise refusals.policy_limit(POLICIES_MAX)
        return PolicyRecord(
            policy_id=policy_id,
            number=0,
            created_us=now,
            modified_us=now,
            document=document,
            owner=caller.account,
            region=caller.region,
        )

    def get(self, policy_id: str) -> LifecyclePolicy:
        """Return one policy.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such policy.
        """
        with self._context.catalog.read() as reader:
            return _policy(_get(self._context, reader, parse_policy_id(policy_id)))

    def list(self) -> tuple[LifecyclePolicy, ...]:
        """Return all policies in the order in which they were made."""
        with self._context.catalog.read() as reader:
            return tuple(_policies(self._context, reader))

    def delete(self, policy_id: str) -> None:
        """Delete a policy. Its snapshots stay, and no policy deletes them any more.

        Raises:
            InvalidInputError, NotFoundError: As `get`.
        """
        wanted = parse_policy_id(policy_id)

        def change(commit: JournaledCommit) -> None:
            _get(self._context, commit.writer, wanted)
            commit.journal("policy", {"policy_id": wanted, "document": None})
            commit.writer.delete(Table.POLICIES, wanted.encode())

        with writing(self._context):
            self.get(wanted)
            commit_journaled(self._context, change)

    def run(self, *, dry_run: bool = False, progress: Progress | None = None) -> LifecycleRun:
        """Take the snapshots that are due, and delete those that are not kept any more.

        What fails for one volume or policy is reported and does not stop the others. What is due
        when is told by the store's clock alone.

        Args:
            dry_run: Tell what would happen and change nothing. What a snapshot that is due will
                displace is counted.
            progress: Told how far each snapshot is.

        Raises:
            StoreError: The store failed; what was done until then is done.
        """
        progress = progress or SilentProgress()
        now = self._context.clock.now_us()
        if dry_run:
            view = self._view()
            due = _due(view, now)
            planned = [_as_if_made(each, number, now) for number, each in enumerate(due)]
            snapshots = [*view.snapshots, *planned]
            scheduled = [_scheduled(each) for each in due]
            return self._finish(replace(view, snapshots=snapshots), scheduled, now, dry_run=True)
        with self._alone(progress):
            created = self._create(_due(self._view(), now), progress)
            return self._finish(self._view(), created, now, dry_run=False)

    def _alone(self, progress: Progress) -> Lock:
        lock = self._context.locks.try_hold(Region.LIFECYCLE)
        if lock is None:
            progress.note("another lifecycle run is under way; waiting for it to finish")
            lock = self._context.locks.hold(Region.LIFECYCLE)
        return lock

    def _create(
        self, due: Sequence[DueSnapshot], progress: Progress
    ) -> Sequence[ScheduledSnapshot]:
        begun: list[tuple[DueSnapshot, Snapshot | str]] = []
        for each in due:
            options = SnapshotOptions(
                description=each.description, tags=each.tags, system_tags=each.system_tags
            )
            try:
                what = each.target.source or str(each.target.volume_id)
                begun.append((each, self._maker.create_snapshot(what, options, progress)))
            except StoreError:
                raise
            except EbsimError as error:
                begun.append((each, str(error)))
        pending = [
            made.snapshot_id
            for _, made in begun
            if isinstance(made, Snapshot) and made.state is SnapshotState.PENDING
        ]
        ended: dict[SnapshotId, Snapshot] = {}
        if pending:
            waited = self._maker.wait_snapshots(pending, progress=progress)
            ended = {each.snapshot_id: each for each in waited}
        return [
            _scheduled(each, made if isinstance(made, str) else ended.get(made.snapshot_id, made))
            for each, made in begun
        ]

    def _finish(
        self, view: _View, created: Sequence[ScheduledSnapshot], now: int, *, dry_run: bool
    ) -> LifecycleRun:
        """Delete, policy by policy, what is not kept any more."""
        expired: list[ExpiredSnapshot] = []
        deleted: list[DeletedSnapshot] = []
        errors: list[str] = []
        taken: set[SnapshotId] = set()
        for policy in view.policies:
            gone = expired_snapshots(policy, view.targets, view.managed, view.images, now)
            gone = [replace(each, locked=view.locked.get(each.snapshot_id, "")) for each in gone]
            expired += gone
            ids = [each.snapshot_id for each in gone if not each.images and not each.locked]
            ids = [each for each in ids if each not in taken]
            taken.update(ids)
            if not ids:
                continue
            try:
                deleted += self._maker.delete_snapshots(ids, dry_run=dry_run).deleted
            except StoreError:
                raise
            except EbsimError as error:
                errors.append(f"{policy.policy_id}: {error}")
        return LifecycleRun(
            created=tuple(created),
            expired=tuple(expired),
            deletion=DeleteReport(deleted=tuple(deleted), dry_run=dry_run),
            errors=tuple(errors),
            dry_run=dry_run,
        )

    def _view(self) -> _View:
        with self._context.catalog.read() as reader:
            context = self._context
            policies = list(_policies(context, reader))
            records = own_snapshots(context, reader)
            return _View(
                policies=policies,
                targets=_targets(context, reader, policies),
                snapshots=[record.to_result() for record in records],
                images=still_needed(reader, [record.snapshot_id for record in records]),
                locked=locked_until(records, context.clock.now_us()),
                archived=in_archive(records),
            )


def policies_and_targets(
    context: StoreContext, reader: CatalogReader
) -> tuple[list[LifecyclePolicy], list[Target]]:
    """Return the caller's policies, and everything that they may choose from."""
    policies = list(_policies(context, reader))
    return policies, _targets(context, reader, policies)


def _get(context: StoreContext, reader: CatalogReader, policy_id: PolicyId) -> PolicyRecord:
    value = reader.get(Table.POLICIES, policy_id.encode())
    if value is None:
        raise refusals.policy_not_found(policy_id)
    record = decode_policy(value)
    if not owns(context.caller, record):
        raise refusals.policy_not_found(policy_id)
    return record


def _policies(context: StoreContext, reader: CatalogReader) -> Iterator[LifecyclePolicy]:
    records = [decode_policy(value) for _, value in reader.items(Table.POLICIES)]
    for record in sorted(records, key=lambda record: record.number):
        if owns(context.caller, record):
            yield _policy(record)


def _policy(record: PolicyRecord) -> LifecyclePolicy:
    return LifecyclePolicy(
        policy_id=record.policy_id,
        request=read_policy(record.document),
        create_time_us=record.created_us,
        modify_time_us=record.modified_us,
        arn=f"arn:aws:dlm:{record.region}:{record.owner}:policy/{record.policy_id}",
        tags=dict(record.tags),
    )


def _targets(
    context: StoreContext, reader: CatalogReader, policies: Sequence[LifecyclePolicy]
) -> list[Target]:
    """Return the managed volumes that can be snapshotted, and the sources that a policy names."""
    found = [
        Target(volume.volume_id, "", volume.tags, volume.created_us)
        for volume in managed_volumes(reader, context.caller)
        if volume.state in _LIVE_STATES
    ]
    paths = dict.fromkeys(path for policy in policies for path in policy.request.sources)
    for path in paths:
        known = find_volume(context, reader, path)
        found.append(Target(known.volume_id if known else None, path, {}, 0))
    return found


def _due(view: _View, now_us: int) -> list[DueSnapshot]:
    return [
        due
        for policy in view.policies
        for due in due_snapshots(policy, view.targets, view.snapshots, now_us)
    ]


def _scheduled(due: DueSnapshot, made: Snapshot | str | None = None) -> ScheduledSnapshot:
    """Return what is told about a due snapshot: as it was made, why it was not, or as planned."""
    scheduled = ScheduledSnapshot(
        policy_id=due.policy_id,
        schedules=due.schedules,
        due_us=due.due_us,
        volume_id=due.target.volume_id,
        source=due.target.source,
    )
    if made is None:
        return scheduled
    if isinstance(made, str):
        return replace(scheduled, error=made)
    error = made.state_message if made.state is SnapshotState.ERROR else ""
    return replace(scheduled, snapshot_id=made.snapshot_id, volume_id=made.volume_id, error=error)


def _as_if_made(due: DueSnapshot, number: int, now_us: int) -> Snapshot:
    """Return a snapshot as it would be, to see in a dry run what it would displace."""
    return Snapshot(
        snapshot_id=SnapshotId(f"planned-{number}"),
        volume_id=due.target.volume_id or VolumeId(""),
        state=SnapshotState.COMPLETED,
        state_message="",
        progress_percent=100,
        start_time_us=now_us,
        completion_time_us=now_us,
        description=due.description,
        tags={**due.tags, **due.system_tags},
        size_bytes=0,
        full_size_bytes=0,
        incremental_size_bytes=0,
        charged_size_bytes=0,
        parent_id=None,
        source=due.target.source,
        owner="",
    )
