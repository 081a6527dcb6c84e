"""Dump: every structure on disk is shown decoded, damaged ones as damaged, and no key ever."""

import json
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ebsim.core.dump import KINDS, dump
from ebsim.core.dump_child import items_from_child
from ebsim.core.dump_items import DumpItem
from ebsim.engine import Seams, Store
from ebsim.errors import InvalidInputError, NotFoundError
from ebsim.format.catalog_values import Table
from ebsim.format.store_header import decode_store_header
from ebsim.requests import VolumeRequest
from ebsim.testing.contents import NOISE, TEXT, noise_block
from ebsim.testing.damage import damage_block, flip_bit, place_of_block, segment_files
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE


@pytest.fixture
def made(store_path: Path, seams: Seams) -> Path:
    """A closed store with two snapshots of a disk, one of which is deleted, and a volume."""
    with Store.create(store_path, seams) as store:
        disk = disk_of(NOISE, TEXT)
        first = store.create_snapshot(disk)
        disk.put(1, noise_block(1))
        store.create_snapshot(disk)
        store.delete_snapshots([first.snapshot_id])
        volume = store.volumes.create(VolumeRequest(size_gib=1))
        with store.volumes.open(volume.volume_id) as handle:
            handle.pwrite(b"x" * BLOCK_SIZE, 0)
    return store_path


def items(path: Path, kind: str, name: str | None = None, limit: int = 0) -> list[dict[str, Any]]:
    return list(dump(path, kind, name, limit))


def everything(path: Path) -> list[dict[str, Any]]:
    found = [item for kind in KINDS if kind != "page" for item in items(path, kind)]
    found += [item for table in Table for item in items(path, "catalog", table.name)]
    found += [item for at in segment_files(path) for item in items(path, "segment", at.stem)]
    root = items(path, "catalog", "SNAPSHOTS")[0]["Value"]["root"]
    return [*found, *items(path, "page", str(root))]


def snapshot_of(path: Path) -> dict[str, bytes]:
    """Return every byte of a store but LMDB's table of readers."""
    return {
        str(at): at.read_bytes()
        for at in path.rglob("*")
        if at.is_file() and at.name not in ("lock.mdb", "reserve")
    }


def test_sound_store_is_decoded_and_left_as_it_was(made: Path) -> None:
    before = snapshot_of(made)

    found = everything(made)

    assert [item for item in found if "Damaged" in item] == []
    assert snapshot_of(made) == before
    kinds = {item["Kind"] for item in found}
    assert kinds >= {"store", "table", "entry", "segment", "record", "journal", "volume-file"}
    assert json.loads(json.dumps(found)) == found


def test_key_of_the_block_hash_is_never_shown(made: Path) -> None:
    key = decode_store_header((made / "store.json").read_bytes()).hash_key.hex()
    assert key not in json.dumps(everything(made))

    data = (made / "store.json").read_bytes()
    for position in range(data.index(b"hash_key"), data.index(b"hash_key") + 8):
        flip_bit(made / "store.json", 8 * position)
        assert key not in json.dumps(items(made, "store"))
        flip_bit(made / "store.json", 8 * position)


def test_records_tell_what_they_hold_and_where_bytes_were_given_back(made: Path) -> None:
    found = [item for at in segment_files(made) for item in items(made, "segment", at.stem)]

    holds = {item["Holds"] for item in found if item["Kind"] == "record"}
    assert holds == {"BLOCK", "VERSIONS", "PAGES", "JOURNAL"}
    assert [item for item in found if item["Kind"] == "gap"]  # of the deleted snapshot
    for path in segment_files(made):
        spans = [
            (item["Offset"], item["End"])
            for item in items(made, "segment", path.stem)
            if "End" in item
        ]
        assert spans[0][0] == 4096
        assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
        assert spans[-1][1] == path.stat().st_size


def test_journal_is_shown_in_order_with_its_chain(made: Path) -> None:
    entries = items(made, "journal")

    assert [entry["sequence"] for entry in entries] == list(range(1, len(entries) + 1))
    assert all(entry["Chained"] for entry in entries[1:])


def test_damaged_record_is_marked_and_the_rest_is_shown(made: Path) -> None:
    place = damage_block(made, noise_block(1))

    found = items(made, "segment", place.path.stem)

    (damaged,) = [item for item in found if "Damaged" in item]
    assert damaged["Offset"] == place.header.offset
    assert damaged["Holds"] == "BLOCK"
    assert len([item for item in found if item["Kind"] == "record"]) > 1


