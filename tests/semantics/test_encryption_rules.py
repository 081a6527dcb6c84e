"""Tables 4.5, 5.2 and 5.3 of the semantics, row by row: encrypted or not, and under which key.

D is the account's default key, K the key that a request names, S that of the source snapshot.
"""

from dataclasses import dataclass

import pytest

from ebsim.core.encryption_rules import copy_key, started_key, volume_key
from ebsim.encryption import EncryptionDefaults, EncryptionRequest, EncryptionSource
from ebsim.errors import ErrorCode, InvalidInputError

D, K, S = "alias/aws/ebs", "alias/given", "arn:aws:kms:us-east-1:123456789012:key/of-source"
PLAIN = "unencrypted"
VALIDATION = ErrorCode.VALIDATION
DEPENDENCY = ErrorCode.INVALID_PARAMETER_DEPENDENCY
VALUE = ErrorCode.INVALID_PARAMETER_VALUE

SOURCES = {
    "none": None,
    "unencrypted, own": EncryptionSource(kms_key_id=None),
    "unencrypted, shared": EncryptionSource(kms_key_id=None, own=False),
    "encrypted, own": EncryptionSource(kms_key_id=S),
    "encrypted, shared": EncryptionSource(kms_key_id=S, own=False),
}
ABSENT, YES, NO = None, True, False


@dataclass(frozen=True)
class Row:
    """A row of a table: what is asked, and what comes of it."""

    source: str
    encrypted: bool | None
    key: str | None
    on: ErrorCode | str
    off: ErrorCode | str

    def __str__(self) -> str:
        flag = {None: "omitted", True: "true", False: "false"}[self.encrypted]
        return f"{self.source}/{flag}/{self.key or 'no key'}"


def outcome(table: str, row: Row, *, by_default: bool) -> ErrorCode | str:
    """Return what comes of a row: a key, that there is none, or the code of a refusal."""
    request = EncryptionRequest(encrypted=row.encrypted, kms_key_id=row.key)
    defaults = EncryptionDefaults(by_default=by_default, kms_key_id=D)
    source = SOURCES[row.source]
    try:
        if table == "5.3":
            assert source is not None
            return copy_key(request, defaults, source) or PLAIN
        rule = volume_key if table == "5.2" else started_key
        return rule(request, defaults, source) or PLAIN
    except InvalidInputError as error:
        return error.code


TABLE_5_2 = [
    # no flag, no key: unencrypted unless encryption by default is on, or the source is encrypted
    Row("none", ABSENT, None, on=D, off=PLAIN),
    Row("unencrypted, own", ABSENT, None, on=D, off=PLAIN),
    Row("unencrypted, shared", ABSENT, None, on=D, off=PLAIN),
    Row("encrypted, own", ABSENT, None, on=S, off=S),
    Row("encrypted, shared", ABSENT, None, on=D, off=D),
    # false says what no flag says: the column is "no", and with encryption by default "any"
    Row("none", NO, None, on=D, off=PLAIN),
    Row("unencrypted, own", NO, None, on=D, off=PLAIN),
    Row("unencrypted, shared", NO, None, on=D, off=PLAIN),
    Row("encrypted, own", NO, None, on=S, off=S),
    Row("encrypted, shared", NO, None, on=D, off=D),
    # the flag, no key
    Row("none", YES, None, on=D, off=D),
    Row("unencrypted, own", YES, None, on=D, off=D),
    Row("unencrypted, shared", YES, None, on=D, off=D),
    Row("encrypted, own", YES, None, on=S, off=S),
    Row("encrypted, shared", YES, None, on=D, off=D),
    # the flag and a key
    Row("none", YES, K, on=K, off=K),
    Row("unencrypted, own", YES, K, on=K, off=K),
    Row("unencrypted, shared", YES, K, on=K, off=K),
    Row("encrypted, own", YES, K, on=K, off=K),
    Row("encrypted, shared", YES, K, on=K, off=K),
    # a key without the flag is no request of EC2's (section 3.2)
    *(
        Row(source, flag, K, on=DEPENDENCY, off=DEPENDENCY)
        for source in SOURCES
        for flag in (ABSENT, NO)
    ),
]

