"""CreateTags, DeleteTags, DescribeTags."""

from ebsim.requests import TagQuery
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document


@OPERATIONS.add("ec2", "CreateTags")
def create_tags(served: Served) -> Document:
    """Put tags on resources."""
    given = served.parameters
    served.store.tags.create(given["Resources"], documents.tags_once(given["Tags"]))
    return {}


@OPERATIONS.add("ec2", "DeleteTags")
def delete_tags(served: Served) -> Document:
    """Remove tags from resources: those named, or all."""
    given = served.parameters
    tags = {each.get("Key", ""): each.get("Value") for each in given.get("Tags", ())}
    served.store.tags.delete(given["Resources"], tags or None)
    return {}


@OPERATIONS.add("ec2", "DescribeTags")
def describe_tags(served: Served) -> Document:
    """Return a page of the tags of resources."""
    given = served.parameters
    query = TagQuery(
        filters=documents.filters(given),
        max_results=given.get("MaxResults"),
        next_token=given.get("NextToken"),
    )
    page = served.store.tags.describe(query)
    return {
        "Tags": [
            {
                "ResourceId": each.resource_id,
                "ResourceType": each.resource_type.value,
                "Key": each.key,
                "Value": each.value,
            }
            for each in page.tags
        ],
        "NextToken": page.next_token,
    }
