"""Fast snapshot restore: states, credits and minutes on a clock that is moved by hand."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from ebsim import failpoints
from ebsim.config import Quotas
from ebsim.core.fast_restores import all_fast_restores
from ebsim.core.volume_records import get_managed, put_managed
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode
from ebsim.fast_restores import FastRestore, FastRestoreQuery, FastRestoreState
from ebsim.format.catalog_values import Table
from ebsim.format.fast_restore_records import encode_fast_restore
from ebsim.format.meta_records import decode_journal
from ebsim.format.segment import RecordKind
from ebsim.ids import SnapshotId
from ebsim.permissions import PermissionChange, PublicAccess
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.requests import Filter, VolumeModificationRequest, VolumeQuery, VolumeRequest
from ebsim.results import VolumeState
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.files import PosixFiles
from ebsim.storage.segment_scan import scan_segment
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.damage import damage_block, flip_bit, segment_files
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Killed, Machine
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

FRIEND = "111122223333"
GONE = "snap-00000000000000000"
ZONE, ZONE_B, ZONE_C = "us-east-1a", "us-east-1b", "us-east-1c"
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US


@pytest.fixture
def name(store: Store) -> str:
    return store.create_snapshot(disk_of(NOISE, TEXT)).snapshot_id


@pytest.fixture
def friend(store: Store) -> Store:
    return store.as_account(FRIEND)


def snapshot_of_size(store: Store, size_gib: int) -> str:
    """Return a snapshot of an empty volume of so many GiB."""
    volume = store.volumes.create(VolumeRequest(size_gib=size_gib, volume_type="gp3"))
    snapshot = store.create_snapshot(volume.volume_id)
    store.wait_snapshots([snapshot.snapshot_id])
    return snapshot.snapshot_id


def enable(store: Store, name: str, zone: str = ZONE) -> FastRestore:
    report = store.fast_restores.enable([name], [zone])
    assert not report.unsuccessful
    (shown,) = report.successful
    return shown


def shown(store: Store, name: str, zone: str = ZONE) -> FastRestore:
    wanted = [Filter("snapshot-id", [name]), Filter("availability-zone", [zone])]
    (found,) = store.fast_restores.describe(FastRestoreQuery(filters=wanted)).fast_restores
    return found


def state(store: Store, name: str) -> FastRestoreState:
    return shown(store, name).state


def pass_until_credits(clock: ManualClock) -> None:
    """Let so much time pass that a small snapshot is optimized, and its bucket full."""
    clock.advance(hours=2)


def make(store: Store, name: str, zone: str = ZONE) -> bool:
    """Make a volume of a snapshot, and return whether it is fast restored."""
    volume = store.volumes.create(VolumeRequest(snapshot_id=name, zone=zone))
    assert store.volumes.get(volume.volume_id).fast_restored is volume.fast_restored
    assert volume.state is VolumeState.AVAILABLE
    return volume.fast_restored


# States


def test_states_by_the_clock(store: Store, clock: ManualClock) -> None:
    """Section 7.4: enabling, optimizing 60 minutes for a TiB, enabled, disabling, disabled."""
    name = snapshot_of_size(store, 1024)
    start = clock.now_us()

    begun = enable(store, name)

    assert (begun.state, begun.reason) == (FastRestoreState.ENABLING, "Client.UserInitiated")
    assert (begun.enabling_us, begun.optimizing_us, begun.enabled_us) == (start, None, None)
    clock.advance(1)
    optimizing = shown(store, name)
    assert optimizing.state is FastRestoreState.OPTIMIZING
    assert optimizing.reason == "Client.UserInitiated - Lifecycle state transition"
    assert optimizing.optimizing_us is not None
    clock.advance(3599.999999)
    assert state(store, name) is FastRestoreState.OPTIMIZING
    clock.advance(0.000001)
    enabled = shown(store, name)
    assert enabled.state is FastRestoreState.ENABLED
    assert enabled.enabled_us == optimizing.optimizing_us + HOUR_US
    assert enabled.owner == store.caller.account

    report = store.fast_restores.disable([name], [ZONE])

    (ended,) = report.successful
    assert (ended.state, ended.reason) == (FastRestoreState.DISABLING, "Client.UserInitiated")
    assert (ended.disabling_us, ended.disabled_us) == (clock.now_us(), None)
    assert ended.enabled_us == enabled.enabled_us
    clock.advance(1)
    over = shown(store, name)
    assert (over.state, over.disabled_us) == (FastRestoreState.DISABLED, clock.now_us())
    assert over.reason == "Client.UserInitiated - Lifecycle state transition"


def test_what_was_ended_early_never_was_enabled(store: Store, clock: ManualClock) -> None:
    name = snapshot_of_size(store, 1024)
    enable(store, name)
    clock.advance(60)

    store.fast_restores.disable([name], [ZONE])
    clock.advance(hours=5)

    over = shown(store, name)
    assert over.optimizing_us is not None
    assert over.enabled_us is None
    assert over.credits == 0


def test_each_snapshot_and_zone_by_itself(store: Store, name: str) -> None:
    """Section 7.4: Successful and Unsuccessful; a request fails for some, and not for others."""
    missing = "snap-00000000000000000"

    report = store.fast_restores.enable([name, missing], [ZONE, ZONE_B, "mars-1a", ZONE])

    assert [(each.snapshot_id, each.zone) for each in report.successful] == [
        (name, ZONE),
        (name, ZONE_B),
    ]
    assert [(each.snapshot_id, each.zone, each.code) for each in report.unsuccessful] == [
        (name, "mars-1a", "InvalidZone.NotFound"),
        (missing, ZONE, "InvalidSnapshot.NotFound"),
        (missing, ZONE_B, "InvalidSnapshot.NotFound"),
        (missing, "mars-1a", "InvalidSnapshot.NotFound"),
    ]
    report = store.fast_restores.disable([name], [ZONE_B, ZONE_C])
    assert [each.zone for each in report.successful] == [ZONE_B]
    assert [(each.zone, each.code) for each in report.unsuccessful] == [(ZONE_C, "IncorrectState")]
    assert_healthy(store)


def test_enabling_twice_is_enabling_once(store: Store, clock: ManualClock, name: str) -> None:
    first = enable(store, name)
    events = store.events()

    again = enable(store, name)

    assert again == first
    assert store.events() == events
    assert len(store.fast_restores.usage()) == 1
    clock.advance(hours=1)
    assert enable(store, name).enabling_us == first.enabling_us


def test_enabling_again_begins_anew(store: Store, clock: ManualClock, name: str) -> None:
    enable(store, name)
    pass_until_credits(clock)
    store.fast_restores.disable([name], [ZONE])

    again = enable(store, name)

    assert again.state is FastRestoreState.ENABLING
    assert again.credits == 0
    assert len(store.fast_restores.describe().fast_restores) == 1
    assert len(store.fast_restores.usage()) == 2


@pytest.mark.parametrize(
    ("names", "zones", "code"),
    [
        ([], [ZONE], ErrorCode.MISSING_PARAMETER),
        (["snap-00000000000000000"], [], ErrorCode.MISSING_PARAMETER),
        (["snap-x"], [ZONE], ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED),
        ([f"snap-{n:017x}" for n in range(11)], [ZONE], ErrorCode.INVALID_PARAMETER_VALUE),
    ],
)
def test_bad_requests_are_refused_as_a_whole(
    store: Store, names: list[str], zones: list[str], code: ErrorCode
) -> None:
    assert refused(lambda: store.fast_restores.enable(names, zones)) is code
    assert refused(lambda: store.fast_restores.disable(names, zones)) is code


def test_snapshot_must_be_completed(store_path: Path, seams: Seams) -> None:
    copies = HeldCopies()
    with Store.create(store_path, replace(seams, before_copy=copies)) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1))
        name = store.create_snapshot(volume.volume_id).snapshot_id

        (failure,) = store.fast_restores.enable([name], [ZONE]).unsuccessful

        assert failure.code == "IncorrectState"
        copies.release_all()
        store.wait_snapshots([name])
        assert enable(store, name).state is FastRestoreState.ENABLING


def test_at_most_16_tib(store: Store) -> None:
    largest, larger = snapshot_of_size(store, 16_384), snapshot_of_size(store, 16_385)

    assert enable(store, largest).snapshot_id == largest
    (failure,) = store.fast_restores.enable([larger], [ZONE]).unsuccessful

    assert failure.code == "InvalidParameterValue"


def test_five_snapshots_of_an_account_in_a_region(store: Store, friend: Store) -> None:
    """Section 7.4: the quota counts snapshots, in however many zones."""
    names = [store.create_snapshot(disk_of(NOISE, name=f"{n}")).snapshot_id for n in range(6)]
    for name in names[:5]:
        assert len(store.fast_restores.enable([name], [ZONE, ZONE_B]).successful) == 2
    (failure,) = store.fast_restores.enable([names[5]], [ZONE]).unsuccessful
    assert failure.code == "ResourceLimitExceeded"
    enable(store, names[0], ZONE_C)  # another zone is no other snapshot

    store.permissions.modify(names[5], PermissionChange(add=[FRIEND]))
    enable(friend, names[5])  # each account has its own quota
    store.fast_restores.disable([names[0]], [ZONE, ZONE_B, ZONE_C])
    enable(store, names[5])
    store.quotas = Quotas(fast_restore_snapshots=0)
    (failure,) = store.fast_restores.enable([names[0]], [ZONE]).unsuccessful
    assert failure.code == "ResourceLimitExceeded"


def test_filters_and_pages(store: Store, clock: ManualClock, name: str) -> None:
    zones = [f"us-east-1{letter}" for letter in "abcdef"]
    store.fast_restores.enable([name], zones)
    store.fast_restores.disable([name], zones[:1])

    def zones_of(**query: object) -> list[str]:
        page = store.fast_restores.describe(FastRestoreQuery(**query))  # type: ignore[arg-type]
        return [each.zone for each in page.fast_restores]

    assert zones_of(filters=[Filter("state", ["disabling"])]) == zones[:1]
    assert zones_of(filters=[Filter("state", ["enab*"])]) == zones[1:]
    assert zones_of(filters=[Filter("owner-id", [FRIEND])]) == []
    page = store.fast_restores.describe(FastRestoreQuery(max_results=5))
    assert len(page.fast_restores) == 5
    rest = FastRestoreQuery(max_results=5, next_token=page.next_token)
    assert [each.zone for each in store.fast_restores.describe(rest).fast_restores] == zones[5:]
    assert refused(lambda: zones_of(filters=[Filter("color", ["red"])])) is (
        ErrorCode.INVALID_PARAMETER_VALUE
    )


# Credits


@pytest.mark.parametrize(
    ("size_gib", "an_hour", "bucket"),
    [
        (1, Fraction(10), Fraction(10)),
        (102, Fraction(10), Fraction(10)),
        (103, Fraction(1024, 103), Fraction(1024, 103)),
        (128, Fraction(8), Fraction(8)),
        (1000, Fraction(1024, 1000), Fraction(1024, 1000)),
        (1024, Fraction(1), Fraction(1)),
        (1025, Fraction(1024, 1025), Fraction(1)),
        (2048, Fraction(1, 2), Fraction(1)),
        (16384, Fraction(1, 16), Fraction(1)),
    ],
)
def test_bucket_and_refill(
    store: Store, clock: ManualClock, size_gib: int, an_hour: Fraction, bucket: Fraction
) -> None:
    """Section 7.4: max(1, min(10, 1024/GiB)) at most, min(10, 1024/GiB) an hour, from 0."""
    name = snapshot_of_size(store, size_gib)
    enable(store, name)
    clock.advance(1)
    clock.advance(seconds=size_gib * 3600 / 1024)

    at_first = shown(store, name)
    assert at_first.state is FastRestoreState.ENABLED
    assert at_first.credits == 0
    assert at_first.credits_max == bucket
    clock.advance(60)
    assert shown(store, name).credits == an_hour / 60
    clock.advance(seconds=17 * 60)
    assert shown(store, name).credits == min(bucket, an_hour * 18 / 60)
    clock.advance(hours=20)
    assert shown(store, name).credits == bucket


def test_published_example_of_128_gib(store: Store, clock: ManualClock) -> None:
    """Section 7.4: 128 GiB, 8 credits an hour, so the first after 7.5 minutes."""
    name = snapshot_of_size(store, 128)
    enable(store, name)
    clock.advance(1 + 128 * 3600 / 1024)
    clock.advance(7.5 * 60 - 0.000001)
    assert not make(store, name)
    clock.advance(0.000001)

    assert make(store, name)
    assert shown(store, name).credits == 0
    assert not make(store, name)
    clock.advance(7.5 * 60)
    assert make(store, name)


def test_a_volume_takes_one_credit(store: Store, clock: ManualClock, name: str) -> None:
    enable(store, name)
    pass_until_credits(clock)

    made = [make(store, name) for _ in range(11)]

    assert made == [True] * 10 + [False]
    clock.advance(6 * 60)
    assert make(store, name), "ten an hour come in"
    assert not make(store, name)


def test_credits_are_of_a_zone_and_an_account(
    store: Store, friend: Store, clock: ManualClock, name: str
) -> None:
    """Section 7.4: per snapshot and zone; the recipient's are its own."""
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))
    enable(store, name)
    pass_until_credits(clock)

    assert make(store, name)
    assert not make(store, name, ZONE_B)
    assert not make(friend, name)
    enable(friend, name)
    pass_until_credits(clock)
    assert make(friend, name)
    assert shown(store, name).credits == 10
    assert shown(friend, name).credits == 9
    assert [each.owner for each in friend.fast_restores.usage()] == [FRIEND]
    assert [each.owner for each in store.fast_restores.usage()] == [store.caller.account]


