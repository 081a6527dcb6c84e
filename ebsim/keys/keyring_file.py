"""The keyring's file: one JSON object, replaced as a whole.

    magic, format_version   what it is
    keyring_id              which keyring it is
    protection              how its root key is got at (`ebsim.keys.protection`)
    root_commitment         by which the root key is known
    keys                    all keys, their materials sealed by the root key
    mac                     HMAC-SHA-256 over the rest, under a key derived from the root key
    checksum                XXH3-128 over the rest: damage is found without the root key

States, aliases and grants are readable without the root key, and only with it can they be changed:
the MAC is compared whenever the root key is known, before anything is done with it. What nothing
here prevents is that somebody puts an older copy of the whole file back.

A change is written beside the file, synced, renamed over it, and the directory synced: after a
crash the old keyring or the new one is there. One process changes it at a time, under the lock of
a file beside it; it reads the keyring again first, so that no change is lost. Readers take no lock;
they look at the file's stamp each time, and so see a change at once.
"""

import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebsim.errors import (
    CorruptionError,
    ErrorCode,
    FormatVersionError,
    LimitExceededError,
    StoreError,
)
from ebsim.format.checksum import stored_checksum
from ebsim.format.records import decode_json, encode_json
from ebsim.format.sealing import derive_key, key_commitment
from ebsim.ids import KeyId
from ebsim.keys.private_files import Stamp, private_stamp
from ebsim.keys.records import KeyringContents, key_fields, key_from_fields
from ebsim.keys.refusals import keyring_damaged, keyring_exists, keyring_missing
from ebsim.storage.failures import read_failure, write_failure
from ebsim.storage.files import File, Files
from ebsim.storage.locks import Lock, LockFile

KEYRING_MAGIC = "ebsim keyring"
KEYRING_VERSION = 1
KEYRING_SIZE_MAX = 64 << 20
"""Bytes. The limits of keys, aliases and grants keep real ones far below."""

_SALT = b"ebsim keyring file"


@dataclass(frozen=True, slots=True)
class Document:
    """A keyring as read.

    Attributes:
        contents: Its keys.
        protection: How its root key is got at.
        root_commitment: By which the root key is known.
        body: What the MAC covers.
        mac: The MAC as read.
    """

    contents: KeyringContents
    protection: dict[str, Any] = field(repr=False)
    root_commitment: bytes
    body: bytes = field(repr=False)
    mac: bytes


def root_commitment(root: bytes) -> bytes:
    """Return 32 bytes by which a root key is known."""
    return key_commitment(root, _SALT)


def encode_document(contents: KeyringContents, protection: dict[str, Any], root: bytes) -> bytes:
    """Return the bytes of a keyring's file."""
    fields: dict[str, Any] = {
        "magic": KEYRING_MAGIC,
        "format_version": KEYRING_VERSION,
        "keyring_id": contents.keyring_id,
        "protection": protection,
        "root_commitment": root_commitment(root).hex(),
        "keys": [key_fields(key) for key in contents.keys.values()],
    }
    fields["mac"] = _mac(encode_json(fields), root).hex()
    fields["checksum"] = stored_checksum((encode_json(fields),)).hex()
    return encode_json(fields) + b"\n"


def decode_document(data: bytes) -> Document:
    """Return the keyring that a file's bytes are, without looking at its MAC.

    Raises:
        FormatVersionError: It is no keyring, or one of another format version.
        CorruptionError: It is damaged (CorruptKeyring).
    """
    try:
        fields = decode_json(data)
    except CorruptionError:
        raise keyring_damaged("it is no JSON object") from None
    if fields.get("magic") != KEYRING_MAGIC:
        raise FormatVersionError("it is no ebsim keyring")
    if fields.get("format_version") != KEYRING_VERSION:
        raise FormatVersionError(
            f"the keyring has format version {fields.get('format_version')}; this ebsim reads and "
            f"writes version {KEYRING_VERSION}"
        )
    checksum = fields.pop("checksum", None)
    if checksum != stored_checksum((encode_json(fields),)).hex():
        raise keyring_damaged("its checksum is wrong")
    try:
        mac = bytes.fromhex(fields.pop("mac"))
        keys = [key_from_fields(each) for each in fields["keys"]]
        contents = KeyringContents(fields["keyring_id"], {KeyId(key.key_id): key for key in keys})
        commitment = bytes.fromhex(fields["root_commitment"])
        return Document(contents, dict(fields["protection"]), commitment, encode_json(fields), mac)
    except (KeyError, TypeError, ValueError) as error:
        raise keyring_damaged(f"no keyring: {type(error).__name__}") from None


