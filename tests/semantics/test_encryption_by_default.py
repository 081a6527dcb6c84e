"""Encryption by default and the default key: EC2's six operations (semantics section 11.5)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.core.encryption_keys import key_to_decrypt, key_to_encrypt, load_defaults
from ebsim.encryption import EncryptionDefaults
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError, ErrorCode
from ebsim.testing.invariants import assert_healthy

ALIAS = "alias/aws/ebs"
OTHER = "111122223333"
UNKNOWN = "1234abcd-12ab-34cd-56ef-1234567890ab"
REVOKED = ErrorCode.CUSTOMER_KEY_REVOKED


def refused(call: Callable[[], object]) -> EbsimError:
    with pytest.raises(EbsimError) as caught:
        call()
    return caught.value


def test_nothing_is_encrypted_by_default_at_first(store: Store) -> None:
    assert store.encryption.get_by_default() is False


def test_enabling_and_disabling_hold_until_the_next(store: Store) -> None:
    for _ in range(2):
        store.encryption.enable_by_default()
        assert store.encryption.get_by_default() is True
    for _ in range(2):
        store.encryption.disable_by_default()
        assert store.encryption.get_by_default() is False


def test_it_is_set_for_an_account_and_region(store: Store) -> None:
    """Rule 5: per account and Region."""
    store.encryption.enable_by_default()
    key = store.keys.create()
    store.encryption.modify_default_kms_key_id(key.key_id)

    for other in (store.as_account(OTHER), store.as_account(region="eu-central-1")):
        assert other.encryption.defaults() == EncryptionDefaults(by_default=False, kms_key_id=ALIAS)


def test_looking_makes_no_key(store: Store) -> None:
    assert store.encryption.get_default_kms_key_id() == ALIAS
    assert store.encryption.reset_default_kms_key_id() == ALIAS
    assert not (store.path / "keyring.json").exists()


def test_default_key_is_the_aws_managed_key_once_it_is_there(store: Store) -> None:
    """Rule 5: AWS managed alias/aws/ebs unless another was set."""
    made = store.keys.get(ALIAS)

    assert made.manager == "AWS"
    assert store.encryption.get_default_kms_key_id() == made.arn


@pytest.mark.parametrize("form", ["id", "arn", "alias", "alias arn"])
def test_another_key_is_named_in_any_form_and_told_by_its_arn(store: Store, form: str) -> None:
    key = store.keys.create(alias="alias/web")
    name = {
        "id": key.key_id,
        "arn": key.arn,
        "alias": "alias/web",
        "alias arn": "arn:aws:kms:us-east-1:123456789012:alias/web",
    }[form]

    assert store.encryption.modify_default_kms_key_id(name) == key.arn
    assert store.encryption.get_default_kms_key_id() == key.arn


def test_alias_is_looked_up_when_it_is_set(store: Store) -> None:
    first, second = store.keys.create(alias="alias/web"), store.keys.create()
    store.encryption.modify_default_kms_key_id("alias/web")
    store.keys.update_alias("alias/web", second.key_id)

    assert store.encryption.get_default_kms_key_id() == first.arn


def test_reset_returns_to_the_aws_managed_key(store: Store) -> None:
    """Rule 5: ResetEbsDefaultKmsKeyId returns to aws/ebs."""
    store.encryption.modify_default_kms_key_id(store.keys.create().arn)
    managed = store.keys.get(ALIAS)

    assert store.encryption.reset_default_kms_key_id() == managed.arn
    assert store.encryption.get_default_kms_key_id() == managed.arn


def test_aws_managed_key_can_be_named_and_is_made_then(store: Store) -> None:
    arn = store.encryption.modify_default_kms_key_id(ALIAS)

    assert store.keys.get(ALIAS).arn == arn
    assert store.encryption.get_default_kms_key_id() == arn


def test_changing_the_key_leaves_encryption_by_default_as_it_is(store: Store) -> None:
    store.encryption.enable_by_default()
    key = store.keys.create()
    store.encryption.modify_default_kms_key_id(key.arn)
    assert store.encryption.defaults() == EncryptionDefaults(by_default=True, kms_key_id=key.arn)

    store.encryption.disable_by_default()
    assert store.encryption.get_default_kms_key_id() == key.arn


@pytest.mark.parametrize(
    "name",
    [
        UNKNOWN,
        "alias/none",
        "nonsense",
        f"arn:aws:kms:eu-west-1:123456789012:key/{UNKNOWN}",
        f"arn:aws:kms:us-east-1:{OTHER}:key/{UNKNOWN}",
    ],
)
def test_key_that_does_not_exist_here_is_refused(store: Store, name: str) -> None:
    store.keys.create()
    error = refused(lambda: store.encryption.modify_default_kms_key_id(name))

    assert error.code is REVOKED
    assert name in str(error)
    assert store.encryption.get_default_kms_key_id() == ALIAS


def test_key_of_another_region_is_refused(store: Store) -> None:
    abroad = store.as_account(region="eu-west-1").keys.create()

    for name in (abroad.key_id, abroad.arn):
        assert refused(lambda: store.encryption.modify_default_kms_key_id(name)).code is REVOKED  # noqa: B023


def test_key_that_cannot_be_used_is_refused(store: Store) -> None:
    disabled, doomed = store.keys.create(), store.keys.create()
    store.keys.disable(disabled.arn)
    store.keys.schedule_deletion(doomed.arn)

    for key in (disabled, doomed):
        assert refused(lambda: store.encryption.modify_default_kms_key_id(key.arn)).code is REVOKED  # noqa: B023


def test_key_of_another_account_needs_a_grant(store: Store) -> None:
    """Rule 7: what KMS must allow."""
    other = store.as_account(OTHER)
    key = store.keys.create()
    assert refused(lambda: other.encryption.modify_default_kms_key_id(key.arn)).code is REVOKED

    store.keys.create_grant(key.arn, OTHER)
    assert other.encryption.modify_default_kms_key_id(key.arn) == key.arn


def test_what_is_set_survives_a_rebuild(store_path: Path, seams: Seams) -> None:
    with Store.create(store_path, seams) as store:
        store.encryption.enable_by_default()
        key = store.keys.create()
        store.encryption.modify_default_kms_key_id(key.arn)
        store.as_account(OTHER).encryption.enable_by_default()
        before = (store.encryption.defaults(), store.as_account(OTHER).encryption.defaults())
    assert Store.rebuild(store_path, seams).findings == ()

    with Store.open(store_path, seams) as store:
        after = (store.encryption.defaults(), store.as_account(OTHER).encryption.defaults())
        assert after == before
        assert store.keys.list() == [key]
        assert_healthy(store)


def test_public_access_and_encryption_do_not_touch_each_other(store: Store) -> None:
    from ebsim.permissions import PublicAccess

    store.permissions.public_access = PublicAccess.BLOCK_ALL_SHARING
    store.encryption.enable_by_default()

    assert store.permissions.public_access is PublicAccess.BLOCK_ALL_SHARING
    assert store.encryption.get_by_default() is True


# what the engine asks before it encrypts


def test_rules_are_asked_with_the_callers_settings(store: Store) -> None:
    store.encryption.enable_by_default()
    with store._context.catalog.read() as reader:
        found = load_defaults(reader, store.caller)
        others = load_defaults(reader, store.as_account(OTHER).caller)

    assert found == EncryptionDefaults(by_default=True, kms_key_id=ALIAS)
    assert others == EncryptionDefaults(by_default=False, kms_key_id=ALIAS)


def test_first_encrypted_resource_makes_keyring_and_default_key(store: Store) -> None:
    key = key_to_encrypt(store._context, ALIAS)

    assert key.is_default
    assert key.owner == store.caller
    assert (store.path / "keyring.json").exists()


def test_each_account_and_region_has_a_default_key_of_its_own(store: Store) -> None:
    contexts = [
        each._context
        for each in (store, store.as_account(OTHER), store.as_account(region="eu-west-1"))
    ]

    assert len({key_to_encrypt(context, ALIAS).arn for context in contexts}) == 3


def test_reading_needs_the_key_to_be_usable(store: Store) -> None:
    key = store.keys.create()
    other = store.as_account(OTHER)._context
    assert key_to_decrypt(store._context, key.arn).arn == key.arn
    assert refused(lambda: key_to_decrypt(other, key.arn)).code is REVOKED

    store.keys.create_grant(key.arn, OTHER)
    assert key_to_decrypt(other, key.arn).arn == key.arn

    store.keys.disable(key.arn)
    for context in (other, store._context):
        assert refused(lambda: key_to_decrypt(context, key.arn)).code is REVOKED  # noqa: B023
