"""Finding snapshots as DescribeSnapshots does: ids, owners, states, filters, pages."""

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import ErrorCode
from ebsim.requests import Filter, SnapshotQuery, VolumeQuery
from ebsim.results import Snapshot
from ebsim.testing.contents import NOISE
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import disk_of

OWNER = "123456789012"


@pytest.fixture
def four(store: Store, clock: ManualClock) -> list[Snapshot]:
    """Snapshots 0 to 3 of as many sources, taken a day apart."""
    options = [
        SnapshotOptions(description="nightly web", tags={"Name": "web1", "env": "prod"}),
        SnapshotOptions(description="nightly db", tags={"Name": "db1"}),
        SnapshotOptions(description="100% *", tags={"Name": "web2", "empty": ""}),
        SnapshotOptions(),
    ]
    taken = []
    for number, each in enumerate(options):
        taken.append(store.create_snapshot(disk_of(NOISE, name=f"memory:{number}"), each))
        clock.advance(86_400)
    return taken


def found(store: Store, four: list[Snapshot], query: SnapshotQuery) -> list[int]:
    order = [taken.snapshot_id for taken in four]
    return [order.index(shown.snapshot_id) for shown in store.list_snapshots(query)]


FILTERS: list[tuple[str, list[str], list[int]]] = [
    ("description", ["nightly*"], [0, 1]),
    ("description", [""], [3]),
    ("description", [r"100% \*"], [2]),
    ("encrypted", ["false"], [0, 1, 2, 3]),
    ("encrypted", ["true", "False"], []),
    ("owner-alias", ["amazon"], []),
    ("owner-id", [OWNER], [0, 1, 2, 3]),
    ("owner-id", ["self"], []),
    ("progress", ["100%"], [0, 1, 2, 3]),
    ("progress", ["99%"], []),
    ("snapshot-id", ["snap-*"], [0, 1, 2, 3]),
    ("start-time", ["2026-01-02*"], [1]),
    ("start-time", ["2026-01-*"], [0, 1, 2, 3]),
    ("start-time", ["2026-01-0?T00:00:00.000Z"], [0, 1, 2, 3]),
    ("start-time", ["2026-01-03T00:00:00Z"], [2]),
    ("status", ["completed"], [0, 1, 2, 3]),
    ("status", ["pending", "error"], []),
    ("storage-tier", ["standard"], [0, 1, 2, 3]),
    ("storage-tier", ["archive"], []),
    ("transfer-type", ["*"], []),
    ("tag:Name", ["web*"], [0, 2]),
    ("tag:Name", ["web1", "db1"], [0, 1]),
    ("tag:empty", [""], [2]),
    ("tag:env", ["*"], [0]),
    ("tag-key", ["env", "empty"], [0, 2]),
    ("volume-id", ["vol-*"], [0, 1, 2, 3]),
    ("volume-size", ["1"], [0, 1, 2, 3]),
    ("volume-size", ["10"], []),
]


@pytest.mark.parametrize(("name", "values", "numbers"), FILTERS)
def test_filters_of_describe_snapshots(
    store: Store, four: list[Snapshot], name: str, values: list[str], numbers: list[int]
) -> None:
    query = SnapshotQuery(filters=[Filter(name, values)])

    assert found(store, four, query) == numbers
    assert len(store.describe_snapshots(query).snapshots) == len(numbers)


def test_filters_must_all_hold(store: Store, four: list[Snapshot]) -> None:
    query = SnapshotQuery(
        filters=[Filter("tag:Name", ["web*"]), Filter("description", ["nightly*"])]
    )

    assert found(store, four, query) == [0]


@pytest.mark.parametrize("name", ["kms-key-id", "Status", "tag", "volume"])
def test_unknown_filter_is_refused(store: Store, name: str) -> None:
    query = SnapshotQuery(filters=[Filter(name, ["x"])])

    assert refused(lambda: store.list_snapshots(query)) is ErrorCode.INVALID_PARAMETER_VALUE


def test_snapshots_are_found_by_id_and_volume(store: Store, four: list[Snapshot]) -> None:
    ids = [taken.snapshot_id for taken in four]

    assert found(store, four, SnapshotQuery(snapshot_ids=[ids[3], ids[1], ids[1]])) == [1, 3]
    by_volume = Filter("volume-id", [four[2].volume_id])
    assert found(store, four, SnapshotQuery(filters=[by_volume])) == [2]
    both = SnapshotQuery(snapshot_ids=ids[:2], filters=[Filter("tag:Name", ["web*"])])
    assert found(store, four, both) == [0]


