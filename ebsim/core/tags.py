"""Tags on snapshots, volumes, images and pretended instances (semantics section 1.5).

All resources of one request are changed in one transaction, or none is. Tags whose key begins with
`aws:` belong to the system: users can neither set nor remove them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ebsim import instance_refusals, refusals
from ebsim.core.access import may_use, own_snapshot, owns, visible_snapshot
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.core.filters import Filtering
from ebsim.core.images import list_images, own_image, put_image
from ebsim.core.instances import put_instance_tags, tags_of_instances
from ebsim.core.snapshots import get_snapshot, list_snapshots, put_snapshot
from ebsim.core.tag_rules import (
    check_tag,
    check_tag_count,
    is_reserved,
    tag_values,
    tags_by,
    with_tags_by,
)
from ebsim.core.volume_records import managed_volumes, own_volume, put_managed
from ebsim.format.records import SnapshotRecord
from ebsim.ids import parse_image_id, parse_instance_id, parse_snapshot_id, parse_volume_id
from ebsim.requests import TagQuery
from ebsim.results import ResourceType, Tag
from ebsim.storage.catalog import CatalogReader, CatalogWriter

RESOURCES_MAX = 1000
"""Resources of one request."""

Tags = Mapping[str, str]

FILTERS = Filtering[Tag](
    {
        "key": lambda tag: [tag.key],
        "resource-id": lambda tag: [tag.resource_id],
        "resource-type": lambda tag: [tag.resource_type.value],
        "value": lambda tag: [tag.value],
    },
    lambda tag: {tag.key: tag.value},
)
"""What DescribeTags can filter by."""


def create_tags(
    context: StoreContext, resource_ids: Sequence[str], tags: Mapping[str, str | None]
) -> None:
    """Put tags on each of these resources; a key that a resource has already gets the new value.

    Raises:
        InvalidInputError: No resource or tag is named, an id or a tag is malformed, or a resource
            would have more than 50 tags.
        NotFoundError: A resource does not exist.
    """
    _check_resources(resource_ids)
    if not tags:
        raise refusals.missing_parameter("Tag")
    for key, value in tags.items():
        check_tag(key, value)
    values = tag_values(tags)

    def merged(present: Tags) -> Tags:
        result = {**present, **values}
        check_tag_count(result)
        return result

    _change(context, resource_ids, merged, {"operation": "create", "tags": values})


def delete_tags(
    context: StoreContext, resource_ids: Sequence[str], tags: Mapping[str, str | None] | None
) -> None:
    """Remove tags from each of these resources; one that is not there is no error.

    Args:
        context: The store.
        resource_ids: Snapshots, volumes, images and instances.
        tags: A key with None goes whatever its value is; one with a text, also an empty one, goes
            only if that is its value. None instead of all: every tag that is the user's.

    Raises:
        InvalidInputError: No resource or tag is named, an id is malformed, or a key is reserved.
        NotFoundError: A resource does not exist.
    """
    _check_resources(resource_ids)
    if tags is not None:
        if not tags:
            raise refusals.missing_parameter("Tag")
        for key, value in tags.items():
            check_tag(key, value or "")

    def goes(key: str, value: str) -> bool:
        if tags is None:
            return not is_reserved(key)
        return key in tags and tags[key] in (None, value)

    def remaining(present: Tags) -> Tags:
        return {key: value for key, value in present.items() if not goes(key, value)}

    told = None if tags is None else dict(tags)
    _change(context, resource_ids, remaining, {"operation": "delete", "tags": told})


def list_tags(context: StoreContext, reader: CatalogReader, query: TagQuery) -> list[Tag]:
    """Return tags of the caller's resources, oldest first.

    Those of snapshots are before those of volumes, of images and of instances.

    Raises:
        InvalidInputError: An id is of no resource that has tags, or a filter is none.
        NotFoundError: A resource that the query names does not exist.
        LimitExceededError: The filters have too many values.
    """
    passes = FILTERS.predicate(query.filters)
    for resource_id in query.resource_ids:
        _kind_of(resource_id).get(context, reader, resource_id)
    wanted = set(query.resource_ids)
    return [
        tag
        for kind in _KINDS.values()
        for resource_id, tags in kind.all(context, reader)
        if not wanted or resource_id in wanted
        for tag in _as_results(kind.type, resource_id, tags)
        if passes(tag)
    ]


def _as_results(kind: ResourceType, resource_id: str, tags: Tags) -> list[Tag]:
    return [
        Tag(resource_id=resource_id, resource_type=kind, key=key, value=value)
        for key, value in sorted(tags.items())
    ]


def _check_resources(resource_ids: Sequence[str]) -> None:
    if not resource_ids:
        raise refusals.missing_parameter("resourceIdSet")
    if len(resource_ids) > RESOURCES_MAX:
        raise refusals.invalid_value(
            f"{len(resource_ids)} ids", "resourceIdSet", f"Expected at most {RESOURCES_MAX}"
        )


def _change(
    context: StoreContext,
    resource_ids: Sequence[str],
    change: Callable[[Tags], Tags],
    facts: dict[str, Any],
) -> None:
    kinds = {each: _kind_of(each) for each in resource_ids}

    def apply(commit: JournaledCommit) -> None:
        writer = commit.writer
        present = {each: kind.get(context, writer, each) for each, kind in kinds.items()}
        wanted = {each: change(tags) for each, tags in present.items()}
        changed = [each for each in kinds if wanted[each] != present[each]]
        for each in changed:
            kinds[each].put(context, writer, each, wanted[each])
        if changed:
            by = {} if context.caller is None else {"account": context.caller.account}
            commit.journal("tags", {**facts, **by, "resource_ids": changed})

    commit_journaled(context, apply)


class _Snapshots:
    """One's own, also those in the Recycle Bin; and shared ones, with tags of one's own."""

    type = ResourceType.SNAPSHOT

    @staticmethod
    def get(context: StoreContext, reader: CatalogReader, resource_id: str) -> Tags:
        record = _taggable_snapshot(context, reader, resource_id)
        return tags_by(record, _tagger(context, record))

    @staticmethod
    def put(context: StoreContext, writer: CatalogWriter, resource_id: str, tags: Tags) -> None:
        record = _taggable_snapshot(context, writer, resource_id)
        put_snapshot(writer, with_tags_by(record, _tagger(context, record), tags))

    @staticmethod
    def all(context: StoreContext, reader: CatalogReader) -> Iterator[tuple[str, Tags]]:
        caller = context.caller
        for record in list_snapshots(reader):
            shared = record.recycled is None and may_use(reader, caller, record)
            if shared or owns(caller, record):
                yield record.snapshot_id, tags_by(record, _tagger(context, record))


def _taggable_snapshot(
    context: StoreContext, reader: CatalogReader, resource_id: str
) -> SnapshotRecord:
    wanted = parse_snapshot_id(resource_id)
    if owns(context.caller, get_snapshot(reader, wanted)):
        return own_snapshot(context, reader, wanted, recycled=True)
    return visible_snapshot(context, reader, wanted)


def _tagger(context: StoreContext, record: SnapshotRecord) -> str:
    return record.owner if context.caller is None else context.caller.account


class _Volumes:
    type = ResourceType.VOLUME

    @staticmethod
    def get(context: StoreContext, reader: CatalogReader, resource_id: str) -> Tags:
        return own_volume(context, reader, parse_volume_id(resource_id), recycled=True).tags

    @staticmethod
    def put(context: StoreContext, writer: CatalogWriter, resource_id: str, tags: Tags) -> None:
        record = own_volume(context, writer, parse_volume_id(resource_id), recycled=True)
        put_managed(writer, replace(record, tags=dict(tags)))

    @staticmethod
    def all(context: StoreContext, reader: CatalogReader) -> Iterator[tuple[str, Tags]]:
        volumes = managed_volumes(reader, context.caller)
        return ((record.volume_id, record.tags) for record in volumes)


class _Images:
    type = ResourceType.IMAGE

    @staticmethod
    def get(context: StoreContext, reader: CatalogReader, resource_id: str) -> Tags:
        return own_image(context, reader, parse_image_id(resource_id), recycled=True).tags

    @staticmethod
    def put(context: StoreContext, writer: CatalogWriter, resource_id: str, tags: Tags) -> None:
        record = own_image(context, writer, parse_image_id(resource_id), recycled=True)
        put_image(writer, replace(record, tags=dict(tags)))

    @staticmethod
    def all(context: StoreContext, reader: CatalogReader) -> Iterator[tuple[str, Tags]]:
        images = list_images(reader, context.caller, recycled=True)
        return ((record.image_id, record.tags) for record in images)


class _Instances:
    type = ResourceType.INSTANCE

    @staticmethod
    def get(context: StoreContext, reader: CatalogReader, resource_id: str) -> Tags:
        wanted = parse_instance_id(resource_id)
        found = tags_of_instances(context, reader).get(wanted)
        if found is None:
            raise instance_refusals.instance_not_found(wanted)
        return found

    @staticmethod
    def put(context: StoreContext, writer: CatalogWriter, resource_id: str, tags: Tags) -> None:
        put_instance_tags(context, writer, resource_id, tags)

    @staticmethod
    def all(context: StoreContext, reader: CatalogReader) -> Iterator[tuple[str, Tags]]:
        yield from tags_of_instances(context, reader).items()


_Kind = type[_Snapshots] | type[_Volumes] | type[_Images] | type[_Instances]
_KINDS: dict[str, _Kind] = {
    "snap-": _Snapshots,
    "vol-": _Volumes,
    "ami-": _Images,
    "i-": _Instances,
}


def _kind_of(resource_id: str) -> _Kind:
    for prefix, kind in _KINDS.items():
        if resource_id.startswith(prefix):
            return kind
    raise refusals.not_taggable(resource_id)
