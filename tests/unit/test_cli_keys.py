"""The commands on keys and encryption by default, on real stores, and what opens the keyring."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ebsim.cli import keys
from ebsim.cli.environment import Environment, parse_environment
from ebsim.cli.keys import KeyOptions, ask_new_passphrase
from ebsim.cli.main import run
from ebsim.cli.stores import EngineStores
from ebsim.errors import EbsimError, ErrorCode
from ebsim.testing.shell import Shell

OTHER = "111122223333"
ALIAS = "alias/web"


class KeyShell(Shell):
    """Commands on one store."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str], **variables: str) -> None:
        super().__init__(self._run_here, capsys)
        self.path = path
        self.variables = {"EBSIM_STORE": str(path), **variables}

    def _run_here(self, arguments: list[str]) -> int:
        environment = parse_environment(self.variables)
        options = KeyOptions.from_environment(environment)
        return run(arguments, environment, EngineStores(keys=options), keys=options)

    def refused(self, *arguments: str) -> str:
        return str(self.json(*arguments, code=1)["Error"]["Code"])


@pytest.fixture
def shell(store_path: Path, capsys: pytest.CaptureFixture[str]) -> KeyShell:
    made = KeyShell(store_path, capsys)
    made("init")
    return made


@pytest.fixture
def key(shell: KeyShell) -> dict[str, Any]:
    made = shell.json("key", "create", "--alias", ALIAS, "--description", "web")
    return dict(made["KeyMetadata"])


def secret_file(path: Path, content: bytes = b"K" * 64) -> str:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return str(path)


# keys


def test_new_key_is_told_as_kms_tells_it(key: dict[str, Any]) -> None:
    assert key["Arn"] == f"arn:aws:kms:us-east-1:123456789012:key/{key['KeyId']}"
    assert (key["AWSAccountId"], key["Description"]) == ("123456789012", "web")
    assert (key["KeyState"], key["Enabled"], key["KeyManager"]) == ("Enabled", True, "CUSTOMER")
    assert (key["KeyUsage"], key["KeySpec"]) == ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT")
    assert key["Aliases"] == [ALIAS]


