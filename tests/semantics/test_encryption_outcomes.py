"""Encrypted or not, under which key, and full or incremental: over real stores, with real bytes.

Tables 5.2 (CreateVolume), 5.3 (CopySnapshot), 5.4 (sharing) and 6.1 (full or incremental) of the
semantics row by row, example E5, and the rules of section 5.1. D is the account's default key, K
the one that a request names, S that of the source snapshot.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.core.domains import list_domains
from ebsim.core.volumes import get_volume
from ebsim.engine import Store
from ebsim.errors import EbsimError, ErrorCode, InvalidInputError
from ebsim.permissions import PermissionChange
from ebsim.requests import SnapshotQuery, VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, ZEROS, noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.units import BLOCK_SIZE

FRIEND = "111122223333"
THERE = "eu-central-1"
CONTENT = [NOISE, TEXT, ZEROS, HEAD]
PLAIN = ""


def encrypted(key: str | None = None, **more: object) -> SnapshotOptions:
    return SnapshotOptions(encrypted=True, kms_key_id=key, **more)  # type: ignore[arg-type]


def blocks(shown: Snapshot) -> tuple[int, int, int]:
    sizes = (shown.full_size_bytes, shown.incremental_size_bytes, shown.charged_size_bytes)
    return sizes[0] // BLOCK_SIZE, sizes[1] // BLOCK_SIZE, sizes[2] // BLOCK_SIZE


def contents(store: Store, snapshot_id: str, count: int = 4) -> list[bytes]:
    return [store.read_block(snapshot_id, index) for index in range(count)]


def key_of(store: Store, alias: str) -> str:
    """Return the ARN of a key of a store's caller, which is made if it is not there."""
    for key in store.keys.list():
        if alias in key.aliases:
            return key.arn
    return (
        store.keys.get(alias).arn if alias == "alias/aws/ebs" else store.keys.create("", alias).arn
    )


def default_of(store: Store) -> str:
    return store.keys.get("alias/aws/ebs").arn


def data_key_of_volume(store: Store, volume_id: str) -> str:
    with store._context.catalog.read() as reader:
        domain = get_volume(reader, volume_id).domain  # type: ignore[arg-type]
        ids = {each.number: each.data_key_id for each in list_domains(reader)}
    return ids.get(domain, "")


@dataclass(frozen=True)
class World:
    """A store with snapshots of every kind that the tables have as a source.

    The caller's own, and a friend's that are shared with it under keys that are granted to it.
    """

    store: Store
    sources: dict[str, Snapshot | None]

    def key(self, name: str) -> str:
        """Return what stands for D, K, S or none in the account of the store's caller."""
        if name == "D":
            return default_of(self.store)
        return key_of(self.store, "alias/k") if name == "K" else PLAIN


@pytest.fixture
def world(store: Store) -> World:
    friend = store.as_account(FRIEND)
    theirs = friend.keys.create(alias="alias/theirs").arn
    friend.keys.create_grant(theirs, store.caller.account)
    mine = store.keys.create(alias="alias/source").arn
    sources: dict[str, Snapshot | None] = {
        "none": None,
        "unencrypted, own": store.create_snapshot(disk_of(*CONTENT, name="memory:a")),
        "encrypted, own": store.create_snapshot(
            disk_of(*CONTENT, name="memory:b"), encrypted(mine)
        ),
        "unencrypted, shared": friend.create_snapshot(disk_of(*CONTENT, name="memory:c")),
        "encrypted, shared": friend.create_snapshot(
            disk_of(*CONTENT, name="memory:d"), encrypted(theirs)
        ),
    }
    for name, source in sources.items():
        if source is not None and name.endswith("shared"):
            change = PermissionChange(add=[store.caller.account])
            friend.permissions.modify(source.snapshot_id, change)
    return World(store, sources)


ROWS_5_2 = [
    # encrypted flag, encryption by default, source, no key given, key given
    ("no", "off", ("none", "unencrypted, own", "unencrypted, shared"), PLAIN, None),
    ("no", "off", ("encrypted, own",), "S", None),
    ("no", "off", ("encrypted, shared",), "D", None),
    (
        "yes",
        "off",
        ("none", "unencrypted, own", "unencrypted, shared", "encrypted, shared"),
        "D",
        "K",
    ),
    ("yes", "off", ("encrypted, own",), "S", "K"),
    (
        "any",
        "on",
        ("none", "unencrypted, own", "unencrypted, shared", "encrypted, shared"),
        "D",
        "K",
    ),
    ("any", "on", ("encrypted, own",), "S", "K"),
]


