"""Tags on snapshots, volumes and images: limits, overwriting, the forms of deletion."""

from collections.abc import Mapping

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import ErrorCode
from ebsim.format.catalog_values import Table
from ebsim.format.records import decode_json, encode_json
from ebsim.ids import VolumeId
from ebsim.requests import Filter, TagQuery, VolumeRequest
from ebsim.results import ResourceType
from ebsim.storage.catalog import CatalogWriter
from ebsim.testing.contents import NOISE
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.sources import disk_of

NO_IMAGE = "ami-00000000000000000"
NO_SNAPSHOT = "snap-00000000000000000"


def snapshot(store: Store, tags: Mapping[str, str] | None = None, name: str = "memory:a") -> str:
    options = SnapshotOptions(tags=tags or {})
    return store.create_snapshot(disk_of(NOISE, name=name), options).snapshot_id


def volume(store: Store, tags: Mapping[str, str] | None = None) -> VolumeId:
    return store.volumes.create(VolumeRequest(size_gib=1, tags=tags or {})).volume_id


def image(store: Store, tags: Mapping[str, str]) -> str:
    """Register an image, and give it tags, also reserved ones."""
    made = store.images.register("base", {"/dev/xvda": snapshot(store, name="memory:image")})
    key = made.image_id.encode()

    def change(writer: CatalogWriter) -> None:
        value = writer.get(Table.IMAGES, key)
        assert value is not None
        writer.put(Table.IMAGES, key, encode_json({**decode_json(value), "tags": dict(tags)}))

    store._context.catalog.update(change)
    return made.image_id


def tags_of(store: Store, resource_id: str) -> dict[str, str]:
    return {tag.key: tag.value for tag in store.tags.list(TagQuery(resource_ids=[resource_id]))}


def test_tags_are_put_on_snapshots_volumes_and_images(store: Store) -> None:
    ids = [snapshot(store), volume(store), image(store, {})]

    store.tags.create(ids, {"env": "prod", "empty": ""})

    for resource_id in ids:
        assert tags_of(store, resource_id) == {"env": "prod", "empty": ""}
    assert store.get_snapshot(ids[0]).tags == {"env": "prod", "empty": ""}
    assert_healthy(store)


def test_tags_survive_reopening(store: Store) -> None:
    taken = snapshot(store)
    store.tags.create([taken], {"Ключ": "значение \U0001f4be"})
    path = store.path
    store.close()

    with Store.open(path) as again:
        assert again.get_snapshot(taken).tags == {"Ключ": "значение \U0001f4be"}


def test_key_that_is_there_gets_the_new_value(store: Store) -> None:
    taken = snapshot(store, {"a": "1", "b": "2"})

    store.tags.create([taken], {"a": "9", "c": "3"})

    assert tags_of(store, taken) == {"a": "9", "b": "2", "c": "3"}


def test_keys_that_differ_in_case_are_two(store: Store) -> None:
    taken = snapshot(store, {"name": "1"})

    store.tags.create([taken], {"Name": "2"})

    assert tags_of(store, taken) == {"name": "1", "Name": "2"}


def test_resource_named_twice_is_tagged_once(store: Store) -> None:
    taken = snapshot(store)

    store.tags.create([taken, taken], {"a": "1"})

    assert tags_of(store, taken) == {"a": "1"}


def test_fifty_tags_together_are_the_limit(store: Store) -> None:
    taken = snapshot(store, {f"k{number}": "" for number in range(49)})

    store.tags.create([taken], {"k48": "again", "k49": ""})

    more = {"k50": ""}
    assert refused(lambda: store.tags.create([taken], more)) is ErrorCode.TAG_LIMIT_EXCEEDED
    assert len(tags_of(store, taken)) == 50


def test_reserved_tags_are_not_counted(store: Store) -> None:
    made = image(store, {f"aws:{number}": "" for number in range(30)})

    store.tags.create([made], {f"k{number}": "" for number in range(50)})

    assert len(tags_of(store, made)) == 80


