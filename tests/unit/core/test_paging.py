"""Pages and their tokens."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.core.paging import Pager, page_size
from ebsim.errors import EbsimError, ErrorCode

KEY = b"k" * 32


def pager(query: object = "all", key: bytes = KEY) -> Pager:
    return Pager(key, query)


def same(number: int) -> int:
    return number


def first_token(numbers: list[int], size: int) -> str:
    token = pager().page(numbers, same, size, None)[1]
    assert token is not None
    return token


@given(st.sets(st.integers(0, 2**63)), st.integers(1, 20))
def test_pages_together_are_everything_once(numbers: set[int], size: int) -> None:
    everything, seen, token = sorted(numbers), list[int](), None
    while True:
        page, token = pager().page(everything, same, size, token)
        assert len(page) <= size
        seen += page
        if token is None:
            break
        assert len(page) == size

    assert seen == everything


def test_without_a_size_there_is_one_page() -> None:
    assert pager().page([1, 2, 3], same, None, None) == ([1, 2, 3], None)


def test_last_page_that_is_full_has_no_token() -> None:
    assert pager().page([1, 2], same, 2, None) == ([1, 2], None)


def test_what_goes_or_comes_between_pages_disturbs_no_other() -> None:
    token = first_token([1, 2, 3, 4, 5], 2)

    assert pager().page([0, 1, 4, 5, 6], same, 9, token) == ([4, 5, 6], None)


def test_empty_token_asks_for_the_first_page() -> None:
    assert pager().page([1], same, 5, "") == ([1], None)


def altered(token: str) -> str:
    data = bytearray(urlsafe_b64decode(token))
    data[7] ^= 1
    return urlsafe_b64encode(data).decode()


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "next",
        "AAAA",
        "größer",
        "a b",
        " ",
        urlsafe_b64encode(bytes(24)).decode(),
        first_token([1, 2], 1)[:-4],
        first_token([1, 2], 1) + "AAAA",
        altered(first_token([1, 2], 1)),
    ],
)
def test_token_that_was_made_up_is_refused(token: str) -> None:
    with pytest.raises(EbsimError) as caught:
        pager().page([1, 2], same, 1, token)
    assert caught.value.code is ErrorCode.INVALID_PAGINATION_TOKEN


def test_token_belongs_to_its_query_and_store() -> None:
    token = first_token([1, 2], 1)

    for other in (pager(["other"]), pager(key=b"o" * 32)):
        with pytest.raises(EbsimError) as caught:
            other.page([1, 2], same, 1, token)
        assert caught.value.code is ErrorCode.INVALID_PAGINATION_TOKEN


def test_size_of_a_page_may_change_from_page_to_page() -> None:
    token = first_token([1, 2, 3, 4], 1)

    assert pager().page([1, 2, 3, 4], same, 3, token) == ([2, 3, 4], None)


@pytest.mark.parametrize(
    ("wanted", "size"), [(None, None), (5, 5), (1000, 1000), (1001, 1000), (10**9, 1000)]
)
def test_larger_pages_are_cut(wanted: int | None, size: int | None) -> None:
    assert page_size(wanted) == size


@pytest.mark.parametrize("wanted", [4, 1, 0, -1])
def test_smaller_pages_are_refused(wanted: int) -> None:
    with pytest.raises(EbsimError, match=f"Value \\( {wanted} \\) for parameter maxResults"):
        page_size(wanted)
