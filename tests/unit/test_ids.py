"""Ids as EC2 has them: 17 hex digits, or 8 as until 2016; what is well-formed and unknown is so."""

import os
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import ErrorCode
from ebsim.ids import parse_image_id, parse_snapshot_id, parse_volume_id
from ebsim.requests import SnapshotQuery
from ebsim.testing.refused import refused

PARSERS = {"snap-": parse_snapshot_id, "vol-": parse_volume_id, "ami-": parse_image_id}
MALFORMED = {
    "snap-": ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED,
    "vol-": ErrorCode.INVALID_VOLUME_ID_MALFORMED,
    "ami-": ErrorCode.INVALID_IMAGE_ID_MALFORMED,
}


@pytest.mark.parametrize("prefix", PARSERS)
@pytest.mark.parametrize("digits", ["0123456789abcdef0", "1234abcd"])
def test_ids_of_17_and_of_8_digits_are_well_formed(prefix: str, digits: str) -> None:
    assert PARSERS[prefix](prefix + digits) == prefix + digits


@pytest.mark.parametrize("prefix", PARSERS)
@pytest.mark.parametrize(
    "digits", ["", "1234abc", "1234abcde", "0" * 16, "0" * 18, "1234ABCD", "1234abcg", "1234abcd\n"]
)
def test_other_ids_are_malformed(prefix: str, digits: str) -> None:
    assert refused(lambda: PARSERS[prefix](prefix + digits)) is MALFORMED[prefix]


def test_ids_of_8_digits_name_nothing(store: Store) -> None:
    snapshot, volume = "snap-1234abcd", "vol-1234abcd"
    missing = ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    assert refused(lambda: store.get_snapshot(snapshot)) is missing
    assert refused(lambda: store.delete_snapshots([snapshot])) is missing
    query = SnapshotQuery(snapshot_ids=[snapshot])
    assert refused(lambda: store.describe_snapshots(query)) is missing
    assert refused(lambda: store.volumes.get(volume)) is ErrorCode.INVALID_VOLUME_NOT_FOUND
    assert refused(lambda: store.create_snapshot(volume)) is ErrorCode.INVALID_VOLUME_NOT_FOUND
    assert refused(lambda: store.images.get("ami-1234abcd")) is ErrorCode.INVALID_IMAGE_NOT_FOUND


def test_source_that_looks_like_a_volume_is_no_path(
    store: Store, fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless there is such a file."""
    monkeypatch.chdir(fast_path)
    malformed = ErrorCode.INVALID_VOLUME_ID_MALFORMED
    assert refused(lambda: store.create_snapshot("vol-zzz")) is malformed
    assert refused(lambda: store.create_snapshot("vol-1.img")) is ErrorCode.SOURCE_NOT_FOUND

    (fast_path / "vol-zzz").write_bytes(os.urandom(4096))
    assert store.create_snapshot("vol-zzz").size_bytes == 4096
