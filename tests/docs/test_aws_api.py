"""docs/aws-api.md tells what is served, and which parameters of it change nothing."""

import inspect
import re
from pathlib import Path

import pytest

pytest.importorskip("botocore")
from ebsim.server.operations import Operation, load_operations
from ebsim.server.protocol.models import load_model

DOCUMENT = Path(__file__).parents[2] / "docs" / "aws-api.md"
ROW = re.compile(r"\| (\w+) \| (\w+) \| ([\w, ]*?) ?\|$", re.MULTILINE)


def told() -> dict[tuple[str, str], set[str]]:
    """Return the table: by service and operation, the parameters that change nothing."""
    rows = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    return {
        (service, name): {each for each in ignored.split(", ") if each}
        for service, name, ignored in rows
        if name != "Operation"
    }


def test_table_has_what_is_served() -> None:
    assert told().keys() == load_operations().known.keys()


def used(operation: Operation) -> set[str]:
    """Return the parameters that the function of an operation names."""
    code = inspect.getsource(operation)
    named = {"DryRun", *re.findall(r'"(\w+)"', code)}
    helpers = {
        "documents.filters(": {"Filters"},
        "documents.tags_for(": {"TagSpecifications"},
        "documents.tags_of_kinds(": {"TagSpecifications"},
        "documents.volume_query(": {"VolumeIds", "Filters", "MaxResults", "NextToken"},
        "_page(served": {"MaxResults", "NextToken", "StartingBlockIndex"},
        "cut(served": {"Limit", "Marker"},
        "tags_of(given": {"Tags"},
        "_ciphertext(given": {"CiphertextBlob"},
        "_refuse_default(given": {"DefaultPolicy", "CreateInterval", "RetainInterval", "CopyTags"}
        | {"ExtendDeletion", "CrossRegionCopyTargets", "Exclusions"},
    }
    return named.union(*(names for helper, names in helpers.items() if helper in code))


def test_each_parameter_is_used_or_told_to_change_nothing() -> None:
    """One that the function of its operation does not name changes nothing."""
    operations = load_operations().known
    for (service, name), ignored in told().items():
        shape = load_model(service).operation_model(name).input_shape
        members = set() if shape is None else set(shape.members)
        assert members - used(operations[service, name].carry_out) == ignored, name