def test_id_that_does_not_exist_refuses_the_query(store: Store, four: list[Snapshot]) -> None:
    unknown = SnapshotQuery(snapshot_ids=[four[0].snapshot_id, "snap-00000000000000000"])
    malformed = SnapshotQuery(snapshot_ids=["snap-xyz"])

    assert refused(lambda: store.list_snapshots(unknown)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    code = refused(lambda: store.describe_snapshots(malformed))
    assert code is ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED


@pytest.mark.parametrize(
    ("owners", "count"),
    [
        ([], 4),
        (["self"], 4),
        ([OWNER], 4),
        (["amazon"], 0),
        (["210987654321"], 0),
        (["amazon", "self"], 4),
    ],
)
def test_owners(store: Store, four: list[Snapshot], owners: list[str], count: int) -> None:
    assert len(found(store, four, SnapshotQuery(owner_ids=owners))) == count


@pytest.mark.parametrize("owner", ["", "me", "Self", "12345678901", "1234567890123", "\u0661" * 12])
def test_owner_that_is_no_account_is_refused(store: Store, owner: str) -> None:
    query = SnapshotQuery(owner_ids=["self", owner])

    assert refused(lambda: store.list_snapshots(query)) is ErrorCode.INVALID_USER_ID_MALFORMED


def test_states(store: Store, four: list[Snapshot]) -> None:
    assert found(store, four, SnapshotQuery(states=["completed", "error"])) == [0, 1, 2, 3]
    assert found(store, four, SnapshotQuery(states=["pending"])) == []
    query = SnapshotQuery(states=["done"])
    assert refused(lambda: store.list_snapshots(query)) is ErrorCode.INVALID_PARAMETER_VALUE


# pages


@pytest.fixture
def twelve(store: Store) -> list[str]:
    """The ids of a dozen snapshots in the order of their beginning; `even` is on every second."""
    return [
        store.create_snapshot(
            disk_of(NOISE, name=f"memory:{number}"),
            SnapshotOptions(tags={} if number % 2 else {"even": ""}),
        ).snapshot_id
        for number in range(12)
    ]


def test_pages_together_are_all_snapshots_once(store: Store, twelve: list[str]) -> None:
    seen, token, sizes = list[str](), None, list[int]()
    while True:
        page = store.describe_snapshots(SnapshotQuery(max_results=5, next_token=token))
        seen += [shown.snapshot_id for shown in page.snapshots]
        sizes.append(len(page.snapshots))
        token = page.next_token
        if token is None:
            break

    assert seen == twelve
    assert sizes == [5, 5, 2]


def test_pages_count_what_passes_the_filters(store: Store, twelve: list[str]) -> None:
    wanted = [Filter("tag-key", ["even"])]

    first = store.describe_snapshots(SnapshotQuery(max_results=5, filters=wanted))
    token = first.next_token
    rest = store.describe_snapshots(SnapshotQuery(max_results=5, filters=wanted, next_token=token))

    assert [shown.snapshot_id for shown in first.snapshots] == twelve[0:10:2]
    assert [shown.snapshot_id for shown in rest.snapshots] == [twelve[10]]
    assert rest.next_token is None


def test_page_is_not_disturbed_by_a_deletion_before_it(store: Store, twelve: list[str]) -> None:
    token = store.describe_snapshots(SnapshotQuery(max_results=5)).next_token

    store.delete_snapshots(twelve[2:6])

    rest = store.describe_snapshots(SnapshotQuery(next_token=token)).snapshots
    assert [shown.snapshot_id for shown in rest] == twelve[6:]


def test_token_belongs_to_its_query(store: Store, twelve: list[str]) -> None:
    token = store.describe_snapshots(SnapshotQuery(max_results=5)).next_token
    assert token is not None

    for query in (
        SnapshotQuery(next_token=token, states=["completed"]),
        SnapshotQuery(next_token=token, owner_ids=["self"]),
        SnapshotQuery(next_token=token, filters=[Filter("tag-key", ["even"])]),
        SnapshotQuery(next_token=token, snapshot_ids=twelve[:1]),
        SnapshotQuery(next_token=token[:-2]),
        SnapshotQuery(next_token="bogus"),
    ):
        code = refused(lambda query=query: store.describe_snapshots(query))  # type: ignore[misc]
        assert code is ErrorCode.INVALID_PAGINATION_TOKEN


@pytest.mark.usefixtures("twelve")
def test_size_of_a_page_is_from_5_and_is_cut_to_1000(store: Store) -> None:
    code = refused(lambda: store.describe_snapshots(SnapshotQuery(max_results=4)))
    assert code is ErrorCode.INVALID_PARAMETER_VALUE
    assert len(store.describe_snapshots(SnapshotQuery(max_results=10**9)).snapshots) == 12


def test_size_of_a_page_together_with_ids_is_refused(store: Store, twelve: list[str]) -> None:
    query = SnapshotQuery(snapshot_ids=twelve[:2], max_results=5)

    code = refused(lambda: store.describe_snapshots(query))

    assert code is ErrorCode.INVALID_PARAMETER_COMBINATION


def test_list_has_no_pages(store: Store) -> None:
    """A page that is taken for everything would lose snapshots silently."""
    code = refused(lambda: store.list_snapshots(SnapshotQuery(max_results=5)))

    assert code is ErrorCode.INVALID_PARAMETER_COMBINATION


@pytest.mark.parametrize("size", [5.0, 7.5, "10", True])
def test_page_size_that_is_no_whole_number_is_refused(store: Store, size: int) -> None:
    for call in (
        lambda: store.describe_snapshots(SnapshotQuery(max_results=size)),
        lambda: store.volumes.describe(VolumeQuery(max_results=size)),
    ):
        assert refused(call) is ErrorCode.INVALID_PARAMETER_VALUE
