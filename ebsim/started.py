"""Snapshots that are written block by block: what is asked for, as the EBS direct APIs have it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ebsim.encryption import EncryptionRequest

SIZE_GIB_MAX = 65_536
TIMEOUT_MINUTES = 60
TIMEOUT_MINUTES_MIN = 10
TIMEOUT_MINUTES_MAX = 4320
TAG_KEY_LENGTH_MAX = 127
TAG_VALUE_LENGTH_MAX = 255
"""Characters of a tag, as the model of the EBS direct APIs has them: one less than EC2's."""

TOKEN_LENGTH_MAX = 255
"""EBS's model has 255, its guide 64 (semantics section 11.9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """A snapshot to be started (StartSnapshot, semantics section 11.9).

    Attributes:
        volume_size_gib: Its size, 1 to 65,536 GiB; not below its parent's.
        parent_id: What it is incremental on; None: it is full.
        description: At most 255 characters.
        tags: Key to value.
        client_token: At most 255 characters, which make the request idempotent; empty: none.
        encryption: The flag and the key that are asked for (semantics section 11.9).
        timeout_minutes: 10 to 4,320: after so long without a block it ends as `error`.
    """

    volume_size_gib: int
    parent_id: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    client_token: str = ""
    encryption: EncryptionRequest = field(default_factory=EncryptionRequest)
    timeout_minutes: int = TIMEOUT_MINUTES