def test_no_credit_before_it_is_enabled_nor_after(
    store: Store, clock: ManualClock, name: str
) -> None:
    enable(store, name)
    assert not make(store, name)
    pass_until_credits(clock)
    store.fast_restores.disable([name], [ZONE])

    assert not make(store, name)


def test_initialization_rate_goes_before_a_credit(
    store: Store, clock: ManualClock, name: str
) -> None:
    """Section 3.3: a provisioned rate overrides fast restore."""
    enable(store, name)
    pass_until_credits(clock)

    volume = store.volumes.create(VolumeRequest(snapshot_id=name, initialization_rate=100))

    assert not volume.fast_restored
    assert shown(store, name).credits == 10


def test_a_clock_that_goes_back_gives_no_credit(
    store: Store, clock: ManualClock, name: str
) -> None:
    enable(store, name)
    pass_until_credits(clock)
    for _ in range(10):
        assert make(store, name)

    clock.advance(hours=-1)
    assert not make(store, name)
    clock.advance(hours=1)
    assert not make(store, name)


# Volumes


def test_fast_restored_volume_is_loaded_when_it_is_returned(
    store: Store, clock: ManualClock, name: str
) -> None:
    enable(store, name)
    pass_until_credits(clock)

    fast = store.volumes.create(VolumeRequest(snapshot_id=name))
    lazy = store.volumes.create(VolumeRequest(snapshot_id=name, zone=ZONE_B))

    assert (fast.fast_restored, fast.initialization_percent) == (True, 100)
    assert (lazy.fast_restored, lazy.initialization_percent) == (False, 0)
    found = store.volumes.list(VolumeQuery(filters=[Filter("fast-restored", ["true"])]))
    assert [each.volume_id for each in found] == [fast.volume_id]
    store.delete_snapshots([name])
    with store.volumes.open(fast.volume_id) as file:
        assert file.pread(2 * BLOCK_SIZE, 0) == NOISE + TEXT
    told = [each.detail["event"] for each in store.events() if "event" in each.detail]
    assert told.count("createVolume") == 2
    assert_healthy(store)


