"""KMS over boto3: keys, aliases, grants, messages (semantics section 11.5, rule 8)."""

from typing import Any

import pytest

from ebsim.testing.aws import RunningEndpoint
from ebsim.testing.aws_service import refusal
from ebsim.testing.seams import ManualClock

pytest.importorskip("boto3")

OTHER = "111122223333"
CONTEXT = {"volume": "web1", "stage": "test"}


@pytest.fixture
def kms(ebsim_endpoint: RunningEndpoint) -> Any:
    return ebsim_endpoint.client("kms")


def new_key(kms: Any, **options: Any) -> str:
    found: str = kms.create_key(**options)["KeyMetadata"]["Arn"]
    return found


def state_of(kms: Any, key: str) -> tuple[str, bool]:
    shown = kms.describe_key(KeyId=key)["KeyMetadata"]
    return shown["KeyState"], shown["Enabled"]


def test_key_lives_and_is_deleted(kms: Any, ebsim_clock: ManualClock) -> None:
    made = kms.create_key(Description="backups")["KeyMetadata"]
    key = made["Arn"]
    assert key == f"arn:aws:kms:us-east-1:123456789012:key/{made['KeyId']}"
    assert (made["KeyState"], made["KeyManager"]) == ("Enabled", "CUSTOMER")
    assert (made["KeyUsage"], made["KeySpec"]) == ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT")
    assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"] == made

    kms.update_key_description(KeyId=key, Description="other")
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "other"
    kms.disable_key(KeyId=key)
    assert state_of(kms, key) == ("Disabled", False)
    assert refusal(kms.encrypt, KeyId=key, Plaintext=b"x") == ("DisabledException", 400)
    kms.enable_key(KeyId=key)
    assert state_of(kms, key) == ("Enabled", True)

    told = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert (told["KeyId"], told["KeyState"]) == (key, "PendingDeletion")
    assert told["PendingWindowInDays"] == 7
    assert told["DeletionDate"].timestamp() == ebsim_clock.now_us() / 1e6 + 7 * 24 * 3600
    invalid_state = ("KMSInvalidStateException", 400)
    assert refusal(kms.enable_key, KeyId=key) == invalid_state
    assert refusal(kms.encrypt, KeyId=key, Plaintext=b"x") == invalid_state
    assert kms.cancel_key_deletion(KeyId=key)["KeyId"] == key
    assert state_of(kms, key) == ("Disabled", False)
    assert refusal(kms.cancel_key_deletion, KeyId=key) == invalid_state
    kms.schedule_key_deletion(KeyId=key)
    ebsim_clock.advance(days=30)
    not_found = ("NotFoundException", 400)
    assert refusal(kms.describe_key, KeyId=key) == not_found


def test_rotation_keeps_what_was_encrypted(kms: Any) -> None:
    key = new_key(kms)
    message = kms.encrypt(KeyId=key, Plaintext=b"before")["CiphertextBlob"]

    assert kms.rotate_key_on_demand(KeyId=key)["KeyId"] == key

    assert kms.decrypt(CiphertextBlob=message)["Plaintext"] == b"before"
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False


def test_keys_aliases_and_grants_are_listed_in_pages(kms: Any) -> None:
    keys = {new_key(kms) for _ in range(5)}
    key = min(keys)
    names = [f"alias/{letter}" for letter in "edcba"]
    for name in names:
        kms.create_alias(AliasName=name, TargetKeyId=key)
    accounts = [f"{number:012}" for number in range(1, 6)]
    for account in accounts:
        kms.create_grant(KeyId=key, GranteePrincipal=account, Operations=["Decrypt"])

    def pages(operation: str, member: str, **query: Any) -> list[list[Any]]:
        paginator = kms.get_paginator(operation)
        found = paginator.paginate(**query, PaginationConfig={"PageSize": 2})
        return [page[member] for page in found]

    def flat(found: list[list[Any]]) -> list[Any]:
        assert [len(page) for page in found] == [2, 2, 1]
        return [each for page in found for each in page]

    assert {each["KeyArn"] for each in flat(pages("list_keys", "Keys"))} == keys
    aliases = flat(pages("list_aliases", "Aliases"))
    assert [each["AliasName"] for each in aliases] == sorted(names)
    assert {each["TargetKeyId"] for each in aliases} == {key.rpartition("/")[2]}
    grants = flat(pages("list_grants", "Grants", KeyId=key))
    assert {each["GranteePrincipal"] for each in grants} == {
        f"arn:aws:iam::{account}:root" for account in accounts
    }
    marker = ("InvalidMarkerException", 400)
    assert refusal(kms.list_keys, Marker="nonsense") == marker
    first = kms.list_keys(Limit=2)["NextMarker"]
    assert refusal(kms.list_aliases, Marker=first) == marker


