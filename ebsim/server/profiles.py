"""How strict a server is: `ebsim serve --profile`."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from ebsim.config import Quotas
from ebsim.server.operations import Hook
from ebsim.server.rates import Throttling

SPACING_S = 15
"""Seconds between two snapshots of a volume, while one is unfinished (semantics section 1.3)."""

STORAGE_GIB = 50 * 1024
"""GiB of all volumes of a type, as most Regions have it (semantics section 3.2)."""


class Profile(StrEnum):
    """Which of AWS's limits hold.

    FAST has all that refuse what is wrong, and none that has a client wait. STRICT also has rates
    of requests, the spacing of snapshots, and the quota of storage.
    """

    FAST = "fast"
    STRICT = "strict"


def hooks_of(profile: Profile) -> Sequence[Hook]:
    """Return what looks at each call under a profile."""
    return [Throttling()] if profile is Profile.STRICT else []


def strict_quotas(quotas: Quotas) -> Quotas:
    """Return a store's quotas, or EBS's where those are tighter and published."""
    storage = quotas.storage_gib_per_type
    return replace(
        quotas,
        snapshot_spacing_s=max(quotas.snapshot_spacing_s, SPACING_S),
        storage_gib_per_type=STORAGE_GIB if storage is None else min(storage, STORAGE_GIB),
    )
