"""The demo's parts that need no engine: image, pictures, folders, doubts."""

import os
import shutil
from pathlib import Path

import pytest

from ebsim.demo.checks import require_equal
from ebsim.demo.drawing import LEGEND, draw_state
from ebsim.demo.image import (
    FileTree,
    build_image,
    change_image,
    check_file_system,
    find_tool,
    run_tool,
)
from ebsim.demo.report import ExampleState, Holding, Move, Reference
from ebsim.demo.workspace import workspace
from ebsim.errors import (
    EbsimError,
    ErrorCode,
    InternalError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
)
from ebsim.ids import SnapshotId
from ebsim.units import BLOCKS_PER_GIB, MIB

needs_e2fsprogs = pytest.mark.skipif(
    shutil.which("mke2fs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None,
    reason="needs e2fsprogs",
)


def holding(name: str, charged_gib: int, refers_to: dict[str, int], cells: str) -> Holding:
    references = tuple(
        Reference(name=other, blocks=gib * BLOCKS_PER_GIB) for other, gib in refers_to.items()
    )
    full_gib = charged_gib + sum(refers_to.values())
    return Holding(
        name=name,
        snapshot_id=SnapshotId("snap-0123456789abcdef0"),
        charged_blocks=charged_gib * BLOCKS_PER_GIB,
        refers_to=references,
        full_blocks=full_gib * BLOCKS_PER_GIB,
        cells=cells,
    )


AFTER_DELETION = ExampleState(
    title="Snapshot A is deleted",
    holdings=(
        holding("B", 10, {}, "BBBBBBBBBB....."),
        holding("C", 2, {"B": 10}, "BBBBBBBBBBCC..."),
    ),
    charged_blocks=12 * BLOCKS_PER_GIB,
    stored_size_bytes=3 * MIB,
    moves=(Move(from_name="A", to_name="B", blocks=6 * BLOCKS_PER_GIB),),
    freed_blocks=4 * BLOCKS_PER_GIB,
)

PICTURE = """\
State 4: Snapshot A is deleted.
┌─ Snapshot B ───────────┐┌─ Snapshot C ───────────┐
│ BBBBBBBBBB.....        ││ BBBBBBBBBBCC...        │
│ holds 10 GiB itself    ││ holds 2 GiB itself     │
│   20,480 blocks        ││   4,096 blocks         │
│ restores to 10 GiB     ││ refers to 10 GiB in B  │
└────────────────────────┘│ restores to 12 GiB     │
                          └────────────────────────┘
  6 GiB (12,288 blocks) moved from A to B, which refers to them.
  4 GiB (8,192 blocks) that nothing refers to were freed.
  12 GiB charged in all (24,576 blocks); 3 MiB stored."""


def test_a_state_is_drawn_as_the_documentation_does() -> None:
    assert draw_state(4, AFTER_DELETION) == PICTURE


def test_pictures_fit_into_80_columns() -> None:
    assert max(map(len, PICTURE.splitlines())) <= 80
    assert 3 * 26 <= 80
    assert LEGEND


def test_a_figure_that_differs_ends_the_demo() -> None:
    require_equal("the charge", 1, 1)
    with pytest.raises(InternalError, match="the charge is 1, and should be 2") as caught:
        require_equal("the charge", 1, 2)
    assert caught.value.code is ErrorCode.DEMO_FAILED


def test_a_temporary_workspace_is_removed_also_after_an_error() -> None:
    folders = []

    def fail() -> None:
        with workspace(None) as folder:
            folders.append(folder)
            (folder / "file").write_bytes(b"x")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not folders[0].exists()


def test_a_kept_workspace_stays(tmp_path: Path) -> None:
    with workspace(tmp_path / "new" / "kept") as folder:
        (folder / "file").write_bytes(b"x")
    assert (tmp_path / "new" / "kept" / "file").exists()


def test_a_workspace_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"x")
    with pytest.raises(InvalidInputError, match="not an empty folder"), workspace(tmp_path):
        raise AssertionError("refused")


def test_too_little_space_is_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebsim.demo.workspace.SPACE_NEEDED", 2**62)
    with pytest.raises(LimitExceededError, match="set TMPDIR"), workspace(None):
        raise AssertionError("refused")
    with pytest.raises(LimitExceededError, match="another folder"), workspace(tmp_path / "kept"):
        raise AssertionError("refused")


def test_a_missing_tool_names_its_package() -> None:
    with pytest.raises(NotFoundError, match="install the package e2fsprogs"):
        find_tool("no-such-tool-of-ebsim")


@needs_e2fsprogs
def test_a_tool_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "no.img").write_bytes(bytes(4096))
    with pytest.raises(EbsimError, match="e2fsck failed with exit code 8") as caught:
        check_file_system(tmp_path / "no.img")
    assert caught.value.code is ErrorCode.DEMO_FAILED


@needs_e2fsprogs
def test_an_image_is_built_and_changed_without_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebsim.demo.image.FILES_PER_FOLDER_MAX", 40)
    monkeypatch.setattr("ebsim.demo.image.FILES_SIZE_MAX", 20 * MIB)
    monkeypatch.setattr("ebsim.demo.image.IMAGE_SIZE", 64 * MIB)
    image, folder = tmp_path / "disk.img", tmp_path / "work"
    folder.mkdir()
    tree = build_image(image, folder)
    before = image.read_bytes()
    folder.mkdir()
    changes = change_image(image, tree, folder)
    assert (len(before), image.stat().st_size) == (64 * MIB, 64 * MIB)
    assert image.read_bytes() != before
    assert changes.replaced > 0
    assert changes.removed > 0
    assert not folder.exists()
    check_file_system(image)
    listing = run_tool("debugfs", "-R", "ls -l /", str(image))
    assert f"{changes.added_size_bytes}" in listing
    assert "added.bin" in listing


@needs_e2fsprogs
def test_a_change_that_debugfs_refuses_is_an_error(tmp_path: Path) -> None:
    image, folder = tmp_path / "disk.img", tmp_path / "work"
    folder.mkdir()
    run_tool("mke2fs", "-q", "-t", "ext4", str(image), "64m")
    tree = FileTree(paths=(Path("not/there"),) * 21, size_bytes=0)
    with pytest.raises(EbsimError, match=r"debugfs: .*not found") as caught:
        change_image(image, tree, folder)
    assert caught.value.code is ErrorCode.DEMO_FAILED