def test_request_that_is_refused_for_one_resource_changes_none(store: Store) -> None:
    free, full = snapshot(store), snapshot(store, {f"k{n}": "" for n in range(50)}, "memory:b")

    codes = [
        refused(lambda other=other: store.tags.create([free, other], {"new": "1"}))  # type: ignore[misc]
        for other in (full, NO_SNAPSHOT, "vol-00000000000000000", NO_IMAGE, "snap-1", "x-1")
    ]

    assert codes == [
        ErrorCode.TAG_LIMIT_EXCEEDED,
        ErrorCode.INVALID_SNAPSHOT_NOT_FOUND,
        ErrorCode.INVALID_VOLUME_NOT_FOUND,
        ErrorCode.INVALID_IMAGE_NOT_FOUND,
        ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED,
        ErrorCode.INVALID_ID,
    ]
    assert tags_of(store, free) == {}


def test_deletion_that_is_refused_for_one_resource_changes_none(store: Store) -> None:
    taken = snapshot(store, {"a": "1"})

    code = refused(lambda: store.tags.delete([taken, NO_SNAPSHOT], {"a": None}))

    assert code is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    assert tags_of(store, taken) == {"a": "1"}


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("", "v", ErrorCode.INVALID_TAG_KEY_MALFORMED),
        ("aws:", "v", ErrorCode.INVALID_TAG_KEY_MALFORMED),
        ("AWS:x", "v", ErrorCode.INVALID_TAG_KEY_MALFORMED),
        ("k" * 129, "v", ErrorCode.INVALID_PARAMETER_VALUE),
        ("k", "v" * 257, ErrorCode.INVALID_PARAMETER_VALUE),
    ],
)
def test_tags_beyond_the_limits_are_refused(
    store: Store, key: str, value: str, code: ErrorCode
) -> None:
    taken = snapshot(store)

    assert refused(lambda: store.tags.create([taken], {"good": "1", key: value})) is code
    assert tags_of(store, taken) == {}


def test_tags_at_the_limits_are_accepted(store: Store) -> None:
    taken = snapshot(store)
    tags = {"k" * 128: "v" * 256, "é" * 128: "", "awsome": "aws:x"}

    store.tags.create([taken], tags)

    assert tags_of(store, taken) == tags


DELETIONS: list[tuple[str, Mapping[str, str | None] | None, dict[str, str]]] = [
    ("a key alone, whatever its value", {"a": None}, {"empty": "", "b": "2"}),
    ("an empty value, if it is empty", {"empty": "", "a": ""}, {"a": "1", "b": "2"}),
    ("a value, if it is that", {"a": "1", "b": "x"}, {"empty": "", "b": "2"}),
    ("a key that is not there", {"other": None}, {"a": "1", "empty": "", "b": "2"}),
    ("all", None, {}),
]


@pytest.mark.parametrize(
    ("tags", "left"), [row[1:] for row in DELETIONS], ids=[row[0] for row in DELETIONS]
)
def test_forms_of_deletion(
    store: Store, tags: Mapping[str, str | None] | None, left: dict[str, str]
) -> None:
    taken = snapshot(store, {"a": "1", "empty": "", "b": "2"})

    store.tags.delete([taken], tags)

    assert tags_of(store, taken) == left


def test_reserved_tags_stay_when_all_go(store: Store) -> None:
    made = image(store, {"aws:dlm:managed": "true", "mine": "1"})

    store.tags.delete([made])

    assert tags_of(store, made) == {"aws:dlm:managed": "true"}
    code = refused(lambda: store.tags.delete([made], {"aws:dlm:managed": None}))
    assert code is ErrorCode.INVALID_TAG_KEY_MALFORMED


@pytest.mark.parametrize("resources", [[], [NO_SNAPSHOT] * 1001])
def test_one_to_a_thousand_resources_are_named(store: Store, resources: list[str]) -> None:
    for call in (store.tags.create, store.tags.delete):
        code = refused(lambda call=call: call(resources, {"a": "1"}))  # type: ignore[misc]
        assert code in (ErrorCode.MISSING_PARAMETER, ErrorCode.INVALID_PARAMETER_VALUE)


