"""Key policies, and the tags of keys."""

from ebsim.keys.key_policies import POLICY_NAME
from ebsim.server.kms.pages import TAGS, cut
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError


@OPERATIONS.add("kms", "GetKeyPolicy")
def get_key_policy(served: Served) -> Document:
    """Return the policy of a key."""
    given = served.parameters
    name = given.get("PolicyName", POLICY_NAME)
    return {"Policy": served.store.keys.policy(given["KeyId"], name), "PolicyName": name}


@OPERATIONS.add("kms", "PutKeyPolicy")
def put_key_policy(served: Served) -> Document:
    """Give a key another policy."""
    given = served.parameters
    name = given.get("PolicyName", POLICY_NAME)
    served.store.keys.put_policy(given["KeyId"], given["Policy"], name)
    return {}


@OPERATIONS.add("kms", "ListKeyPolicies")
def list_key_policies(served: Served) -> Document:
    """Return the only name that the policy of a key has (`Limit`, `Marker`)."""
    reference = served.parameters["KeyId"]
    served.store.keys.policy(reference)
    page, more = cut(served, f"policies of {reference}", [POLICY_NAME], lambda each: each)
    return {"PolicyNames": page, **more}


@OPERATIONS.add("kms", "TagResource")
def tag_resource(served: Served) -> Document:
    """Give a key tags."""
    given = served.parameters
    served.store.keys.tag(given["KeyId"], tags_of(given))
    return {}


@OPERATIONS.add("kms", "UntagResource")
def untag_resource(served: Served) -> Document:
    """Take tags from a key."""
    given = served.parameters
    served.store.keys.untag(given["KeyId"], given["TagKeys"])
    return {}


@OPERATIONS.add("kms", "ListResourceTags")
def list_resource_tags(served: Served) -> Document:
    """Return a page of the tags of a key (`Limit`, `Marker`)."""
    reference = served.parameters["KeyId"]
    found = sorted(served.store.keys.tags(reference).items())
    page, more = cut(served, f"tags of {reference}", found, lambda each: each[0], TAGS)
    return {"Tags": [{"TagKey": name, "TagValue": value} for name, value in page], **more}


def tags_of(given: Document) -> dict[str, str]:
    """Return the tags that a request gives.

    Raises:
        FaultError: TagException: a key is given twice; ValidationException: one is missing.
    """
    found: dict[str, str] = {}
    for tag in given.get("Tags", ()):
        if "TagKey" not in tag or "TagValue" not in tag:
            raise FaultError("ValidationException", "A tag needs TagKey and TagValue.")
        if tag["TagKey"] in found:
            raise FaultError("TagException", f"The tag {tag['TagKey'][:128]!r} is given twice.")
        found[tag["TagKey"]] = tag["TagValue"]
    return found