def test_aliases_name_move_and_go(kms: Any) -> None:
    one, other = new_key(kms), new_key(kms)

    kms.create_alias(AliasName="alias/web", TargetKeyId=one)
    assert kms.describe_key(KeyId="alias/web")["KeyMetadata"]["Arn"] == one
    assert refusal(kms.create_alias, AliasName="alias/web", TargetKeyId=other) == (
        "AlreadyExistsException",
        400,
    )
    kms.update_alias(AliasName="alias/web", TargetKeyId=other)
    assert kms.describe_key(KeyId="alias/web")["KeyMetadata"]["Arn"] == other
    assert kms.list_aliases(KeyId=one)["Aliases"] == []
    (listed,) = kms.list_aliases(KeyId=other)["Aliases"]
    assert listed["AliasArn"] == "arn:aws:kms:us-east-1:123456789012:alias/web"
    kms.delete_alias(AliasName="alias/web")
    assert refusal(kms.delete_alias, AliasName="alias/web") == ("NotFoundException", 400)
    reserved = ("InvalidAliasNameException", 400)
    assert refusal(kms.create_alias, AliasName="alias/aws/mine", TargetKeyId=one) == reserved
    malformed = ("ValidationException", 400)
    assert refusal(kms.create_alias, AliasName="web", TargetKeyId=one) == malformed


def test_managed_key_is_there_and_not_to_be_changed(kms: Any) -> None:
    managed = kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]

    assert managed["KeyManager"] == "AWS"
    denied = ("AccessDeniedException", 400)
    assert refusal(kms.disable_key, KeyId=managed["Arn"]) == denied
    assert refusal(kms.schedule_key_deletion, KeyId=managed["Arn"]) == denied


def test_grant_lets_another_account_do_what_it_says(
    kms: Any, ebsim_endpoint: RunningEndpoint
) -> None:
    other = ebsim_endpoint.client("kms", OTHER)
    key = new_key(kms)
    message = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    denied = ("AccessDeniedException", 400)
    assert refusal(other.decrypt, CiphertextBlob=message) == denied

    grant = kms.create_grant(
        KeyId=key,
        GranteePrincipal=f"arn:aws:iam::{OTHER}:role/backup",
        Operations=["Decrypt", "ReEncryptFrom", "ReEncryptTo", "RetireGrant"],
        Name="to look",
    )
    assert other.decrypt(CiphertextBlob=message)["Plaintext"] == b"secret"
    assert refusal(other.encrypt, KeyId=key, Plaintext=b"x") == denied
    assert refusal(other.list_grants, KeyId=key) == denied
    assert refusal(other.revoke_grant, KeyId=key, GrantId=grant["GrantId"]) == denied
    (shown,) = kms.list_grants(KeyId=key, GranteePrincipal=OTHER)["Grants"]
    assert (shown["GrantId"], shown["Name"]) == (grant["GrantId"], "to look")
    assert set(shown["Operations"]) == {"Decrypt", "ReEncryptFrom", "ReEncryptTo"}

    other.retire_grant(GrantToken=grant["GrantToken"])
    assert refusal(other.decrypt, CiphertextBlob=message) == denied
    again = kms.create_grant(KeyId=key, GranteePrincipal=OTHER, Operations=["Decrypt"])
    kms.revoke_grant(KeyId=key, GrantId=again["GrantId"])
    assert kms.list_grants(KeyId=key)["Grants"] == []
    assert refusal(other.decrypt, CiphertextBlob=message) == denied


def test_grants_that_are_refused(kms: Any) -> None:
    key = new_key(kms)
    most = {"KeyId": key, "GranteePrincipal": OTHER}
    create = kms.create_grant
    invalid = ("ValidationException", 400)
    assert refusal(create, **most, Operations=["Sign"]) == invalid
    assert refusal(create, **most, Operations=["ReEncryptTo"]) == invalid
    nobody = {**most, "GranteePrincipal": "arn:aws:iam::12:root"}
    assert refusal(create, **nobody, Operations=["Decrypt"]) == ("InvalidArnException", 400)
    narrow = {"EncryptionContextSubset": {"a": "b"}}
    assert refusal(create, **most, Operations=["Decrypt"], Constraints=narrow) == (
        "UnsupportedOperationException",
        400,
    )
    assert refusal(kms.retire_grant) == invalid
    assert refusal(kms.retire_grant, GrantToken="x") == ("InvalidGrantTokenException", 400)
    gone = {"KeyId": key, "GrantId": "0" * 64}
    assert refusal(kms.revoke_grant, **gone) == ("NotFoundException", 400)


