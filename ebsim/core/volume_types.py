"""The volume types of EBS: which sizes, IOPS and throughput each allows (semantics section 3.1).

Everything is decided from one table. Pure: what a volume is and what is asked for go in, what it
will be comes out, or a refusal.
"""

from dataclasses import dataclass
from enum import Enum

from ebsim import refusals
from ebsim.core.whole_numbers import ensure_whole
from ebsim.requests import VolumeModificationRequest, VolumeRequest
from ebsim.results import VolumeShape

INITIALIZATION_RATE_MIN = 100
INITIALIZATION_RATE_MAX = 300
"""MiB a second that can be asked for loading a volume from its snapshot."""


class Choice(Enum):
    """Whether a caller may, must or must not name a figure."""

    FORBIDDEN = "forbidden"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeType:
    """What one type allows.

    Attributes:
        size_min: GiB.
        size_max: GiB.
        iops_choice: Whether IOPS are asked for.
        iops_min: The least IOPS; where they are not asked for, what the smallest volume has.
        iops_max: The most, for the largest volumes; 0 where EC2 tells none.
        iops_per_gib: The most, or what is had, for each GiB of the size.
        iops_default: What a volume that is turned into this type has if none are asked for.
        throughput_min: MiB a second that are included; 0: throughput cannot be asked for.
        throughput_max: MiB a second.
        throughput_per_iops: The most MiB a second for each of the IOPS.
        has_single_limit: Whether one volume can have only one pending snapshot.
        can_boot: Whether it can be a root volume.
    """

    size_min: int
    size_max: int
    iops_choice: Choice = Choice.FORBIDDEN
    iops_min: int = 0
    iops_max: int = 0
    iops_per_gib: int = 0
    iops_default: int = 0
    throughput_min: int = 0
    throughput_max: int = 0
    throughput_per_iops: float = 0
    has_single_limit: bool = False
    can_boot: bool = True


VOLUME_TYPES = {
    "gp2": VolumeType(size_min=1, size_max=16384, iops_min=100, iops_max=16_000, iops_per_gib=3),
    "gp3": VolumeType(
        size_min=1,
        size_max=65536,
        iops_choice=Choice.OPTIONAL,
        iops_min=3000,
        iops_max=80_000,
        iops_per_gib=500,
        iops_default=3000,
        throughput_min=125,
        throughput_max=2000,
        throughput_per_iops=0.25,
    ),
    "io1": VolumeType(
        size_min=4,
        size_max=16384,
        iops_choice=Choice.REQUIRED,
        iops_min=100,
        iops_max=64_000,
        iops_per_gib=50,
        iops_default=3000,
    ),
    "io2": VolumeType(
        size_min=4,
        size_max=65536,
        iops_choice=Choice.REQUIRED,
        iops_min=100,
        iops_max=256_000,
        iops_per_gib=1000,
        iops_default=3000,
    ),
    "st1": VolumeType(size_min=125, size_max=16384, has_single_limit=True, can_boot=False),
    "sc1": VolumeType(size_min=125, size_max=16384, has_single_limit=True, can_boot=False),
    "standard": VolumeType(size_min=1, size_max=1024),
}
"""The table of UG ebs-volume-types, with the gp3 limits that hold since 26 September 2025."""


def find_type(name: str) -> VolumeType:
    """Return what a type allows.

    Raises:
        InvalidInputError: There is no such type.
    """
    found = VOLUME_TYPES.get(name)
    if found is None:
        raise refusals.unknown_volume_type(name)
    return found


def validate_new(
    request: VolumeRequest, snapshot_id: str = "", snapshot_gib: int | None = None
) -> VolumeShape:
    """Return what a requested volume will be.

    Args:
        request: What is asked for.
        snapshot_id: The snapshot it is made from, for the message.
        snapshot_gib: The size of that snapshot; None: there is none.

    Raises:
        InvalidInputError: EC2 would refuse it.
    """
    ensure_figures(request)
    if request.size_gib is None and snapshot_gib is None:
        raise refusals.missing_parameter("size/snapshot")
    _check_rate(request, snapshot_gib)
    kind = find_type(request.volume_type)
    size = snapshot_gib if request.size_gib is None else request.size_gib
    assert size is not None, "one of the two is given"
    _check_size(size, kind)
    if snapshot_gib is not None and size < snapshot_gib:
        raise refusals.size_below_snapshot(size, snapshot_id, snapshot_gib)
    if kind.iops_choice is Choice.REQUIRED and request.iops is None:
        raise refusals.parameter_required("iops", request.volume_type)
    return _shape(request.volume_type, size, request.iops, request.throughput)


