"""The store's own files are neither what a snapshot is taken of nor what one is restored to."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import ErrorCode, InvalidInputError
from ebsim.requests import VolumeRequest
from ebsim.testing.contents import NOISE
from ebsim.testing.sources import disk_of


@pytest.fixture
def live_data(store: Store) -> Path:
    """The file with the live data of a volume that was written to."""
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE, 0)
    return store.path / "volumes" / f"{volume}.data"


@pytest.fixture
def snapshot(store: Store) -> str:
    return store.create_snapshot(disk_of(NOISE)).snapshot_id


def ways(store: Store, live_data: Path, fast_path: Path) -> Iterator[Path]:
    """Yield names of files of the store, inside and outside of its folder."""
    yield live_data
    yield store.path / "segments" / ".." / "volumes" / live_data.name
    yield store.path / "catalog" / "data.mdb"
    link, folder, hard = (fast_path / name for name in ("link", "folder", "hard"))
    link.symlink_to(live_data)
    yield link
    folder.symlink_to(live_data.parent)
    yield folder / live_data.name
    os.link(live_data, hard)
    yield hard


def assert_refused(caught: pytest.ExceptionInfo[InvalidInputError], code: ErrorCode) -> None:
    assert caught.value.code is code
    assert "part of the store" in str(caught.value)


def test_snapshot_of_a_file_of_the_store_is_refused(
    store: Store, live_data: Path, fast_path: Path
) -> None:
    for path in ways(store, live_data, fast_path):
        with pytest.raises(InvalidInputError) as caught:
            store.create_snapshot(path)
        assert_refused(caught, ErrorCode.SOURCE_UNSUPPORTED)
    assert store.list_snapshots() == []


def test_import_of_a_file_of_the_store_is_refused(
    store: Store, live_data: Path, fast_path: Path
) -> None:
    for path in ways(store, live_data, fast_path):
        with pytest.raises(InvalidInputError) as caught:
            store.volumes.import_image(path)
        assert_refused(caught, ErrorCode.SOURCE_UNSUPPORTED)
    assert len(store.volumes.list()) == 1


@pytest.mark.parametrize("how", ["in_place", "force"])
def test_restore_to_a_file_of_the_store_is_refused(
    store: Store, live_data: Path, snapshot: str, fast_path: Path, how: str
) -> None:
    before = live_data.read_bytes()
    for path in ways(store, live_data, fast_path):
        with pytest.raises(InvalidInputError) as caught:
            store.restore_snapshot(snapshot, path, in_place=how == "in_place", force=how == "force")
        assert_refused(caught, ErrorCode.TARGET_FAILED)
    assert live_data.read_bytes() == before


@pytest.mark.parametrize("folder", ["", "volumes", "missing"])
def test_restore_to_a_new_file_within_the_store_is_refused(
    store: Store, live_data: Path, snapshot: str, folder: str
) -> None:
    assert live_data.exists()
    before = sorted(store.path.rglob("*"))
    with pytest.raises(InvalidInputError) as caught:
        store.restore_snapshot(snapshot, store.path / folder / "x.img")
    assert_refused(caught, ErrorCode.TARGET_FAILED)
    assert sorted(store.path.rglob("*")) == before


@pytest.mark.root
@pytest.mark.parametrize("mounted", ["", "volumes"])
def test_another_mount_leads_into_the_store_too(
    store: Store, live_data: Path, snapshot: str, fast_path: Path, mounted: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mount_point = fast_path / "elsewhere"
    mount_point.mkdir()
    source = store.path / mounted
    done = subprocess.run(
        ["mount", "--bind", source, mount_point], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        with pytest.raises(InvalidInputError) as caught:
            store.restore_snapshot(snapshot, mount_point / "x.img")
        assert_refused(caught, ErrorCode.TARGET_FAILED)
        with pytest.raises(InvalidInputError) as caught:
            store.create_snapshot(mount_point / live_data.relative_to(source))
        assert_refused(caught, ErrorCode.SOURCE_UNSUPPORTED)
    finally:
        subprocess.run(["umount", mount_point], check=True)


def test_files_beside_the_store_are_taken(store: Store, snapshot: str) -> None:
    """A folder whose name begins like the store's is not in it."""
    target = store.path.with_name(f"{store.path.name}-images.img")
    store.restore_snapshot(snapshot, target)
    assert store.create_snapshot(target).size_bytes == len(NOISE)
