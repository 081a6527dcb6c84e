"""How the root key is protected: passphrases, key files, commands, and none."""

import hashlib
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from ebsim.errors import (
    CorruptionError,
    EbsimError,
    ErrorCode,
    InvalidInputError,
    StoreError,
    WrongKeyError,
)
from ebsim.keys.protection import protect, unprotect
from ebsim.keys.unlocking import LOG2_N_MIN, NO_PROTECTION, ScryptCost, Unlocking
from ebsim.storage.files import PosixFiles
from ebsim.testing.seams import SeededEntropy

ROOT = bytes(range(32))
RING = "0123456789abcdef" * 2
CHEAP = ScryptCost(LOG2_N_MIN)


def passphrase(text: str) -> Unlocking:
    return Unlocking(passphrase=lambda: text, cost=CHEAP)


def command(script: str) -> Unlocking:
    return Unlocking(
        passphrase_command=shlex.join((sys.executable, "-S", "-c", script)), cost=CHEAP
    )


def protected(unlocking: Unlocking) -> dict[str, Any]:
    return protect(ROOT, RING, unlocking, PosixFiles(), SeededEntropy())


def root_of(protection: dict[str, Any], unlocking: Unlocking) -> bytes:
    return unprotect(protection, RING, unlocking, PosixFiles())


@pytest.fixture
def key_file(fast_path: Path) -> Path:
    path = fast_path / "key"
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return path


# there and back


def test_no_protection_is_told_as_such() -> None:
    found = protected(NO_PROTECTION)

    assert found == {"method": "none", "root_key": ROOT.hex()}
    assert root_of(found, NO_PROTECTION) == ROOT
    assert root_of(found, passphrase("not needed")) == ROOT


def test_passphrase_opens_what_it_protected() -> None:
    found = protected(passphrase("correct horse"))

    assert found["method"] == "scrypt"
    assert ROOT.hex() not in str(found)
    assert root_of(found, passphrase("correct horse")) == ROOT
    assert root_of(found, command("print('correct horse')")) == ROOT


def test_key_file_opens_what_it_protected(key_file: Path) -> None:
    found = protected(Unlocking(key_file=key_file))

    assert found["method"] == "key-file"
    assert ROOT.hex() not in str(found)
    assert root_of(found, Unlocking(key_file=key_file)) == ROOT


def test_scrypt_is_the_standard_library_s() -> None:
    """RFC 7914, section 12, third vector: the parameters stand in the order that ebsim uses."""
    found = hashlib.scrypt(
        b"pleaseletmein", salt=b"SodiumChloride", n=16384, r=8, p=1, maxmem=1 << 26, dklen=64
    )

    assert found.hex().startswith("7023bdcb3afd7348461c06cd81fd38eb")


# wrong ones


@pytest.mark.parametrize("other", ["", "correct hors", "Correct horse", "correct horse "])
def test_wrong_passphrase_is_told_as_such(other: str) -> None:
    found = protected(passphrase("correct horse"))

    with pytest.raises((WrongKeyError, InvalidInputError)) as caught:
        root_of(found, passphrase(other))

    assert caught.value.code is (ErrorCode.WRONG_KEY if other else ErrorCode.KEYRING_LOCKED)
    assert "horse" not in str(caught.value)


def test_wrong_key_file_is_told_as_such(key_file: Path) -> None:
    found = protected(Unlocking(key_file=key_file))
    key_file.write_bytes(os.urandom(40))

    with pytest.raises(WrongKeyError, match="key file"):
        root_of(found, Unlocking(key_file=key_file))


def test_protection_of_another_keyring_does_not_open() -> None:
    found = protected(passphrase("x"))

    with pytest.raises(CorruptionError):
        unprotect(found, RING[::-1], passphrase("x"), PosixFiles())


@pytest.mark.parametrize("unlocking", [NO_PROTECTION, Unlocking(key_file=Path("absent"))])
def test_what_is_missing_for_a_passphrase_is_told(unlocking: Unlocking) -> None:
    with pytest.raises(InvalidInputError, match="--passphrase-command") as caught:
        root_of(protected(passphrase("x")), unlocking)

    assert caught.value.code is ErrorCode.KEYRING_LOCKED


def test_what_is_missing_for_a_key_file_is_told(key_file: Path) -> None:
    found = protected(Unlocking(key_file=key_file))

    with pytest.raises(InvalidInputError, match="--key-file"):
        root_of(found, passphrase("x"))


@pytest.mark.parametrize(
    "unlocking",
    [
        Unlocking(passphrase=lambda: "x", key_file=Path("k")),
        Unlocking(passphrase=lambda: "x", passphrase_command="true"),
    ],
)
def test_two_ways_at_once_are_refused(unlocking: Unlocking) -> None:
    with pytest.raises(InvalidInputError) as caught:
        protected(unlocking)

    assert caught.value.code is ErrorCode.INVALID_PARAMETER_COMBINATION


