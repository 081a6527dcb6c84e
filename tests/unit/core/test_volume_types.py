"""What each volume type allows: the rows of the table, at their edges."""

import pytest

from ebsim.core.volume_types import VOLUME_TYPES, validate_modification, validate_new
from ebsim.errors import EbsimError, ErrorCode
from ebsim.requests import VolumeModificationRequest, VolumeRequest
from ebsim.results import VolumeShape

VALUE = ErrorCode.INVALID_PARAMETER_VALUE
COMBINATION = ErrorCode.INVALID_PARAMETER_COMBINATION
MISSING = ErrorCode.MISSING_PARAMETER


def new(
    name: str, size: int, iops: int | None = None, throughput: int | None = None
) -> VolumeShape:
    return validate_new(
        VolumeRequest(volume_type=name, size_gib=size, iops=iops, throughput=throughput)
    )


def refused(call: object, *arguments: object) -> ErrorCode:
    with pytest.raises(EbsimError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


SIZES = [
    ("gp2", 1, 16384),
    ("gp3", 1, 65536),
    ("io1", 4, 16384),
    ("io2", 4, 65536),
    ("st1", 125, 16384),
    ("sc1", 125, 16384),
    ("standard", 1, 1024),
]


@pytest.mark.parametrize(("name", "smallest", "largest"), SIZES)
def test_sizes_of_a_type_are_inclusive(name: str, smallest: int, largest: int) -> None:
    iops = 100 if name in ("io1", "io2") else None

    assert new(name, smallest, iops).size_gib == smallest
    assert new(name, largest, iops).size_gib == largest
    assert refused(new, name, smallest - 1, iops) is VALUE
    assert refused(new, name, largest + 1, iops) is VALUE


def test_every_type_has_its_row() -> None:
    assert [name for name, _, _ in SIZES] == list(VOLUME_TYPES)


@pytest.mark.parametrize(
    ("size", "iops"), [(1, 100), (33, 100), (34, 102), (1000, 3000), (5333, 15999), (5334, 16000)]
)
def test_gp2_has_3_iops_for_each_gib_within_100_and_16000(size: int, iops: int) -> None:
    assert new("gp2", size) == VolumeShape(
        size_gib=size, volume_type="gp2", iops=iops, throughput=0
    )


def test_gp3_includes_3000_iops_and_125_mib() -> None:
    assert new("gp3", 1) == VolumeShape(size_gib=1, volume_type="gp3", iops=3000, throughput=125)


@pytest.mark.parametrize("name", ["st1", "sc1", "standard"])
def test_types_without_iops_tell_none(name: str) -> None:
    shape = new(name, 125)

    assert (shape.iops, shape.throughput) == (0, 0)


ALLOWED_IOPS = [
    ("gp3", 1, 3000),  # included, whatever the ratio
    ("gp3", 8, 4000),
    ("gp3", 160, 80_000),
    ("io1", 4, 100),
    ("io1", 4, 200),
    ("io1", 1280, 64_000),
    ("io2", 4, 4000),
    ("io2", 256, 256_000),
]


@pytest.mark.parametrize(("name", "size", "iops"), ALLOWED_IOPS)
def test_iops_within_range_and_ratio_are_had(name: str, size: int, iops: int) -> None:
    assert new(name, size, iops).iops == iops


REFUSED_IOPS = [
    ("gp3", 100, 2999),
    ("gp3", 1, 3001),
    ("gp3", 8, 4001),
    ("gp3", 65536, 80_001),
    ("io1", 4, 99),
    ("io1", 4, 201),
    ("io1", 16384, 64_001),
    ("io2", 4, 4001),
    ("io2", 65536, 256_001),
]


@pytest.mark.parametrize(("name", "size", "iops"), REFUSED_IOPS)
def test_iops_out_of_range_or_ratio_are_refused(name: str, size: int, iops: int) -> None:
    assert refused(new, name, size, iops) is VALUE


@pytest.mark.parametrize(("size", "iops", "throughput"), [(16, 8000, 2000), (1, 3000, 750)])
def test_gp3_has_a_quarter_mib_for_each_iops(size: int, iops: int, throughput: int) -> None:
    assert new("gp3", size, iops, throughput).throughput == throughput


@pytest.mark.parametrize(
    ("iops", "throughput"), [(None, 124), (8000, 2001), (7999, 2000), (None, 751)]
)
def test_gp3_throughput_out_of_range_or_ratio_is_refused(iops: int | None, throughput: int) -> None:
    assert refused(new, "gp3", 1000, iops, throughput) is VALUE


@pytest.mark.parametrize("name", ["gp2", "st1", "sc1", "standard"])
def test_iops_of_a_type_without_are_refused(name: str) -> None:
    assert refused(new, name, 125, 3000) is COMBINATION


@pytest.mark.parametrize("name", ["gp2", "io1", "io2", "st1", "sc1", "standard"])
def test_throughput_of_another_type_than_gp3_is_refused(name: str) -> None:
    iops = 100 if name in ("io1", "io2") else None

    assert refused(new, name, 125, iops, 125) is COMBINATION


@pytest.mark.parametrize("name", ["io1", "io2"])
def test_provisioned_types_need_iops(name: str) -> None:
    assert refused(new, name, 100) is MISSING


@pytest.mark.parametrize("name", ["", "gp4", "GP2", "magnetic"])
def test_unknown_type_is_refused(name: str) -> None:
    assert refused(new, name, 8) is ErrorCode.UNKNOWN_VOLUME_TYPE


# made from a snapshot


def test_neither_size_nor_snapshot_is_refused() -> None:
    with pytest.raises(EbsimError, match="must contain the parameter size/snapshot") as caught:
        validate_new(VolumeRequest())
    assert caught.value.code is MISSING


def test_size_is_that_of_the_snapshot() -> None:
    assert validate_new(VolumeRequest(), "snap-1", 30).size_gib == 30
    assert validate_new(VolumeRequest(size_gib=31), "snap-1", 30).size_gib == 31


def test_size_below_the_snapshot_is_refused() -> None:
    with pytest.raises(EbsimError, match=r"15GB is smaller than snapshot 'snap-1'.*>= 30GB"):
        validate_new(VolumeRequest(size_gib=15), "snap-1", 30)


def test_snapshot_smaller_than_the_type_allows_needs_a_size() -> None:
    assert refused(validate_new, VolumeRequest(volume_type="st1"), "snap-1", 1) is VALUE
    assert validate_new(VolumeRequest(volume_type="st1", size_gib=125), "snap-1", 1).size_gib == 125


@pytest.mark.parametrize(("rate", "fits"), [(99, False), (100, True), (300, True), (301, False)])
def test_initialization_rate_is_from_100_to_300(rate: int, fits: bool) -> None:
    request = VolumeRequest(initialization_rate=rate)

    if fits:
        assert validate_new(request, "snap-1", 1).size_gib == 1
    else:
        assert refused(validate_new, request, "snap-1", 1) is VALUE


def test_initialization_rate_without_a_snapshot_is_refused() -> None:
    request = VolumeRequest(size_gib=1, initialization_rate=100)

    assert refused(validate_new, request) is COMBINATION


# modifications


def modified(present: VolumeShape, **wanted: object) -> VolumeShape:
    return validate_modification(present, VolumeModificationRequest(**wanted))  # type: ignore[arg-type]


def test_volume_grows_and_does_not_shrink() -> None:
    shape = new("gp3", 10)

    assert modified(shape, size_gib=11).size_gib == 11
    assert modified(shape, size_gib=10) == shape
    with pytest.raises(EbsimError, match="cannot be smaller than existing size"):
        modified(shape, size_gib=9)


def test_nothing_to_modify_is_refused() -> None:
    with pytest.raises(EbsimError) as caught:
        modified(new("gp2", 1))
    assert caught.value.code is MISSING


def test_growing_gp2_has_more_iops() -> None:
    assert modified(new("gp2", 100), size_gib=200).iops == 600


def test_what_is_not_named_stays_with_the_type() -> None:
    shape = new("gp3", 100, 6000, 500)

    assert modified(shape, size_gib=200) == VolumeShape(
        size_gib=200, volume_type="gp3", iops=6000, throughput=500
    )
    assert modified(shape, volume_type="gp3", iops=7000).throughput == 500
    assert modified(new("io1", 100, 5000), size_gib=200).iops == 5000


@pytest.mark.parametrize(
    ("target", "iops", "throughput"),
    [("gp3", 3000, 125), ("io1", 3000, 0), ("io2", 3000, 0), ("gp2", 600, 0), ("st1", 0, 0)],
)
def test_another_type_brings_its_defaults(target: str, iops: int, throughput: int) -> None:
    source = new("standard", 200) if target != "standard" else new("gp2", 200)

    shape = modified(source, volume_type=target)

    assert (shape.volume_type, shape.iops, shape.throughput) == (target, iops, throughput)


def test_limits_of_the_target_type_hold() -> None:
    with pytest.raises(EbsimError, match="maximum is 1024GiB"):
        modified(new("gp2", 2000), volume_type="standard")
    with pytest.raises(EbsimError, match="minimum is 125GiB"):
        modified(new("gp2", 8), volume_type="sc1")
    with pytest.raises(EbsimError, match="ratio"):
        modified(new("gp2", 8), volume_type="io1")  # 3000 by default, at most 400
    with pytest.raises(EbsimError, match="not supported for gp2"):
        modified(new("gp3", 8), volume_type="gp2", iops=3000)


FIGURES = [8.5, 8.0, "8", True, b"8"]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("name", ["size_gib", "iops", "throughput"])
def test_figure_that_is_no_whole_number_is_refused(name: str, figure: object) -> None:
    wanted = {"size_gib": 8, "iops": 3000, "throughput": 125, name: figure}
    present = VolumeShape(size_gib=4, volume_type="gp3", iops=3000, throughput=125)

    for check in (
        lambda: validate_new(VolumeRequest(volume_type="gp3", **wanted)),  # type: ignore[arg-type]
        lambda: validate_modification(present, VolumeModificationRequest(**wanted)),  # type: ignore[arg-type]
    ):
        assert refused(check) is VALUE


def test_initialization_rate_that_is_no_whole_number_is_refused() -> None:
    request = VolumeRequest(initialization_rate=100.5)  # type: ignore[arg-type]

    assert refused(lambda: validate_new(request, "snap-1", 8)) is VALUE