def test_fast_restored_volume_that_cannot_be_loaded_is_none(
    store: Store, store_path: Path, clock: ManualClock, name: str
) -> None:
    enable(store, name)
    pass_until_credits(clock)
    damage_block(store_path, TEXT)

    code = refused(lambda: store.volumes.create(VolumeRequest(snapshot_id=name)))

    assert code is ErrorCode.CORRUPT_SEGMENT
    assert store.volumes.list() == []
    assert shown(store, name).credits == 9, "the credit is gone"


@pytest.fixture
def killed_while_it_loads(fast_path: Path) -> Machine:
    """A machine whose process died while it loaded a fast restored volume."""
    machine = Machine(fast_path)
    process = machine.start(("load.before-release", 1))
    failpoints.arm(process.reach)
    store = process.open()
    name = store.create_snapshot(disk_of(NOISE, TEXT)).snapshot_id
    enable(store, name)
    clock = store._context.clock
    assert isinstance(clock, ManualClock)
    pass_until_credits(clock)
    with pytest.raises(Killed):
        store.volumes.create(VolumeRequest(snapshot_id=name))
    process.kill()
    failpoints.disarm()
    return machine


def test_next_process_goes_on_with_a_volume_that_is_creating(
    killed_while_it_loads: Machine,
) -> None:
    process = killed_while_it_loads.start()
    store = process.open()
    (volume,) = store.volumes.list()
    store.volumes.initialize(volume.volume_id)

    ready = store.volumes.get(volume.volume_id)

    assert (ready.state, ready.fast_restored) == (VolumeState.AVAILABLE, True)
    assert ready.initialization_percent == 100
    with store.volumes.open(volume.volume_id) as file:
        assert file.pread(2 * BLOCK_SIZE, 0) == NOISE + TEXT
    store.close()


