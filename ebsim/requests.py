"""What a caller asks for: new volumes, modifications, queries. EC2's parameters, already typed.

Nothing is checked here; the operation that takes a request refuses what EC2 refuses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ebsim.encryption import EncryptionRequest

VOLUME_TYPE_DEFAULT = "gp2"
"""What EC2's API takes where no type is given (semantics section 3.1)."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of a query: `Filter("tag:Name", ("web*", "db?"))`.

    Attributes:
        name: A name that the query knows; case counts.
        values: At least one; any of them may match. `*` stands for any text, `?` for any one
            character, and a backslash takes the next character as it is.
    """

    name: str
    values: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRequest:
    """A volume to be created, as EC2's CreateVolume has it.

    Attributes:
        size_gib: Its size; None: that of the snapshot, rounded up to whole GiB.
        snapshot_id: The snapshot it is made from; None: it is empty.
        volume_type: gp2, gp3, io1, io2, st1, sc1 or standard.
        iops: I/O operations a second; needed by io1 and io2, possible with gp3.
        throughput: MiB a second; possible with gp3.
        zone: The Availability Zone; None: the first of the Region.
        tags: Key to value.
        initialization_rate: MiB a second, 100 to 300, at which the snapshot's blocks are loaded
            behind the scenes while the store is open; None: only when they are needed.
        encrypted: Whether it is to be encrypted. It is anyway where its snapshot is, or where that
            is the default of the account and Region; it cannot be had unencrypted then.
        kms_key_id: The KMS key: an id, alias or ARN; None: the snapshot's, or the default key. Only
            together with `encrypted`.
        client_token: At most 64 characters, which make the request idempotent: while the volume
            exists, the same request with the same token returns it. Empty: each makes a volume.
        source_volume_id: The volume that it is to be a copy of (`VolumeOperations.copy`).
    """

    size_gib: int | None = None
    snapshot_id: str | None = None
    volume_type: str = VOLUME_TYPE_DEFAULT
    iops: int | None = None
    throughput: int | None = None
    zone: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    initialization_rate: int | None = None
    encrypted: bool | None = None
    kms_key_id: str | None = None
    client_token: str = ""
    source_volume_id: str | None = None

    @property
    def encryption(self) -> EncryptionRequest:
        """What it says about encryption."""
        return EncryptionRequest(encrypted=self.encrypted, kms_key_id=self.kms_key_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeModificationRequest:
    """What is to change about a volume, as EC2's ModifyVolume has it; None: it stays.

    Attributes:
        size_gib: A larger size, or the same.
        volume_type: Another type. Performance that is not named becomes the new type's default.
        iops: For io1, io2 and gp3.
        throughput: MiB a second, for gp3.
    """

    size_gib: int | None = None
    volume_type: str | None = None
    iops: int | None = None
    throughput: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotQuery:
    """Which snapshots to return, as EC2's DescribeSnapshots has it; all that is given must hold.

    Attributes:
        snapshot_ids: These; one that does not exist refuses the whole query.
        owner_ids: Accounts of 12 digits, `self` or `amazon`.
        restorable_by: Those that one of these may make volumes of: accounts of 12 digits (among the
            caller's own snapshots), `self` (owned, or shared with the caller), `all` (public).
        states: pending, completed or error.
        filters: description, encrypted, owner-alias, owner-id, progress, snapshot-id, start-time,
            status, storage-tier, transfer-type, tag:KEY, tag-key, volume-id, volume-size.
        max_results: At most this many on a page, 5 to 1,000; more is cut to 1,000.
        next_token: What the page before answered with; the rest of the query must be the same.
    """

    snapshot_ids: Sequence[str] = ()
    owner_ids: Sequence[str] = ()
    restorable_by: Sequence[str] = ()
    states: Sequence[str] = ()
    filters: Sequence[Filter] = ()
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeQuery:
    """Which volumes to return, as EC2's DescribeVolumes has it; all that is given must hold.

    Attributes:
        volume_ids: These; one that does not exist refuses the whole query.
        states: creating, available, in-use, deleting or error.
        filters: attachment.attach-time, attachment.delete-on-termination, attachment.device,
            attachment.instance-id, attachment.status, availability-zone, availability-zone-id,
            create-time, encrypted, fast-restored, multi-attach-enabled, operator.managed,
            operator.principal, size, snapshot-id, status, tag:KEY, tag-key, volume-id, volume-type.
        max_results: At most this many on a page, 5 to 500; more is cut to 500.
        next_token: What the page before answered with; the rest of the query must be the same.
    """

    volume_ids: Sequence[str] = ()
    states: Sequence[str] = ()
    filters: Sequence[Filter] = ()
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagQuery:
    """Which tags to return, as EC2's DescribeTags has it; all that is given must hold.

    Attributes:
        resource_ids: Those of these snapshots, volumes, images and instances; empty: of all.
        filters: key, resource-id, resource-type, tag:KEY, value.
        max_results: At most this many on a page, 5 to 1,000; more is cut to 1,000.
        next_token: What the page before answered with; the rest of the query must be the same.
    """

    resource_ids: Sequence[str] = ()
    filters: Sequence[Filter] = ()
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A block device of an image to be registered.

    Attributes:
        snapshot_id: What its volume is made from.
        size_gib: The volume's size; None: that of the snapshot, rounded up to whole GiB.
        volume_type: The volume's type.
        delete_on_termination: Whether the volume goes with its instance.
        iops: Those of the volume; needed by io1 and io2, possible with gp3.
        throughput: MiB a second of the volume; possible with gp3.
    """

    snapshot_id: str
    size_gib: int | None = None
    volume_type: str = VOLUME_TYPE_DEFAULT
    delete_on_termination: bool = True
    iops: int | None = None
    throughput: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """What an image may be told when it is registered.

    Attributes:
        description: Free text, at most 255 characters.
        architecture: i386, x86_64, arm64, x86_64_mac or arm64_mac.
        root_device_name: One of its devices; None: the first.
        tags: As those of a snapshot.
    """

    description: str = ""
    architecture: str = "x86_64"
    root_device_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuery:
    """Which images to return, as EC2's DescribeImages has it; all that is given must hold.

    Attributes:
        image_ids: These; one that does not exist refuses the whole query.
        owner_ids: Accounts of 12 digits, `self`, or an alias of Amazon's, which has none here.
        executable_by: Those that one of these was explicitly allowed to start: accounts of 12
            digits, `self` or `all`. Images are not shared in ebsim: there are none.
        filters: architecture, block-device-mapping.MEMBER (delete-on-termination, device-name,
            encrypted, snapshot-id, volume-size or volume-type), creation-date, description,
            hypervisor, image-id, image-type, is-public, kernel-id, manifest-location, name,
            owner-alias, owner-id, platform, product-code, product-code.type, ramdisk-id,
            root-device-name, root-device-type, source-instance-id, state, tag:KEY, tag-key,
            virtualization-type.
        include_deprecated: Also those that are deprecated. The owner sees them anyway.
        include_disabled: Also those that are disabled. One named by its id is shown anyway.
        max_results: At most this many on a page, 5 to 1,000; more is cut to 1,000.
        next_token: What the page before answered with; the rest of the query must be the same.
    """

    image_ids: Sequence[str] = ()
    owner_ids: Sequence[str] = ()
    executable_by: Sequence[str] = ()
    filters: Sequence[Filter] = ()
    include_deprecated: bool = True
    include_disabled: bool = False
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """What pruning keeps, and among which snapshots; at least one rule must be given.

    The rules are those of `ebsim.core.retention`. Counts of 0 keep nothing.

    Attributes:
        keep_last: So many of the youngest of each volume.
        keep_hourly: For so many hours in which there is a snapshot, the youngest of the hour.
        keep_daily: The same for days, in UTC.
        keep_weekly: The same for weeks, which begin on Monday.
        keep_monthly: The same for months.
        keep_yearly: The same for years.
        keep_within: A text such as `2w` or `1y6m10d12h`: all that are no older than that, reckoned
            from the youngest of the volume; empty: no such rule.
        keep_tags: All with one of these tags, key and value.
        volume_ids: Only snapshots of these volumes are looked at; empty: of all.
        tags: Only snapshots with all of these tags are looked at.
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: str = ""
    keep_tags: Sequence[tuple[str, str]] = ()
    volume_ids: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCheck:
    """How many of the stored bytes a check reads.

    Attributes:
        sample_percent: Only so many of every hundred records, chosen at random; None: all.
        older_than_s: Only what was not proved within so many seconds; None: also what was.
    """

    sample_percent: float | None = None
    older_than_s: int | None = None
