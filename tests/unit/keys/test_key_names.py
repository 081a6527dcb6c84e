"""What keys are called, and what a request means by a name."""

import re

import pytest

from ebsim.caller import Caller
from ebsim.errors import EbsimError, ErrorCode, InvalidInputError, NotFoundError
from ebsim.ids import (
    new_data_key_id,
    new_key_id,
    parse_account,
    parse_region,
)
from ebsim.keys.names import Reference, check_alias, is_key_id, parse_reference
from ebsim.testing.seams import SeededEntropy

KEY = "01234567-89ab-4cde-8f01-23456789abcd"
HERE = Caller("123456789012", "us-east-1")
THERE = Caller("111122223333", "us-east-1")


@pytest.mark.parametrize(
    ("text", "caller", "key_id", "alias"),
    [
        (KEY, HERE, KEY, None),
        ("alias/web", HERE, None, "alias/web"),
        ("alias/aws/ebs", HERE, None, "alias/aws/ebs"),
        (f"arn:aws:kms:us-east-1:123456789012:key/{KEY}", HERE, KEY, None),
        (f"arn:aws:kms:us-east-1:111122223333:key/{KEY}", THERE, KEY, None),
        ("arn:aws:kms:us-east-1:111122223333:alias/a/b", THERE, None, "alias/a/b"),
    ],
)
def test_reference_is_understood(
    text: str, caller: Caller, key_id: str | None, alias: str | None
) -> None:
    found = parse_reference(text, HERE)

    assert (found.caller, found.key_id, found.alias) == (caller, key_id, alias)


@pytest.mark.parametrize("text", [KEY, "alias/web"])
def test_arn_of_a_reference_means_the_same(text: str) -> None:
    found = parse_reference(text, HERE)

    assert parse_reference(found.arn, HERE) == found


def test_reference_by_key_has_the_key_s_arn() -> None:
    assert Reference(caller=THERE, alias="alias/x").arn == (
        "arn:aws:kms:us-east-1:111122223333:alias/x"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "web",
        KEY.upper(),
        KEY + "\n",
        KEY[:-1],
        "alias/",
        "alias/a b",
        "alias/web\n",
        f"key/{KEY}",
        f"arn:aws:kms:us-east-1:123456789012:{KEY}",
        f"arn:aws:kms:us-east-1:12345678901:key/{KEY}",
        f"arn:aws-cn:kms:us-east-1:123456789012:key/{KEY}",
        f"arn:aws:ec2:us-east-1:123456789012:key/{KEY}",
        "arn:aws:kms:us-east-1:123456789012:alias/a b",
        "arn:aws:kms:us-east-1:123456789012:key/mrk-1234",
    ],
)
def test_what_is_no_reference_names_no_key(text: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        parse_reference(text, HERE)

    assert caught.value.code is ErrorCode.KEY_NOT_FOUND


def test_key_of_another_region_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="eu-west-1") as caught:
        parse_reference(f"arn:aws:kms:eu-west-1:123456789012:key/{KEY}", HERE)

    assert caught.value.code is ErrorCode.KEY_NOT_FOUND


@pytest.mark.parametrize(
    "name", ["alias/a", "alias/A-b_c/9", "alias/aws", "alias/awsome/x", "alias/" + 250 * "x"]
)
def test_alias_of_a_proper_form_is_taken(name: str) -> None:
    assert check_alias(name) == name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", ErrorCode.VALIDATION),
        ("web", ErrorCode.VALIDATION),
        ("alias/", ErrorCode.VALIDATION),
        ("alias/a.b", ErrorCode.VALIDATION),
        ("alias/ä", ErrorCode.VALIDATION),
        ("alias/" + 251 * "x", ErrorCode.VALIDATION),
        ("alias/aws/ebs", ErrorCode.INVALID_ALIAS_NAME),
        ("alias/aws/mine", ErrorCode.INVALID_ALIAS_NAME),
    ],
)
def test_alias_of_another_form_or_aws_s_is_refused(name: str, code: ErrorCode) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_alias(name)

    assert caught.value.code is code


def test_ids_of_keys_are_random_uuids() -> None:
    entropy = SeededEntropy()
    ids = [new_key_id(entropy) for _ in range(50)] + [new_data_key_id(entropy) for _ in range(50)]

    assert len(set(ids)) == 100
    for each in ids:
        assert is_key_id(each)
        assert re.fullmatch(r".{8}-.{4}-4.{3}-[89ab].{3}-.{12}", each)


@pytest.mark.parametrize("text", ["123456789012", "000000000000"])
def test_account_has_twelve_digits(text: str) -> None:
    assert parse_account(text) == text


@pytest.mark.parametrize(
    "text", ["", "12345678901", "1234567890123", "12345678901a", "\u0661" * 12, "123456789012\n"]
)
def test_another_account_is_malformed(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_account(text)

    assert caught.value.code is ErrorCode.INVALID_USER_ID_MALFORMED


@pytest.mark.parametrize("text", ["us-east-1", "eu-central-2", "us-gov-west-1", "ap-southeast-5"])
def test_region_has_its_form(text: str) -> None:
    assert parse_region(text) == text


@pytest.mark.parametrize(
    "text", ["", "us-east-1a", "useast1", "us-east", "US-EAST-1", "../us-1", "us-east-1\n"]
)
def test_another_region_is_refused(text: str) -> None:
    with pytest.raises(EbsimError):
        parse_region(text)