TABLE_5_3 = [
    Row("unencrypted, own", ABSENT, None, on=D, off=PLAIN),
    Row("unencrypted, shared", ABSENT, None, on=D, off=PLAIN),
    Row("encrypted, own", ABSENT, None, on=D, off=D),
    Row("encrypted, shared", ABSENT, None, on=D, off=D),
    Row("unencrypted, own", YES, None, on=D, off=D),
    Row("unencrypted, shared", YES, None, on=D, off=D),
    Row("encrypted, own", YES, None, on=D, off=D),
    Row("encrypted, shared", YES, None, on=D, off=D),
    Row("unencrypted, own", YES, K, on=K, off=K),
    Row("unencrypted, shared", YES, K, on=K, off=K),
    Row("encrypted, own", YES, K, on=K, off=K),
    Row("encrypted, shared", YES, K, on=K, off=K),
    # false drops no encryption
    Row("unencrypted, own", NO, None, on=VALUE, off=PLAIN),
    Row("unencrypted, shared", NO, None, on=VALUE, off=PLAIN),
    Row("encrypted, own", NO, None, on=VALUE, off=VALUE),
    Row("encrypted, shared", NO, None, on=VALUE, off=VALUE),
    # a key needs the flag, also when encryption by default is on
    *(
        Row(source, flag, K, on=DEPENDENCY, off=DEPENDENCY)
        for source in SOURCES
        if source != "none"
        for flag in (ABSENT, NO)
    ),
]

TABLE_4_5 = [
    Row("unencrypted, own", ABSENT, None, on=VALIDATION, off=PLAIN),
    Row("unencrypted, own", ABSENT, K, on=VALIDATION, off=VALIDATION),
    *(
        Row(parent, flag, key, on=VALIDATION, off=VALIDATION)
        for parent in SOURCES
        if parent != "none"
        for flag in (YES, NO)
        for key in (None, K)
    ),
    Row("encrypted, own", ABSENT, None, on=S, off=S),
    Row("encrypted, own", ABSENT, K, on=VALIDATION, off=VALIDATION),
    Row("none", YES, None, on=D, off=D),
    Row("none", YES, K, on=K, off=K),
    Row("none", NO, None, on=VALIDATION, off=PLAIN),
    Row("none", NO, K, on=VALIDATION, off=VALIDATION),
    Row("none", ABSENT, None, on=D, off=PLAIN),
    Row("none", ABSENT, K, on=K, off=K),
]


@pytest.mark.parametrize("row", TABLE_5_2, ids=str)
def test_table_5_2_create_volume(row: Row) -> None:
    assert outcome("5.2", row, by_default=False) == row.off
    assert outcome("5.2", row, by_default=True) == row.on


@pytest.mark.parametrize("row", TABLE_5_3, ids=str)
def test_table_5_3_copy_snapshot(row: Row) -> None:
    assert outcome("5.3", row, by_default=False) == row.off
    assert outcome("5.3", row, by_default=True) == row.on


@pytest.mark.parametrize("row", TABLE_4_5, ids=str)
def test_table_4_5_start_snapshot(row: Row) -> None:
    assert outcome("4.5", row, by_default=False) == row.off
    assert outcome("4.5", row, by_default=True) == row.on


@pytest.mark.parametrize("table", ["4.5", "5.2", "5.3"])
def test_no_request_makes_less_of_an_encrypted_source(table: str) -> None:
    """Section 5.1, rule 1: encryption can never be removed by any copy or restore."""
    for source in ("encrypted, own", "encrypted, shared"):
        for flag in (ABSENT, YES, NO):
            for key in (None, K):
                for by_default in (False, True):
                    row = Row(source, flag, key, on="", off="")
                    assert outcome(table, row, by_default=by_default) != PLAIN


@pytest.mark.parametrize("table", ["4.5", "5.2", "5.3"])
def test_encryption_by_default_leaves_nothing_new_unencrypted(table: str) -> None:
    """Section 5.1, rule 5: it affects new volumes, copies and StartSnapshot."""
    for source in SOURCES:
        for flag in (ABSENT, YES, NO):
            for key in (None, K):
                if (table, source) != ("5.3", "none"):
                    row = Row(source, flag, key, on="", off="")
                    assert outcome(table, row, by_default=True) != PLAIN


def test_refusal_of_a_key_without_the_flag_has_ec2s_words() -> None:
    defaults = EncryptionDefaults(by_default=True, kms_key_id=D)
    with pytest.raises(InvalidInputError) as caught:
        volume_key(EncryptionRequest(kms_key_id=K), defaults, None)

    wanted = "The parameter [KmsKeyId] requires the parameter Encrypted to be set."
    assert str(caught.value) == wanted
