"""boto3 against the endpoint: sharing, encryption, locks, tiers, the bin, images and the rest."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ebsim.core.copy_source import SnapshotSource
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.testing.aws import running_endpoint
from ebsim.testing.aws_service import OTHER, QUICK, ZONE, Service, refusal, running_service
from ebsim.testing.harness import Harness

pytest.importorskip("boto3")


# Sharing (semantics section 11.2)


def shared_with(aws: Service, snapshot: str) -> list[dict[str, str]]:
    shown = aws.ec2.describe_snapshot_attribute(
        SnapshotId=snapshot, Attribute="createVolumePermission"
    )
    found: list[dict[str, str]] = shown["CreateVolumePermissions"]
    return found


def test_snapshot_is_shared_by_both_forms_of_the_request(aws: Service) -> None:
    snapshot = aws.snapshot()

    aws.ec2.modify_snapshot_attribute(
        SnapshotId=snapshot,
        Attribute="createVolumePermission",
        OperationType="add",
        UserIds=[OTHER],
    )
    aws.ec2.modify_snapshot_attribute(
        SnapshotId=snapshot, CreateVolumePermission={"Add": [{"UserId": "444455556666"}]}
    )

    assert shared_with(aws, snapshot) == [{"UserId": OTHER}, {"UserId": "444455556666"}]
    (seen,) = aws.other.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert seen["OwnerId"] == "123456789012"
    aws.ec2.modify_snapshot_attribute(
        SnapshotId=snapshot, CreateVolumePermission={"Remove": [{"UserId": "444455556666"}]}
    )
    assert shared_with(aws, snapshot) == [{"UserId": OTHER}]
    aws.ec2.reset_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission")
    assert shared_with(aws, snapshot) == []
    assert aws.other.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"] == []


def test_product_codes_of_a_snapshot_are_none_and_stay_so(aws: Service) -> None:
    snapshot = aws.snapshot()

    shown = aws.ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="productCodes")
    assert (shown["SnapshotId"], shown["ProductCodes"]) == (snapshot, [])
    assert refusal(
        aws.ec2.modify_snapshot_attribute, SnapshotId=snapshot, Attribute="productCodes"
    ) == ("UnsupportedOperation", 400)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "MissingParameter"),
        ({"UserIds": [OTHER]}, "MissingParameter"),
        ({"OperationType": "add", "GroupNames": ["some"]}, "InvalidParameterValue"),
        ({"OperationType": "give", "UserIds": [OTHER]}, "InvalidParameterValue"),
        ({"OperationType": "add", "UserIds": ["12"]}, "InvalidUserID.Malformed"),
        ({"Attribute": "colour"}, "InvalidParameterValue"),
        (
            {
                "CreateVolumePermission": {
                    "Add": [{"UserId": OTHER}],
                    "Remove": [{"UserId": "444455556666"}],
                }
            },
            "InvalidParameterCombination",
        ),
    ],
)
def test_change_of_permissions_that_cannot_be_read_is_refused(
    aws: Service, change: dict[str, Any], code: str
) -> None:
    snapshot = aws.snapshot()

    assert refusal(aws.ec2.modify_snapshot_attribute, SnapshotId=snapshot, **change) == (code, 400)
    assert shared_with(aws, snapshot) == []


def test_public_access_is_blocked_in_three_states() -> None:
    """Section 5.5; point 10 of section 11, over the wire."""
    with running_service() as aws:
        old, new = aws.snapshot(), aws.snapshot()
        public = {"CreateVolumePermission": {"Add": [{"Group": "all"}]}}

        def seen() -> list[str]:
            found = aws.other.describe_snapshots(SnapshotIds=[old, new])["Snapshots"]
            return [each["SnapshotId"] for each in found]

        state = aws.ec2.get_snapshot_block_public_access_state()
        assert (state["State"], state["ManagedBy"]) == ("unblocked", "account")
        aws.ec2.modify_snapshot_attribute(SnapshotId=old, **public)
        assert seen() == [old]

        aws.ec2.enable_snapshot_block_public_access(State="block-new-sharing")
        refused = refusal(aws.ec2.modify_snapshot_attribute, SnapshotId=new, **public)
        assert (refused, seen()) == (("OperationNotPermitted", 400), [old])

        shown = aws.ec2.enable_snapshot_block_public_access(State="block-all-sharing")
        assert (shown["State"], seen()) == ("block-all-sharing", [])
        assert shared_with(aws, old) == [{"Group": "all"}]

        assert refusal(aws.ec2.enable_snapshot_block_public_access, State="unblocked") == (
            "InvalidParameterValue",
            400,
        )
        assert aws.ec2.disable_snapshot_block_public_access()["State"] == "unblocked"
        assert seen() == [old]


# Encryption by default (section 5.1, rule 5)


def test_encryption_by_default_and_the_default_key_are_kept() -> None:
    with running_service() as aws:
        ec2, key = aws.ec2, aws.store.keys.create().arn
        assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
        assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"

        assert ec2.enable_ebs_encryption_by_default()["EbsEncryptionByDefault"] is True
        assert ec2.modify_ebs_default_kms_key_id(KmsKeyId=key)["KmsKeyId"] == key
        volume = ec2.create_volume(Size=1, AvailabilityZone=ZONE)
        assert (volume["Encrypted"], volume["KmsKeyId"]) == (True, key)
        assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == key

        assert ec2.reset_ebs_default_kms_key_id()["KmsKeyId"] != key
        assert ec2.disable_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
        assert ec2.create_volume(Size=1, AvailabilityZone=ZONE)["Encrypted"] is False


# Locks (section 7.3)


def test_lock_is_put_on_described_and_taken_off(aws: Service) -> None:
    snapshot = aws.snapshot()

    locked = aws.ec2.lock_snapshot(SnapshotId=snapshot, LockMode="governance", LockDuration=2)

    assert (locked["LockState"], locked["LockDuration"]) == ("governance", 2)
    assert locked["LockExpiresOn"] - locked["LockCreatedOn"] == timedelta(days=2)
    assert refusal(aws.ec2.delete_snapshot, SnapshotId=snapshot) == ("OperationNotPermitted", 400)
    (shown,) = aws.ec2.describe_locked_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert (shown["OwnerId"], shown["LockState"]) == ("123456789012", "governance")
    by_state = [{"Name": "lock-state", "Values": ["compliance*"]}]
    assert aws.ec2.describe_locked_snapshots(Filters=by_state)["Snapshots"] == []
    assert aws.ec2.unlock_snapshot(SnapshotId=snapshot)["SnapshotId"] == snapshot
    assert refusal(aws.ec2.unlock_snapshot, SnapshotId=snapshot) == ("IncorrectState", 400)
    aws.ec2.delete_snapshot(SnapshotId=snapshot)


def test_compliance_lock_has_a_date_and_a_cool_off_period(aws: Service) -> None:
    snapshot = aws.snapshot()
    until = datetime.fromtimestamp(aws.store.now_us // 1_000_000, UTC) + timedelta(days=3)

    locked = aws.ec2.lock_snapshot(
        SnapshotId=snapshot, LockMode="compliance", ExpirationDate=until, CoolOffPeriod=4
    )

    assert (locked["LockState"], locked["CoolOffPeriod"]) == ("compliance-cooloff", 4)
    assert locked["LockExpiresOn"] == until
    assert locked["CoolOffPeriodExpiresOn"] - locked["LockCreatedOn"] == timedelta(hours=4)
    assert refusal(aws.ec2.lock_snapshot, SnapshotId=snapshot, LockMode="soft", LockDuration=1) == (
        "InvalidParameterValue",
        400,
    )
    aws.ec2.unlock_snapshot(SnapshotId=snapshot)


# The archive (section 7.1)


def test_snapshot_goes_to_the_archive_and_back(aws: Service) -> None:
    snapshot = aws.snapshot()
    mine = [{"Name": "snapshot-id", "Values": [snapshot]}]

    archived = aws.ec2.modify_snapshot_tier(SnapshotId=snapshot, StorageTier="archive")

    assert archived["SnapshotId"] == snapshot
    (status,) = aws.ec2.describe_snapshot_tier_status(Filters=mine)["SnapshotTierStatuses"]
    assert status["LastTieringOperationStatus"] == "archival-completed"
    assert (status["StorageTier"], status["LastTieringProgress"]) == ("archive", 100)
    assert status["LastTieringStartTime"] == archived["TieringStartTime"]
    assert status["ArchivalCompleteTime"] >= status["LastTieringStartTime"]
    (shown,) = aws.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert (shown["State"], shown["StorageTier"]) == ("completed", "archive")
    refused = refusal(
        aws.ec2.create_volume, SnapshotId=snapshot, AvailabilityZone=ZONE, VolumeType="gp3"
    )
    assert refused == ("IncorrectState", 400)

    back = aws.ec2.restore_snapshot_tier(SnapshotId=snapshot, TemporaryRestoreDays=3)
    assert (back["RestoreDuration"], back["IsPermanentRestore"]) == (3, False)
    (shown,) = aws.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert shown["StorageTier"] == "standard"
    assert shown["RestoreExpiryTime"] - back["RestoreStartTime"] == timedelta(days=3)
    back = aws.ec2.restore_snapshot_tier(SnapshotId=snapshot, PermanentRestore=True)
    assert back["IsPermanentRestore"] is True
    assert "RestoreDuration" not in back


@pytest.mark.parametrize(
    ("parameters", "code"),
    [({}, "MissingParameter"), ({"StorageTier": "standard"}, "InvalidParameterValue")],
)
def test_tier_is_archive_and_must_be_said(
    aws: Service, parameters: dict[str, str], code: str
) -> None:
    snapshot = aws.snapshot()
    assert refusal(aws.ec2.modify_snapshot_tier, SnapshotId=snapshot, **parameters) == (code, 400)


# The Recycle Bin (section 7.2)


def test_what_is_deleted_goes_to_the_bin_and_comes_back() -> None:
    with running_service() as aws:
        for kind in RuleResourceType:
            days = 7
            aws.store.recycle_bin.rules.create(RuleRequest(resource_type=kind, retention_days=days))
        ec2, volume = aws.ec2, aws.volume()
        snapshot = aws.snapshot(volume)
        image = register(aws, "binned", snapshot)
        ec2.deregister_image(ImageId=image)
        ec2.delete_snapshot(SnapshotId=snapshot)
        ec2.delete_volume(VolumeId=volume)

        assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
        (binned,) = ec2.list_snapshots_in_recycle_bin()["Snapshots"]
        assert (binned["SnapshotId"], binned["VolumeId"]) == (snapshot, volume)
        stay = binned["RecycleBinExitTime"] - binned["RecycleBinEnterTime"]
        assert stay == timedelta(days=7)
        (one,) = ec2.list_volumes_in_recycle_bin(VolumeIds=[volume])["Volumes"]
        assert (one["VolumeId"], one["Size"], one["AvailabilityZone"]) == (volume, 1, ZONE)
        (other,) = ec2.list_images_in_recycle_bin()["Images"]
        assert (other["ImageId"], other["Name"]) == (image, "binned")

        back = ec2.restore_snapshot_from_recycle_bin(SnapshotId=snapshot)
        assert (back["SnapshotId"], back["State"], back["VolumeSize"]) == (snapshot, "completed", 1)
        assert ec2.restore_volume_from_recycle_bin(VolumeId=volume)["Return"] is True
        assert ec2.restore_image_from_recycle_bin(ImageId=image)["Return"] is True
        assert [each["State"] for each in ec2.describe_volumes()["Volumes"]] == ["available"]
        assert refusal(ec2.list_snapshots_in_recycle_bin, SnapshotIds=[snapshot]) == (
            "InvalidSnapshot.NotFound",
            400,
        )


# Fast restores (section 7.4)


def test_fast_restore_tells_what_became_of_each_pair(aws: Service) -> None:
    snapshot, missing = aws.snapshot(), "snap-00000000000000000"

    done = aws.ec2.enable_fast_snapshot_restores(
        SourceSnapshotIds=[snapshot, missing], AvailabilityZoneIds=["use1-az2"]
    )

    (good,), (bad,) = done["Successful"], done["Unsuccessful"]
    assert (good["SnapshotId"], good["AvailabilityZone"]) == (snapshot, "us-east-1b")
    assert (good["OwnerId"], good["State"]) == ("123456789012", "enabling")
    assert bad["SnapshotId"] == missing
    (error,) = bad["FastSnapshotRestoreStateErrors"]
    assert (error["AvailabilityZone"], error["Error"]["Code"]) == (
        "us-east-1b",
        "InvalidSnapshot.NotFound",
    )
    mine = [{"Name": "snapshot-id", "Values": [snapshot]}]
    (shown,) = aws.ec2.describe_fast_snapshot_restores(Filters=mine)["FastSnapshotRestores"]
    assert shown["AvailabilityZoneId"] == "use1-az2"
    off = aws.ec2.disable_fast_snapshot_restores(
        SourceSnapshotIds=[snapshot], AvailabilityZones=["us-east-1b"]
    )
    assert [each["State"] for each in off["Successful"]] == ["disabling"]


@pytest.mark.parametrize(
    ("zones", "code"),
    [
        ({}, "MissingParameter"),
        ({"AvailabilityZoneIds": ["use1-az9"]}, "InvalidParameterValue"),
        (
            {"AvailabilityZones": [ZONE], "AvailabilityZoneIds": ["use1-az1"]},
            "InvalidParameterCombination",
        ),
    ],
)
def test_zones_are_named_one_way(aws: Service, zones: dict[str, list[str]], code: str) -> None:
    refused = refusal(
        aws.ec2.enable_fast_snapshot_restores, SourceSnapshotIds=[aws.snapshot()], **zones
    )
    assert refused == (code, 400)


# Images (section 7.5)


def register(aws: Service, name: str, snapshot: str, **ebs: Any) -> str:
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, **ebs}}
    made = aws.ec2.register_image(
        Name=name, RootDeviceName="/dev/xvda", BlockDeviceMappings=[mapping]
    )
    found: str = made["ImageId"]
    return found


def test_image_is_registered_described_and_deregistered(aws: Service) -> None:
    snapshot = aws.snapshot()

    image = register(aws, "web", snapshot, VolumeSize=3, VolumeType="gp3")

    aws.ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=QUICK)
    (shown,) = aws.ec2.describe_images(ImageIds=[image])["Images"]
    assert (shown["Name"], shown["State"], shown["RootDeviceType"]) == ("web", "available", "ebs")
    assert shown["BlockDeviceMappings"] == [
        {
            "DeviceName": "/dev/xvda",
            "Ebs": {
                "SnapshotId": snapshot,
                "VolumeSize": 3,
                "VolumeType": "gp3",
                "DeleteOnTermination": True,
                "Encrypted": False,
            },
        }
    ]
    assert refusal(aws.ec2.delete_snapshot, SnapshotId=snapshot) == ("InvalidSnapshot.InUse", 400)
    aws.ec2.disable_image(ImageId=image)
    assert aws.ec2.describe_images(Owners=["self"])["Images"] == []
    disabled = aws.ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
    assert [each["State"] for each in disabled] == ["disabled"]
    assert refusal(aws.ec2.delete_snapshot, SnapshotId=snapshot) == ("InvalidSnapshot.InUse", 400)
    aws.ec2.enable_image(ImageId=image)

    gone = aws.ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)

    assert gone["Return"] is True
    assert gone["DeleteSnapshotResults"] == [{"SnapshotId": snapshot, "ReturnCode": "success"}]
    assert refusal(aws.ec2.describe_images, ImageIds=[image]) == ("InvalidAMIID.NotFound", 400)


def test_image_is_deprecated_and_that_is_cancelled(aws: Service) -> None:
    image = register(aws, "old", aws.snapshot())
    when = datetime.fromtimestamp(aws.store.now_us // 60_000_000 * 60, UTC) + timedelta(days=1)

    aws.ec2.enable_image_deprecation(ImageId=image, DeprecateAt=when)
    (shown,) = aws.ec2.describe_images(ImageIds=[image])["Images"]
    assert datetime.fromisoformat(shown["DeprecationTime"]) == when
    aws.ec2.disable_image_deprecation(ImageId=image)

    (shown,) = aws.ec2.describe_images(ImageIds=[image])["Images"]
    assert "DeprecationTime" not in shown
    aws.ec2.deregister_image(ImageId=image)


def test_images_of_other_owners_and_shared_ones_are_none(aws: Service) -> None:
    image = register(aws, "mine", aws.snapshot())

    assert aws.ec2.describe_images(Owners=["amazon"])["Images"] == []
    assert aws.ec2.describe_images(ExecutableUsers=["all"])["Images"] == []
    assert aws.other.describe_images()["Images"] == []
    assert refusal(aws.ec2.describe_images, Owners=["me"]) == ("InvalidUserID.Malformed", 400)
    aws.ec2.deregister_image(ImageId=image)


@pytest.mark.parametrize(
    "mappings",
    [
        [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1}}],
        [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "SNAPSHOT", "Encrypted": True}}],
        [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "SNAPSHOT"}}] * 2,
    ],
)
def test_block_device_that_is_none_is_refused(aws: Service, mappings: list[Any]) -> None:
    snapshot = aws.snapshot()
    given = [
        {
            **each,
            "Ebs": {
                name: snapshot if value == "SNAPSHOT" else value
                for name, value in each["Ebs"].items()
            },
        }
        for each in mappings
    ]

    refused = refusal(aws.ec2.register_image, Name="none", BlockDeviceMappings=given)

    assert refused == ("InvalidBlockDeviceMapping", 400)


# Volumes: status, attributes, members


def test_status_of_volumes(aws: Service) -> None:
    empty = aws.volume()
    loading = aws.ec2.create_volume(SnapshotId=aws.snapshot(), AvailabilityZone=ZONE)["VolumeId"]

    shown = aws.ec2.describe_volume_status(VolumeIds=[empty, loading])["VolumeStatuses"]

    assert [each["VolumeStatus"]["Status"] for each in shown] == ["ok", "ok"]
    details = [
        {each["Name"]: each["Status"] for each in one["VolumeStatus"]["Details"]} for one in shown
    ]
    assert details[0]["io-enabled"] == "passed"
    assert [each["initialization-state"] for each in details] == ["not-applicable", "initializing"]
    assert "InitializationStatusDetails" not in shown[0]
    assert shown[1]["InitializationStatusDetails"] == {
        "InitializationType": "default",
        "Progress": 0,
    }
    aws.store.volumes.initialize(loading)
    mine = [{"Name": "volume-status.details-status", "Values": ["initializing"]}]
    assert aws.ec2.describe_volume_status(VolumeIds=[loading], Filters=mine)["VolumeStatuses"] == []
    aws.ec2.enable_volume_io(VolumeId=empty)


def test_attribute_of_a_volume_is_kept(aws: Service) -> None:
    volume = aws.volume()

    def shown() -> bool:
        found = aws.ec2.describe_volume_attribute(VolumeId=volume, Attribute="autoEnableIO")
        value: bool = found["AutoEnableIO"]["Value"]
        return value

    assert shown() is False
    aws.ec2.modify_volume_attribute(VolumeId=volume, AutoEnableIO={"Value": True})
    assert shown() is True
    codes = aws.ec2.describe_volume_attribute(VolumeId=volume, Attribute="productCodes")
    assert codes["ProductCodes"] == []
    assert refusal(aws.ec2.modify_volume_attribute, VolumeId=volume) == ("MissingParameter", 400)


def test_members_of_volumes_and_snapshots(aws: Service) -> None:
    """Sections 1.4 and 3.2: what the requests that make them leave out, and what is told later."""
    made = aws.ec2.create_volume(Size=1, AvailabilityZoneId="use1-az3")
    volume = made["VolumeId"]
    assert (made["State"], made["SnapshotId"], made["AvailabilityZone"]) == (
        "creating",
        "",
        "us-east-1c",
    )
    assert not {"FastRestored", "Attachments"} & made.keys()
    (shown,) = aws.ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert (shown["FastRestored"], shown["Attachments"]) == (False, [])
    assert shown["AvailabilityZoneId"] == "use1-az3"

    begun = aws.ec2.create_snapshot(VolumeId=volume)
    assert (begun["State"], begun["Progress"]) == ("pending", "")
    aws.store.wait_snapshots([begun["SnapshotId"]])
    (shown,) = aws.ec2.describe_snapshots(SnapshotIds=[begun["SnapshotId"]])["Snapshots"]
    assert (shown["Progress"], shown["StorageTier"]) == ("100%", "standard")
    assert "TransferType" not in shown


def test_volume_with_a_client_token_is_made_once(aws: Service) -> None:
    request = {"Size": 1, "AvailabilityZone": ZONE, "ClientToken": "one"}

    first = aws.ec2.create_volume(**request)["VolumeId"]

    assert aws.ec2.create_volume(**request)["VolumeId"] == first
    assert refusal(aws.ec2.create_volume, **{**request, "Size": 2}) == (
        "IdempotentParameterMismatch",
        400,
    )
    assert aws.other.create_volume(**{**request, "Size": 2})["VolumeId"] != first
    aws.ec2.delete_volume(VolumeId=first)
    assert aws.ec2.create_volume(**request)["VolumeId"] != first


def test_modifications_are_filtered(aws: Service) -> None:
    volume = aws.volume()
    aws.ec2.modify_volume(VolumeId=volume, Size=2)

    def shown(name: str, value: str) -> list[str]:
        found = aws.ec2.describe_volumes_modifications(
            VolumeIds=[volume], Filters=[{"Name": name, "Values": [value]}]
        )["VolumesModifications"]
        return [each["ModificationState"] for each in found]

    assert shown("target-size", "2") == ["completed"]
    assert shown("original-size", "2") == []


# Copies (section 6)


def test_copy_is_told_before_it_is_made_and_waited_for_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CopySnapshot answers with an id that is pending; a graceful stop lets it complete."""
    go = threading.Event()
    read = SnapshotSource.read_into

    def slow(self: SnapshotSource, offset: int, buffer: memoryview) -> None:
        assert go.wait(120)
        read(self, offset, buffer)

    with Harness() as harness:
        with running_endpoint(harness.store) as endpoint:
            aws = Service(harness, endpoint)
            source = aws.snapshot()
            monkeypatch.setattr(SnapshotSource, "read_into", slow)
            there = aws.client("ec2", "123456789012", "eu-central-1")

            copy = there.copy_snapshot(
                SourceRegion="us-east-1", SourceSnapshotId=source, Description="kept"
            )["SnapshotId"]

            (shown,) = there.describe_snapshots(SnapshotIds=[copy])["Snapshots"]
            assert (shown["State"], shown["TransferType"]) == ("pending", "standard")
            assert refusal(there.create_volume, SnapshotId=copy, AvailabilityZone="eu-central-1a")
            go.set()
        done = harness.store.as_account(region="eu-central-1").get_snapshot(copy)
        assert (done.state, done.description) == ("completed", "kept")