@dataclass(frozen=True)
class Case:
    """One cell of a table."""

    flag: bool | None
    by_default: bool
    source: str
    key: str | None
    wanted: str

    def __str__(self) -> str:
        flag = {True: "true", False: "false", None: "absent"}[self.flag]
        on = "on" if self.by_default else "off"
        return f"{self.source}/{flag}/default {on}/{self.key or 'no key'}"


def cells_5_2() -> list[Case]:
    flags = {"no": (None, False), "yes": (True,), "any": (None, False, True)}
    found = []
    for flag, by_default, sources, without, given in ROWS_5_2:
        for source in sources:
            on = by_default == "on"
            found += [Case(each, on, source, None, without) for each in flags[flag]]
            if given is not None:
                found.append(Case(True, on, source, "K", given))
    return found


@pytest.mark.parametrize("case", cells_5_2(), ids=str)
def test_9_table_5_2_create_volume(world: World, case: Case) -> None:
    store, source = world.store, world.sources[case.source]
    if case.by_default:
        store.encryption.enable_by_default()
    wanted = source.kms_key_id if case.wanted == "S" and source else world.key(case.wanted)
    request = VolumeRequest(
        size_gib=1,
        snapshot_id=None if source is None else source.snapshot_id,
        encrypted=case.flag,
        kms_key_id=None if case.key is None else world.key(case.key),
    )

    volume = store.volumes.create(request)

    assert (volume.encrypted, volume.kms_key_id) == (bool(wanted), wanted)
    data_key = data_key_of_volume(store, volume.volume_id)
    others = {each.data_encryption_key_id for each in world.sources.values() if each}
    if case.wanted == "S":  # section 5.1, fact 4: one lineage, one KMS key, one data key
        assert source is not None
        assert data_key == source.data_encryption_key_id
    elif wanted:
        assert data_key
        assert data_key not in others, "another KMS key means a new data key"
    else:
        assert data_key == ""
    assert store.volumes.get(volume.volume_id) == volume


def cells_5_3() -> list[Case]:
    plain = ("unencrypted, own", "unencrypted, shared")
    sealed = ("encrypted, own", "encrypted, shared")
    found = []
    for source in plain:
        found += [
            Case(None, False, source, None, PLAIN),
            Case(False, False, source, None, PLAIN),
            Case(True, False, source, None, "D"),
            Case(None, True, source, None, "D"),
            Case(True, True, source, None, "D"),
        ]
    for source in sealed:
        found += [
            Case(flag, on, source, None, "D") for flag in (None, True) for on in (False, True)
        ]
    found += [Case(True, on, each, "K", "K") for each in plain + sealed for on in (False, True)]
    return found


@pytest.mark.parametrize("there", [False, True], ids=["same Region", "another Region"])
@pytest.mark.parametrize("case", cells_5_3(), ids=str)
def test_9_table_5_3_copy_snapshot(world: World, case: Case, *, there: bool) -> None:
    store, source = world.store, world.sources[case.source]
    assert source is not None
    target = World(store.as_account(region=THERE) if there else store, world.sources)
    if case.by_default:
        target.store.encryption.enable_by_default()
    wanted = target.key(case.wanted)
    key = None if case.key is None else target.key(case.key)
    options = SnapshotOptions(encrypted=case.flag, kms_key_id=key)

    copy = target.store.copy_snapshot(source.snapshot_id, source_region(store), options)

    assert copy.state is SnapshotState.COMPLETED
    assert (copy.encrypted, copy.kms_key_id) == (bool(wanted), wanted)
    assert bool(copy.data_encryption_key_id) == bool(wanted)
    assert copy.data_encryption_key_id != source.data_encryption_key_id or not wanted
    assert contents(target.store, copy.snapshot_id) == CONTENT
    own = case.source.endswith("own")
    if own and not there and copy.kms_key_id == source.kms_key_id:  # table 6.1, row 1
        assert (copy.parent_id, blocks(copy)) == (source.snapshot_id, (3, 0, 0))
    else:  # rows 2 and 3
        assert (copy.parent_id, blocks(copy)) == (None, (3, 3, 3))
    assert_healthy(store)


def source_region(store: Store) -> str:
    return store.caller.region


