"""Check: images, their snapshots and the links between them; damaged events and policies."""

from collections.abc import Callable

import pytest

from ebsim.engine import Store
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.records import encode_json
from ebsim.policies import CreateRule, PolicyRequest, RetainRule, Schedule
from ebsim.reports import CheckReport, Finding
from ebsim.storage.catalog import CatalogWriter
from ebsim.testing.contents import NOISE
from ebsim.testing.sources import disk_of


class Example:
    """A store with a snapshot, an image on it, a policy and some events."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.snapshot_id = store.create_snapshot(disk_of(NOISE)).snapshot_id
        self.image_id = store.images.register("web", {"/dev/sda1": self.snapshot_id}).image_id
        rule = CreateRule(interval_hours=1, time="00:00")
        schedule = Schedule(name="main", create=rule, retain=RetainRule(count=1))
        request = PolicyRequest(description="x", schedules=[schedule], target_tags=[("a", "b")])
        self.policy_id = store.lifecycle.put(request).policy_id

    @property
    def link(self) -> bytes:
        return (self.snapshot_id + self.image_id).encode()

    def damage(self, change: Callable[[CatalogWriter], object]) -> tuple[Finding, ...]:
        self.store._context.catalog.update(change)
        return self.check().findings

    def check(self) -> CheckReport:
        return self.store.check(data=True)


@pytest.fixture
def example(store: Store) -> Example:
    return Example(store)


def test_example_is_healthy(example: Example) -> None:
    assert example.check().healthy


def test_missing_link_is_found(example: Example) -> None:
    findings = example.damage(lambda writer: writer.delete(Table.IMAGE_SNAPSHOTS, example.link))

    assert [finding.kind for finding in findings] == ["wrong-reference"]
    assert example.image_id in findings[0].message


def test_link_too_many_is_found(example: Example) -> None:
    key = example.link[:-1] + (b"0" if example.link[-1:] != b"0" else b"1")

    findings = example.damage(lambda writer: writer.put(Table.IMAGE_SNAPSHOTS, key, b""))

    assert [finding.kind for finding in findings] == ["wrong-reference"]


def test_image_on_a_snapshot_that_is_gone_is_found(example: Example) -> None:
    def change(writer: CatalogWriter) -> None:
        writer.delete(Table.IMAGE_SNAPSHOTS, example.link)

    example.damage(change)
    example.store.delete_snapshots([example.snapshot_id])

    findings = example.check().findings

    assert {finding.kind for finding in findings} == {"wrong-reference"}
    assert any(f"is on {example.snapshot_id}" in finding.message for finding in findings)


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", encode_json({"image_id": "x"})])
@pytest.mark.parametrize("table", [Table.IMAGES, Table.EVENTS, Table.POLICIES])
def test_damaged_record_is_found_and_the_check_goes_on(
    example: Example, table: Table, value: bytes
) -> None:
    keys = {
        Table.IMAGES: example.image_id.encode(),
        Table.EVENTS: number_key(1),
        Table.POLICIES: example.policy_id.encode(),
    }

    findings = example.damage(lambda writer: writer.put(table, keys[table], value))

    damaged = [finding for finding in findings if finding.kind == "corrupt-value"]
    assert len(damaged) == 1
    assert f"{table.name.lower()}/{keys[table].hex()}" in damaged[0].message