# What ends it


def test_deleting_ends_it(store: Store, friend: Store, clock: ManualClock, name: str) -> None:
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))
    enable(store, name)
    enable(friend, name)

    store.delete_snapshots([name])

    for each in (store, friend):
        assert state(each, name) is FastRestoreState.DISABLING
        assert shown(each, name).reason == "Client.UserInitiated - Lifecycle state transition"
    clock.advance(1)
    assert state(friend, name) is FastRestoreState.DISABLED
    assert_healthy(store)


def test_archiving_ends_it(store: Store, name: str) -> None:
    """Sections 7.1 and 7.4: an archived snapshot has no fast restore, and gets none."""
    enable(store, name)

    store.tiers.archive(name)

    assert state(store, name) is FastRestoreState.DISABLING
    (failure,) = store.fast_restores.enable([name], [ZONE]).unsuccessful
    assert failure.code == "IncorrectState"


def test_recycling_ends_it(store: Store, name: str) -> None:
    """Section 7.2: what goes to the Recycle Bin has no fast restore, also when it comes back."""
    store.recycle_bin.rules.create(
        RuleRequest(resource_type=RuleResourceType.EBS_SNAPSHOT, retention_days=1)
    )
    enable(store, name)

    store.delete_snapshots([name])
    store.recycle_bin.restore_snapshot(name)

    assert state(store, name) is FastRestoreState.DISABLING


