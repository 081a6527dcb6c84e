"""The keyring's operations: every rule of states, rights, aliases and grants, and data keys."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebsim.caller import Caller
from ebsim.errors import CorruptionError, EbsimError, ErrorCode, InvalidInputError
from ebsim.ids import DataKeyId
from ebsim.keys import rules
from ebsim.keys.keyring import Keyring
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.keys.records import (
    EBS_OPERATIONS,
    KeyManager,
    KeyOperation,
    KeyState,
    KmsKey,
)
from ebsim.keys.wrapping import Binding
from ebsim.testing.seams import START_US, ManualClock, SeededEntropy

ALICE = Caller("123456789012", "us-east-1")
BOB = Caller("111122223333", "us-east-1")
CAROL = Caller("444455556666", "us-east-1")
ABROAD = Caller("123456789012", "eu-west-1")
STORE = b"S" * 16
DAY_US = 24 * 3600 * 1_000_000

DISABLED = ErrorCode.KEY_DISABLED
INVALID = ErrorCode.KEY_INVALID_STATE
NOT_FOUND = ErrorCode.KEY_NOT_FOUND
DENIED = ErrorCode.ACCESS_DENIED
LIMIT = ErrorCode.POLICY_LIMIT_EXCEEDED

Operation = Callable[[Keyring, str], object]


@pytest.fixture
def ring(fast_path: Path, clock: ManualClock) -> Keyring:
    return Keyring.create(
        fast_path / "keyring.json", seams=KeyringSeams(clock=clock, entropy=SeededEntropy())
    )


@pytest.fixture
def key(ring: Keyring) -> KmsKey:
    return ring.create_key(ALICE, "of the web servers")


def refused(code: ErrorCode, call: Callable[[], object]) -> EbsimError:
    with pytest.raises(EbsimError) as caught:
        call()
    assert caught.value.code is code
    return caught.value


def in_state(ring: Keyring, key: KmsKey, state: KeyState) -> str:
    if state is KeyState.DISABLED:
        ring.disable_key(ALICE, key.key_id)
    if state is KeyState.PENDING_DELETION:
        ring.schedule_key_deletion(ALICE, key.key_id)
    return key.arn


# keys


def test_new_key_is_an_enabled_customer_key(ring: Keyring, key: KmsKey) -> None:
    assert key.arn == f"arn:aws:kms:us-east-1:123456789012:key/{key.key_id}"
    assert (key.manager, key.state) == (KeyManager.CUSTOMER, KeyState.ENABLED)
    assert (key.description, key.created_us) == ("of the web servers", START_US)
    assert (key.deletion_us, key.aliases, key.grants) == (None, (), ())
    assert ring.describe_key(ALICE, key.key_id) == key


def test_keys_are_listed_by_account_and_region_oldest_first(ring: Keyring, key: KmsKey) -> None:
    second, _, _ = (ring.create_key(each) for each in (ALICE, BOB, ABROAD))

    assert ring.list_keys(ALICE) == [key, second]
    assert len(ring.list_keys(ABROAD)) == 1
    assert ring.list_keys(CAROL) == []


def test_description_is_changed_and_has_a_bound(ring: Keyring, key: KmsKey) -> None:
    assert ring.update_description(ALICE, key.arn, "ü").description == "ü"
    assert ring.describe_key(ALICE, key.arn).description == "ü"
    refused(ErrorCode.VALIDATION, lambda: ring.update_description(ALICE, key.arn, "x" * 8193))
    refused(ErrorCode.VALIDATION, lambda: ring.create_key(ALICE, "x" * 8193))


def test_there_are_so_many_keys_and_no_more(
    ring: Keyring, key: KmsKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "KEYS_MAX", 1)

    refused(LIMIT, lambda: ring.create_key(ALICE))
    refused(LIMIT, lambda: ring.default_key(ALICE))
    assert ring.list_keys(ALICE) == [key]


# states


def data_key(ring: Keyring, arn: str) -> object:
    return ring.generate_data_key(ALICE, arn, STORE)


STATES: list[tuple[str, Operation, ErrorCode | None, ErrorCode | None]] = [
    ("generate", data_key, DISABLED, INVALID),
    ("rotate", lambda ring, arn: ring.rotate_key(ALICE, arn), DISABLED, INVALID),
    ("grant", lambda ring, arn: ring.create_grant(ALICE, arn, BOB.account), DISABLED, INVALID),
    ("enable", lambda ring, arn: ring.enable_key(ALICE, arn), None, INVALID),
    ("disable", lambda ring, arn: ring.disable_key(ALICE, arn), None, INVALID),
    ("text", lambda ring, arn: ring.update_description(ALICE, arn, "x"), None, INVALID),
    ("alias", lambda ring, arn: ring.create_alias(ALICE, "alias/new", arn), None, INVALID),
    ("delete", lambda ring, arn: ring.schedule_key_deletion(ALICE, arn), None, INVALID),
    ("cancel", lambda ring, arn: ring.cancel_key_deletion(ALICE, arn), INVALID, None),
    ("describe", lambda ring, arn: ring.describe_key(ALICE, arn), None, None),
    ("list grants", lambda ring, arn: ring.list_grants(ALICE, arn), None, None),
    ("list aliases", lambda ring, arn: ring.list_aliases(ALICE, arn), None, None),
]


@pytest.mark.parametrize("state", list(KeyState))
@pytest.mark.parametrize(("name", "operation", "disabled", "pending"), STATES)
def test_state_of_a_key_decides(
    ring: Keyring,
    key: KmsKey,
    state: KeyState,
    name: str,
    operation: Operation,
    disabled: ErrorCode | None,
    pending: ErrorCode | None,
) -> None:
    arn = in_state(ring, key, state)
    enabled = INVALID if name == "cancel" else None
    expected = {
        KeyState.ENABLED: enabled,
        KeyState.DISABLED: disabled,
        KeyState.PENDING_DELETION: pending,
    }[state]

    if expected is None:
        operation(ring, arn)
        return
    before = ring.describe_key(ALICE, arn)
    error = refused(expected, lambda: operation(ring, arn))
    assert arn in str(error)
    assert ring.describe_key(ALICE, arn) == before


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_DELETION])
def test_what_a_key_wrapped_is_unreadable_at_once(
    ring: Keyring, key: KmsKey, state: KeyState
) -> None:
    made = ring.generate_data_key(ALICE, key.arn, STORE)
    binding = Binding(STORE, made.data_key_id)
    expected = DISABLED if state is KeyState.DISABLED else INVALID

    in_state(ring, key, state)

    for call in (ring.unwrap_data_key, ring.rewrap_data_key):
        refused(expected, lambda: call(ALICE, key.arn, made.wrapped, binding))  # noqa: B023
    if state is KeyState.PENDING_DELETION:
        ring.cancel_key_deletion(ALICE, key.arn)
    ring.enable_key(ALICE, key.arn)
    assert ring.unwrap_data_key(ALICE, key.arn, made.wrapped, binding) == made.plain


def test_other_handle_sees_a_disabled_key_at_once(ring: Keyring, key: KmsKey) -> None:
    other = Keyring.open(ring.path)
    made = other.generate_data_key(ALICE, key.arn, STORE)
    before = other.version()

    ring.disable_key(ALICE, key.arn)

    refused(
        DISABLED,
        lambda: other.unwrap_data_key(
            ALICE, key.arn, made.wrapped, Binding(STORE, made.data_key_id)
        ),
    )
    assert other.version() != before
    assert other.version() == other.version()


# deletion


@pytest.mark.parametrize("days", [-1, 0, 6, 31, 365])
def test_waiting_time_is_seven_to_thirty_days(ring: Keyring, key: KmsKey, days: int) -> None:
    refused(ErrorCode.VALIDATION, lambda: ring.schedule_key_deletion(ALICE, key.arn, days))


@pytest.mark.parametrize("days", [7, 30])
def test_key_is_gone_when_its_time_has_come(
    ring: Keyring, key: KmsKey, clock: ManualClock, days: int
) -> None:
    ring.create_alias(ALICE, "alias/web", key.arn)
    found = ring.schedule_key_deletion(ALICE, key.arn, days)
    assert found.deletion_us == START_US + days * DAY_US

    clock.set_us(START_US + days * DAY_US - 1)
    assert ring.describe_key(ALICE, "alias/web").state is KeyState.PENDING_DELETION
    clock.set_us(START_US + days * DAY_US)
    refused(NOT_FOUND, lambda: ring.describe_key(ALICE, key.arn))
    refused(NOT_FOUND, lambda: ring.describe_key(ALICE, "alias/web"))
    refused(NOT_FOUND, lambda: ring.cancel_key_deletion(ALICE, key.arn))
    assert ring.list_keys(ALICE) == []
    assert ring.list_aliases(ALICE) == []


def test_name_of_a_key_that_is_gone_is_free(ring: Keyring, key: KmsKey, clock: ManualClock) -> None:
    ring.create_alias(ALICE, "alias/web", key.arn)
    ring.schedule_key_deletion(ALICE, key.arn, 7)
    clock.advance(days=7)

    second = ring.create_key(ALICE)
    ring.create_alias(ALICE, "alias/web", second.key_id)

    assert ring.describe_key(ALICE, "alias/web").key_id == second.key_id


def test_clock_that_was_wrong_destroys_nothing(
    ring: Keyring, key: KmsKey, clock: ManualClock
) -> None:
    made = ring.generate_data_key(ALICE, key.arn, STORE)
    ring.schedule_key_deletion(ALICE, key.arn)
    clock.advance(days=10_000)
    ring.create_key(ALICE)  # the keyring is written while the clock is wrong

    clock.set_us(START_US)

    ring.cancel_key_deletion(ALICE, key.arn)
    ring.enable_key(ALICE, key.arn)
    binding = Binding(STORE, made.data_key_id)
    assert ring.unwrap_data_key(ALICE, key.arn, made.wrapped, binding) == made.plain


def test_destroyed_key_is_in_no_file(ring: Keyring, key: KmsKey, clock: ManualClock) -> None:
    ring.schedule_key_deletion(ALICE, key.arn, 7)
    assert ring.destroy_deleted_keys() == []
    clock.advance(days=7)

    assert ring.destroy_deleted_keys() == [key.arn]

    clock.set_us(START_US)
    refused(NOT_FOUND, lambda: ring.describe_key(ALICE, key.arn))
    assert key.key_id not in ring.path.read_text()


def test_cancelled_deletion_leaves_a_disabled_key(ring: Keyring, key: KmsKey) -> None:
    ring.schedule_key_deletion(ALICE, key.arn)

    found = ring.cancel_key_deletion(ALICE, key.arn)

    assert (found.state, found.deletion_us) == (KeyState.DISABLED, None)


# aliases


def test_alias_names_a_key(ring: Keyring, key: KmsKey) -> None:
    alias = ring.create_alias(ALICE, "alias/web", key.key_id)

    assert alias.arn == "arn:aws:kms:us-east-1:123456789012:alias/web"
    for reference in ("alias/web", alias.arn, key.key_id, key.arn):
        assert ring.resolve(reference, ALICE).key_id == key.key_id
    assert ring.list_aliases(ALICE) == ring.list_aliases(ALICE, key.arn) == [alias]


def test_aliases_are_one_each_in_an_account_and_region(ring: Keyring, key: KmsKey) -> None:
    ring.create_alias(ALICE, "alias/web", key.key_id)
    other = ring.create_key(ALICE)

    for target in (key, other):
        refused(
            ErrorCode.ALIAS_EXISTS,
            lambda: ring.create_alias(ALICE, "alias/web", target.key_id),  # noqa: B023
        )
    for caller in (BOB, ABROAD):
        ring.create_alias(caller, "alias/web", ring.create_key(caller).key_id)
        assert ring.resolve("alias/web", caller).owner == caller


def test_alias_is_moved_and_deleted(ring: Keyring, key: KmsKey) -> None:
    other = ring.create_key(ALICE)
    ring.create_alias(ALICE, "alias/web", key.key_id)

    for target in (other, other, key):
        assert ring.update_alias(ALICE, "alias/web", target.arn).key_id == target.key_id
        assert ring.describe_key(ALICE, "alias/web").key_id == target.key_id
        assert len(ring.list_aliases(ALICE)) == 1
    ring.delete_alias(ALICE, "alias/web")

    refused(NOT_FOUND, lambda: ring.describe_key(ALICE, "alias/web"))
    refused(NOT_FOUND, lambda: ring.delete_alias(ALICE, "alias/web"))
    refused(NOT_FOUND, lambda: ring.update_alias(ALICE, "alias/web", key.arn))
    assert ring.describe_key(ALICE, key.key_id) == key


def test_aliases_are_listed_by_name(ring: Keyring, key: KmsKey) -> None:
    for name in ("alias/c", "alias/a", "alias/b"):
        ring.create_alias(ALICE, name, key.arn)

    assert [each.name for each in ring.list_aliases(ALICE)] == ["alias/a", "alias/b", "alias/c"]


@pytest.mark.parametrize(
    ("name", "code"),
    [("web", ErrorCode.VALIDATION), ("alias/aws/x", ErrorCode.INVALID_ALIAS_NAME)],
)
def test_names_that_are_none_are_refused(
    ring: Keyring, key: KmsKey, name: str, code: ErrorCode
) -> None:
    refused(code, lambda: ring.create_alias(ALICE, name, key.arn))
    refused(code, lambda: ring.update_alias(ALICE, name, key.arn))
    refused(code, lambda: ring.delete_alias(ALICE, name))


def test_alias_moves_to_no_key_pending_deletion(ring: Keyring, key: KmsKey) -> None:
    other = ring.create_key(ALICE)
    ring.create_alias(ALICE, "alias/web", key.arn)
    ring.schedule_key_deletion(ALICE, other.arn)

    refused(INVALID, lambda: ring.update_alias(ALICE, "alias/web", other.arn))


def test_a_key_has_so_many_aliases_and_no_more(ring: Keyring, key: KmsKey) -> None:
    for number in range(rules.ALIASES_MAX):
        ring.create_alias(ALICE, f"alias/{number}", key.arn)

    refused(LIMIT, lambda: ring.create_alias(ALICE, "alias/more", key.arn))


# the default key


def test_default_key_is_made_at_the_first_need(ring: Keyring) -> None:
    refused(NOT_FOUND, lambda: ring.describe_key(ALICE, "alias/aws/ebs"))

    found = ring.default_key(ALICE)

    assert (found.manager, found.is_default) == (KeyManager.AWS, True)
    assert found == ring.default_key(ALICE) == ring.resolve("alias/aws/ebs", ALICE)
    assert found == ring.describe_key(ALICE, "alias/aws/ebs")
    assert ring.list_keys(ALICE) == [found]


def test_default_key_is_made_when_it_is_named(ring: Keyring) -> None:
    reference = "arn:aws:kms:us-east-1:123456789012:alias/aws/ebs"

    assert ring.resolve(reference, ALICE) == ring.resolve("alias/aws/ebs", ALICE)


def test_default_key_is_one_in_each_account_and_region(ring: Keyring) -> None:
    keys = {ring.default_key(caller).arn for caller in (ALICE, BOB, ABROAD)}

    assert len(keys) == 3


@pytest.mark.parametrize(
    "operation",
    [
        lambda ring, arn: ring.disable_key(ALICE, arn),
        lambda ring, arn: ring.enable_key(ALICE, arn),
        lambda ring, arn: ring.schedule_key_deletion(ALICE, arn),
        lambda ring, arn: ring.cancel_key_deletion(ALICE, arn),
        lambda ring, arn: ring.create_grant(ALICE, arn, BOB.account),
        lambda ring, arn: ring.rotate_key(ALICE, arn),
        lambda ring, arn: ring.update_description(ALICE, arn, "mine"),
        lambda ring, arn: ring.create_alias(ALICE, "alias/mine", arn),
    ],
)
def test_default_key_is_never_disabled_deleted_shared_or_changed(
    ring: Keyring, operation: Operation
) -> None:
    key = ring.default_key(ALICE)

    refused(DENIED, lambda: operation(ring, key.arn))

    assert ring.default_key(ALICE) == key


def test_default_key_of_another_is_nobody_s(ring: Keyring) -> None:
    key = ring.default_key(ALICE)

    refused(DENIED, lambda: ring.resolve(key.arn, BOB))
    refused(DENIED, lambda: ring.generate_data_key(BOB, key.arn, STORE))
    refused(
        NOT_FOUND, lambda: ring.resolve("arn:aws:kms:us-east-1:444455556666:alias/aws/ebs", BOB)
    )


# rights


def calls(ring: Keyring, caller: Caller, arn: str) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "describe", lambda: ring.describe_key(caller, arn)
    yield "resolve", lambda: ring.resolve(arn, caller)
    yield "generate", lambda: ring.generate_data_key(caller, arn, STORE)
    yield "grant", lambda: ring.create_grant(caller, arn, CAROL.account)
    yield "list grants", lambda: ring.list_grants(caller, arn)
    yield "list aliases", lambda: ring.list_aliases(caller, arn)
    yield "enable", lambda: ring.enable_key(caller, arn)
    yield "disable", lambda: ring.disable_key(caller, arn)
    yield "delete", lambda: ring.schedule_key_deletion(caller, arn)
    yield "cancel", lambda: ring.cancel_key_deletion(caller, arn)
    yield "rotate", lambda: ring.rotate_key(caller, arn)
    yield "text", lambda: ring.update_description(caller, arn, "x")
    yield "alias", lambda: ring.create_alias(caller, "alias/mine", arn)


def test_another_account_may_do_nothing(ring: Keyring, key: KmsKey) -> None:
    for name, call in calls(ring, BOB, key.arn):
        error = refused(DENIED, call)
        assert (BOB.account in str(error), key.arn in str(error)) == (True, True), name

    assert ring.describe_key(ALICE, key.arn) == key


def test_grantee_may_use_the_key_and_not_manage_it(ring: Keyring, key: KmsKey) -> None:
    ring.create_grant(ALICE, key.arn, BOB.account)
    allowed = {"describe", "resolve", "generate", "grant"}

    for name, call in calls(ring, BOB, key.arn):
        if name in allowed:
            call()
        else:
            refused(DENIED, call)


def test_key_of_another_account_is_named_by_arn_only(ring: Keyring, key: KmsKey) -> None:
    ring.create_alias(ALICE, "alias/web", key.arn)
    ring.create_grant(ALICE, key.arn, BOB.account)

    for reference in (key.key_id, "alias/web"):
        refused(NOT_FOUND, lambda: ring.resolve(reference, BOB))  # noqa: B023
    for reference in (key.arn, "arn:aws:kms:us-east-1:123456789012:alias/web"):
        assert ring.resolve(reference, BOB).key_id == key.key_id


def test_key_stays_in_its_region(ring: Keyring, key: KmsKey) -> None:
    for reference in (key.key_id, key.arn):
        refused(NOT_FOUND, lambda: ring.resolve(reference, ABROAD))  # noqa: B023


@pytest.mark.parametrize("missing", list(KeyOperation))
def test_each_operation_needs_its_right(ring: Keyring, key: KmsKey, missing: KeyOperation) -> None:
    made = ring.generate_data_key(ALICE, key.arn, STORE)
    binding = Binding(STORE, made.data_key_id)
    needing: dict[KeyOperation, Callable[[], object]] = {
        KeyOperation.CREATE_GRANT: lambda: ring.create_grant(
            BOB, key.arn, CAROL.account, [KeyOperation.CREATE_GRANT]
        ),
        KeyOperation.DECRYPT: lambda: ring.unwrap_data_key(BOB, key.arn, made.wrapped, binding),
        KeyOperation.DESCRIBE_KEY: lambda: ring.describe_key(BOB, key.arn),
        KeyOperation.GENERATE_DATA_KEY: lambda: None,
        KeyOperation.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT: lambda: ring.wrap_data_key(
            BOB, key.arn, made.plain, binding
        ),
        KeyOperation.RE_ENCRYPT: lambda: ring.rewrap_data_key(BOB, key.arn, made.wrapped, binding),
    }
    ring.create_grant(
        ALICE, key.arn, BOB.account, [each for each in KeyOperation if each != missing]
    )

    for operation, call in needing.items():
        if operation is not missing or operation is KeyOperation.GENERATE_DATA_KEY:
            call()
        else:
            refused(DENIED, call)


# grants


def test_grant_says_what_it_gives(ring: Keyring, key: KmsKey) -> None:
    grant = ring.create_grant(ALICE, key.arn, BOB.account, [KeyOperation.DECRYPT], "to Bob")

    assert (grant.grantee, grant.issuer, grant.name) == (BOB.account, ALICE.account, "to Bob")
    assert grant.operations == (KeyOperation.DECRYPT,)
    assert len(grant.grant_id) == 64
    assert ring.list_grants(ALICE, key.arn) == [grant]


def test_equal_grant_is_the_same(ring: Keyring, key: KmsKey) -> None:
    first = ring.create_grant(ALICE, key.arn, BOB.account)
    version = ring.version()

    assert ring.create_grant(ALICE, key.arn, BOB.account, reversed(EBS_OPERATIONS)) == first
    assert ring.version() == version
    assert ring.create_grant(ALICE, key.arn, BOB.account, name="another") != first
    assert len(ring.list_grants(ALICE, key.arn)) == 2


def test_grantee_passes_on_no_more_than_he_has(ring: Keyring, key: KmsKey) -> None:
    given = [KeyOperation.CREATE_GRANT, KeyOperation.DECRYPT]
    ring.create_grant(ALICE, key.arn, BOB.account, given)

    refused(DENIED, lambda: ring.create_grant(BOB, key.arn, CAROL.account))
    grant = ring.create_grant(BOB, key.arn, CAROL.account, [KeyOperation.DECRYPT])

    assert grant.issuer == BOB.account


@pytest.mark.parametrize("who", [ALICE, BOB, CAROL])
def test_grant_is_ended_by_owner_issuer_and_grantee(
    ring: Keyring, key: KmsKey, who: Caller
) -> None:
    ring.create_grant(ALICE, key.arn, BOB.account)
    grant = ring.create_grant(BOB, key.arn, CAROL.account)

    ring.retire_grant(who, key.arn, grant.grant_id)

    refused(DENIED, lambda: ring.describe_key(CAROL, key.arn))
    refused(NOT_FOUND, lambda: ring.retire_grant(who, key.arn, grant.grant_id))


def test_grant_of_others_is_not_found(ring: Keyring, key: KmsKey) -> None:
    grant = ring.create_grant(ALICE, key.arn, BOB.account)

    refused(NOT_FOUND, lambda: ring.retire_grant(CAROL, key.arn, grant.grant_id))
    refused(NOT_FOUND, lambda: ring.retire_grant(ALICE, key.arn, "0" * 64))
    assert ring.list_grants(ALICE, key.arn) == [grant]


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_DELETION])
def test_grant_is_ended_in_every_state(ring: Keyring, key: KmsKey, state: KeyState) -> None:
    grant = ring.create_grant(ALICE, key.arn, BOB.account)
    in_state(ring, key, state)

    ring.retire_grant(ALICE, key.arn, grant.grant_id)

    assert ring.list_grants(ALICE, key.arn) == []


@pytest.mark.parametrize(
    ("grantee", "operations", "name", "code"),
    [
        ("bob", EBS_OPERATIONS, "", ErrorCode.INVALID_USER_ID_MALFORMED),
        (BOB.account, (), "", ErrorCode.VALIDATION),
        (BOB.account, EBS_OPERATIONS, "x" * 257, ErrorCode.VALIDATION),
    ],
)
def test_grant_of_another_form_is_refused(
    ring: Keyring,
    key: KmsKey,
    grantee: str,
    operations: tuple[KeyOperation, ...],
    name: str,
    code: ErrorCode,
) -> None:
    refused(code, lambda: ring.create_grant(ALICE, key.arn, grantee, operations, name))


def test_a_key_has_so_many_grants_and_no_more(
    ring: Keyring, key: KmsKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "GRANTS_MAX", 1)
    ring.create_grant(ALICE, key.arn, BOB.account)

    refused(LIMIT, lambda: ring.create_grant(ALICE, key.arn, CAROL.account))


# data keys and rotation


def test_data_key_comes_back(ring: Keyring, key: KmsKey) -> None:
    made = ring.generate_data_key(ALICE, key.key_id, STORE)

    found = ring.unwrap_data_key(
        ALICE, made.key_arn, made.wrapped, Binding(STORE, made.data_key_id)
    )

    assert made.key_arn == key.arn
    assert found == made.plain
    assert len(found) == 32
    assert made.plain not in made.wrapped


def test_data_key_opens_for_its_store_its_id_and_its_key_only(ring: Keyring, key: KmsKey) -> None:
    made = ring.generate_data_key(ALICE, key.arn, STORE)
    other = ring.create_key(ALICE)

    for arn, binding in (
        (key.arn, Binding(b"T" * 16, made.data_key_id)),
        (key.arn, Binding(STORE, DataKeyId(made.data_key_id[::-1]))),
        (other.arn, Binding(STORE, made.data_key_id)),
    ):
        with pytest.raises(EbsimError) as caught:
            ring.unwrap_data_key(ALICE, arn, made.wrapped, binding)
        assert caught.value.code in (ErrorCode.CORRUPT_KEYRING, ErrorCode.WRONG_KEY)


def test_rotation_keeps_what_was_wrapped_readable(ring: Keyring, key: KmsKey) -> None:
    made = ring.generate_data_key(ALICE, key.arn, STORE)
    binding = Binding(STORE, made.data_key_id)

    assert len(ring.rotate_key(ALICE, key.arn).materials) == 2
    rotated = ring.rotate_key(ALICE, key.arn)

    assert [each.version for each in rotated.materials] == [1, 2, 3]
    assert ring.unwrap_data_key(ALICE, key.arn, made.wrapped, binding) == made.plain


def test_rewrapping_makes_the_newest_material_wrap(ring: Keyring, key: KmsKey) -> None:
    made = ring.generate_data_key(ALICE, key.arn, STORE)
    binding = Binding(STORE, made.data_key_id)
    assert ring.rewrap_data_key(ALICE, key.arn, made.wrapped, binding) == made.wrapped
    ring.rotate_key(ALICE, key.arn)

    again = ring.rewrap_data_key(ALICE, key.arn, made.wrapped, binding)

    assert again != made.wrapped
    assert ring.rewrap_data_key(ALICE, key.arn, again, binding) == again
    assert ring.unwrap_data_key(ALICE, key.arn, again, binding) == made.plain


def test_rotations_have_a_bound(
    ring: Keyring, key: KmsKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "VERSIONS_MAX", 1)

    refused(LIMIT, lambda: ring.rotate_key(ALICE, key.arn))


def test_wrapped_key_of_a_version_that_is_not_there_is_damage(ring: Keyring, key: KmsKey) -> None:
    made = ring.generate_data_key(ALICE, key.arn, STORE)
    forged = made.wrapped[:4] + (9).to_bytes(4, "little") + made.wrapped[8:]

    with pytest.raises(CorruptionError, match="version 9"):
        ring.unwrap_data_key(ALICE, key.arn, forged, Binding(STORE, made.data_key_id))


def test_every_byte_of_a_wrapped_data_key_counts(ring: Keyring, key: KmsKey) -> None:
    made = ring.generate_data_key(ALICE, key.arn, STORE)
    for position in range(len(made.wrapped)):
        forged = bytearray(made.wrapped)
        forged[position] ^= 0x10
        with pytest.raises(EbsimError):
            ring.unwrap_data_key(ALICE, key.arn, bytes(forged), Binding(STORE, made.data_key_id))


# secrecy


def test_no_secret_is_shown(ring: Keyring, key: KmsKey) -> None:
    made = ring.generate_data_key(ALICE, key.arn, STORE)
    shown = repr((ring, ring._ring, ring._ring.present(), made, ring.describe_key(ALICE, key.arn)))
    root = ring._ring.present().materials.root

    for secret in (root, made.plain):
        assert repr(secret) not in shown
        assert secret.hex() not in shown


def test_wrong_usage_is_found_before_anything_is_written(ring: Keyring) -> None:
    version = ring.version()

    with pytest.raises(InvalidInputError):
        ring.create_key(ALICE, "x" * 10_000)

    assert ring.version() == version