@pytest.mark.parametrize("by_default", [False, True])
@pytest.mark.parametrize("source", ["encrypted, own", "encrypted, shared"])
def test_copy_drops_no_encryption(world: World, source: str, *, by_default: bool) -> None:
    """Section 5.1, rule 1, and table 5.3: Encrypted=false is no way to drop it."""
    store, snapshot = world.store, world.sources[source]
    assert snapshot is not None
    if by_default:
        store.encryption.enable_by_default()
    before = len(store.list_snapshots())

    asked = SnapshotOptions(encrypted=False)
    code = refused(lambda: store.copy_snapshot(snapshot.snapshot_id, None, asked))

    assert code is ErrorCode.INVALID_PARAMETER_VALUE
    assert len(store.list_snapshots()) == before


@pytest.mark.parametrize("flag", [None, False])
def test_key_needs_the_flag(world: World, flag: bool | None) -> None:
    """Table 5.3: KmsKeyId requires Encrypted=true, even when encryption by default is on."""
    store, source = world.store, world.sources["unencrypted, own"]
    assert source is not None
    key = world.key("K")
    store.encryption.enable_by_default()
    options = SnapshotOptions(encrypted=flag, kms_key_id=key)

    for call in (
        lambda: store.copy_snapshot(source.snapshot_id, None, options),
        lambda: store.create_snapshot(disk_of(NOISE, name="memory:e"), options),
        lambda: store.volumes.create(VolumeRequest(size_gib=1, encrypted=flag, kms_key_id=key)),
    ):
        assert refused(call) is ErrorCode.INVALID_PARAMETER_DEPENDENCY


# Snapshots of a volume (section 5.1, rules 1 to 4; section 1.2)


def test_snapshots_of_an_encrypted_volume_share_its_data_key(store: Store) -> None:
    disk = disk_of(*CONTENT)
    key = key_of(store, "alias/k")
    first = store.create_snapshot(disk, encrypted("alias/k"))
    disk.put(1, TAIL)

    second = store.create_snapshot(disk)

    assert (first.encrypted, first.kms_key_id) == (True, key)
    assert first.data_encryption_key_id
    assert second.data_encryption_key_id == first.data_encryption_key_id
    assert (second.kms_key_id, second.parent_id) == (key, first.snapshot_id)
    assert [blocks(first), blocks(second)] == [(3, 3, 3), (3, 1, 1)]
    assert contents(store, first.snapshot_id) == CONTENT
    assert contents(store, second.snapshot_id) == [NOISE, TAIL, ZEROS, HEAD]
    assert_healthy(store)


@pytest.mark.parametrize("asked", [True, False])
def test_encryption_of_a_known_volume_is_not_changed(store: Store, *, asked: bool) -> None:
    """Section 5.1, rules 2 and 3: not at CreateSnapshot, and a key is not changed in place."""
    disk = disk_of(NOISE)
    first = store.create_snapshot(disk, None if asked else encrypted())
    options = SnapshotOptions(encrypted=asked)

    assert refused(lambda: store.create_snapshot(disk, options)) is (
        ErrorCode.INVALID_PARAMETER_COMBINATION
    )
    other = encrypted(store.keys.create(alias="alias/other").arn)
    assert refused(lambda: store.create_snapshot(disk, other)) is (
        ErrorCode.INVALID_PARAMETER_COMBINATION
    )
    assert store.create_snapshot(disk).encrypted is first.encrypted


def test_snapshot_of_an_unencrypted_volume_stays_so_with_encryption_by_default(
    store: Store,
) -> None:
    """Section 5.1, rule 5: it affects new volumes and copies; existing ones are unchanged."""
    disk = disk_of(NOISE)
    store.create_snapshot(disk)
    store.encryption.enable_by_default()

    assert not store.create_snapshot(disk).encrypted
    begun = store.create_snapshot(disk_of(NOISE, name="memory:new"))

    assert begun.kms_key_id == default_of(store)
    store.encryption.disable_by_default()
    assert not store.create_snapshot(disk_of(NOISE, name="memory:newer")).encrypted
    assert store.create_snapshot(disk_of(NOISE, name="memory:new")).encrypted


def test_encryption_by_default_is_of_an_account_and_a_region(store: Store) -> None:
    store.encryption.enable_by_default()
    for other in (store.as_account(FRIEND), store.as_account(region=THERE)):
        assert not other.encryption.get_by_default()
        assert not other.create_snapshot(disk_of(NOISE, name="memory:o")).encrypted


