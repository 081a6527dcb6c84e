"""The documents are complete, lead somewhere, and are written in the house style."""

import re
from collections import deque
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import click
import pytest

from ebsim.cli import environment, failures
from ebsim.cli.main import PROGRAM, cli
from ebsim.demo.drawing import draw_state
from ebsim.demo.example import (
    DOCUMENTED_AFTER_DELETION,
    DOCUMENTED_FREED_GIB,
    DOCUMENTED_MOVE,
    STEPS,
    Figures,
)
from ebsim.demo.report import ExampleState, Holding, Reference
from ebsim.errors import ErrorCode
from ebsim.format.catalog_values import Table
from ebsim.format.segment import Codec, RecordKind
from ebsim.ids import SnapshotId
from ebsim.units import BLOCKS_PER_GIB

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [*REPOSITORY.glob("*.md"), *sorted((REPOSITORY / "docs").rglob("*.md"))]
CLI = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY))
)


def prose(document: Path) -> list[str]:
    """Return a document's lines without those in fenced blocks."""
    lines, fenced = [], False
    for line in document.read_text(encoding="utf-8").split("\n"):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            lines.append(line)
    return lines


def in_backticks() -> set[str]:
    """Return everything that some document has in backticks."""
    text = "\n".join(line for document in DOCUMENTS for line in prose(document))
    return set(re.findall(r"`([^`]+)`", text))


# Completeness


@pytest.mark.parametrize("kind", [Table, RecordKind, Codec])
def test_every_member_is_mentioned(kind: type[Enum]) -> None:
    assert {member.name for member in kind} <= in_backticks()


def test_every_error_code_is_listed_in_its_order() -> None:
    table = CLI.partition("## Error codes")[2]
    assert re.findall(r"(?m)^\| `([\w.]+)` \|", table) == [code.value for code in ErrorCode]


def test_every_kind_of_finding_is_listed() -> None:
    code = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "ebsim" / "core").glob("*.py")
    )
    table = CLI.partition("| Kind | Means |")[2].partition("\n\n")[0]
    listed = re.findall(r"(?m)^\| `([\w-]+)` \|", table)
    assert sorted(listed) == sorted(set(re.findall(r'\bFinding\(\s*kind="([\w-]+)"', code)))


def test_every_exit_code_is_listed() -> None:
    table = CLI.partition("### Exit codes")[2].partition("#")[0]
    listed = {int(number) for number in re.findall(r"\d+", table)}
    told = re.findall(r"\b\d+\b", (failures.__doc__ or "").replace("128", ""))
    assert listed == {int(number) for number in told}


def test_every_variable_of_the_environment_is_mentioned() -> None:
    names = [value for name, value in vars(environment).items() if name.endswith("_VARIABLE")]
    assert len(names) == 10
    for name in names:
        assert re.search(rf"\b{name}\b", "\n".join(prose(REPOSITORY / "docs" / "cli.md")))


def commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it, each once, with the shortest of its full names."""
    waiting = deque([(path, command)])
    seen: set[click.Command] = set()
    while waiting:
        path, command = waiting.popleft()
        if command in seen:
            continue
        seen.add(command)
        yield path, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                waiting.append((f"{path} {name}", below))


EVERYWHERE = {"--keyring", "--passphrase-command", "--key-file"}
"""What every command takes, and only those that are about keys show in their help."""


@pytest.mark.parametrize(("path", "command"), list(commands(PROGRAM, cli)))
def test_every_command_and_option_is_mentioned(path: str, command: click.Command) -> None:
    heading = "## Shared by all commands" if path == PROGRAM else f"# {path}"
    section = re.search(rf"(?ms)^#*{re.escape(heading)}$(.*?)(?=^#+ |\Z)", CLI)
    assert section, f"{path} has no section"
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.hidden:
            assert set(parameter.opts) <= EVERYWHERE
            continue
        for name in [*parameter.opts, *parameter.secondary_opts]:
            wanted = (
                name
                if isinstance(parameter, click.Option)
                else parameter.make_metavar(click.Context(command))
            )
            assert re.search(rf"(?<![\w-]){re.escape(wanted)}(?![\w-])", section[1]), wanted


# The picture


def drawn(number: int, title: str, figures: Figures, cells: dict[str, str]) -> str:
    """Draw a state of the example from its documented figures."""
    holdings = tuple(
        Holding(
            name=name,
            snapshot_id=SnapshotId("snap-0123456789abcdef0"),
            charged_blocks=held * BLOCKS_PER_GIB,
            refers_to=tuple(
                Reference(name=other, blocks=gib * BLOCKS_PER_GIB) for other, gib in refers.items()
            ),
            full_blocks=(held + sum(refers.values())) * BLOCKS_PER_GIB,
            cells=cells[name],
        )
        for name, (held, refers) in figures.items()
    )
    deleted = "A" not in figures
    state = ExampleState(
        title=title,
        holdings=holdings,
        charged_blocks=sum(holding.charged_blocks for holding in holdings),
        stored_size_bytes=0,
        moves=(DOCUMENTED_MOVE,) if deleted else (),
        freed_blocks=DOCUMENTED_FREED_GIB * BLOCKS_PER_GIB if deleted else 0,
    )
    return draw_state(number, state).replace("0 B stored", "SIZE stored")


def test_pictures_of_the_readme_are_drawn_from_the_documented_figures() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    shown = re.sub(r"[\d.]+ MiB stored", "SIZE stored", text)
    before = {"A": "A" * 10 + "." * 5, "B": "BBBBAAAAAA.....", "C": "BBBBAAAAAACC..."}
    after = {"B": "B" * 10 + "." * 5, "C": "BBBBBBBBBBCC..."}
    last = STEPS[-1]
    assert drawn(3, last.title, last.documented, before) in shown
    assert drawn(4, "Snapshot A is deleted", DOCUMENTED_AFTER_DELETION, after) in shown


# Links and style


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as code hosts make it."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading.lstrip("# "))
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


@each_document
def test_relative_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(prose(document))):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), target
        if fragment:
            headings = [anchor(line) for line in prose(path) if line.startswith("#")]
            assert fragment in headings, target


@each_document
def test_a_document_has_one_title_and_it_comes_first(document: Path) -> None:
    lines = prose(document)
    assert lines[0].startswith("# ")
    assert [line for line in lines if line.startswith("# ")] == lines[:1]


@each_document
def test_prose_has_one_sentence_on_a_line(document: Path) -> None:
    for line in prose(document):
        if not line.startswith(("|", "#", "- ")):
            plain = re.sub(r"`[^`]*`|^ *\d+\. |\*\*", "", line)
            assert not re.search(r"[.?!]\)? +[A-Z]", plain), line


@each_document
def test_no_path_of_a_machine_is_told(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:work|root|tmp|mnt|dev/shm)/(?!data\b)", text)


def test_decisions_have_their_parts() -> None:
    for path in (REPOSITORY / "docs" / "decisions").glob("*.md"):
        lines = prose(path)
        assert lines[0].startswith(f"# {path.name[:3]}: ")
        headings = [line for line in lines if line.startswith("## ")]
        assert headings == [
            "## Problem",
            "## Options",
            "## Choice",
            "## What would change our mind",
        ]