def test_messages_need_their_key_and_context(kms: Any) -> None:
    one, other = new_key(kms), new_key(kms)
    told = kms.encrypt(KeyId=one, Plaintext=b"p" * 4096, EncryptionContext=CONTEXT)
    message = told["CiphertextBlob"]
    assert (told["KeyId"], told["EncryptionAlgorithm"]) == (one, "SYMMETRIC_DEFAULT")
    assert b"p" * 8 not in message

    for key in ({}, {"KeyId": one}):
        back = kms.decrypt(CiphertextBlob=message, EncryptionContext=CONTEXT, **key)
        assert (back["Plaintext"], back["KeyId"]) == (b"p" * 4096, one)
    damaged = ("InvalidCiphertextException", 400)
    assert refusal(kms.decrypt, CiphertextBlob=message) == damaged
    wrong = {**CONTEXT, "stage": "live"}
    assert refusal(kms.decrypt, CiphertextBlob=message, EncryptionContext=wrong) == damaged
    for place in (0, 6, 7, 11, 30, 80, 100, len(message) - 1):
        flipped = bytearray(message)
        flipped[place] ^= 1
        call = {"CiphertextBlob": bytes(flipped), "EncryptionContext": CONTEXT}
        assert refusal(kms.decrypt, **call) == damaged, place
    for text in (b"x", message[:50], message[:-1]):
        call = {"CiphertextBlob": text, "EncryptionContext": CONTEXT}
        assert refusal(kms.decrypt, **call) == damaged
    call = {"CiphertextBlob": message, "EncryptionContext": CONTEXT, "KeyId": other}
    assert refusal(kms.decrypt, **call) == ("IncorrectKeyException", 400)

    moved = kms.re_encrypt(
        CiphertextBlob=message, SourceEncryptionContext=CONTEXT, DestinationKeyId=other
    )
    assert (moved["SourceKeyId"], moved["KeyId"]) == (one, other)
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == b"p" * 4096
    same = kms.encrypt(KeyId=one, Plaintext=b"p" * 4096, EncryptionContext=CONTEXT)
    assert same["CiphertextBlob"] != message


def test_data_keys_are_as_long_as_asked(kms: Any) -> None:
    key = new_key(kms)
    for asked, size in (
        ({"KeySpec": "AES_256"}, 32),
        ({"KeySpec": "AES_128"}, 16),
        ({"NumberOfBytes": 1024}, 1024),
    ):
        made = kms.generate_data_key(KeyId=key, EncryptionContext=CONTEXT, **asked)
        assert len(made["Plaintext"]) == size
        back = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
        assert back["Plaintext"] == made["Plaintext"]
        without = kms.generate_data_key_without_plaintext(KeyId=key, **asked)
        assert "Plaintext" not in without
        assert len(kms.decrypt(CiphertextBlob=without["CiphertextBlob"])["Plaintext"]) == size
    invalid = ("ValidationException", 400)
    assert refusal(kms.generate_data_key, KeyId=key) == invalid
    both = {"KeySpec": "AES_256", "NumberOfBytes": 32}
    assert refusal(kms.generate_data_key, KeyId=key, **both) == invalid
    assert refusal(kms.generate_data_key, KeyId=key, KeySpec="DES") == invalid


def test_what_is_refused(kms: Any) -> None:
    unsupported = ("UnsupportedOperationException", 400)
    for asked in (
        {"KeyUsage": "SIGN_VERIFY"},
        {"KeySpec": "RSA_2048"},
        {"Origin": "EXTERNAL"},
        {"MultiRegion": True},
    ):
        assert refusal(kms.create_key, **asked) == unsupported
    assert refusal(kms.describe_key, KeyId="nonsense") == ("NotFoundException", 400)
    key = new_key(kms)
    invalid = ("ValidationException", 400)
    assert refusal(kms.schedule_key_deletion, KeyId=key, PendingWindowInDays=6) == invalid
    assert refusal(kms.list_keys, Limit=1001) == invalid
    assert refusal(kms.encrypt, KeyId=key, Plaintext=b"p" * 4097) == invalid
    call = {"KeyId": key, "Plaintext": b"x", "DryRun": True}
    assert refusal(kms.encrypt, **call) == ("DryRunOperationException", 412)
    assert refusal(kms.get_public_key, KeyId=key)[0] == "UnknownOperationException"


def test_key_of_a_volume(ebsim_endpoint: RunningEndpoint, kms: Any, ebsim_ec2: Any) -> None:
    key = new_key(kms)

    volume = ebsim_ec2.create_volume(
        Size=1, AvailabilityZone="us-east-1a", Encrypted=True, KmsKeyId=key
    )

    assert (volume["Encrypted"], volume["KmsKeyId"]) == (True, key)
