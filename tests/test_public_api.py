"""What a program may use: names that are there, errors that travel, and the tree as it is drawn."""

import ast
import importlib
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ebsim
from ebsim import errors
from ebsim.errors import EbsimError, ErrorCode, SnapshotFailedError

ROOT_FOLDER = Path(ebsim.__file__).parents[1]
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, EbsimError)
}


# names


def test_public_names_are_sorted_and_there() -> None:
    assert ebsim.__all__ == sorted(ebsim.__all__)
    assert len(set(ebsim.__all__)) == len(ebsim.__all__)
    for name in ebsim.__all__:
        assert getattr(ebsim, name) is not None


def test_what_type_checkers_see_is_what_is_imported_later() -> None:
    """The names are written down three times, because they are imported when first used."""
    source = ast.parse((ROOT_FOLDER / "ebsim" / "__init__.py").read_text())
    seen = {
        alias.name: node.module
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ebsim.")
        for alias in node.names
    }

    assert seen.keys() == set(ebsim.__all__)
    for name, home in seen.items():
        assert getattr(ebsim, name) is getattr(importlib.import_module(home), name)
    assert set(ebsim.__all__) <= set(dir(ebsim))


def test_name_that_is_not_there_is_told_as_python_does() -> None:
    with pytest.raises(AttributeError, match="'ebsim' has no attribute 'Snapshots'"):
        getattr(ebsim, "Snapshots")  # noqa: B009 - type checkers know that it is not there


def test_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from ebsim import *", names)

    assert names.keys() - {"__builtins__"} == set(ebsim.__all__)


def test_what_the_facade_takes_and_returns_is_public() -> None:
    """Nobody should have to import an inner module to name a type."""
    named = set()
    for _, method in inspect.getmembers(ebsim.Store, inspect.isfunction):
        if not method.__name__.startswith("_"):
            for annotation in inspect.get_annotations(method).values():
                named.update(re.findall(r"\b[A-Z][A-Za-z]+\b", str(annotation)))

    known = {"Callable", "Mapping", "PathLike", "None", "Self", "Sequence", "Store"}
    assert named - known <= set(ebsim.__all__)


def test_public_classes_and_functions_have_docstrings() -> None:
    for name in ebsim.__all__:
        value = getattr(ebsim, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_package_tells_that_it_is_typed() -> None:
    assert (ROOT_FOLDER / "ebsim" / "py.typed").is_file()


@pytest.mark.parametrize(
    "module", ["click", "rich", "numpy", "zstandard", "pytest", "hypothesis", "ebsim.testing"]
)
def test_store_is_there_without_importing(module: str) -> None:
    """`list` must answer at once; tests' tools are no business of a program."""
    code = f"import sys, ebsim; ebsim.Store; sys.exit({module!r} in sys.modules)"

    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT_FOLDER, check=False).returncode == 0
    )


def test_every_module_can_be_imported() -> None:
    for path in sorted((ROOT_FOLDER / "ebsim").rglob("*.py")):
        parts = path.relative_to(ROOT_FOLDER).with_suffix("").parts
        importlib.import_module(".".join(parts).removesuffix(".__init__"))


# errors


def drawn_tree() -> dict[str, str]:
    """Return the parent of each error class in the drawing at the top of ebsim/errors.py."""
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"( {4}[│├└─ ]*)(\w+Error)\b", line)
        if match:
            depth = len(match[1])
            path = [entry for entry in path if entry[0] < depth]
            parents[match[2]] = path[-1][1] if path else ""
            path.append((depth, match[2]))
    return parents


def test_tree_of_errors_is_as_it_is_drawn() -> None:
    real = {
        name: next((base.__name__ for base in value.__bases__ if base in CLASSES.values()), "")
        for name, value in CLASSES.items()
    }

    assert drawn_tree() == real


@pytest.mark.parametrize("name", CLASSES)
def test_error_has_a_code_and_its_message_as_its_text(name: str) -> None:
    error = CLASSES[name]("The disk is gone.")

    assert str(error) == error.message == "The disk is gone."
    assert isinstance(error.code, ErrorCode)
    assert error.code is CLASSES[name].default_code
    assert CLASSES[name]("x", ErrorCode.NO_SPACE).code is ErrorCode.NO_SPACE


@pytest.mark.parametrize("code", [None, ErrorCode.NO_SPACE])
@pytest.mark.parametrize("name", CLASSES)
def test_error_crosses_to_another_process(name: str, code: ErrorCode | None) -> None:
    error = CLASSES[name]("The disk is gone.", code)

    found = pickle.loads(pickle.dumps(error))

    assert type(found) is CLASSES[name]
    assert (str(found), found.code) == (str(error), error.code)


def test_failed_snapshot_s_id_crosses_too() -> None:
    error = SnapshotFailedError("It failed.", ErrorCode.SOURCE_CHANGED, "snap-0123456789abcdef0")

    found = pickle.loads(pickle.dumps(error))

    assert found.snapshot_id == "snap-0123456789abcdef0"
    assert (found.code, found.message) == (ErrorCode.SOURCE_CHANGED, "It failed.")


def test_error_classes_are_what_programs_expect() -> None:
    assert issubclass(errors.InvalidInputError, ValueError)
    assert issubclass(errors.NotFoundError, LookupError)
    assert not issubclass(errors.NotFoundError, KeyError)  # its str() would put quotes round


def test_codes_have_values_of_their_own_in_the_style_of_ec2() -> None:
    values = [code.value for code in ErrorCode]

    assert len(set(values)) == len(values)
    assert len(ErrorCode.__members__) == len(values)
    for value in values:
        assert re.fullmatch(r"[A-Z][A-Za-z]+(\.[A-Z][A-Za-z]+)?", value), value