def test_damaged_record_header_is_a_gap_that_is_no_hole(made: Path) -> None:
    place = place_of_block(made, noise_block(1))
    flip_bit(place.path, 8 * place.header.offset)

    damaged = [item for item in items(made, "segment", place.path.stem) if "Damaged" in item]

    assert [item["Kind"] for item in damaged] == ["gap"]
    assert damaged[0]["Offset"] <= place.header.offset < damaged[0]["End"]


def test_damaged_value_is_marked(made: Path) -> None:
    data = (made / "catalog" / "data.mdb").read_bytes()
    (snapshot,) = [item["Key"] for item in items(made, "catalog", "SNAPSHOTS")]
    damaged = data.replace(b'"owner":"123456789012"', b'"owner":"123456789013"')
    assert damaged != data
    (made / "catalog" / "data.mdb").write_bytes(damaged)

    (found,) = items(made, "catalog", "snapshots")

    assert found["Damaged"] == "the checksum is wrong"
    assert found["Key"] == snapshot
    assert found["Value"]["owner"] == "123456789013"  # what is there, for people to judge


@pytest.mark.parametrize("content", [None, b"", b"no catalog", bytes(8192)])
def test_store_without_a_catalog_is_shown_as_far_as_it_goes(
    made: Path, content: bytes | None
) -> None:
    path = made / "catalog" / "data.mdb"
    path.unlink() if content is None else path.write_bytes(content)

    found = items(made, "store")

    assert [item for item in found if item["Kind"] == "catalog" and "Damaged" in item]
    assert [item for item in found if item["Kind"] == "segment" and "Damaged" not in item]
    assert items(made, "journal")


def test_store_json_that_is_damaged_or_missing_is_marked(made: Path) -> None:
    flip_bit(made / "store.json", 8 * 12)
    assert "Damaged" in items(made, "store")[0]
    (made / "store.json").unlink()
    assert "Damaged" in items(made, "store")[0]


def test_intents_and_kept_blocks_are_shown(store_path: Path, seams: Seams) -> None:
    with Store.create(store_path, seams) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(volume) as handle:
            handle.pwrite(b"x" * BLOCK_SIZE, 5 * BLOCK_SIZE)
            found = items(store_path, "volume")
            intents = [item for item in found if item["Kind"] == "intent"]
            assert [item["Leaf"] for item in intents if "Leaf" in item] == [0]
            flip_bit(store_path / "volumes" / f"{volume}.intents", 8 * 16)
            damaged = [item for item in items(store_path, "volume") if "Damaged" in item]
            assert [item["Offset"] for item in damaged] == [16]


def test_limit_says_that_there_is_more(made: Path) -> None:
    found = items(made, "catalog", "META", limit=3)

    assert [item["Kind"] for item in found] == ["entry", "entry", "entry", "more"]
    assert len(items(made, "catalog", "META")) > 4


def test_page_is_shown_with_what_refers_to_it(made: Path) -> None:
    (snapshot,) = items(made, "catalog", "SNAPSHOTS")
    root = snapshot["Value"]["root"]

    found = items(made, "page", str(root))

    assert found[0]["Key"] == root or found[-1]["Kind"] == "reference"
    assert {"Kind": "reference", "FromSnapshot": snapshot["Key"]} in found
    assert "Damaged" in items(made, "page", "999999")[0]


@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        ("catalog", "nothing", NotFoundError),
        ("segment", "zz", NotFoundError),
        ("page", None, InvalidInputError),
        ("page", "x", InvalidInputError),
        ("journal", "1", InvalidInputError),
    ],
)
def test_what_is_not_there_is_refused(
    made: Path, kind: str, name: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        items(made, kind, name)


def test_folder_that_is_no_store_is_refused(fast_path: Path) -> None:
    with pytest.raises(NotFoundError):
        items(fast_path, "store")


def test_death_of_the_reading_process_is_an_item() -> None:
    def die() -> Iterator[DumpItem]:
        yield {"Kind": "entry"}
        os.kill(os.getpid(), signal.SIGKILL)

    found = list(items_from_child(die))

    assert found[-1] == {
        "Kind": "catalog",
        "Damaged": "the process that read it ended with SIGKILL",
    }


def test_reading_process_ends_when_nobody_reads_on() -> None:
    def endless() -> Iterator[DumpItem]:
        while True:
            yield {"Kind": "entry"}

    reading = items_from_child(endless)
    assert isinstance(reading, Generator)
    assert next(reading) == {"Kind": "entry"}
    reading.close()