def test_default_key_is_set_and_reset(store: Store) -> None:
    """Section 5.1, rule 5: aws/ebs unless another was set; what exists stays as it is."""
    key = store.keys.create(alias="alias/mine").arn
    before = store.create_snapshot(disk_of(NOISE, name="memory:0"), encrypted())
    assert store.encryption.modify_default_kms_key_id("alias/mine") == key

    mine = store.create_snapshot(disk_of(NOISE, name="memory:1"), encrypted())
    copy = store.copy_snapshot(before.snapshot_id, None)
    again = store.create_snapshot(disk_of(NOISE, name="memory:0"))
    store.encryption.reset_default_kms_key_id()
    back = store.create_snapshot(disk_of(NOISE, name="memory:2"), encrypted())

    aws = default_of(store)
    found = [each.kms_key_id for each in (before, mine, copy, again, back)]
    assert found == [aws, key, key, aws, aws]
    assert blocks(copy) == (1, 1, 1), "the default is another key than the source's"
    assert again.data_encryption_key_id == before.data_encryption_key_id


def test_each_volume_has_a_data_key_of_its_own(store: Store) -> None:
    """Section 5.1, fact 4: one for each lineage and KMS key; so equal blocks are stored twice."""
    one = store.create_snapshot(disk_of(NOISE, name="memory:1"), encrypted())
    two = store.create_snapshot(disk_of(NOISE, name="memory:2"), encrypted())
    plain = store.create_snapshot(disk_of(NOISE, name="memory:3"))

    assert one.kms_key_id == two.kms_key_id
    assert one.data_encryption_key_id != two.data_encryption_key_id
    assert plain.data_encryption_key_id == ""
    assert store.stats().blocks == 3


# Full or incremental: E5, and volumes that begin at a snapshot (section 2.4)


@pytest.mark.parametrize(
    ("first", "second", "full"),
    [
        (None, None, False),
        ("alias/k1", None, False),
        ("alias/k1", "alias/k1", False),
        ("alias/k1", "alias/k2", True),
        (None, "alias/k1", True),
        (None, "alias/aws/ebs", True),
    ],
)
def test_volume_under_another_key_begins_with_a_full_snapshot(
    store: Store, first: str | None, second: str | None, *, full: bool
) -> None:
    """E5's other-key case, and section 2.4: encrypted from unencrypted. Scaled: 10 and 4 blocks."""
    for alias in ("alias/k1", "alias/k2"):
        store.keys.create(alias=alias)
    stored = [noise_block(number) for number in range(10)]
    added = [noise_block(number) for number in range(20, 24)]
    a = store.create_snapshot(
        disk_of(*stored, name="memory:vol1"), None if first is None else encrypted(first)
    )
    options = SnapshotOptions(
        parent=a.snapshot_id, encrypted=second is not None or None, kms_key_id=second
    )

    b = store.create_snapshot(disk_of(*stored, *added, name="memory:vol2"), options)

    assert blocks(a) == (10, 10, 10)
    assert blocks(b) == ((14, 14, 14) if full else (14, 4, 4))
    assert (b.parent_id is None) is full
    assert (a.data_encryption_key_id == b.data_encryption_key_id) is not full
    assert store.stats().charged_size_bytes == (24 if full else 14) * BLOCK_SIZE
    assert contents(store, b.snapshot_id, 14) == stored + added
    assert_healthy(store)


def test_e5_shared_case_is_full_for_the_recipient(world: World) -> None:
    store, source = world.store, world.sources["encrypted, shared"]
    assert source is not None
    change = disk_of(*CONTENT, TAIL, name="memory:vol2")

    code = refused(
        lambda: store.create_snapshot(change, SnapshotOptions(parent=source.snapshot_id))
    )
    copy = store.copy_snapshot(source.snapshot_id, None, encrypted(world.key("K")))
    own = store.create_snapshot(change, SnapshotOptions(parent=copy.snapshot_id))

    assert code is ErrorCode.AUTH_FAILURE, "who does not own a snapshot copies it first"
    assert blocks(copy) == (3, 3, 3)
    assert blocks(own) == (4, 1, 1)


# Table 6.1


