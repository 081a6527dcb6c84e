"""On whose behalf a store is used: an account in a Region.

Every volume, snapshot and image belongs to an account (12 digits) and lies in a Region, as in EC2
(semantics section 11.1). A store holds those of many accounts and Regions; whoever uses it acts as
one account in one Region at a time.
"""

import re
from dataclasses import dataclass

from ebsim.ids import parse_account, parse_region

OWNER_DEFAULT = "123456789012"
REGION_DEFAULT = "us-east-1"

_SIDE = re.compile("north|south|east|west|central|^[a-z]")
"""What a zone's id has the first letters of: the sides of the world that its Region names."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An account in a Region.

    Attributes:
        account: 12 digits.
        region: A Region's name, for example `eu-central-1`. Any name of that form is one; EC2's
            list of Regions is not kept here.
    """

    account: str = OWNER_DEFAULT
    region: str = REGION_DEFAULT

    @property
    def zones(self) -> tuple[str, ...]:
        """The Availability Zones of the Region: its name and a letter from a to f."""
        return tuple(f"{self.region}{letter}" for letter in "abcdef")


def parse_caller(account: str, region: str) -> Caller:
    """Return the caller of an account id and a Region's name.

    Raises:
        InvalidInputError: InvalidUserID.Malformed or InvalidParameterValue.
    """
    return Caller(parse_account(account), parse_region(region))


def zone_id(zone: str) -> str:
    """Return the id of an Availability Zone, as EC2 writes it: us-east-1a is `use1-az1`.

    Which zone has which id differs between accounts in EC2; here it is the same for each.
    """
    area, *words, number = zone[:-1].split("-")
    sides = "".join(found[0] for word in words for found in _SIDE.findall(word))
    return f"{area}{sides}{number}-az{ord(zone[-1]) - ord('a') + 1}"
