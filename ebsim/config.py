"""Options, already parsed. Nothing here reads the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ebsim.errors import InvalidInputError
from ebsim.ids import SnapshotId, VolumeId

ZSTD_LEVEL_MAX = 19
"""Higher levels need windows that decompressors refuse by default and gain nothing at 512 KiB."""


@dataclass(frozen=True, slots=True)
class Compression:
    """How new blocks are stored.

    Attributes:
        zstd_level: 1 to 19, or None to store blocks plain.
    """

    zstd_level: int | None = 1

    @classmethod
    def parse(cls, text: str) -> "Compression":
        """Return the compression named `zstd`, `zstd:LEVEL` or `none`.

        Raises:
            InvalidInputError: Any other text, or a level outside 1 to 19.
        """
        name, colon, level = text.partition(":")
        if text == "none":
            return cls(None)
        if name == "zstd" and not colon:
            return cls(1)
        if name == "zstd" and level.isascii() and level.isdigit():
            number = int(level)
            if 1 <= number <= ZSTD_LEVEL_MAX:
                return cls(number)
        raise InvalidInputError(
            f"Unknown compression '{text}': use none, zstd or zstd:LEVEL with a level from 1 to 19."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """What a snapshot of a source may be told.

    Attributes:
        description: Free text, at most 255 characters.
        tags: At most 50; keys 1 to 128 characters, not beginning with `aws:`; values to 256.
        volume_id: The volume this source continues, where its path has changed.
        new_volume: Start another volume although the source's path is known.
        parent: Start a new volume at this snapshot, as EBS does with a volume created from one.
        compression: How new blocks are stored.
        freeze: A mount point to hold with FIFREEZE while the source is read.
    """

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    volume_id: VolumeId | None = None
    new_volume: bool = False
    parent: SnapshotId | None = None
    compression: Compression = Compression()
    freeze: Path | None = None