def test_sharing_no_more_ends_the_recipients(store: Store, friend: Store, name: str) -> None:
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))
    enable(store, name)
    enable(friend, name)

    store.permissions.modify(name, PermissionChange(remove=[FRIEND]))

    assert state(friend, name) is FastRestoreState.DISABLING
    assert state(store, name) is FastRestoreState.ENABLING
    (failure,) = friend.fast_restores.enable([name], [ZONE]).unsuccessful
    assert failure.code == "InvalidSnapshot.NotFound"


def test_public_snapshot_is_for_everybody_until_it_is_not(
    store: Store, friend: Store, name: str
) -> None:
    store.permissions.modify(name, PermissionChange(add_all=True))
    enable(friend, name)

    store.permissions.public_access = PublicAccess.BLOCK_ALL_SHARING
    assert state(friend, name) is FastRestoreState.ENABLING
    store.permissions.modify(name, PermissionChange(remove_all=True))

    assert state(friend, name) is FastRestoreState.DISABLING


def test_others_see_nothing_of_it(store: Store, friend: Store, name: str) -> None:
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))
    enable(store, name)

    assert friend.fast_restores.describe().fast_restores == ()
    assert friend.fast_restores.usage() == []
    (failure,) = friend.fast_restores.disable([name], [ZONE]).unsuccessful
    assert failure.code == "IncorrectState"
    assert state(store, name) is FastRestoreState.ENABLING


