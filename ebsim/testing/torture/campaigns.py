"""The campaigns there are, in the order in which they are run."""

from ebsim.testing.torture.campaign import Campaign

ALL: tuple[Campaign, ...] = ()
