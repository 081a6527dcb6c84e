"""How a keyring's root key is protected, and how it is got at.

The root key is 32 random bytes that never change. It seals the materials of all keys, and lies in
the keyring in one of three ways, so that another passphrase costs one wrapping only:

    none      as it is: whoever can read the file has all keys; mode 0600 is all there is
    scrypt    wrapped by a key that scrypt (RFC 7914) makes of a passphrase
    key-file  wrapped by a key derived from the bytes of another file, 32 or more

A passphrase comes from a question (`Unlocking.passphrase`) or from the output of a command; never
from an argument, which everybody sees. Nothing here keeps, logs or prints it.
"""

import hashlib
from typing import Any

from ebsim.entropy import Entropy
from ebsim.errors import EbsimError, InvalidInputError, WrongKeyError
from ebsim.format.records import encode_json
from ebsim.format.sealing import derive_key
from ebsim.keys.private_files import private_stamp
from ebsim.keys.refusals import keyring_damaged, keyring_locked, wrong_secret
from ebsim.keys.unlocking import KEY_FILE, NONE, SCRYPT, SECRET_SIZE_MAX, ScryptCost, Unlocking
from ebsim.keys.wrapping import KEY_SIZE, joined, unwrap, wrap
from ebsim.storage.failures import read_failure
from ebsim.storage.files import Files

SALT_SIZE = 32


def protect(
    root: bytes, keyring_id: str, unlocking: Unlocking, files: Files, entropy: Entropy
) -> dict[str, Any]:
    """Return what the keyring says about its root key.

    Raises:
        InvalidInputError: The passphrase or key file is missing, too short or too long.
        StoreError: The key file cannot be read, or others can read it.
    """
    method = unlocking.method()
    if method == NONE:
        return {"method": NONE, "root_key": root.hex()}
    facts: dict[str, Any] = {"method": method, "salt": entropy.token_bytes(SALT_SIZE).hex()}
    if method == SCRYPT:
        cost = unlocking.cost
        facts |= {"log2_n": cost.log2_n, "r": cost.r, "p": cost.p}
    key = _wrapping_key(facts, unlocking, files)
    return {**facts, "sealed_root": wrap(key, root, _about(facts, keyring_id), entropy).hex()}


def unprotect(
    protection: dict[str, Any], keyring_id: str, unlocking: Unlocking, files: Files
) -> bytes:
    """Return the root key.

    Raises:
        InvalidInputError: What opens it was not given, or gave nothing (KeyringLocked).
        WrongKeyError: The passphrase or key file is another.
        CorruptionError: What the keyring says about its root key is damaged.
        StoreError: The key file cannot be read, or others can read it.
    """
    try:
        if protection["method"] == NONE:
            return _of_key_size(bytes.fromhex(protection["root_key"]))
        facts = {name: value for name, value in protection.items() if name != "sealed_root"}
        sealed = bytes.fromhex(protection["sealed_root"])
        key = _wrapping_key(facts, unlocking, files)
        return unwrap(key, sealed, _about(facts, keyring_id))
    except WrongKeyError:
        what = "key file" if protection["method"] == KEY_FILE else "passphrase"
        raise wrong_secret(what) from None
    except EbsimError:  # some are ValueErrors too
        raise
    except (KeyError, TypeError, ValueError):
        raise keyring_damaged("it does not say how its root key is protected") from None


def _of_key_size(key: bytes) -> bytes:
    if len(key) != KEY_SIZE:
        raise keyring_damaged("a root key of another length")
    return key


def _about(facts: dict[str, Any], keyring_id: str) -> bytes:
    return joined("root key", keyring_id, encode_json(facts))


def _wrapping_key(facts: dict[str, Any], unlocking: Unlocking, files: Files) -> bytes:
    """Return the key that wraps the root key; `facts` are a keyring's, so they may be anything."""
    salt = bytes.fromhex(facts["salt"])
    if facts["method"] == KEY_FILE:
        return derive_key(_key_file_bytes(unlocking, files), salt, b"key file", KEY_SIZE)
    if facts["method"] != SCRYPT:
        raise keyring_damaged("it is protected in a way that this ebsim does not know")
    try:
        cost = ScryptCost(facts["log2_n"], facts["r"], facts["p"])
    except InvalidInputError:
        raise keyring_damaged("its scrypt parameters are out of bounds") from None
    return hashlib.scrypt(
        _passphrase_bytes(unlocking),
        salt=salt,
        n=1 << cost.log2_n,
        r=cost.r,
        p=cost.p,
        maxmem=128 * cost.r * ((1 << cost.log2_n) + cost.p + 2) + (1 << 20),
        dklen=KEY_SIZE,
    )


def _passphrase_bytes(unlocking: Unlocking) -> bytes:
    if unlocking.passphrase_command is not None:
        passphrase = _command_output(unlocking.passphrase_command)
    elif unlocking.passphrase is not None:
        passphrase = unlocking.passphrase().encode("utf-8", "surrogateescape")
    elif unlocking.ask is not None:
        passphrase = unlocking.ask().encode("utf-8", "surrogateescape")
    else:
        raise keyring_locked(
            "the keyring is protected by a passphrase: give --passphrase-command or "
            "EBSIM_PASSPHRASE_COMMAND, or run ebsim on a terminal, where it asks"
        )
    if not passphrase or len(passphrase) > SECRET_SIZE_MAX:
        raise keyring_locked("the passphrase is empty, or longer than a passphrase can be")
    return passphrase


def _command_output(command: str) -> bytes:
    """Return what a command prints, without the end of its last line; stderr is the user's."""
    import shlex  # only where there is a command
    import subprocess

    try:
        arguments = shlex.split(command)
    except ValueError:
        raise keyring_locked("the passphrase command has an unmatched quote") from None
    if not arguments:
        raise keyring_locked("the passphrase command is empty")
    try:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, check=False)  # noqa: S603
    except OSError as error:
        raise keyring_locked(
            f"the passphrase command {arguments[0]} cannot be run: {error.strerror}"
        ) from None
    if done.returncode:
        raise keyring_locked(
            f"the passphrase command {arguments[0]} ended with status {done.returncode}"
        )
    return done.stdout.removesuffix(b"\n").removesuffix(b"\r")


def _key_file_bytes(unlocking: Unlocking, files: Files) -> bytes:
    path = unlocking.key_file
    if path is None:
        raise keyring_locked(
            "the keyring is protected by a key file: name it with --key-file or EBSIM_KEY_FILE"
        )
    private_stamp(path)
    try:
        file = files.open(path)
        try:
            content = file.read_at(0, SECRET_SIZE_MAX + 1)
        finally:
            file.close()
    except OSError as error:
        raise read_failure(error, path) from error
    if not KEY_SIZE <= len(content) <= SECRET_SIZE_MAX:
        raise keyring_locked(
            f"the key file {path} has {len(content)} bytes: it needs {KEY_SIZE} at least, and at "
            f"most {SECRET_SIZE_MAX}"
        )
    return content
