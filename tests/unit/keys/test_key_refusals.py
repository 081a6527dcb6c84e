"""The table of refusals about keys: every row has a code, and names what was refused."""

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.errors import ConflictError, EbsimError, ErrorCode, NotFoundError
from ebsim.keys import refusals

ARN = "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-4cde-8f01-23456789abcd"
ROWS = {
    name: function
    for name, function in vars(refusals).items()
    if inspect.isfunction(function)
    and function.__module__ == refusals.__name__
    and name != "unusable_key"
}
SAMPLES: dict[object, object] = {
    int: 7,
    str: ARN,
    Path: Path("keys/keyring.json"),
    EbsimError: NotFoundError(f"no key {ARN}"),
}


def sample(function: Callable[..., EbsimError]) -> EbsimError:
    types = inspect.get_annotations(function)
    return function(*(SAMPLES[kind] for name, kind in types.items() if name != "return"))


@pytest.mark.parametrize("name", ROWS)
def test_row_is_an_error_with_a_code_that_names_its_subject(name: str) -> None:
    error = sample(ROWS[name])

    assert isinstance(error.code, ErrorCode)
    assert error.code is not ErrorCode.INTERNAL_ERROR
    assert "\n" not in str(error)
    if inspect.signature(ROWS[name]).parameters:
        assert any(each in str(error) for each in (ARN, "keys/keyring.json", "7"))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    "error",
    [
        refusals.key_not_found(ARN),
        refusals.key_disabled(ARN),
        refusals.key_pending_deletion(ARN),
        refusals.access_denied("111122223333", "Decrypt", ARN),
    ],
)
def test_what_kms_refuses_is_a_revoked_key_to_ec2(error: EbsimError) -> None:
    found = refusals.unusable_key("alias/web", error)

    assert isinstance(found, ConflictError)
    assert found.code is ErrorCode.CUSTOMER_KEY_REVOKED
    assert "alias/web" in str(found)
    assert str(error) in str(found)


@pytest.mark.parametrize(
    "error", [refusals.wrong_secret("passphrase"), refusals.keyring_damaged("why")]
)
def test_other_errors_stay_what_they_are(error: EbsimError) -> None:
    assert refusals.unusable_key("alias/web", error) is error
