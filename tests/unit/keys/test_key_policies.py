"""Key policies: what of KMS's policy language is carried out, and what is refused by its name."""

import json
from typing import Any

import pytest

from ebsim.errors import EbsimError, ErrorCode
from ebsim.keys.key_policies import check_policy, default_policy, policy_allows
from ebsim.keys.records import EBS_OPERATIONS, KeyOperation

OWNER = "123456789012"
FRIEND = "111122223333"
STRANGER = "999988887777"
KEY = f"arn:aws:kms:us-east-1:{OWNER}:key/08d12fba-227d-4923-ab2d-cf7a3a4b5c3d"

USE = {  # as the console of KMS writes it for other accounts
    "Sid": "Allow use of the key",
    "Effect": "Allow",
    "Principal": {"AWS": [f"arn:aws:iam::{FRIEND}:root"]},
    "Action": [
        "kms:Encrypt",
        "kms:Decrypt",
        "kms:ReEncrypt*",
        "kms:GenerateDataKey*",
        "kms:DescribeKey",
    ],
    "Resource": "*",
}
ATTACH = {
    "Sid": "Allow attachment of persistent resources",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{FRIEND}:root"},
    "Action": ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"],
    "Resource": "*",
    "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}},
}


def policy(*statements: dict[str, Any], **members: Any) -> str:
    document = json.loads(default_policy(OWNER))
    document["Statement"] += statements
    return json.dumps({**document, **members})


def allowed(text: str, account: str) -> set[KeyOperation]:
    return {each for each in KeyOperation if policy_allows(text, account, each)}


def test_policy_that_kms_makes_is_for_the_owner_alone() -> None:
    check_policy(default_policy(OWNER), OWNER, KEY)

    assert allowed(default_policy(OWNER), FRIEND) == set()
    assert allowed("", FRIEND) == set()


def test_account_that_is_named_may_do_what_is_said() -> None:
    text = policy(USE, ATTACH)
    check_policy(text, OWNER, KEY)

    assert allowed(text, FRIEND) == set(KeyOperation) - {KeyOperation.CREATE_GRANT}
    assert allowed(text, STRANGER) == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"Action": "kms:*"}, set(KeyOperation)),
        ({"Action": "KMS:decrypt"}, {KeyOperation.DECRYPT}),
        ({"Action": ["kms:ReEncryptFrom"]}, set()),
        ({"Action": "kms:GenerateDataKe?"}, {KeyOperation.GENERATE_DATA_KEY}),
        ({"Action": "kms:ScheduleKeyDeletion"}, set()),
        ({"Resource": KEY, "Principal": {"AWS": FRIEND}, "Action": "*"}, set(KeyOperation)),
        ({"Principal": {"AWS": f"arn:aws:iam::{FRIEND}:user/x"}}, {*EBS_OPERATIONS}),
        ({"Principal": "*"}, {*EBS_OPERATIONS}),
        ({"Principal": {"AWS": "*"}, "Condition": {}}, {*EBS_OPERATIONS}),
    ],
)
def test_what_a_statement_allows(change: dict[str, Any], expected: set[KeyOperation]) -> None:
    names = [f"kms:{each}" for each in EBS_OPERATIONS if each is not KeyOperation.RE_ENCRYPT]
    text = policy({**USE, "Action": [*names, "kms:ReEncrypt*"], **change})
    check_policy(text, OWNER, KEY)

    assert allowed(text, FRIEND) == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"Effect": "Deny"}, "Deny"),
        ({"NotAction": "kms:Decrypt"}, "NotAction"),
        ({"NotPrincipal": {"AWS": "*"}}, "NotPrincipal"),
        ({"NotResource": "*"}, "NotResource"),
        ({"Principal": {"Service": "ec2.amazonaws.com"}}, "Service"),
        ({"Principal": {"Federated": "x"}}, "Federated"),
        ({"Resource": KEY.replace("08", "09")}, "resource"),
        ({"Condition": {"StringEquals": {"kms:ViaService": "ec2"}}}, "StringEquals"),
        ({"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}, "aws:MultiFactor"),
        ({"Condition": {"Bool": {"kms:GrantIsForAWSResource": "false"}}}, "GrantIsForAWS"),
    ],
)
def test_what_is_not_carried_out_is_refused_by_its_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(EbsimError, match=named) as caught:
        check_policy(policy({**USE, **change}), OWNER, KEY)

    assert caught.value.code is ErrorCode.UNSUPPORTED_KEY_OPERATION


def test_policy_that_leaves_its_owner_out_is_refused() -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": [{**USE, "Action": "kms:*"}]})

    with pytest.raises(EbsimError, match=OWNER) as caught:
        check_policy(text, OWNER, KEY)
    assert caught.value.code is ErrorCode.UNSUPPORTED_KEY_OPERATION


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 10_000,
        "{}",
        policy(Version="2020-01-01"),
        policy(Other=1),
        policy(Statement=[]),
        policy(Statement=["x"]),
        policy({**USE, "Effect": "allow"}),
        policy({**USE, "Action": []}),
        policy({**USE, "Action": "ec2:CreateVolume"}),
        policy({**USE, "Action": [1]}),
        policy({**USE, "Principal": {}}),
        policy({**USE, "Principal": {"AWS": "arn:aws:iam::1:root"}}),
        policy({**USE, "Resource": None}),
        policy({**USE, "Condition": "x"}),
        policy({**USE, "Strange": "x"}),
    ],
)
def test_what_is_no_policy_is_malformed(text: str) -> None:
    with pytest.raises(EbsimError) as caught:
        check_policy(text, OWNER, KEY)
    assert caught.value.code is ErrorCode.MALFORMED_POLICY


def test_policy_may_have_32_kib() -> None:
    text = policy()
    check_policy(text + " " * (32 * 1024 - len(text)), OWNER, KEY)

    with pytest.raises(EbsimError) as caught:
        check_policy(text + " " * (32 * 1024 - len(text) + 1), OWNER, KEY)
    assert caught.value.code is ErrorCode.POLICY_LIMIT_EXCEEDED
