"""Sharing snapshots: the attribute createVolumePermission, and block public access."""

from collections.abc import Sequence

from ebsim.permissions import PermissionChange, PublicAccess
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError

PERMISSION = "createVolumePermission"
PRODUCT_CODES = "productCodes"
ALL = "all"


@OPERATIONS.add("ec2", "ModifySnapshotAttribute")
def modify_snapshot_attribute(served: Served) -> Document:
    """Share a snapshot, or take that back: said by lists of accounts, or by permissions."""
    given = served.parameters
    _ensure_permission(given.get("Attribute", PERMISSION))
    permissions = given.get("CreateVolumePermission", {})
    operation = given.get("OperationType")
    accounts, groups = given.get("UserIds", []), given.get("GroupNames", [])
    if operation not in {None, "add", "remove"}:
        raise documents.invalid(operation, "operationType", "add or remove")
    if operation is None and (accounts or groups):
        raise documents.missing("operationType")
    if operation is not None:
        named = [{"UserId": each} for each in accounts] + [{"Group": each} for each in groups]
        member = operation.capitalize()
        permissions = {**permissions, member: [*permissions.get(member, []), *named]}
    add, add_all = _who(permissions.get("Add", ()))
    remove, remove_all = _who(permissions.get("Remove", ()))
    change = PermissionChange(add=add, remove=remove, add_all=add_all, remove_all=remove_all)
    served.store.permissions.modify(given["SnapshotId"], change)
    return {}


@OPERATIONS.add("ec2", "DescribeSnapshotAttribute")
def describe_snapshot_attribute(served: Served) -> Document:
    """Return whom a snapshot is shared with; product codes it has none."""
    given = served.parameters
    found = served.store.permissions.describe(given["SnapshotId"])
    if given["Attribute"] == PRODUCT_CODES:
        return {"SnapshotId": found.snapshot_id, "ProductCodes": []}
    _ensure_permission(given["Attribute"])
    shared = [{"Group": ALL}] if found.public else []
    shared += [{"UserId": each} for each in found.accounts]
    return {"SnapshotId": found.snapshot_id, "CreateVolumePermissions": shared}


@OPERATIONS.add("ec2", "ResetSnapshotAttribute")
def reset_snapshot_attribute(served: Served) -> Document:
    """Take all sharing of a snapshot back."""
    given = served.parameters
    _ensure_permission(given["Attribute"])
    served.store.permissions.reset(given["SnapshotId"])
    return {}


@OPERATIONS.add("ec2", "EnableSnapshotBlockPublicAccess")
def enable_snapshot_block_public_access(served: Served) -> Document:
    """Block public snapshots: new ones, or all."""
    state = documents.choice(PublicAccess, served.parameters["State"], "state")
    if state is PublicAccess.UNBLOCKED:  # EBS: not a valid argument
        raise documents.invalid(state, "state", "block-all-sharing or block-new-sharing")
    served.store.permissions.public_access = state
    return {"State": state.value}


@OPERATIONS.add("ec2", "DisableSnapshotBlockPublicAccess")
def disable_snapshot_block_public_access(served: Served) -> Document:
    """Allow public snapshots."""
    served.store.permissions.public_access = PublicAccess.UNBLOCKED
    return {"State": PublicAccess.UNBLOCKED.value}


@OPERATIONS.add("ec2", "GetSnapshotBlockPublicAccessState")
def get_snapshot_block_public_access_state(served: Served) -> Document:
    """Return whether public snapshots are blocked."""
    return {"State": served.store.permissions.public_access.value, "ManagedBy": "account"}


def _ensure_permission(attribute: str) -> None:
    if attribute == PRODUCT_CODES:
        raise FaultError("UnsupportedOperation", "Product codes of a snapshot cannot be modified.")
    if attribute != PERMISSION:
        raise documents.invalid(attribute, "attribute", PERMISSION)


def _who(permissions: Sequence[Document]) -> tuple[list[str], bool]:
    """Return the accounts that permissions name, and whether they name all."""
    groups = [each["Group"] for each in permissions if "Group" in each]
    for group in groups:
        if group != ALL:
            raise documents.invalid(group, "group", ALL)
    return [each["UserId"] for each in permissions if "UserId" in each], bool(groups)