# commands


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_end_of_the_command_s_line_does_not_count(end: str) -> None:
    unlocking = command(f"import sys; sys.stdout.buffer.write(b'a b' + {end.encode()!r})")

    assert root_of(protected(unlocking), passphrase("a b")) == ROOT


@pytest.mark.parametrize(
    ("unlocking", "why"),
    [
        (command("print('s3cret'); raise SystemExit(3)"), "status 3"),
        (command("pass"), "empty"),
        (Unlocking(passphrase_command="/nonexistent/tool --give s3cret"), "No such file"),
        (Unlocking(passphrase_command="tool 's3cret"), "quote"),
        (Unlocking(passphrase_command="  "), "empty"),
        (passphrase("x" * (1 << 20) + "y"), "longer"),
    ],
    ids=["status", "nothing", "missing", "quote", "blank", "long"],
)
def test_command_that_fails_is_told_without_what_it_printed(unlocking: Unlocking, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why) as caught:
        protected(unlocking)

    assert caught.value.code is ErrorCode.KEYRING_LOCKED
    assert "s3cret" not in str(caught.value)


def test_no_shell_sees_the_command() -> None:
    unlocking = Unlocking(
        passphrase_command=shlex.join(
            (sys.executable, "-S", "-c", "import sys; print(sys.argv[1])", "$HOME;*")
        ),
        cost=CHEAP,
    )

    assert root_of(protected(unlocking), passphrase("$HOME;*")) == ROOT


# key files


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666])
def test_key_file_that_others_can_read_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)

    with pytest.raises(StoreError, match="chmod 600") as caught:
        protected(Unlocking(key_file=key_file))

    assert caught.value.code is ErrorCode.KEYRING_EXPOSED


@pytest.mark.parametrize("size", [0, 31, (1 << 20) + 1])
def test_key_file_of_another_size_is_refused(key_file: Path, size: int) -> None:
    key_file.write_bytes(b"x" * size)

    with pytest.raises(InvalidInputError, match="bytes"):
        protected(Unlocking(key_file=key_file))


def test_key_file_that_cannot_be_read_is_told(fast_path: Path) -> None:
    with pytest.raises(StoreError, match="absent"):
        protected(Unlocking(key_file=fast_path / "absent"))


# costs


@pytest.mark.parametrize(
    ("log2_n", "r", "p"), [(13, 8, 1), (25, 8, 1), (17, 7, 1), (17, 33, 1), (17, 8, 0), (17, 8, 17)]
)
def test_cost_below_the_floor_or_beyond_all_use_is_refused(log2_n: int, r: int, p: int) -> None:
    with pytest.raises(InvalidInputError, match="out of bounds"):
        ScryptCost(log2_n, r, p)


def test_cost_is_kept_with_the_keyring() -> None:
    found = protected(Unlocking(passphrase=lambda: "x", cost=ScryptCost(14, 9, 1)))

    assert (found["log2_n"], found["r"], found["p"]) == (14, 9, 1)
    assert root_of(found, passphrase("x")) == ROOT


# damage


@pytest.mark.parametrize(
    "change",
    [
        {"method": "rot13"},
        {"method": None},
        {"salt": "no hex"},
        {"salt": 5},
        {"log2_n": 40},
        {"log2_n": "17"},
        {"p": None},
        {"sealed_root": "00"},
        {"sealed_root": None},
    ],
    ids=str,
)
def test_protection_that_is_none_is_damage(change: dict[str, Any]) -> None:
    """And is none in little time and memory: a keyring can ask for no more than its bounds."""
    with pytest.raises(CorruptionError) as caught:
        root_of({**protected(passphrase("x")), **change}, passphrase("x"))

    assert caught.value.code is ErrorCode.CORRUPT_KEYRING


@pytest.mark.parametrize("fields", [{}, {"method": "none"}, {"method": "none", "root_key": "00"}])
def test_root_key_that_is_none_is_damage(fields: dict[str, Any]) -> None:
    with pytest.raises(CorruptionError):
        root_of(fields, NO_PROTECTION)


def test_changed_parameters_do_not_open() -> None:
    found = protected(passphrase("x"))
    for name, value in (("r", 9), ("salt", "00" * 32)):
        with pytest.raises(EbsimError):
            root_of({**found, name: value}, passphrase("x"))


# secrecy


def test_secrets_are_not_shown() -> None:
    unlocking = Unlocking(passphrase=lambda: "s3cret", passphrase_command="echo s3cret")

    assert "s3cret" not in repr(unlocking)
    assert "echo" not in repr(unlocking)