def test_copy_is_not_enabled(store: Store, name: str) -> None:
    """Section 6: fast restore is not carried to a copy."""
    enable(store, name)

    copy = store.copy_snapshot(name)

    wanted = [Filter("snapshot-id", [copy.snapshot_id])]
    assert store.fast_restores.describe(FastRestoreQuery(filters=wanted)).fast_restores == ()


def test_beginning_and_end_are_told(store: Store, name: str) -> None:
    """Section 1.7: detail has snapshot-id, state, zone, message."""
    before = len(store.events())

    enable(store, name)
    store.fast_restores.disable([name], [ZONE])

    told = store.events()[before:]
    assert {each.detail_type for each in told} == {
        "EBS Fast Snapshot Restore State-change Notification"
    }
    assert [each.detail for each in told] == [
        {
            "snapshot-id": name,
            "state": state,
            "zone": ZONE,
            "message": "Client.UserInitiated",
        }
        for state in ("enabling", "disabling")
    ]
    assert {each.resources for each in told} == {(f"arn:aws:ec2:us-east-1::snapshot/{name}",)}


def test_check_finds_one_whose_snapshot_is_gone(store: Store, name: str) -> None:
    enable(store, name)
    assert store.check().healthy

    def forget(writer: CatalogWriter) -> None:
        for record in all_fast_restores(writer):
            lost = replace(record, snapshot_id=SnapshotId(GONE))
            writer.put(Table.FAST_RESTORES, record.key, encode_fast_restore(lost))

    store._context.catalog.update(forget)

    (finding,) = store.check().findings

    assert finding.kind == "wrong-reference"
    assert GONE in finding.message


# Minutes


def dollars(store: Store) -> Fraction:
    """Return what is charged: 0.75 USD for an hour of a snapshot in a zone (section 8)."""
    minutes = sum(each.minutes for each in store.fast_restores.usage())
    return Fraction(minutes, 60) * Fraction(3, 4)


@pytest.mark.parametrize(("snapshots", "zones", "price"), [(1, 1, 540), (2, 3, 3240)])
def test_published_bills(
    store: Store, clock: ManualClock, snapshots: int, zones: int, price: int
) -> None:
    """Section 7.4: 1 snapshot x 1 zone x 720 h = 540; 2 x 3 x 720 = 3240."""
    disks = [disk_of(NOISE, name=f"{n}") for n in range(snapshots)]
    names = [store.create_snapshot(disk).snapshot_id for disk in disks]
    store.fast_restores.enable(names, [ZONE, ZONE_B, ZONE_C][:zones])
    clock.advance(hours=720)

    assert dollars(store) == price
    store.delete_snapshots(names)
    clock.advance(hours=720)
    assert dollars(store) == price


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(0, 60), (59 * 60, 60), (3600, 60), (3600.000001, 61), (3660, 61)]
)
def test_an_hour_at_least_and_then_by_minutes(
    store: Store, clock: ManualClock, name: str, seconds: float, minutes: int
) -> None:
    enable(store, name)
    clock.advance(seconds)
    store.fast_restores.disable([name], [ZONE])
    clock.advance(hours=9)

    (use,) = store.fast_restores.usage()

    assert (use.minutes, use.end_us) == (minutes, use.start_us + round(seconds * SECOND_US))
    assert shown(store, name).billed_minutes == minutes


