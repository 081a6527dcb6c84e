"""Which store is used when none is named."""

from pathlib import Path

import pytest

from ebsim.cli.environment import parse_environment


@pytest.mark.parametrize(
    ("variables", "store"),
    [
        ({"EBSIM_STORE": "/a", "XDG_DATA_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"EBSIM_STORE": "relative", "HOME": "/c"}, "relative"),
        ({"EBSIM_STORE": "", "XDG_DATA_HOME": "/b", "HOME": "/c"}, "/b/ebsim"),
        ({"XDG_DATA_HOME": "relative", "HOME": "/c"}, "/c/.local/share/ebsim"),
        ({"XDG_DATA_HOME": "", "HOME": "/c"}, "/c/.local/share/ebsim"),
        ({"HOME": "/c"}, "/c/.local/share/ebsim"),
    ],
)
def test_store_is_named_by_the_first_variable_that_says_so(
    variables: dict[str, str], store: str
) -> None:
    assert parse_environment(variables).store == Path(store)


def test_a_home_that_is_no_absolute_path_names_no_store() -> None:
    assert parse_environment({"HOME": "relative"}).store is None


@pytest.mark.parametrize(
    ("value", "debug"), [("1", True), ("yes", True), ("0", False), ("", False)]
)
def test_debugging_is_asked_for_by_anything_but_0(value: str, debug: bool) -> None:
    assert parse_environment({"EBSIM_DEBUG": value}).debug is debug


@pytest.mark.parametrize(("value", "trusts"), [("1", True), ("0", False), ("", False)])
def test_stores_of_others_are_used_when_that_is_asked_for(value: str, *, trusts: bool) -> None:
    assert parse_environment({"EBSIM_TRUST_OTHERS": value}).trust_others is trusts


def test_debugging_is_off_by_default() -> None:
    assert parse_environment({}).debug is False