def test_copy_whose_key_cannot_be_used_ends_as_error() -> None:
    """Section 5.1, rule 6: the request succeeds, the copy fails."""
    with running_service() as aws:
        source = aws.snapshot()

        copy = aws.ec2.copy_snapshot(
            SourceRegion="us-east-1",
            SourceSnapshotId=source,
            Encrypted=True,
            KmsKeyId="arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000",
        )["SnapshotId"]

        aws.store.wait_snapshots([copy])
        (shown,) = aws.ec2.describe_snapshots(SnapshotIds=[copy])["Snapshots"]
        assert (shown["State"], shown["StateMessage"]) == (
            "error",
            "Given key ID is not accessible",
        )


def test_source_that_cannot_be_copied_is_refused_at_once(aws: Service) -> None:
    refused = refusal(
        aws.ec2.copy_snapshot,
        SourceRegion="us-east-1",
        SourceSnapshotId="snap-00000000000000000",
    )
    assert refused == ("InvalidSnapshot.NotFound", 400)


def test_zones_are_filtered(aws: Service) -> None:
    def shown(**query: Any) -> list[str]:
        zones = aws.ec2.describe_availability_zones(**query)["AvailabilityZones"]
        return [each["ZoneName"] for each in zones]

    assert shown(ZoneIds=["use1-az2"]) == ["us-east-1b"]
    assert shown(Filters=[{"Name": "zone-name", "Values": ["*c"]}]) == ["us-east-1c"]
    assert shown(Filters=[{"Name": "state", "Values": ["impaired"]}]) == []
