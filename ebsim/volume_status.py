"""The status of volumes, as EC2's DescribeVolumeStatus tells it."""

from dataclasses import dataclass

from ebsim.ids import VolumeId


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeInitialization:
    """How far a volume that was made from a snapshot is loaded, or a copy of a volume copied.

    Attributes:
        kind: default, provisioned-rate, or volume-copy.
        progress_percent: 0 to 100.
        remaining_s: Seconds that the rest takes at the rate that was asked for; None: without one.
    """

    kind: str
    progress_percent: int
    remaining_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeStatus:
    """The status of a volume. ebsim disables the reads and writes of none: it is `ok`.

    Attributes:
        volume_id: The volume.
        zone: Its Availability Zone.
        status: ok.
        details: io-enabled: passed. io-performance: normal where it is provisioned, else
            not-applicable. initialization-state: completed, initializing or, for a volume that was
            made empty, not-applicable.
        initialization: How far it is loaded; None: it was made empty.
        instance_id: The instance that it is attached to; empty: none.
    """

    volume_id: VolumeId
    zone: str
    status: str
    details: tuple[tuple[str, str], ...]
    initialization: VolumeInitialization | None
    instance_id: str = ""

    @property
    def io_performance(self) -> str:
        """The text of io-performance in the details."""
        return dict(self.details)["io-performance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeStatusPage:
    """A page of them, in the order in which the volumes were made; a token, or None."""

    statuses: tuple[VolumeStatus, ...]
    next_token: str | None