def test_no_tag_at_all_is_refused(store: Store) -> None:
    """An empty list must not be taken for `all`."""
    taken = snapshot(store, {"a": "1"})

    assert refused(lambda: store.tags.create([taken], {})) is ErrorCode.MISSING_PARAMETER
    assert refused(lambda: store.tags.delete([taken], {})) is ErrorCode.MISSING_PARAMETER
    assert tags_of(store, taken) == {"a": "1"}


def test_scanned_source_cannot_be_tagged(store: Store) -> None:
    scanned = store.get_snapshot(snapshot(store)).volume_id

    code = refused(lambda: store.tags.create([scanned], {"a": "1"}))

    assert code is ErrorCode.INVALID_VOLUME_NOT_FOUND


def test_tags_change_nothing_else(store: Store) -> None:
    taken, made = snapshot(store), volume(store)
    before = store.get_snapshot(taken), store.volumes.get(made), store.ledger()

    store.tags.create([taken, made], {"a": "1"})
    store.tags.delete([taken, made])

    assert (store.get_snapshot(taken), store.volumes.get(made), store.ledger()) == before
    assert_healthy(store)


# listing


def test_tags_are_listed_with_what_they_are_on(store: Store) -> None:
    ids = [
        snapshot(store, {"b": "2", "a": "1"}),
        volume(store, {"a": "v"}),
        image(store, {"a": ""}),
    ]

    shown = [(tag.resource_id, tag.resource_type, tag.key, tag.value) for tag in store.tags.list()]

    assert shown == [
        (ids[0], ResourceType.SNAPSHOT, "a", "1"),
        (ids[0], ResourceType.SNAPSHOT, "b", "2"),
        (ids[1], ResourceType.VOLUME, "a", "v"),
        (ids[2], ResourceType.IMAGE, "a", ""),
    ]


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("key", ["a"], 3),
        ("value", ["?"], 3),
        ("value", [""], 1),
        ("resource-type", ["volume", "image"], 2),
        ("resource-id", ["snap-*"], 2),
        ("tag:a", ["1"], 1),
    ],
)
def test_tags_can_be_filtered(store: Store, name: str, values: list[str], found: int) -> None:
    snapshot(store, {"b": "2", "a": "1"})
    volume(store, {"a": "v"})
    image(store, {"a": ""})

    assert len(store.tags.list(TagQuery(filters=[Filter(name, values)]))) == found


def test_tags_of_what_does_not_exist_are_refused(store: Store) -> None:
    query = TagQuery(resource_ids=[NO_SNAPSHOT])

    assert refused(lambda: store.tags.list(query)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND


def test_null_means_the_empty_value(store: Store) -> None:
    """M:ec2 CreateTags; section 1.5."""
    none: Mapping[str, str] = {"a": None}  # type: ignore[dict-item]
    ids = [snapshot(store, none), volume(store, none)]
    assert [tags_of(store, each) for each in ids] == [{"a": ""}] * 2

    store.tags.create(ids, {"b": None, "a": "x"})

    assert [tags_of(store, each) for each in ids] == [{"a": "x", "b": ""}] * 2


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({None: "x"}, ErrorCode.INVALID_TAG_KEY_MALFORMED),
        ({7: "x"}, ErrorCode.INVALID_TAG_KEY_MALFORMED),
        ({"a": 7}, ErrorCode.INVALID_PARAMETER_VALUE),
    ],
)
def test_tag_that_is_no_text_is_refused(
    store: Store, tags: Mapping[str, str], code: ErrorCode
) -> None:
    wanted = volume(store)
    assert refused(lambda: store.tags.create([wanted], tags)) is code
    assert refused(lambda: volume(store, tags)) is code
    assert refused(lambda: snapshot(store, tags)) is code
