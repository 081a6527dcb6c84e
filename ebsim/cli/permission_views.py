"""Sharing, as JSON documents and as text for people."""

from ebsim.cli.output import Json
from ebsim.permissions import PublicAccess, SnapshotPermissions


def permissions_document(record: SnapshotPermissions) -> Json:
    """Return the document of a snapshot's permissions, as EC2's DescribeSnapshotAttribute."""
    everybody: list[dict[str, str]] = [{"Group": "all"}] if record.public else []
    return {
        "SnapshotId": record.snapshot_id,
        "CreateVolumePermissions": [
            *everybody,
            *({"UserId": account} for account in record.accounts),
        ],
    }


def permissions_text(record: SnapshotPermissions) -> str:
    """Return whom a snapshot is shared with, in a sentence."""
    if record.public:
        rest = f", and with {', '.join(record.accounts)} by name" if record.accounts else ""
        return f"{record.snapshot_id} is shared with all accounts{rest}."
    if not record.accounts:
        return f"{record.snapshot_id} is shared with nobody."
    return f"{record.snapshot_id} is shared with {', '.join(record.accounts)}."


def public_access_document(state: PublicAccess) -> Json:
    """Return the document of block public access, as GetSnapshotBlockPublicAccessState."""
    return {"State": state.value, "ManagedBy": "account"}


def public_access_text(state: PublicAccess) -> str:
    """Return what may be public, in a sentence."""
    meanings = {
        PublicAccess.UNBLOCKED: "snapshots may be public",
        PublicAccess.BLOCK_NEW_SHARING: "no snapshot can be made public; public ones stay so",
        PublicAccess.BLOCK_ALL_SHARING: "no snapshot is public, whatever it is shared with",
    }
    return f"{state.value}: {meanings[state]}."
