"""Client tokens, the attribute autoEnableIO, and pages of what is told about volumes and tags."""

from dataclasses import replace

import pytest

from ebsim.core.volume_records import get_managed, put_managed
from ebsim.engine import Store
from ebsim.errors import ConflictError, ErrorCode, InvalidInputError
from ebsim.ids import parse_volume_id
from ebsim.requests import TagQuery, VolumeQuery, VolumeRequest
from ebsim.storage.catalog import CatalogWriter
from ebsim.testing.harness import Harness

REQUEST = VolumeRequest(size_gib=1, tags={"Name": "one"}, client_token='token "1"')


@pytest.fixture
def store(ebsim_store: Store) -> Store:
    return ebsim_store


def test_request_with_a_token_makes_one_volume(store: Store) -> None:
    """Section 9: IdempotentParameterMismatch is for a token that another request has used."""
    made = store.volumes.create(REQUEST)

    assert store.volumes.create(REQUEST) == made
    with pytest.raises(ConflictError) as caught:
        store.volumes.create(replace(REQUEST, tags={"Name": "two"}))
    assert caught.value.code == ErrorCode.IDEMPOTENT_PARAMETER_MISMATCH
    assert [each.volume_id for each in store.volumes.list()] == [made.volume_id]


def test_token_holds_for_its_account_and_region(store: Store) -> None:
    made = store.volumes.create(REQUEST)
    other = store.as_account("111122223333").volumes.create(REQUEST)
    there = store.as_account(region="eu-west-1").volumes.create(REQUEST)

    assert len({made.volume_id, other.volume_id, there.volume_id}) == 3


def test_token_is_good_after_the_snapshot_is_gone(store: Store) -> None:
    """A request that is repeated tells what it made, whatever became of its source."""
    volume = store.volumes.create(VolumeRequest(size_gib=1))
    snapshot = store.create_snapshots([volume.volume_id])[0].snapshot_id
    store.wait_snapshots([snapshot])
    request = VolumeRequest(snapshot_id=snapshot, client_token="a")
    made = store.volumes.create(request)
    store.delete_snapshots([snapshot])

    assert store.volumes.create(request).volume_id == made.volume_id


@pytest.mark.parametrize("token", ["x" * 65, "é"])
def test_token_that_is_none_is_refused(store: Store, token: str) -> None:
    with pytest.raises(InvalidInputError):
        store.volumes.create(replace(REQUEST, client_token=token))


def test_token_and_attribute_survive_a_rebuild() -> None:
    with Harness() as harness:
        made = harness.store.volumes.create(REQUEST)
        harness.store.volumes.set_auto_enable_io(made.volume_id, enabled=True)
        kept = harness.store.volumes.get(made.volume_id)
        harness.store.close()
        Store.rebuild(harness.path)
        store = harness.reopen()

        assert store.volumes.get(made.volume_id) == kept
        assert store.volumes.create(REQUEST) == kept
        assert kept.auto_enable_io


def test_pages_of_tags_lose_none_when_others_go(store: Store) -> None:
    """A page begins where the last one ended, not after so many."""
    tags = {f"key{number}": "" for number in range(11)}
    volume = store.volumes.create(VolumeRequest(size_gib=1, tags=tags)).volume_id

    first = store.tags.describe(TagQuery(max_results=5))
    gone = {each.key: None for each in first.tags[:3]}
    store.tags.delete([volume], gone)
    second = store.tags.describe(TagQuery(max_results=5, next_token=first.next_token))
    third = store.tags.describe(TagQuery(max_results=5, next_token=second.next_token))

    found = [each.key for page in (first, second, third) for each in page.tags]
    assert sorted(found) == sorted(tags)
    assert third.next_token is None


def test_status_of_a_volume_that_is_loaded_at_a_rate(store: Store) -> None:
    """Section 3.3: what is left, divided by the rate."""
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(b"data", 0)
    snapshot = store.create_snapshots([volume])[0].snapshot_id
    store.wait_snapshots([snapshot])
    made = store.volumes.create(VolumeRequest(snapshot_id=snapshot)).volume_id

    (before,) = store.volumes.describe_status(VolumeQuery(volume_ids=[made])).statuses
    store.volumes.initialize(made)
    (after,) = store.volumes.describe_status(VolumeQuery(volume_ids=[made])).statuses

    shown = [each.initialization for each in (before, after)]
    assert [each and (each.kind, each.progress_percent) for each in shown] == [
        ("default", 0),
        ("default", 100),
    ]
    assert dict(after.details)["initialization-state"] == "completed"


def test_status_takes_ids_or_a_page_size(store: Store) -> None:
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with pytest.raises(InvalidInputError):
        store.volumes.describe_status(VolumeQuery(volume_ids=[volume], max_results=5))


def test_check_finds_attachments_that_cannot_be(store: Store) -> None:
    """A volume is in use when it is attached, and a device has one volume."""
    instance = store.instances.run().instance_id
    volumes = [store.volumes.create(VolumeRequest(size_gib=1)).volume_id for _ in range(3)]
    for volume, device in zip(volumes, ("/dev/sdf", "/dev/sdg", "/dev/sdh"), strict=True):
        store.instances.attach(volume, instance, device)
    assert store.check().healthy

    def damage(writer: CatalogWriter) -> None:
        one, other, last = (get_managed(writer, parse_volume_id(each)) for each in volumes)
        assert one.attachment is not None
        put_managed(writer, replace(other, attachment=dict(one.attachment)))
        put_managed(writer, replace(last, attachment=None))

    store._context.catalog.update(damage)
    found = [each.message for each in store.check().findings]

    assert len(found) == 2
    assert any(" are both attached as " in each for each in found)
    assert any(each.startswith(f"{volumes[2]} is in-use") for each in found)