def test_first_key_makes_the_store(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    KeyShell(store_path, capsys)("key", "create")
    assert (store_path / "keyring.json").exists()


def test_keys_are_listed_and_shown(shell: KeyShell, key: dict[str, Any]) -> None:
    document = shell.json("key", "list")
    assert document == {
        "Keys": [{"KeyId": key["KeyId"], "KeyArn": key["Arn"]}],
        "Truncated": False,
    }
    for name in (key["KeyId"], key["Arn"], ALIAS):
        assert shell.json("key", "show", name)["KeyMetadata"] == key
    assert ALIAS in shell("key", "list")
    assert "Enabled" in shell("key", "show", ALIAS)
    assert shell("--account", OTHER, "key", "list") == "No keys.\n"


def test_states_of_a_key(shell: KeyShell, key: dict[str, Any]) -> None:
    arn = key["Arn"]
    assert shell.json("key", "disable", ALIAS) == {"KeyId": arn, "KeyState": "Disabled"}
    assert "cannot be read" in shell("key", "disable", ALIAS)
    assert shell.json("key", "enable", ALIAS) == {"KeyId": arn, "KeyState": "Enabled"}
    assert "is enabled" in shell("key", "enable", ALIAS)
    going = shell.json("key", "schedule-deletion", ALIAS, "--days", "7")
    assert (going["KeyId"], going["KeyState"]) == (arn, "PendingDeletion")
    assert going["PendingWindowInDays"] == 7
    assert going["DeletionDate"]
    assert shell.refused("key", "enable", ALIAS) == "KMSInvalidStateException"
    assert "Gone at" in shell("key", "show", ALIAS)
    assert shell.json("key", "cancel-deletion", ALIAS)["KeyState"] == "Disabled"
    assert "cancel-deletion" in shell("key", "schedule-deletion", ALIAS)
    assert shell.refused("key", "schedule-deletion", ALIAS, "--days", "6") == "ValidationException"
    assert shell.json("key", "destroy-deleted") == {"KeyArns": []}
    assert "No key" in shell("key", "destroy-deleted")


def test_key_is_rotated_and_a_new_recovery_copy_asked_for(
    shell: KeyShell, key: dict[str, Any]
) -> None:
    assert shell.json("key", "rotate", ALIAS) == {"KeyId": key["Arn"]}
    assert "ebsim key export" in shell("key", "rotate", ALIAS)
    assert shell.json("key", "show", ALIAS)["KeyMetadata"]["Rotations"] == 2


def test_aliases(shell: KeyShell, key: dict[str, Any]) -> None:
    other = shell.json("key", "create")["KeyMetadata"]["KeyId"]
    made = shell.json("key", "alias", "create", "alias/two", other)
    assert made == {
        "AliasName": "alias/two",
        "AliasArn": "arn:aws:kms:us-east-1:123456789012:alias/two",
        "TargetKeyId": other,
    }
    assert shell.json("key", "alias", "list") == {
        "Aliases": [made, {**made, **_alias(ALIAS, key["KeyId"])}],
        "Truncated": False,
    }
    assert shell.json("key", "alias", "list", other)["Aliases"] == [made]
    moved = shell.json("key", "alias", "update", "alias/two", ALIAS)
    assert moved["TargetKeyId"] == key["KeyId"]
    assert shell.json("key", "alias", "delete", "alias/two") == {"AliasName": "alias/two"}
    assert shell.refused("key", "alias", "delete", "alias/two") == "NotFoundException"
    assert shell.refused("key", "alias", "create", "two", other) == "ValidationException"
    assert "alias/web" in shell("key", "alias", "list")


def _alias(name: str, key_id: str) -> dict[str, str]:
    arn = f"arn:aws:kms:us-east-1:123456789012:{name}"
    return {"AliasName": name, "AliasArn": arn, "TargetKeyId": key_id}


def test_grants(shell: KeyShell, key: dict[str, Any]) -> None:
    made = shell.json(
        "key", "grant", "create", ALIAS, "--grantee", OTHER, "--operation", "Decrypt", "--name", "n"
    )
    assert made["Operations"] == ["Decrypt"]
    assert made["GranteePrincipal"] == f"arn:aws:iam::{OTHER}:root"
    assert shell.json("key", "grant", "list", ALIAS) == {"Grants": [made], "Truncated": False}
    assert OTHER in shell("key", "grant", "list", ALIAS)
    everything = shell.json("key", "grant", "create", ALIAS, "--grantee", OTHER)["Operations"]
    assert "GenerateDataKeyWithoutPlaintext" in everything
    ended = shell.json("key", "grant", "retire", ALIAS, made["GrantId"])
    assert ended == {"GrantId": made["GrantId"]}
    assert shell.refused("key", "grant", "retire", ALIAS, made["GrantId"]) == "NotFoundException"
    assert shell.refused("key", "grant", "create", ALIAS, "--grantee", "me") == (
        "InvalidUserID.Malformed"
    )
    assert key["KeyId"]


# the keyring


def test_lost_keyring_comes_back_from_its_recovery_copy(
    shell: KeyShell, key: dict[str, Any], fast_path: Path
) -> None:
    copy = str(fast_path / "copy")
    assert shell.json("key", "export", copy) == {"RecoveryCopy": copy}
    assert shell.refused("key", "export", copy) == "KeyringExists"
    assert shell.refused("key", "recover", copy) == "KeyringExists"
    (shell.path / "keyring.json").unlink()
    assert shell.refused("key", "list") == "KeyringNotFound"
    made = shell.json("key", "recover", copy)
    assert made == {"Keyring": str(shell.path / "keyring.json"), "Keys": 1}
    assert shell.json("key", "show", ALIAS)["KeyMetadata"]["KeyId"] == key["KeyId"]


def test_recovery_copy_that_is_not_there_is_told(shell: KeyShell, fast_path: Path) -> None:
    assert "No such file" in shell.failing("key", "recover", str(fast_path / "none"))


def test_keyring_lies_where_init_said(
    fast_path: Path, store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = fast_path / "elsewhere.json"
    shell = KeyShell(store_path, capsys)
    shell("init", "--keyring", str(place))
    shell("key", "create")
    assert place.exists()
    assert not (store_path / "keyring.json").exists()


@pytest.mark.usefixtures("key")
def test_keyring_can_be_moved(shell: KeyShell, fast_path: Path) -> None:
    inside, outside = shell.path / "keyring.json", fast_path / "moved.json"
    assert shell.json("key", "place") == {"Keyring": str(inside), "Exists": True}
    assert "no keyring" in shell("key", "place", str(outside))
    assert shell.refused("key", "list") == "KeyringNotFound"
    inside.rename(outside)
    assert shell.json("key", "place") == {"Keyring": str(outside), "Exists": True}
    shell("key", "create")
    outside.rename(inside)
    assert str(inside) in shell("key", "place", "--in-store")
    assert len(shell.json("key", "list")["Keys"]) == 2
    shell("key", "place", str(outside), "--in-store", code=2)


@pytest.mark.usefixtures("key")
def test_another_keyring_is_no_place(
    shell: KeyShell, fast_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    KeyShell(fast_path / "other", capsys)("key", "create")
    place = str(fast_path / "other" / "keyring.json")
    assert shell.refused("key", "place", place) == "WrongKey"
    assert shell.json("key", "place")["Keyring"] == str(shell.path / "keyring.json")


def test_no_store_is_made_where_its_keyring_cannot_be(
    store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = KeyShell(store_path, capsys)
    assert shell.refused("init", "--keyring", str(store_path / "ring")) == "InvalidParameterValue"
    assert not store_path.exists()


def test_environment_is_not_kept_by_init(
    fast_path: Path, store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = KeyShell(store_path, capsys, EBSIM_KEYRING=str(fast_path / "ring"))
    shell("init")
    shell("key", "create")
    assert (fast_path / "ring").exists()
    assert KeyShell(store_path, capsys).refused("key", "list") == "KeyringNotFound"


@pytest.mark.parametrize("before", [True, False])
def test_options_win_over_the_environment_wherever_they_stand(
    shell: KeyShell, fast_path: Path, *, before: bool
) -> None:
    shell.variables["EBSIM_KEYRING"] = str(fast_path / "one")
    option = ["--keyring", str(fast_path / "two")]
    command = ["key", "create"]
    shell(*(option + command if before else command + option))
    assert not (fast_path / "one").exists()
    assert (fast_path / "two").exists()


def protect_with_a_key_file(shell: KeyShell, fast_path: Path) -> str:
    name = secret_file(fast_path / "file")
    assert shell.json("key", "protect", "--new-key-file", name)["Protection"] == "key-file"
    return name


@pytest.mark.usefixtures("key")
def test_key_file_opens_the_keyring(shell: KeyShell, fast_path: Path) -> None:
    name = protect_with_a_key_file(shell, fast_path)
    other = secret_file(fast_path / "other", b"O" * 64)
    assert shell.refused("key", "create") == "KeyringLocked"
    assert shell.refused("key", "create", "--key-file", other) == "WrongKey"
    shell("key", "create", "--key-file", name)
    shell.variables["EBSIM_KEY_FILE"] = name
    shell("key", "create")
    assert shell.refused("key", "create", "--key-file", other) == "WrongKey"


@pytest.mark.usefixtures("key")
def test_key_file_that_others_can_read_is_refused(shell: KeyShell, fast_path: Path) -> None:
    name = protect_with_a_key_file(shell, fast_path)
    os.chmod(name, 0o640)
    assert shell.refused("key", "create", "--key-file", name) == "KeyringExposed"


@pytest.mark.usefixtures("key")
def test_passphrase_command_opens_the_keyring(shell: KeyShell) -> None:
    shell("key", "protect", "--new-passphrase-command", "echo a long one")
    assert "passphrase" in shell("key", "protect")
    assert shell.refused("key", "create") == "KeyringLocked"
    assert shell.refused("key", "create", "--passphrase-command", "echo another") == "WrongKey"
    assert shell.refused("key", "create", "--passphrase-command", "false") == "KeyringLocked"
    shell.variables["EBSIM_PASSPHRASE_COMMAND"] = "echo a long one"
    shell("key", "create")
    shell("key", "protect", "--none")
    del shell.variables["EBSIM_PASSPHRASE_COMMAND"]
    shell("key", "create")


def test_new_keyring_is_protected_by_what_is_given(shell: KeyShell, fast_path: Path) -> None:
    name = secret_file(fast_path / "file")
    shell("key", "create", "--key-file", name)
    assert shell.json("key", "protect")["Protection"] == "key-file"


def test_there_is_one_way_to_protect(shell: KeyShell, fast_path: Path) -> None:
    name = secret_file(fast_path / "file")
    shell("key", "protect", "--none", "--new-key-file", name, code=2)
    assert shell.refused("key", "protect") == "KeyringNotFound"


# asking


def asked(monkeypatch: pytest.MonkeyPatch, answers: Sequence[str]) -> list[str]:
    """Have somebody be there who types these answers; return what is asked."""
    prompts: list[str] = []
    left = list(answers)

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        if not left:
            raise EOFError
        return left.pop(0)

    monkeypatch.setattr("getpass.getpass", answer)
    monkeypatch.setattr(keys, "can_ask", lambda: True)
    return prompts


def test_passphrase_is_asked_for_where_the_keyring_has_one(
    shell: KeyShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = asked(monkeypatch, ["a long one"] * 3)
    shell("key", "create")
    assert prompts == []  # a new keyring is not protected by being asked
    assert shell.json("key", "protect", "--new-passphrase")["Protection"] == "scrypt"
    assert len(prompts) == 2
    shell("key", "list")
    assert len(prompts) == 2  # looking needs none
    shell("key", "create")
    assert len(prompts) == 3


def test_wrong_or_missing_answers_are_refused(
    shell: KeyShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("key", "protect", "--new-passphrase-command", "echo a long one")
    asked(monkeypatch, ["another", ""])
    assert shell.refused("key", "create") == "WrongKey"
    assert shell.refused("key", "create") == "KeyringLocked"
    assert shell.refused("key", "create") == "KeyringLocked"


def test_passphrase_is_not_asked_for_where_one_was_given(
    shell: KeyShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("key", "protect", "--new-passphrase-command", "echo a long one")
    prompts = asked(monkeypatch, [])
    shell("key", "create", "--passphrase-command", "echo a long one")
    assert prompts == []


def test_new_passphrase_is_typed_twice() -> None:
    answers = iter(["one", "one", "one", "two"])
    assert ask_new_passphrase(lambda _prompt: next(answers)) == "one"
    with pytest.raises(EbsimError, match="not the same") as caught:
        ask_new_passphrase(lambda _prompt: next(answers))
    assert caught.value.code is ErrorCode.KEYRING_LOCKED


def test_nobody_is_asked_for_a_new_passphrase_where_nobody_is(shell: KeyShell) -> None:
    assert shell.refused("key", "protect", "--new-passphrase") == "KeyringLocked"


def test_passphrase_is_read_from_a_descriptor(shell: KeyShell) -> None:
    shell("key", "protect", "--new-passphrase-command", "echo a long one")
    reading, writing = os.pipe()
    os.write(writing, b"a long one\n")
    os.close(writing)
    shell.variables["EBSIM_PASSPHRASE_FD"] = str(reading)
    shell("key", "create")
    assert shell.refused("key", "create") == "KeyringLocked"  # it is closed


@pytest.mark.parametrize(
    ("text", "descriptor"), [("3", 3), ("", None), ("x", None), ("-1", None), ("9" * 9, None)]
)
def test_descriptor_is_a_number(text: str, descriptor: int | None) -> None:
    assert parse_environment({"EBSIM_PASSPHRASE_FD": text}).passphrase_fd == descriptor


def test_empty_variables_are_none() -> None:
    names = ("EBSIM_KEYRING", "EBSIM_KEY_FILE", "EBSIM_PASSPHRASE_COMMAND")
    found = parse_environment(dict.fromkeys(names, ""))
    assert (found.keyring, found.key_file, found.passphrase_command) == (None, None, None)


def test_what_the_environment_says_is_no_option() -> None:
    environment = Environment(store=None, keyring=Path("ring"))
    assert KeyOptions.from_environment(environment).named_keyring is None


# encryption by default


def test_encryption_by_default(shell: KeyShell) -> None:
    assert shell.json("encryption-by-default") == {
        "EbsEncryptionByDefault": False,
        "KmsKeyId": "alias/aws/ebs",
    }
    assert shell.json("encryption-by-default", "enable")["EbsEncryptionByDefault"] is True
    assert "enabled" in shell("encryption-by-default")
    assert "disabled" in shell("--region", "eu-west-1", "encryption-by-default")
    assert shell.json("encryption-by-default", "disable")["EbsEncryptionByDefault"] is False


def test_default_key(shell: KeyShell, key: dict[str, Any]) -> None:
    shown = shell.json("encryption-by-default", "enable", "--key", ALIAS)
    assert shown == {"EbsEncryptionByDefault": True, "KmsKeyId": key["Arn"]}
    again = shell.json("encryption-by-default", "--reset-key")
    assert again == {"EbsEncryptionByDefault": True, "KmsKeyId": "alias/aws/ebs"}
    assert shell.refused("encryption-by-default", "--key", "alias/none") == (
        "CustomerKeyHasBeenRevoked"
    )
    shell("encryption-by-default", "--key", ALIAS, "--reset-key", code=2)


def test_key_that_is_refused_enables_nothing(shell: KeyShell) -> None:
    assert shell.refused("encryption-by-default", "enable", "--key", "alias/none")
    assert shell.json("encryption-by-default")["EbsEncryptionByDefault"] is False
