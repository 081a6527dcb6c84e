"""Keys and aliases: making, showing, listing, changing, deleting."""

from ebsim.keys.records import KeyAlias, KeyState, KmsKey
from ebsim.keys.rules import DELETION_DAYS_MAX
from ebsim.server.ec2.documents import answer, moment
from ebsim.server.kms.facts import tags_of
from ebsim.server.kms.pages import ALIASES, cut
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError

_ONLY = {
    "KeyUsage": "ENCRYPT_DECRYPT",
    "KeySpec": "SYMMETRIC_DEFAULT",
    "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
    "Origin": "AWS_KMS",
    "MultiRegion": False,
    "CustomKeyStoreId": None,
    "XksKeyId": None,
}
"""What a key can be; EBS takes no other ones."""


@OPERATIONS.add("kms", "CreateKey")
def create_key(served: Served) -> Document:
    """Make a key: a symmetric one, of one Region."""
    given = served.parameters
    for name in ("KeyUsage", "KeySpec", "CustomerMasterKeySpec", "Origin", "MultiRegion"):
        _ensure_only(given, name)
    for name in ("CustomKeyStoreId", "XksKeyId"):
        _ensure_only(given, name)
    made = served.store.keys.create(
        given.get("Description", ""), policy=given.get("Policy", ""), tags=tags_of(given)
    )
    return {"KeyMetadata": _metadata(made)}


@OPERATIONS.add("kms", "DescribeKey")
def describe_key(served: Served) -> Document:
    """Return a key."""
    return {"KeyMetadata": _metadata(served.store.keys.get(served.parameters["KeyId"]))}


@OPERATIONS.add("kms", "ListKeys")
def list_keys(served: Served) -> Document:
    """Return a page of keys (`Limit`, `Marker`)."""
    page, more = cut(served, "keys", served.store.keys.list(), lambda key: key.key_id)
    return {"Keys": [{"KeyId": key.key_id, "KeyArn": key.arn} for key in page], **more}


@OPERATIONS.add("kms", "UpdateKeyDescription")
def update_key_description(served: Served) -> Document:
    """Give a key another description."""
    given = served.parameters
    served.store.keys.update_description(given["KeyId"], given["Description"])
    return {}


@OPERATIONS.add("kms", "EnableKey")
def enable_key(served: Served) -> Document:
    """Let a key be used again."""
    served.store.keys.enable(served.parameters["KeyId"])
    return {}


@OPERATIONS.add("kms", "DisableKey")
def disable_key(served: Served) -> Document:
    """Have a key be unusable."""
    served.store.keys.disable(served.parameters["KeyId"])
    return {}


@OPERATIONS.add("kms", "ScheduleKeyDeletion")
def schedule_key_deletion(served: Served) -> Document:
    """Have a key be unusable, and gone in some days."""
    given = served.parameters
    days = given.get("PendingWindowInDays", DELETION_DAYS_MAX)
    key = served.store.keys.schedule_deletion(given["KeyId"], days)
    return {
        "KeyId": key.arn,
        "DeletionDate": moment(key.deletion_us or 0),
        "KeyState": key.state.value,
        "PendingWindowInDays": days,
    }


@OPERATIONS.add("kms", "CancelKeyDeletion")
def cancel_key_deletion(served: Served) -> Document:
    """Keep a key after all."""
    return {"KeyId": served.store.keys.cancel_deletion(served.parameters["KeyId"]).arn}


@OPERATIONS.add("kms", "RotateKeyOnDemand")
def rotate_key_on_demand(served: Served) -> Document:
    """Give a key new material."""
    return {"KeyId": served.store.keys.rotate(served.parameters["KeyId"]).arn}


@OPERATIONS.add("kms", "GetKeyRotationStatus")
def get_key_rotation_status(served: Served) -> Document:
    """Tell that a key is not rotated by itself: only on demand."""
    key = served.store.keys.get(served.parameters["KeyId"])
    return {"KeyId": key.arn, "KeyRotationEnabled": False}


@OPERATIONS.add("kms", "CreateAlias")
def create_alias(served: Served) -> Document:
    """Name a key."""
    given = served.parameters
    served.store.keys.create_alias(given["AliasName"], given["TargetKeyId"])
    return {}


@OPERATIONS.add("kms", "UpdateAlias")
def update_alias(served: Served) -> Document:
    """Have an alias mean another key."""
    given = served.parameters
    served.store.keys.update_alias(given["AliasName"], given["TargetKeyId"])
    return {}


@OPERATIONS.add("kms", "DeleteAlias")
def delete_alias(served: Served) -> Document:
    """Take an alias away."""
    served.store.keys.delete_alias(served.parameters["AliasName"])
    return {}


@OPERATIONS.add("kms", "ListAliases")
def list_aliases(served: Served) -> Document:
    """Return a page of aliases: all, or a key's (`Limit`, `Marker`)."""
    reference = served.parameters.get("KeyId")
    found = served.store.keys.list_aliases(reference)
    page, more = cut(served, f"aliases of {reference}", found, lambda each: each.name, ALIASES)
    return {"Aliases": [_alias(each) for each in page], **more}


def _ensure_only(given: Document, name: str) -> None:
    if given.get(name, _ONLY[name]) != _ONLY[name]:
        raise FaultError(
            "UnsupportedOperationException",
            f"{name} can only be {_ONLY[name] or 'left out'}: EBS uses KMS's own symmetric keys.",
        )


def _alias(alias: KeyAlias) -> Document:
    return {"AliasName": alias.name, "AliasArn": alias.arn, "TargetKeyId": alias.key_id}


def _metadata(key: KmsKey) -> Document:
    return answer(
        AWSAccountId=key.account,
        KeyId=key.key_id,
        Arn=key.arn,
        CreationDate=moment(key.created_us),
        Enabled=key.state is KeyState.ENABLED,
        Description=key.description,
        KeyUsage="ENCRYPT_DECRYPT",
        KeyState=key.state.value,
        DeletionDate=None if key.deletion_us is None else moment(key.deletion_us),
        Origin="AWS_KMS",
        KeyManager=key.manager.value,
        CustomerMasterKeySpec="SYMMETRIC_DEFAULT",
        KeySpec="SYMMETRIC_DEFAULT",
        EncryptionAlgorithms=["SYMMETRIC_DEFAULT"],
        MultiRegion=False,
    )