def validate_modification(present: VolumeShape, request: VolumeModificationRequest) -> VolumeShape:
    """Return what a volume will be after a modification.

    What is not named stays, as long as the type does; a new type brings its own default.

    Raises:
        InvalidInputError: EC2 would refuse it; a volume cannot shrink.
    """
    ensure_figures(request)
    wanted = (request.size_gib, request.volume_type, request.iops, request.throughput)
    if all(value is None for value in wanted):
        raise refusals.missing_parameter("size, volumeType, iops or throughput")
    name = present.volume_type if request.volume_type is None else request.volume_type
    kind = find_type(name)
    size = present.size_gib if request.size_gib is None else request.size_gib
    if size < present.size_gib:
        raise refusals.size_below_volume(size, present.size_gib)
    _check_size(size, kind)
    iops, throughput = request.iops, request.throughput
    stays = name == present.volume_type
    if iops is None and kind.iops_choice is not Choice.FORBIDDEN:
        iops = present.iops if stays else kind.iops_default
    if throughput is None and kind.throughput_max:
        throughput = present.throughput if stays else kind.throughput_min
    return _shape(name, size, iops, throughput)


def ensure_figures(request: VolumeRequest | VolumeModificationRequest) -> None:
    """Check that what a request has of figures are whole numbers.

    Raises:
        InvalidInputError: One is not.
    """
    ensure_whole(request.size_gib, "size")
    ensure_whole(request.iops, "iops")
    ensure_whole(request.throughput, "throughput")
    if isinstance(request, VolumeRequest):
        ensure_whole(request.initialization_rate, "volumeInitializationRate")


def _check_rate(request: VolumeRequest, snapshot_gib: int | None) -> None:
    rate = request.initialization_rate
    if rate is None:
        return
    if snapshot_gib is None:
        raise refusals.invalid_combination(
            "The parameter volumeInitializationRate requires the parameter snapshotId."
        )
    if not INITIALIZATION_RATE_MIN <= rate <= INITIALIZATION_RATE_MAX:
        raise refusals.invalid_value(
            rate,
            "volumeInitializationRate",
            f"Expected a value from {INITIALIZATION_RATE_MIN} to {INITIALIZATION_RATE_MAX}",
        )


def _check_size(size_gib: int, kind: VolumeType) -> None:
    if not kind.size_min <= size_gib <= kind.size_max:
        raise refusals.size_out_of_range(size_gib, kind.size_min, kind.size_max)


def _shape(name: str, size_gib: int, iops: int | None, throughput: int | None) -> VolumeShape:
    kind = VOLUME_TYPES[name]
    if throughput is not None and not kind.throughput_max:
        raise refusals.parameter_not_supported("throughput", name)
    if iops is not None and kind.iops_choice is Choice.FORBIDDEN:
        raise refusals.parameter_not_supported("iops", name)
    if iops is None:
        iops = _included_iops(kind, size_gib)
    else:
        _check_iops(kind, size_gib, iops)
    if throughput is None:
        throughput = kind.throughput_min
    else:
        _check_throughput(kind, iops, throughput)
    return VolumeShape(size_gib=size_gib, volume_type=name, iops=iops, throughput=throughput)


def _included_iops(kind: VolumeType, size_gib: int) -> int:
    if kind.iops_choice is Choice.OPTIONAL:
        return kind.iops_min
    return max(kind.iops_min, min(kind.iops_max, kind.iops_per_gib * size_gib))


def _check_iops(kind: VolumeType, size_gib: int, iops: int) -> None:
    if not kind.iops_min <= iops <= kind.iops_max:
        raise refusals.performance_out_of_range("iops", iops, kind.iops_min, kind.iops_max)
    included = kind.iops_min if kind.iops_choice is Choice.OPTIONAL else 0
    if iops > max(included, kind.iops_per_gib * size_gib):
        raise refusals.iops_ratio(iops, size_gib, kind.iops_per_gib)


def _check_throughput(kind: VolumeType, iops: int, throughput: int) -> None:
    if not kind.throughput_min <= throughput <= kind.throughput_max:
        raise refusals.performance_out_of_range(
            "throughput", throughput, kind.throughput_min, kind.throughput_max
        )
    if throughput > kind.throughput_per_iops * iops:
        raise refusals.throughput_ratio(throughput, iops, kind.throughput_per_iops)