def test_5_copy_under_the_same_key_adds_0_bytes_and_under_a_new_one_all(store: Store) -> None:
    """Semantics section 11, point 5: same Region and key adds 0 bytes, a new key adds full."""
    source = store.create_snapshot(disk_of(*CONTENT), encrypted("alias/aws/ebs"))
    before = store.stats()

    same = store.copy_snapshot(source.snapshot_id, None)
    after = store.stats()
    other = store.copy_snapshot(
        source.snapshot_id, None, encrypted(store.keys.create(alias="alias/new").arn)
    )

    assert (same.parent_id, blocks(same)) == (source.snapshot_id, (3, 0, 0))
    assert same.data_encryption_key_id == source.data_encryption_key_id
    assert (after.blocks, after.charged_size_bytes) == (before.blocks, before.charged_size_bytes)
    assert (other.parent_id, blocks(other)) == (None, (3, 3, 3))
    assert store.stats().blocks == 2 * before.blocks
    assert_healthy(store)


def test_new_key_in_the_same_region_is_full_each_time(store: Store) -> None:
    source = store.create_snapshot(disk_of(*CONTENT))

    copies = [store.copy_snapshot(source.snapshot_id, None, encrypted()) for _ in range(2)]

    assert [blocks(copy) for copy in copies] == [(3, 3, 3), (3, 3, 3)]
    assert len({copy.data_encryption_key_id for copy in copies}) == 1, "one lineage, one key"
    assert_healthy(store)


@pytest.mark.parametrize("friend", [False, True], ids=["another Region", "another account"])
def test_5_second_copy_is_incremental_and_full_once_the_latest_is_deleted(
    store: Store, *, friend: bool
) -> None:
    afar = store.as_account(FRIEND) if friend else store.as_account(region=THERE)
    disk = disk_of(*CONTENT)
    key = store.keys.create(alias="alias/s").arn
    store.keys.create_grant(key, FRIEND)
    sources = [store.create_snapshot(disk, encrypted(key))]
    disk.put(2, TAIL)
    sources.append(store.create_snapshot(disk))
    for source in sources:
        store.permissions.modify(source.snapshot_id, PermissionChange(add=[FRIEND]))

    one, two = (afar.copy_snapshot(each.snapshot_id, source_region(store)) for each in sources)

    assert [blocks(one), blocks(two)] == [(3, 3, 3), (4, 1, 1)]
    assert two.parent_id == one.snapshot_id
    assert one.data_encryption_key_id == two.data_encryption_key_id
    assert one.data_encryption_key_id != sources[0].data_encryption_key_id
    assert {one.kms_key_id, two.kms_key_id} == {default_of(afar)}
    afar.delete_snapshots([two.snapshot_id])
    full = afar.copy_snapshot(sources[1].snapshot_id, source_region(store))
    assert (full.parent_id, blocks(full)) == (None, (4, 4, 4))
    assert contents(afar, full.snapshot_id) == [NOISE, TEXT, TAIL, HEAD]
    assert_healthy(store)


@pytest.mark.parametrize("first", [None, "alias/k1"])
def test_copies_of_mixed_keys_are_full(store: Store, first: str | None) -> None:
    """Table 6.1: incremental only where all copies there are unencrypted, or under one key."""
    afar = store.as_account(region=THERE)
    for alias in ("alias/k1", "alias/k2"):
        afar.keys.create(alias=alias)
    source = store.create_snapshot(disk_of(*CONTENT))
    options = [None if alias is None else encrypted(alias) for alias in (first, "alias/k2", first)]

    copies = [
        afar.copy_snapshot(source.snapshot_id, source_region(store), each) for each in options
    ]

    assert [blocks(copy) for copy in copies] == [(3, 3, 3)] * 3
    assert copies[0].data_encryption_key_id == copies[2].data_encryption_key_id
    odd_one = copies[1].snapshot_id
    afar.delete_snapshots([odd_one])
    back = afar.copy_snapshot(source.snapshot_id, source_region(store), options[0])
    assert (back.parent_id, blocks(back)) == (copies[2].snapshot_id, (3, 0, 0))
    assert_healthy(store)


def test_key_that_was_rotated_is_the_same_key(store: Store) -> None:
    afar = store.as_account(region=THERE)
    disk = disk_of(*CONTENT)
    source = store.create_snapshot(disk, encrypted(store.keys.create(alias="alias/k").arn))
    afar.copy_snapshot(source.snapshot_id, source_region(store))
    store.keys.rotate("alias/k")
    store.keys.rotate("alias/k")

    same = store.copy_snapshot(source.snapshot_id, None, encrypted("alias/k"))
    next_one = store.create_snapshot(disk)

    assert blocks(same) == blocks(next_one) == (3, 0, 0)
    assert next_one.data_encryption_key_id == source.data_encryption_key_id


