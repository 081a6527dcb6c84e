"""KMS keys, aliases, grants and the keyring, as JSON documents and as text for people.

Members of documents are KMS's. What is secret is in none of them.
"""

from collections.abc import Sequence
from pathlib import Path

from ebsim.cli.layout import count, pairs, table
from ebsim.cli.output import Json, JsonValue, printable
from ebsim.clock import format_time
from ebsim.encryption import EncryptionDefaults
from ebsim.keys.records import KeyAlias, KeyGrant, KeyState, KmsKey


def key_document(key: KmsKey) -> Json:
    """Return the document of one key, as KMS's DescribeKey; with its aliases."""
    metadata: dict[str, JsonValue] = {
        "AWSAccountId": key.account,
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": format_time(key.created_us),
        "Enabled": key.state is KeyState.ENABLED,
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": key.state.value,
        "Origin": "AWS_KMS",
        "KeyManager": key.manager.value,
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
        "Aliases": list(key.aliases),
        "Rotations": len(key.materials) - 1,
    }
    if key.deletion_us is not None:
        metadata["DeletionDate"] = format_time(key.deletion_us)
    return {"KeyMetadata": metadata}


def key_text(key: KmsKey) -> str:
    """Return one key in lines of a name and a value."""
    newest = key.materials[-1]
    rows = [
        ("Key", key.key_id),
        ("ARN", key.arn),
        ("Aliases", ", ".join(key.aliases)),
        ("State", key.state.value),
        ("Gone at", "" if key.deletion_us is None else format_time(key.deletion_us)),
        ("Managed by", "AWS" if key.manager.value == "AWS" else "its account"),
        ("Description", printable(key.description)),
        ("Created", format_time(key.created_us)),
        ("Rotated", format_time(newest.created_us) if newest.version > 1 else ""),
        ("Grants", str(len(key.grants)) if key.grants else ""),
    ]
    return pairs(rows)


def keys_document(keys: Sequence[KmsKey]) -> Json:
    """Return the document of `key list`, as KMS's ListKeys."""
    rows: list[JsonValue] = [{"KeyId": key.key_id, "KeyArn": key.arn} for key in keys]
    return {"Keys": rows, "Truncated": False}


def keys_text(keys: Sequence[KmsKey]) -> str:
    """Return a table of keys."""
    if not keys:
        return "No keys."
    rows = [
        (key.key_id, key.state.value, ", ".join(key.aliases), printable(key.description))
        for key in keys
    ]
    return table([("KEY", "STATE", "ALIASES", "DESCRIPTION"), *rows], set())


def state_document(key: KmsKey) -> Json:
    """Return the document of a change of a key's state, as KMS's ScheduleKeyDeletion."""
    document: dict[str, JsonValue] = {"KeyId": key.arn, "KeyState": key.state.value}
    if key.deletion_us is not None:
        document["DeletionDate"] = format_time(key.deletion_us)
    return document


def state_text(key: KmsKey) -> str:
    """Return what can be done with a key now, in a sentence."""
    match key.state:
        case KeyState.ENABLED:
            return f"{key.key_id} is enabled."
        case KeyState.DISABLED:
            return f"{key.key_id} is disabled: what it encrypts cannot be read or written."
        case KeyState.PENDING_DELETION:
            gone = format_time(key.deletion_us or 0)
            return (
                f"{key.key_id} cannot be used any more, and is gone at {gone}, with all that it "
                "encrypts.\nUntil then: ebsim key cancel-deletion"
            )


def rotated_text(key: KmsKey) -> str:
    """Return that a key was rotated, and what to do now."""
    return (
        f"{key.key_id} has new material, version {key.materials[-1].version}. No data were "
        "touched.\nA recovery copy made before does not hold it: ebsim key export"
    )


def made_text(key: KmsKey) -> str:
    """Return a new key, and what to do now."""
    return f"{key_text(key)}\nWhoever loses the keyring loses what it encrypts: ebsim key export"


