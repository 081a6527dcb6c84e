"""KMS over boto3: key policies, by which encrypted snapshots are shared, and tags of keys."""

import json
from typing import Any

import pytest

from ebsim.testing.aws_service import OTHER, QUICK, ZONE, Service, refusal

pytest.importorskip("boto3")

OWNER = "123456789012"


def policy_for(account: str, *actions: str) -> str:
    statements = [
        {"Effect": "Allow", "Principal": {"AWS": name}, "Action": what, "Resource": "*"}
        for name, what in ((f"arn:aws:iam::{OWNER}:root", "kms:*"), (account, [*actions]))
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


USE = ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*", "kms:ReEncrypt*")


def test_account_named_in_the_policy_uses_a_shared_snapshot(aws: Service) -> None:
    """Section 5.4: the recipient also needs the key policy or a grant."""
    kms, theirs = aws.client("kms"), aws.client("kms", OTHER)
    key = kms.create_key(Policy=policy_for(OWNER, "kms:*"))["KeyMetadata"]["Arn"]
    volume = aws.volume(encrypted=True, kms_key_id=key)
    snapshot = aws.snapshot(volume, b"shared")
    aws.ec2.modify_snapshot_attribute(
        SnapshotId=snapshot,
        Attribute="createVolumePermission",
        OperationType="add",
        UserIds=[OTHER],
    )
    wanted = {"SnapshotId": snapshot, "AvailabilityZone": ZONE}
    denied = ("CustomerKeyHasBeenRevoked", 400)
    assert refusal(aws.other.create_volume, **wanted) == denied
    assert refusal(theirs.describe_key, KeyId=key) == ("AccessDeniedException", 400)

    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy_for(OTHER, *USE))

    assert theirs.describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key
    made = aws.other.create_volume(**wanted)["VolumeId"]
    aws.other.get_waiter("volume_available").wait(VolumeIds=[made], WaiterConfig=QUICK)
    with aws.store.as_account(OTHER).volumes.open(made) as file:
        assert file.pread(6, 0) == b"shared"
    assert refusal(theirs.encrypt, KeyId=key, Plaintext=b"x") == ("AccessDeniedException", 400)
    assert refusal(theirs.get_key_policy, KeyId=key) == ("AccessDeniedException", 400)
    assert refusal(theirs.put_key_policy, KeyId=key, Policy="{}") == ("AccessDeniedException", 400)

    kms.put_key_policy(KeyId=key, Policy=policy_for(OWNER, "kms:*"))
    assert refusal(aws.other.create_volume, **wanted) == denied


def test_policies_are_told_and_refused(aws: Service) -> None:
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]

    (statement,) = json.loads(kms.get_key_policy(KeyId=key)["Policy"])["Statement"]
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{OWNER}:root"}
    assert kms.list_key_policies(KeyId=key)["PolicyNames"] == ["default"]
    text = policy_for(OTHER, "kms:Decrypt")
    kms.put_key_policy(KeyId=key, Policy=text)
    assert kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"] == text

    def put(policy: str, name: str = "default") -> tuple[str, int]:
        return refusal(kms.put_key_policy, KeyId=key, PolicyName=name, Policy=policy)

    assert put("no policy") == ("MalformedPolicyDocumentException", 400)
    assert put(text.replace('"Allow"', '"Deny"', 1)) == ("UnsupportedOperationException", 400)
    assert put(text, "other") == ("NotFoundException", 400)
    assert put(text + " " * 32_768) == ("LimitExceededException", 400)
    assert refusal(kms.create_key, Policy="{}") == ("MalformedPolicyDocumentException", 400)
    default = aws.store.keys.get("alias/aws/ebs").arn
    code = refusal(kms.put_key_policy, KeyId=default, Policy=text)
    assert code == ("AccessDeniedException", 400)
    assert kms.get_key_policy(KeyId=key)["Policy"] == text, "nothing refused was kept"
    kms.schedule_key_deletion(KeyId=key)
    assert put(text) == ("KMSInvalidStateException", 400)


def tags(**values: str) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in values.items()]


def test_keys_have_tags(aws: Service) -> None:
    kms = aws.client("kms")
    key = kms.create_key(Tags=tags(a="1", b="2"))["KeyMetadata"]["KeyId"]

    kms.tag_resource(KeyId=key, Tags=tags(b="3", c=""))
    kms.untag_resource(KeyId=key, TagKeys=["a", "missing"])

    assert kms.list_resource_tags(KeyId=key)["Tags"] == tags(b="3", c="")
    first = kms.list_resource_tags(KeyId=key, Limit=1)
    assert (first["Tags"], first["Truncated"]) == (tags(b="3"), True)
    second = kms.list_resource_tags(KeyId=key, Marker=first["NextMarker"])
    assert (second["Tags"], second["Truncated"]) == (tags(c=""), False)
    for bad in (tags(**{"aws:x": ""}), [*tags(x="1"), *tags(x="2")]):
        assert refusal(kms.tag_resource, KeyId=key, Tags=bad) == ("TagException", 400)
    many = tags(**{f"t{number}": "" for number in range(49)})
    assert refusal(kms.tag_resource, KeyId=key, Tags=many) == ("LimitExceededException", 400)
    assert refusal(kms.create_key, Tags=tags(**{"AWS:x": ""})) == ("TagException", 400)


def test_retiring_principal_ends_a_grant(aws: Service) -> None:
    kms, third = aws.client("kms"), aws.client("kms", "444455556666")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    made: Any = kms.create_grant(
        KeyId=key,
        GranteePrincipal=OTHER,
        RetiringPrincipal="arn:aws:iam::444455556666:root",
        Operations=["Decrypt"],
    )
    (shown,) = kms.list_grants(KeyId=key)["Grants"]
    assert shown["RetiringPrincipal"] == "arn:aws:iam::444455556666:root"

    fourth = aws.client("kms", "777788889999")
    named = {"KeyId": key, "GrantId": made["GrantId"]}
    assert refusal(fourth.retire_grant, **named) == ("NotFoundException", 400)
    third.retire_grant(GrantToken=made["GrantToken"])

    assert kms.list_grants(KeyId=key)["Grants"] == []
