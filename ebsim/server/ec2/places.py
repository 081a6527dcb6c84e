"""DescribeRegions and DescribeAvailabilityZones."""

from ebsim.caller import REGION_DEFAULT, Caller, parse_caller
from ebsim.core.filters import Filtering
from ebsim.errors import InvalidInputError
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError

KNOWN = (REGION_DEFAULT, "us-east-2", "us-west-1", "us-west-2", "eu-central-1", "eu-west-1")
"""Regions that are told unasked. Any name of a Region's form is one, and answers when it is named:
ebsim keeps no list of them."""


ZONE_FILTERS = Filtering[str](
    {
        "group-name": lambda zone: [zone[:-1]],
        "opt-in-status": lambda _zone: ["opt-in-not-required"],
        "region-name": lambda zone: [zone[:-1]],
        "state": lambda _zone: ["available"],
        "zone-id": lambda zone: [documents.zone_id(zone)],
        "zone-name": lambda zone: [zone],
        "zone-type": lambda _zone: ["availability-zone"],
    }
)
"""What DescribeAvailabilityZones can filter by."""


@OPERATIONS.add("ec2", "DescribeRegions")
def describe_regions(served: Served) -> Document:
    """Return Regions: those that are named, or the best known and the caller's."""
    given = served.parameters
    names = given.get("RegionNames") or sorted({*KNOWN, served.caller.region})
    for name in names:
        _ensure_region(served, name)
    regions = [
        {
            "RegionName": name,
            "Endpoint": f"ec2.{name}.amazonaws.com",
            "OptInStatus": "opt-in-not-required",
        }
        for name in names
    ]
    wanted = {each.name: each.values for each in documents.filters(given)}
    return {
        "Regions": [
            each
            for each in regions
            if each["RegionName"] in wanted.get("region-name", (each["RegionName"],))
        ]
    }


@OPERATIONS.add("ec2", "DescribeAvailabilityZones")
def describe_availability_zones(served: Served) -> Document:
    """Return the zones of the caller's Region: six, named with the letters a to f."""
    region, zones = served.caller.region, served.caller.zones
    given = served.parameters
    names = given.get("ZoneNames") or zones
    for name in names:
        if name not in zones:
            raise FaultError("InvalidParameterValue", f"Invalid availability zone: [{name}]")
    ids = given.get("ZoneIds") or [documents.zone_id(zone) for zone in zones]
    passes = ZONE_FILTERS.predicate(documents.filters(given))
    return {
        "AvailabilityZones": [
            {
                "ZoneName": name,
                "ZoneId": documents.zone_id(name),
                "ZoneType": "availability-zone",
                "State": "available",
                "OptInStatus": "opt-in-not-required",
                "RegionName": region,
                "GroupName": region,
                "NetworkBorderGroup": region,
                "Messages": [],
            }
            for name in names
            if documents.zone_id(name) in ids and passes(name)
        ]
    }


def _ensure_region(served: Served, name: str) -> Caller:
    try:
        return parse_caller(served.caller.account, name)
    except InvalidInputError:
        raise FaultError("InvalidParameterValue", f"Invalid region: {name[:40]}") from None
