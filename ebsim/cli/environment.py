"""The environment of the process, read here and nowhere else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT

STORE_VARIABLE = "EBSIM_STORE"
DEBUG_VARIABLE = "EBSIM_DEBUG"
TRUST_VARIABLE = "EBSIM_TRUST_OTHERS"
DATA_HOME_VARIABLE = "XDG_DATA_HOME"
ACCOUNT_VARIABLE = "EBSIM_ACCOUNT"
REGION_VARIABLE = "EBSIM_REGION"
KEYRING_VARIABLE = "EBSIM_KEYRING"
KEY_FILE_VARIABLE = "EBSIM_KEY_FILE"
PASSPHRASE_COMMAND_VARIABLE = "EBSIM_PASSPHRASE_COMMAND"  # noqa: S105 - a name
PASSPHRASE_FD_VARIABLE = "EBSIM_PASSPHRASE_FD"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the environment says.

    Attributes:
        store: The store to use where `--store` is not given; None if no place for it is known.
        debug: Whether an internal error shows its traceback.
        trust_others: Whether a store is used that others may write to.
        account: The account to act as where `--account` is not given.
        region: The Region to act in where `--region` is not given.
        keyring: Where the keyring lies if not where the store says.
        key_file: The key file that opens it.
        passphrase_command: The command that prints its passphrase.
        passphrase_fd: The descriptor that its passphrase is read from.
    """

    store: Path | None
    debug: bool = False
    trust_others: bool = False
    account: str = OWNER_DEFAULT
    region: str = REGION_DEFAULT
    keyring: Path | None = None
    key_file: Path | None = None
    passphrase_command: str | None = field(default=None, repr=False)
    passphrase_fd: int | None = None


def read_environment() -> Environment:
    """Return what the environment of this process says."""
    return parse_environment(os.environ)


def parse_environment(variables: Mapping[str, str]) -> Environment:
    """Return what these variables say. An empty variable is as good as none."""
    named = variables.get(STORE_VARIABLE)
    return Environment(
        store=Path(named) if named else _default_store(variables),
        debug=variables.get(DEBUG_VARIABLE, "") not in ("", "0"),
        trust_others=variables.get(TRUST_VARIABLE, "") not in ("", "0"),
        account=variables.get(ACCOUNT_VARIABLE) or OWNER_DEFAULT,
        region=variables.get(REGION_VARIABLE) or REGION_DEFAULT,
        keyring=_path(variables.get(KEYRING_VARIABLE)),
        key_file=_path(variables.get(KEY_FILE_VARIABLE)),
        passphrase_command=variables.get(PASSPHRASE_COMMAND_VARIABLE) or None,
        passphrase_fd=_number(variables.get(PASSPHRASE_FD_VARIABLE)),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _number(text: str | None) -> int | None:
    """Return a descriptor's number; None where there is none, or something else."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 7 else None


def _default_store(variables: Mapping[str, str]) -> Path | None:
    """Return `ebsim` in the user's data directory, as the XDG base directory rules have it."""
    data_home = Path(variables.get(DATA_HOME_VARIABLE, ""))
    if data_home.is_absolute():  # the rules: a relative path is invalid and ignored
        return data_home / "ebsim"
    home = Path(variables.get("HOME") or os.path.expanduser("~"))
    return home / ".local" / "share" / "ebsim" if home.is_absolute() else None
