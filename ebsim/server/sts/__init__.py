"""STS, as far as programs ask it who they are."""

from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document


@OPERATIONS.add("sts", "GetCallerIdentity")
def get_caller_identity(served: Served) -> Document:
    """Tell the account of the signature."""
    account = served.caller.account
    return {"Account": account, "UserId": account, "Arn": f"arn:aws:iam::{account}:root"}