def verify_document(document: Document, root: bytes) -> None:
    """Prove that a keyring is as whoever had its root key wrote it.

    Raises:
        CorruptionError: It is not.
    """
    if not hmac.compare_digest(document.mac, _mac(document.body, root)):
        raise keyring_damaged("it was changed by something that does not have its root key")


def _mac(body: bytes, root: bytes) -> bytes:
    return hmac.digest(derive_key(root, _SALT, b"mac"), body, hashlib.sha256)


class KeyringFile:
    """A keyring's file. Not for several threads at once.

    Args:
        path: Where it is; its directory exists.
        files: What does the work.
        locks: Who may change it; None: a file beside it.
    """

    def __init__(self, path: Path, files: Files, locks: LockFile | None = None) -> None:
        self.path = path
        self._files = files
        self._locks = locks or LockFile(path.with_name(f".{path.name}.lock"))
        self._stamp: Stamp | None = None
        self._held: File | None = None
        self._data = b""
        self._document: Document | None = None

    def lock(self) -> Lock:
        """Wait for the right to change the keyring.

        Raises:
            StoreError: The lock file cannot be opened.
        """
        return self._locks.hold(0)

    def read(self) -> Document:
        """Return the keyring as it is now; the same object while it is the same.

        Raises:
            NotFoundError: There is none (KeyringNotFound).
            StoreError: It cannot be read, or others can read it.
            FormatVersionError, CorruptionError: As `decode_document`.
        """
        stamp = private_stamp(self.path)
        if self._document is not None and stamp is not None and stamp == self._stamp:
            return self._document
        try:
            file = self._files.open(self.path)
            data = file.read_at(0, KEYRING_SIZE_MAX)
        except (FileNotFoundError, NotADirectoryError):
            raise keyring_missing(self.path) from None
        except OSError as error:
            raise read_failure(error, self.path) from error
        if self._document is None or data != self._data:
            self._document = decode_document(data)
        # Its inode cannot become another file's while it is held: see `private_stamp`. The stamp
        # was taken before the file was opened, so a change between is found by the next read.
        self._held, self._stamp, self._data = file, stamp, data
        return self._document

    def let_go(self) -> None:
        """Close the file that is held; the next read opens it again."""
        held, self._held = self._held, None
        self._stamp = None
        if held is not None:
            held.close()

    def write(self, data: bytes, *, new: bool = False) -> None:
        """Replace the keyring, durably; the lock is held.

        Args:
            data: As `encode_document` returns it.
            new: There must be none.

        Raises:
            ConflictError: There is one (KeyringExists).
            LimitExceededError: No space, or it would be larger than a keyring can be.
            StoreError: It cannot be written, and the old one is there; or (OutcomeUnknown) the one
                that is there may not survive a power cut.
        """
        if len(data) > KEYRING_SIZE_MAX:
            raise LimitExceededError("the keyring would be larger than a keyring can be")
        temporary = self.path.with_name(f".{self.path.name}.new")
        try:
            if new and self.path.name in self._files.list(self.path.parent):
                raise keyring_exists(self.path)
            write_private(temporary, data, self._files)
            self._files.rename(temporary, self.path)
        except OSError as error:
            with suppress(OSError):
                self._files.remove(temporary)
            raise write_failure(error, self.path) from error
        self._sync_folder()

    def _sync_folder(self) -> None:
        try:
            self._files.sync_directory(self.path.parent)
        except OSError as error:
            raise StoreError(
                f"{self.path} was replaced, and whether that survives a power cut is not known: "
                f"{error.strerror}; look at its disk, and make the change again",
                ErrorCode.OUTCOME_UNKNOWN,
            ) from error


def write_private(path: Path, data: bytes, files: Files) -> None:
    """Write and sync a file of mode 0600, in place of one that was left there.

    Raises:
        OSError: It cannot be written.
    """
    with suppress(FileNotFoundError):
        files.remove(path)
    file = files.create(path)
    try:
        file.write_at(0, [data])
        file.sync()
    except OSError:
        with suppress(OSError):  # half a secret is a secret
            files.remove(path)
        raise
    finally:
        file.close()


def write_new_private(path: Path, data: bytes, files: Files) -> None:
    """Write and sync a new file of mode 0600, and its folder.

    Raises:
        ConflictError: There is a file.
        StoreError, LimitExceededError: It cannot be written.
    """
    try:
        if path.name in files.list(path.parent):
            raise keyring_exists(path)
        write_private(path, data, files)
        files.sync_directory(path.parent)
    except OSError as error:
        raise write_failure(error, path) from error
