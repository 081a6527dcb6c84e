"""Profiles in the files of the aws CLI."""

import os
import re
from configparser import Error as ConfigError
from configparser import RawConfigParser
from pathlib import Path
from typing import TYPE_CHECKING

from ebsim import refusals
from ebsim.errors import ConflictError, ErrorCode, InvalidInputError, StoreError

if TYPE_CHECKING:
    from ebsim.server.signatures import Credential

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


def profile_files() -> tuple[Path, Path]:
    """Return where the aws CLI has its settings, and its credentials."""
    home = Path(os.path.expanduser("~/.aws"))
    config = os.environ.get("AWS_CONFIG_FILE") or home / "config"
    credentials = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"
    return Path(config), Path(credentials)


def add_profile(
    files: tuple[Path, Path], name: str, credential: "Credential", where: tuple[str, str]
) -> None:
    """Add a profile behind what is there; nothing of that is changed.

    Args:
        files: As `profile_files` returns them.
        name: The profile's name.
        credential: What it signs with.
        where: The Region, and the endpoint's URL.

    Raises:
        InvalidInputError: The name is none for a profile, or a file is none of the aws CLI's.
        ConflictError: There is one of that name.
        StoreError: A file cannot be read or written.
    """
    if not _NAME.match(name):
        raise refusals.invalid_value(name, "profile", "Letters, digits, '_', '.' and '-', up to 64")
    region, url = where
    config, credentials = files
    section = "default" if name == "default" else f"profile {name}"
    for known in {section, f"profile {name}"}:  # SDKs take both for the default
        _ensure_new(config, known)
    _ensure_new(credentials, name)
    keys = {
        "aws_access_key_id": credential.access_key,
        "aws_secret_access_key": credential.secret,
    }
    _append(credentials, name, keys)
    _append(config, section, {"region": region, "endpoint_url": url})


def _ensure_new(path: Path, section: str) -> None:
    parser = RawConfigParser(strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (ConfigError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} is no file of the aws CLI's: {error}") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    if parser.has_section(section):
        raise ConflictError(
            f"{path} has a section [{section}] already: choose another --profile, or remove it",
            ErrorCode.TARGET_EXISTS,
        )


def _append(path: Path, section: str, values: dict[str, str]) -> None:
    lines = [f"[{section}]", *(f"{name} = {value}" for name, value in values.items()), ""]
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        with os.fdopen(fd, "ab") as file:
            begin = "\n" if file.tell() else ""
            file.write((begin + "\n".join(lines)).encode())
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