# The journal


def test_fast_restores_outlive_the_catalog(
    store: Store, store_path: Path, seams: Seams, clock: ManualClock, name: str
) -> None:
    friend = store.as_account(FRIEND)
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))
    gone = store.create_snapshot(disk_of(NOISE, name="gone")).snapshot_id
    store.fast_restores.enable([name, gone], [ZONE, ZONE_B])
    enable(friend, name)
    pass_until_credits(clock)
    make(store, name)
    store.fast_restores.disable([name], [ZONE_B])
    store.delete_snapshots([gone])
    store.permissions.reset(name)
    clock.advance(60)
    before = [
        (each.fast_restores.describe(), each.fast_restores.usage()) for each in (store, friend)
    ]
    volumes = store.volumes.list()
    store.close()

    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        them = (again, again.as_account(FRIEND))
        after = [(each.fast_restores.describe(), each.fast_restores.usage()) for each in them]
        assert after == before
        assert again.volumes.list() == volumes
        assert make(again, name)
        enable(again, name, ZONE_B)
        assert_healthy(again)


@pytest.mark.parametrize("number", range(1, 8))
def test_damaged_entries_of_the_journal_are_made_again(
    store: Store, store_path: Path, seams: Seams, clock: ManualClock, number: int
) -> None:
    """Whatever the operation of an entry is: it may have changed a fast restore."""
    name = store.create_snapshot(disk_of(NOISE)).snapshot_id
    gone = store.create_snapshot(disk_of(TEXT, name="gone")).snapshot_id
    store.fast_restores.enable([name, gone], [ZONE])
    pass_until_credits(clock)
    make(store, name)  # takes two: the volume, and that it is loaded
    store.delete_snapshots([gone])
    store.fast_restores.disable([name], [ZONE])
    told = (store.fast_restores.usage(), store.fast_restores.describe())
    entries = journal_entries(store_path)
    assert len(entries) == 7, "each is a case"
    store.close()
    path, offset = entries[number - 1]
    flip_bit(path, 8 * (offset + 100))
    with Store.open(store_path, seams) as again:
        again.repair()

    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        assert (again.fast_restores.usage(), again.fast_restores.describe()) == told
        assert_healthy(again)


def journal_entries(folder: Path) -> list[tuple[Path, int]]:
    """Return file and offset of the journal's entries, in their order."""
    found = [
        (decode_journal(record.payload)["sequence"], path, record.offset)
        for path in segment_files(folder)
        for record in scan_segment(PosixFiles(), path, bytes.fromhex(path.stem))
        if record.header is not None
        and record.header.kind is RecordKind.JOURNAL
        and record.payload is not None
    ]
    return [(path, offset) for _, path, offset in sorted(found)]


def test_volume_that_is_creating_is_nobodys_yet(store: Store, name: str) -> None:
    """Section 3.2: no snapshot is taken of it, and nobody opens or modifies it."""
    volume_id = store.volumes.create(VolumeRequest(snapshot_id=name)).volume_id

    def begin(writer: CatalogWriter) -> None:
        put_managed(writer, replace(get_managed(writer, volume_id), state=VolumeState.CREATING))

    store._context.catalog.update(begin)
    calls: list[Callable[[], object]] = [
        lambda: store.volumes.open(volume_id),
        lambda: store.create_snapshot(volume_id),
        lambda: store.volumes.modify(volume_id, VolumeModificationRequest(size_gib=2)),
    ]
    assert {refused(call) for call in calls} == {ErrorCode.INCORRECT_STATE}
    assert store.volumes.get(volume_id).state is VolumeState.CREATING

    store.volumes.initialize(volume_id)
    assert store.volumes.get(volume_id).state is VolumeState.AVAILABLE
    store._context.catalog.update(begin)
    store.volumes.delete(volume_id)
    assert store.volumes.list() == []
    assert_healthy(store)
