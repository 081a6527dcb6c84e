"""The steps in which a rebuilt catalog takes the place of the old one."""

from pathlib import Path

import pytest

from ebsim.errors import StoreError
from ebsim.storage.catalog_swap import begin_catalog, finish_swap, swap_catalog
from ebsim.storage.files import PosixFiles


class RecordedFiles(PosixFiles):
    """Files that note the changes of folders, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.done.append(f"{source.name} -> {target.name}")

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        self.done.append(f"sync {path.name}")


def make(folder: Path, name: str, content: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "data.mdb").write_text(content)


def test_each_name_is_durable_before_the_next_step_needs_it(tmp_path: Path) -> None:
    folder, files = tmp_path / "store", RecordedFiles()
    make(folder, "catalog", "old")
    make(folder, "catalog.old-4", "older")
    (begin_catalog(folder, files) / "data.mdb").write_text("new")
    assert swap_catalog(folder, files) == "catalog.old-5"
    assert files.done == [
        "sync catalog.new",
        "catalog.new -> catalog.ready",
        "sync store",
        "catalog -> catalog.old-5",
        "catalog.ready -> catalog",
        "sync store",
    ]
    assert (folder / "catalog" / "data.mdb").read_text() == "new"
    assert (folder / "catalog.old-5" / "data.mdb").read_text() == "old"
    assert (folder / "catalog.old-4" / "data.mdb").read_text() == "older"


def test_what_an_interrupted_rebuild_left_is_in_nobodys_way(tmp_path: Path) -> None:
    files = RecordedFiles()
    make(tmp_path, "catalog", "old")
    make(tmp_path, "catalog.new", "half")
    make(tmp_path, "catalog.ready", "whole, and late")
    assert not finish_swap(tmp_path, files)
    path = begin_catalog(tmp_path, files)
    assert list(path.iterdir()) == []
    assert (tmp_path / "catalog.old-1" / "data.mdb").read_text() == "whole, and late"
    assert (tmp_path / "catalog" / "data.mdb").read_text() == "old"


def test_missing_catalog_is_replaced_by_a_whole_one_only(tmp_path: Path) -> None:
    files = RecordedFiles()
    make(tmp_path, "catalog.new", "half")
    assert not finish_swap(tmp_path, files)
    make(tmp_path, "catalog.ready", "whole")
    assert finish_swap(tmp_path, files)
    assert (tmp_path / "catalog" / "data.mdb").read_text() == "whole"


def test_step_that_fails_is_told_and_the_old_one_stays(tmp_path: Path) -> None:
    class FailingFiles(RecordedFiles):
        def sync_directory(self, path: Path) -> None:
            raise OSError(5, "Input/output error")

    make(tmp_path, "catalog", "old")
    files = FailingFiles()
    begin_catalog(tmp_path, files)
    with pytest.raises(StoreError, match="Input/output error"):
        swap_catalog(tmp_path, files)
    assert (tmp_path / "catalog" / "data.mdb").read_text() == "old"
