"""Forms are split as the standard library splits them, whatever they hold."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.server.protocol.forms import split_form

FIELDS_MAX = 5

forms = st.text(alphabet="aZ9&=%+;2Bf\u00e9\u20ac /", max_size=24)


@given(forms, st.sampled_from(["strict", "replace", "surrogateescape"]))
def test_form_is_split_as_the_standard_library_does(text: str, errors: str) -> None:
    try:
        wanted = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors=errors)
    except ValueError:
        with pytest.raises(ValueError, match=r"fields|decode"):
            split_form(text, FIELDS_MAX, errors)
    else:
        assert split_form(text, FIELDS_MAX, errors) == wanted


def test_fields_are_counted_before_any_is_decoded() -> None:
    assert len(split_form("a=1&" * 4 + "b", FIELDS_MAX)) == FIELDS_MAX
    with pytest.raises(ValueError, match="more than 5 fields"):
        split_form("&" * 5, FIELDS_MAX)