# Table 5.4


def test_private_share_under_the_default_key_is_refused(store: Store) -> None:
    source = store.create_snapshot(disk_of(NOISE), encrypted())

    with pytest.raises(EbsimError) as caught:
        store.permissions.modify(source.snapshot_id, PermissionChange(add=[FRIEND]))

    assert caught.value.code is ErrorCode.OPERATION_NOT_PERMITTED
    assert "Encrypted snapshots with EBS default key cannot be shared" in str(caught.value)
    assert store.permissions.describe(source.snapshot_id).accounts == ()


@pytest.mark.parametrize("customer_key", [False, True])
def test_public_share_of_what_is_encrypted_is_refused(store: Store, *, customer_key: bool) -> None:
    key = store.keys.create(alias="alias/k").arn if customer_key else None
    source = store.create_snapshot(disk_of(NOISE), encrypted(key))

    code = refused(
        lambda: store.permissions.modify(source.snapshot_id, PermissionChange(add_all=True))
    )

    assert code is ErrorCode.OPERATION_NOT_PERMITTED
    assert not store.permissions.describe(source.snapshot_id).public


def test_default_key_that_is_a_customer_key_can_be_shared(store: Store) -> None:
    """Table 5.4 refuses the AWS managed key: a customer key that is the default is none."""
    store.encryption.modify_default_kms_key_id(store.keys.create(alias="alias/k").arn)
    source = store.create_snapshot(disk_of(NOISE), encrypted())

    store.permissions.modify(source.snapshot_id, PermissionChange(add=[FRIEND]))

    assert store.permissions.describe(source.snapshot_id).accounts == (FRIEND,)


def test_unencrypted_copy_target_may_be_public_and_encrypted_copy_not(store: Store) -> None:
    source = store.create_snapshot(disk_of(NOISE))
    store.permissions.modify(source.snapshot_id, PermissionChange(add_all=True))
    copy = store.copy_snapshot(source.snapshot_id, None, encrypted())

    assert not store.permissions.describe(copy.snapshot_id).public, "sharing is not carried along"
    code = refused(
        lambda: store.permissions.modify(copy.snapshot_id, PermissionChange(add_all=True))
    )
    assert code is ErrorCode.OPERATION_NOT_PERMITTED


def test_recipient_needs_the_keys_grant_too(store: Store, fast_path: Path) -> None:
    """Table 5.4: without the grant it sees the snapshot and reads nothing, not even zeros."""
    key = store.keys.create(alias="alias/k").arn
    source = store.create_snapshot(disk_of(*CONTENT), encrypted(key))
    store.permissions.modify(source.snapshot_id, PermissionChange(add=[FRIEND]))
    friend = store.as_account(FRIEND)
    query = SnapshotQuery(snapshot_ids=[source.snapshot_id])
    assert friend.describe_snapshots(query).snapshots[0].kms_key_id == key

    def all_refused() -> set[ErrorCode]:
        name, target = source.snapshot_id, fast_path / "target"
        codes = {refused(lambda at=at: friend.read_block(name, at)) for at in range(4)}  # type: ignore[misc]
        codes.add(refused(lambda: friend.restore_snapshot(name, target)))
        assert not target.exists()
        target.write_bytes(bytes(4 * BLOCK_SIZE))
        codes.add(refused(lambda: friend.restore_snapshot(name, target, in_place=True)))
        assert target.read_bytes() == bytes(4 * BLOCK_SIZE)
        target.unlink()
        request = VolumeRequest(snapshot_id=name, encrypted=True)
        assert refused(lambda: friend.volumes.create(request)) is ErrorCode.CUSTOMER_KEY_REVOKED
        return codes

    assert all_refused() == {ErrorCode.ACCESS_DENIED}
    grant = store.keys.create_grant(key, FRIEND)
    assert contents(friend, source.snapshot_id) == CONTENT
    store.keys.retire_grant(key, grant.grant_id)
    assert all_refused() == {ErrorCode.ACCESS_DENIED}
    store.keys.create_grant(key, FRIEND)
    store.permissions.reset(source.snapshot_id)
    missing = refused(lambda: friend.read_block(source.snapshot_id, 0))
    assert missing is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND, "a grant alone shows nothing"


