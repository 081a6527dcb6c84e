"""Style as a test: what a linter does not look at."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.main import cli

ROOT_FOLDER = Path(__file__).parents[1]
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 600
PARAMETERS_MAX = 6

PRODUCT = sorted((ROOT_FOLDER / "ebsim").rglob("*.py"))
PYTHON = sorted(
    path
    for folder in ("ebsim", "tests", "benchmarks")
    for path in (ROOT_FOLDER / folder).rglob("*.py")
)
MARKDOWN = sorted([*ROOT_FOLDER.glob("*.md"), *(ROOT_FOLDER / "docs").rglob("*.md")])
OTHERS = [
    path
    for path in (
        *(ROOT_FOLDER / ".ci").iterdir(),
        *ROOT_FOLDER.glob("*.t*"),
        ROOT_FOLDER / "Makefile",
    )
    if path.is_file()
]
TEXTS = [*PYTHON, *MARKDOWN, *OTHERS]

BANNED = [
    "".join(parts)
    for parts in (
        (r"\bTO", r"DO\b"),
        (r"\bFIX", r"ME\b"),
        (r"\bXX", r"X\b"),
        (r"(?<![\w.~])/wo", r"rk/"),
        (r"(?<![\w.~/])/tm", r"p/"),
        (r"/ho", r"me/(?!you\b)\w"),
        (r"/ro", r"ot/"),
        (r"(?i)\bas an a", r"i\b"),
        (r"(?i)\bl", r"lms?\b"),
        (r"(?i)\bcl", r"aude\b"),
        (r"(?i)\bchat", r"gpt\b"),
        (r"(?i)\b(sub|co)-?age", r"nts?\b"),
    )
]
"""In pieces, so that this file does not hold what it looks for."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT_FOLDER))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_module_and_its_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES_MAX or path not in PRODUCT
    long = [
        node.name
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_median_function_is_at_most_ten_lines_long() -> None:
    lengths = sorted(
        (node.end_lineno or 0) - node.lineno + 1 for path in PRODUCT for node in functions(path)
    )

    assert lengths[len(lengths) // 2] <= 10
    assert lengths[len(lengths) * 9 // 10] <= 35


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_functions_have_few_parameters(path: Path) -> None:
    if path.parent.name == "commands":
        return  # a command's parameters are the options that a user sees
    for node in functions(path):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        counted = [each.arg for each in arguments if each.arg not in ("self", "cls")]
        assert len(counted) <= PARAMETERS_MAX + 1, node.name


def documented(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what is public below a module or class, with its name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(
            child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ) and not child.name.startswith("_"):
            yield child.name, child
            if isinstance(child, ast.ClassDef):
                yield from documented(child)


def is_overload(node: ast.AST) -> bool:
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in decorators)


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_docstrings_begin_with_a_sentence_on_one_line(path: Path) -> None:
    module = tree(path)
    for name, node in [(named(path), module), *documented(module)]:
        if is_overload(node):
            continue
        assert isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        text = ast.get_docstring(node)
        assert text, f"{name} has no docstring"
        first, *others = text.splitlines()
        assert first.endswith("."), f"{name}: {first}"
        assert first[0].isupper() or first[0] in "`0123456789", f"{name}: {first}"
        assert not others or not others[0], f"{name}: a blank line follows the first"


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_private_docstrings_are_sentences_too(path: Path) -> None:
    for node in functions(path):
        text = ast.get_docstring(node)
        if text is not None:
            assert text.splitlines()[0].endswith("."), node.name


def imported_names() -> set[str]:
    """Return every dotted name that any module imports, or names in a text to import it later."""
    names: set[str] = set()
    for path in PYTHON:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.update(re.findall(r"\bebsim(?:\.\w+)+", node.value))
    return names


def commands(group: click.Command) -> Iterator[str]:
    """Yield the modules of a group's commands, which are imported when they are run."""
    if isinstance(group, LazyGroup):
        for name in group.list_commands(click.Context(group)):
            yield group._lazy[name]
            command = group.get_command(click.Context(group), name)
            assert command is not None
            yield from commands(command)


def test_no_module_is_an_orphan() -> None:
    names = imported_names() | set(commands(cli))
    modules = {
        ".".join(path.relative_to(ROOT_FOLDER).with_suffix("").parts).removesuffix(".__init__")
        for path in PRODUCT
    }
    orphans = {
        module
        for module in modules - {"ebsim"}
        if not module.endswith(".__main__")  # run by name
        and module not in names
        and not any(name.startswith(f"{module}.") for name in names)
    }

    assert orphans == set()


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_errors_are_not_swallowed(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            only_passes = all(isinstance(each, ast.Pass) for each in node.body)
            assert not (broad and only_passes), f"line {node.lineno}"


@pytest.mark.parametrize("path", TEXTS, ids=named)
def test_text_has_no_banned_words_and_is_plain(path: Path) -> None:
    text = path.read_text()

    found = {match[0] for pattern in BANNED for match in re.finditer(pattern, text)}
    assert found == set()
    assert "\t" not in text or path.name == "Makefile"
    assert not re.search(r"[ \t]+$", text, re.MULTILINE), "white space at the end of a line"
    assert text.endswith("\n") or not text
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("path", MARKDOWN, ids=named)
def test_markdown_file_has_one_title(path: Path) -> None:
    text = re.sub(r"^(```|~~~).*?^\1", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)

    assert len(re.findall(r"^# \S", text, re.MULTILINE)) == 1
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", MARKDOWN, ids=named)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_tests_have_names_of_their_own() -> None:
    """They are imported by their file's name, so two of one name would be one module to mypy."""
    names = [path.name for path in (ROOT_FOLDER / "tests").rglob("*.py")]

    assert len(set(names)) == len(names)
