"""DescribeRegions and DescribeAvailabilityZones."""

from ebsim.caller import REGION_DEFAULT, Caller, parse_caller, zone_id
from ebsim.core.filters import Filtering
from ebsim.errors import InvalidInputError
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError

KNOWN = (REGION_DEFAULT, "us-east-2", "us-west-1", "us-west-2", "eu-central-1", "eu-west-1")
"""Regions that are told unasked. Any name of a Region's form is one, and answers when it is named:
ebsim keeps no list of them."""


_OPT_IN_STATUS = "opt-in-not-required"

REGION_FILTERS = Filtering[str](
    {
        "endpoint": lambda region: [_endpoint(region)],
        "opt-in-status": lambda _region: [_OPT_IN_STATUS],
        "region-name": lambda region: [region],
    }
)
"""What DescribeRegions can filter by."""

ZONE_FILTERS = Filtering[
    str
](
    {
        "group-long-name": lambda zone: [_group_long_name(zone)],
        "group-name": lambda zone: [zone[:-1]],
        "message": lambda _zone: [],
        "opt-in-status": lambda _zone: [_OPT_IN_STATUS],
        "parent-zone-id": lambda _zone: [],  # that of a Local Zone
        "parent-zone-name": lambda _zone: [],
        "region-name": lambda zone: [zone[:-1]],
        "state": lambda _zone: ["available"],
        "zone-id": lambda zone: [zone_id(zone)],
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
    passes = REGION_FILTERS.predicate(documents.filters(given))
    return {
        "Regions": [
            {"RegionName": name, "Endpoint": _endpoint(name), "OptInStatus": _OPT_IN_STATUS}
            for name in names
            if passes(name)
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
    known_ids = [zone_id(zone) for zone in zones]
    ids = given.get("ZoneIds") or known_ids
    for each in ids:
        if each not in known_ids:
            raise FaultError("InvalidParameterValue", f"Invalid availability zone-id: [{each}]")
    passes = ZONE_FILTERS.predicate(documents.filters(given))
    return {
        "AvailabilityZones": [
            {
                "ZoneName": name,
                "ZoneId": zone_id(name),
                "ZoneType": "availability-zone",
                "State": "available",
                "OptInStatus": _OPT_IN_STATUS,
                "RegionName": region,
                "GroupName": region,
                "GroupLongName": _group_long_name(name),
                "NetworkBorderGroup": region,
                "Messages": [],
            }
            for name in names
            if zone_id(name) in ids and passes(name)
        ]
    }


def _endpoint(region: str) -> str:
    return f"ec2.{region}.amazonaws.com"


def _group_long_name(zone: str) -> str:
    """Return the name of a zone's group, which EC2 takes from its Region's name for people."""
    return f"{zone[:-1]} 1"


def _ensure_region(served: Served, name: str) -> Caller:
    try:
        return parse_caller(served.caller.account, name)
    except InvalidInputError:
        raise FaultError("InvalidParameterValue", f"Invalid region: {name[:40]}") from None
