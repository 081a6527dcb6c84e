"""The tables of docs/format.md equal the code: layouts, constants, enumerations, members, tables.

Each table is introduced by a line that names what it describes:

    Layout of `MODULE.NAME`, little-endian, N bytes:      a struct.Struct; offset, size, type, field
    Constants of `MODULE`:                                name, value, meaning
    Values of `MODULE.ENUM`:                              value, name, meaning
    Members of `MODULE.RECORD`:                           the members of a dataclass
    Tables of the catalog:                                the named databases
"""

import ast
import dataclasses
import re
import struct
from collections.abc import Iterator
from enum import IntEnum
from importlib import import_module
from pathlib import Path

import pytest

from ebsim.format.catalog_values import Counter, Table
from ebsim.format.meta_records import encode_journal
from ebsim.format.store_header import StoreHeader, decode_store_header, encode_store_header

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "format.md").read_text(encoding="utf-8")

TYPES = {"B": "u8", "H": "u16", "I": "u32", "Q": "u64", "s": "bytes"}
ORDERS = {"<": "little", ">": "big"}

Rows = list[list[str]]


def table_after(line_number: int) -> Rows:
    """Return the rows of the table below a line, without its head; cells without backticks."""
    lines = TEXT.split("\n")
    rows = []
    for line in lines[line_number + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows[2:]


def tables(pattern: str) -> Iterator[tuple[re.Match[str], Rows]]:
    """Yield each table that is introduced by a line that matches, with the match."""
    for number, line in enumerate(TEXT.split("\n")):
        if match := re.search(pattern, line):
            yield match, table_after(number)


def only_table(pattern: str) -> Rows:
    ((_, rows),) = tables(pattern)
    return rows


def documented(pattern: str) -> dict[str, Rows]:
    return {match[1]: rows for match, rows in tables(pattern)}


def resolve(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


# Layouts

LAYOUT = r"ayout of `([\w.]+)`, (little|big)-endian, (\d+) bytes:$"


def layouts_of_code() -> dict[str, str]:
    """Return the format of every struct.Struct that has a name in format/, and core/abandon."""
    found = {}
    for path in [*(REPOSITORY / "ebsim" / "format").glob("*.py"), abandon_module()]:
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.Call(
                        func=ast.Attribute(attr="Struct"), args=[ast.Constant(value=str(layout))]
                    ),
                ):
                    found[f"{module}.{name}"] = layout
                case _:
                    pass
    return found


def abandon_module() -> Path:
    return REPOSITORY / "ebsim" / "core" / "abandon.py"


def rows_of_layout(layout: str) -> list[list[str]]:
    """Return offset, size and type of each field of a struct's format."""
    order, offset, rows = layout[0], 0, []
    for count, code in re.findall(r"(\d*)([a-zA-Z])", layout[1:]):
        repeats = 1 if code == "s" else int(count or 1)
        size = struct.calcsize(f"{order}{count if code == 's' else ''}{code}")
        for _ in range(repeats):
            rows.append([str(offset), str(size), TYPES[code]])
            offset += size
    return rows


def test_every_layout_is_documented() -> None:
    assert {match[1] for match, _ in tables(LAYOUT)} == set(layouts_of_code())


@pytest.mark.parametrize("name", layouts_of_code())
def test_layout_is_as_documented(name: str) -> None:
    layout = layouts_of_code()[name]

    ((match, rows),) = [found for found in tables(LAYOUT) if found[0][1] == name]

    assert match[2] == ORDERS[layout[0]]
    assert int(match[3]) == struct.calcsize(layout)
    assert [row[:3] for row in rows] == rows_of_layout(layout)
    assert all(row[3] for row in rows)


# Constants and enumerations


@pytest.mark.parametrize("module", documented(r"^Constants of `([\w.]+)`:$"))
def test_constants_are_as_documented(module: str) -> None:
    rows = documented(r"^Constants of `([\w.]+)`:$")[module]
    for name, value, _ in rows:
        known = resolve(f"{module}.{name}")
        assert value == (known.decode() if isinstance(known, bytes) else str(known)), name


@pytest.mark.parametrize("name", documented(r"^Values of `([\w.]+)`:$"))
def test_enumeration_is_as_documented(name: str) -> None:
    rows = documented(r"^Values of `([\w.]+)`:$")[name]
    enumeration = resolve(name)
    assert isinstance(enumeration, type)
    assert issubclass(enumeration, IntEnum)
    assert [(int(row[0]), row[1]) for row in rows] == [
        (member.value, member.name) for member in enumeration
    ]


def test_every_enumeration_of_the_format_is_documented() -> None:
    expected = {
        f"ebsim.format.{path.stem}.{node.name}"
        for path in (REPOSITORY / "ebsim" / "format").glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "IntEnum" for base in node.bases)
    }
    assert expected <= set(documented(r"^Values of `([\w.]+)`:$"))


# Records


@pytest.mark.parametrize("name", documented(r"^Members of `(ebsim\.[\w.]+)`:$"))
def test_members_are_as_documented(name: str) -> None:
    rows = documented(r"^Members of `(ebsim\.[\w.]+)`:$")[name]
    record = resolve(name)
    assert isinstance(record, type)
    assert dataclasses.is_dataclass(record)
    assert [row[0] for row in rows] == [field.name for field in dataclasses.fields(record)]


def test_store_json_is_as_documented() -> None:
    header = StoreHeader(store_id=bytes(range(16)), hash_key=bytes(32))

    encoded = encode_store_header(header)

    rows = only_table(r"^Members of `store.json`:$")
    assert sorted(row[0] for row in rows) == [
        name.decode() for name in re.findall(rb'"(\w+)":', encoded)
    ]
    assert decode_store_header(encoded) == header


def test_journal_entry_is_as_documented() -> None:
    encoded = encode_journal(1, bytes(16), "delete", {})

    rows = only_table(r"^Members of a journal entry:$")
    assert sorted(row[0] for row in rows) == [
        name.decode() for name in re.findall(rb'"(\w+)":', encoded)
    ]


# The catalog


def test_tables_of_the_catalog_are_as_documented() -> None:
    rows = only_table(r"^Tables of the catalog:$")
    assert [(row[0], row[1]) for row in rows] == [
        (table.name, table.value.decode()) for table in Table
    ]


def test_counters_are_as_documented() -> None:
    (line,) = [line for line in TEXT.split("\n") if line.startswith("The counters are ")]
    assert re.findall(r"`(\w+)`", line) == [counter.key.decode() for counter in Counter]