# aliases


def alias_document(alias: KeyAlias) -> Json:
    """Return the document of one alias, as KMS's AliasListEntry."""
    return {
        "AliasName": alias.name,
        "AliasArn": alias.arn,
        "TargetKeyId": alias.key_id,
    }


def alias_text(alias: KeyAlias) -> str:
    """Return which key an alias means, in a sentence."""
    return f"{alias.name} means {alias.key_id}."


def aliases_document(aliases: Sequence[KeyAlias]) -> Json:
    """Return the document of `key alias list`, as KMS's ListAliases."""
    return {"Aliases": [alias_document(alias) for alias in aliases], "Truncated": False}


def aliases_text(aliases: Sequence[KeyAlias]) -> str:
    """Return a table of aliases."""
    if not aliases:
        return "No aliases."
    return table([("ALIAS", "KEY"), *((alias.name, alias.key_id) for alias in aliases)], set())


# grants


def grant_document(grant: KeyGrant) -> Json:
    """Return the document of one grant, as KMS's GrantListEntry."""
    return {
        "GrantId": grant.grant_id,
        "Name": grant.name,
        "CreationDate": format_time(grant.created_us),
        "GranteePrincipal": f"arn:aws:iam::{grant.grantee}:root",
        "IssuingAccount": f"arn:aws:iam::{grant.issuer}:root",
        "Operations": [operation.value for operation in grant.operations],
    }


def grant_text(grant: KeyGrant) -> str:
    """Return a new grant, in a sentence."""
    operations = ", ".join(operation.value for operation in grant.operations)
    return f"Account {grant.grantee} may use the key now ({operations}).\nGrant {grant.grant_id}"


def grants_document(grants: Sequence[KeyGrant]) -> Json:
    """Return the document of `key grant list`, as KMS's ListGrants."""
    return {"Grants": [grant_document(grant) for grant in grants], "Truncated": False}


def grants_text(grants: Sequence[KeyGrant]) -> str:
    """Return a table of grants."""
    if not grants:
        return "No grants."
    rows = [
        (grant.grantee, printable(grant.name), str(len(grant.operations)), grant.grant_id)
        for grant in grants
    ]
    return table([("ACCOUNT", "NAME", "OPERATIONS", "GRANT"), *rows], {2})


# the keyring


def exported_text(path: str) -> str:
    """Return that a recovery copy was written, and what it is."""
    return (
        f"Wrote the recovery copy to {printable(path)}. Whoever has it has all keys.\n"
        "Print it, keep it away from the store, and remove the file."
    )


def recovered_text(path: str, keys: int) -> str:
    """Return that a keyring was made again."""
    return f"Made the keyring again in {printable(path)}, with {count(keys, 'key')}."


def place_text(path: Path) -> str:
    """Return where the keyring is, or will be, in a sentence."""
    shown = printable(str(path))
    return f"The keyring is {shown}." if path.is_file() else f"There is no keyring at {shown} yet."


def protection_text(path: str, method: str) -> str:
    """Return how the keyring is protected, in a sentence."""
    meanings = {
        "none": "by the mode of its file alone (0600)",
        "scrypt": "by a passphrase",
        "key-file": "by a key file",
    }
    return f"The keyring {printable(path)} is protected {meanings[method]}."


# what is encrypted


def by_default_document(defaults: EncryptionDefaults) -> Json:
    """Return the document of encryption by default, as GetEbsEncryptionByDefault; with the key."""
    return {
        "EbsEncryptionByDefault": defaults.by_default,
        "KmsKeyId": defaults.kms_key_id,
    }


def by_default_text(defaults: EncryptionDefaults) -> str:
    """Return what is encrypted, in a sentence or two."""
    if defaults.by_default:
        what = "enabled: all new volumes and copies are encrypted"
    else:
        what = "disabled: new volumes and copies are encrypted where that is asked for"
    return f"{what}.\nThe default key is {defaults.kms_key_id}."
