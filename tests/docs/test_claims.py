"""Every numbered claim, promise, invariant and fault of the documents is shown by a test.

The documents name their tests as `tests/PATH.py::NAME`, or with a class between. The code and the
tests name the documents' numbers: S-7 in docs/semantics.md, I-4 in docs/format.md, P-2 in
docs/durability.md, F14 in docs/testing.md, "semantics section 2.3". Both directions must lead
somewhere.

A fault that no test shows yet says so. Campaigns (`make torture`) are named as "the campaign `X`",
or "the campaigns `X`, `Y` and `Z`"; each must be one that is run.
"""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

from ebsim.testing.torture import campaigns

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
CODE = [
    path for folder in ("ebsim", "tests") for path in sorted((REPOSITORY / folder).rglob("*.py"))
]

_CAMPAIGNS = re.compile(r"\bcampaigns? ((?:`[\w-]+`(?:, | and )?)+)")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+(?:::\w+)?)`")


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def sections(text: str, beginning: str) -> dict[str, str]:
    """Return what follows each beginning (a regular expression with one group), up to the next."""
    parts = re.split(rf"(?m){beginning}", text)
    assert len(parts[1::2]) == len(set(parts[1::2])), "a number is given twice"
    return dict(zip(parts[1::2], parts[2::2], strict=True))


CLAIMS = {
    **sections(read("docs/semantics.md"), r"^#### (S-\d+) "),
    **sections(read("docs/format.md"), r"^- \*\*(I-\d+)\*\* "),
    **sections(read("docs/durability.md"), r"^### (P-\d+) "),
    **sections(read("docs/testing.md"), r"^\| (F\d+) \|"),
}
PROMISES = [number for number in CLAIMS if number.startswith("P-")]


@lru_cache
def functions(path: Path) -> set[str]:
    """Return the names of a module's functions, those in classes as `CLASS::NAME`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    methods = {
        f"{owner.name}::{node.name}"
        for owner in body
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef)
    }
    return methods | {node.name for node in body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("number", CLAIMS)
def test_claim_is_shown_by_a_test(number: str) -> None:
    body = re.split(r"(?m)^#", CLAIMS[number])[0]
    assert _TEST.search(body) or (number.startswith("F") and "| not yet |\n" in body)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_are_named_exist(document: Path) -> None:
    for path, name in _TEST.findall(document.read_text(encoding="utf-8")):
        assert (REPOSITORY / path).is_file(), path
        assert name.rpartition(":")[2].startswith("test_"), name
        assert name in functions(REPOSITORY / path), f"{path}::{name}"


def named_campaigns(text: str) -> set[str]:
    """Return the campaigns that a text names."""
    return {name for names in _CAMPAIGNS.findall(text) for name in re.findall(r"`(.+?)`", names)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_campaigns_that_are_named_are_run(document: Path) -> None:
    run = {each.name for each in campaigns.ALL}

    assert named_campaigns(document.read_text(encoding="utf-8")) <= run


def test_promises_are_seven_and_say_what_shows_them() -> None:
    assert len(PROMISES) == 7
    for number in PROMISES:
        body = re.split(r"(?m)^#", CLAIMS[number])[0]
        (shown,) = re.findall(r"(?m)^Shown by (.*)$", body)
        assert _TEST.search(shown), number


def test_readme_leads_to_each_promise() -> None:
    promises = re.search(r"(?s)## What it promises\n(.*?)\n## ", read("README.md"))
    assert promises is not None
    lines = re.findall(r"(?m)^(\d+)\. \[(.+?)\]\(docs/durability\.md#(.+?)\)", promises[1])

    assert [f"P-{number}" for number, _, _ in lines] == PROMISES
    for number, title, anchor in lines:
        assert CLAIMS[f"P-{number}"].splitlines()[0] == title
        assert anchor.startswith(f"p-{number}-")


def test_numbers_of_claims_have_no_gaps() -> None:
    for letter in ("S-", "I-", "P-"):
        numbers = [int(name.removeprefix(letter)) for name in CLAIMS if name.startswith(letter)]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))  # each keeps its number


def test_each_claim_about_ebs_has_its_parts() -> None:
    for number, body in CLAIMS.items():
        if number.startswith("S-"):
            parts = re.findall(r"(?m)^- (\w+): ", body)
            assert parts == ["EBS", "ebsim", "Difference", "Tests"], number


def test_numbers_in_the_code_are_those_of_the_documents() -> None:
    for path in CODE:
        if path != Path(__file__).resolve():
            found = re.findall(r"\b(?:[SIP]-\d+|F\d\d?)\b", path.read_text(encoding="utf-8"))
            assert set(found) <= set(CLAIMS), path


def test_sections_that_the_code_names_exist() -> None:
    headings = re.findall(r"(?m)^#+ (\d+(?:\.\d+)?)\.? ", read("docs/semantics.md"))
    for path in CODE:
        for line in re.findall(r"semantics sections? ([\d., and]+)", path.read_text("utf-8")):
            assert set(re.findall(r"\d+(?:\.\d+)?", line)) <= set(headings), path


def test_documents_that_the_code_names_exist() -> None:
    for path in [*CODE, REPOSITORY / "Makefile", REPOSITORY / "pyproject.toml"]:
        for name in re.findall(r"\bdocs/[\w./-]+\.md\b", path.read_text(encoding="utf-8")):
            assert (REPOSITORY / name).is_file(), f"{path}: {name}"


def test_decisions_that_the_code_names_exist() -> None:
    numbers = {path.name[:3] for path in (REPOSITORY / "docs" / "decisions").glob("*.md")}
    for path in CODE:
        found = re.findall(r"\bdecision (\d{3})\b", path.read_text(encoding="utf-8"))
        assert set(found) <= numbers, path