def test_copy_of_the_recipient_outlives_the_grant_and_the_original(store: Store) -> None:
    """Section 5.4: deleting the original cuts everyone off; a copy of one's own is one's own."""
    key = store.keys.create(alias="alias/k").arn
    source = store.create_snapshot(disk_of(*CONTENT), encrypted(key))
    store.permissions.modify(source.snapshot_id, PermissionChange(add=[FRIEND]))
    grant = store.keys.create_grant(key, FRIEND)
    friend = store.as_account(FRIEND)
    copy = friend.copy_snapshot(source.snapshot_id, None)

    store.keys.retire_grant(key, grant.grant_id)
    store.delete_snapshots([source.snapshot_id])
    store.keys.disable(key)

    assert contents(friend, copy.snapshot_id) == CONTENT
    assert copy.kms_key_id == default_of(friend)
    assert_healthy(store)


def test_stranger_learns_nothing_of_a_snapshot_by_its_key(store: Store) -> None:
    """What one may not see does not exist, also as a parent, or with the key granted."""
    key = store.keys.create(alias="alias/k").arn
    source = store.create_snapshot(disk_of(NOISE), encrypted(key))
    stranger = store.as_account("999988887777")
    name = source.snapshot_id

    for granted in (False, True):
        if granted:
            store.keys.create_grant(key, "999988887777")
        for call in (
            lambda: stranger.read_block(name, 0),
            lambda: stranger.copy_snapshot(name, None),
            lambda: stranger.volumes.create(VolumeRequest(snapshot_id=name)),
            lambda: stranger.create_snapshot(
                disk_of(NOISE, name="memory:x"), SnapshotOptions(parent=name)
            ),
        ):
            assert refused(call) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND


def test_volume_cannot_be_told_to_be_unencrypted(world: World) -> None:
    """Section 5.1, rule 1: what is made from an encrypted snapshot is encrypted, always."""
    store = world.store
    for name in ("encrypted, own", "encrypted, shared"):
        source = world.sources[name]
        assert source is not None
        volume = store.volumes.create(
            VolumeRequest(snapshot_id=source.snapshot_id, encrypted=False)
        )
        assert volume.encrypted


def test_managed_volume_is_not_told_again(store: Store) -> None:
    """Section 1.2: CreateSnapshot has no Encrypted and no KmsKeyId."""
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id

    with pytest.raises(InvalidInputError):
        store.create_snapshot(volume, SnapshotOptions(encrypted=True))


def test_source_of_many_blocks_is_read_back(store: Store, fast_path: Path) -> None:
    """More than a worker's run and more than a leaf, with a partial last block."""
    parts = {0: NOISE, 7: TEXT, 8: HEAD, 255: TAIL, 256: noise_block(3), 300: NOISE[:1000]}
    disk = MemorySource("memory:long", 300 * BLOCK_SIZE + 1000, report_holes=True)
    for index, part in parts.items():
        disk.put(index, part)
    source = store.create_snapshot(disk, encrypted())

    store.restore_snapshot(source.snapshot_id, fast_path / "out")

    assert (fast_path / "out").read_bytes() == disk.read(0, disk.size_bytes)
    assert blocks(source) == (6, 6, 6)


def test_what_follows_encrypted_copies_is_encrypted_as_they_are(store: Store) -> None:
    """Section 5.1, rules 1 and 2: a disk that goes on with the volume of copies has their key."""
    disk = disk_of(NOISE, TEXT, name="memory:web")
    first = store.create_snapshot(disk)
    afar = store.as_account(region=THERE)
    copy = afar.copy_snapshot(first.snapshot_id, "us-east-1", encrypted())
    disk.write(0, noise_block(9))

    following = afar.create_snapshot(disk, SnapshotOptions(volume_id=copy.volume_id))

    assert following.parent_id == copy.snapshot_id
    assert following.kms_key_id == copy.kms_key_id != ""
    assert blocks(following) == (2, 1, 1)
    assert contents(afar, following.snapshot_id, 2) == [noise_block(9), TEXT]
    assert_healthy(store)
    path = store.path
    store.close()
    assert Store.rebuild(path).findings == ()
    with Store.open(path) as again:
        assert again.as_account(region=THERE).get_snapshot(following.snapshot_id) == following
        assert_healthy(again)
