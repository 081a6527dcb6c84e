"""The credentials of a store: which access key is which account's.

They lie in `STORE/credentials.json`, which only its owner can read (0600). Whoever can read it can
act as any account over HTTP, and can read the store's files anyway.
"""

import json
import math
import string
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ebsim.caller import OWNER_DEFAULT
from ebsim.entropy import Entropy
from ebsim.errors import CorruptionError, EbsimError, ErrorCode, NotFoundError
from ebsim.ids import parse_account
from ebsim.keys.keyring_file import write_private
from ebsim.keys.private_files import Stamp, private_stamp
from ebsim.server.signatures import Credential
from ebsim.storage.failures import read_failure, write_failure
from ebsim.storage.files import Files
from ebsim.storage.locks import LockFile

CREDENTIALS_NAME = "credentials.json"
FILE_SIZE_MAX = 4 * 1024 * 1024
LOOK_S = 0.01
"""For how long a credential is good without another look at the file: many are asked for."""

_ID_LETTERS = string.ascii_uppercase + "234567"
_SECRET_LETTERS = string.ascii_letters + string.digits + "+/"


class Credentials:
    """The credentials of one store; what another process changes is seen within `LOOK_S`.

    Args:
        store: The store's folder.
        files: Where it lies.
        entropy: Where secrets come from.
        monotonic: Seconds that only grow.
    """

    def __init__(
        self,
        store: Path,
        files: Files,
        entropy: Entropy,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = store / CREDENTIALS_NAME
        self._files = files
        self._entropy = entropy
        self._locks = LockFile(store / f".{CREDENTIALS_NAME}.lock")
        self._stamp: Stamp | None = None
        self._known: dict[str, Credential] = {}
        self._monotonic = monotonic
        self._look_again = -math.inf

    def find(self, access_key: str) -> Credential | None:
        """Return the credential of an access key, or None.

        One that is not known is looked for in the file; one that was deleted by another process may
        still be found for `LOOK_S`.

        Raises:
            StoreError, CorruptionError: As `list`.
        """
        now = self._monotonic()
        found = self._known.get(access_key) if now < self._look_again else None
        if found is None:
            found = self._read().get(access_key)
            self._look_again = now + LOOK_S
        return found

    def list(self) -> list[Credential]:
        """Return all credentials, oldest first.

        Raises:
            StoreError: The file cannot be read, or others can.
            CorruptionError: It holds something else.
        """
        return list(self._read().values())

    def of_account(self, account: str = OWNER_DEFAULT) -> Credential:
        """Return an account's first lasting credential, made if there is none.

        Raises:
            InvalidInputError: The account is malformed.
            StoreError, LimitExceededError, CorruptionError: The file cannot be read or written.
        """
        parse_account(account)
        for known in self.list():
            if known.account == account and not known.session_token:
                return known
        return self.create(account)

    def create(self, account: str) -> Credential:
        """Make a lasting credential for an account.

        Raises:
            InvalidInputError: The account is malformed.
            StoreError, LimitExceededError, CorruptionError: The file cannot be read or written.
        """
        parse_account(account)
        made = Credential(
            "AKIA" + self._letters(16, _ID_LETTERS), self._letters(40, _SECRET_LETTERS), account
        )
        return self._keep(made)

    def create_temporary(self, account: str, expires: datetime) -> Credential:
        """Make a credential that needs its session token, and ends.

        Raises:
            InvalidInputError: The account is malformed.
            StoreError, LimitExceededError, CorruptionError: The file cannot be read or written.
        """
        parse_account(account)
        made = Credential(
            "ASIA" + self._letters(16, _ID_LETTERS),
            self._letters(40, _SECRET_LETTERS),
            account,
            self._letters(200, _SECRET_LETTERS),
            expires,
        )
        return self._keep(made)

    def delete(self, access_key: str) -> None:
        """Have an access key not be one any more.

        Raises:
            NotFoundError: It is none.
            StoreError, LimitExceededError, CorruptionError: The file cannot be read or written.
        """
        with self._locks.hold(0):
            known = dict(self._read())
            if known.pop(access_key, None) is None:
                raise NotFoundError(f"There is no access key {access_key}.", ErrorCode.INVALID_ID)
            self._write(known)

    def _keep(self, made: Credential) -> Credential:
        with self._locks.hold(0):
            self._write({**self._read(), made.access_key: made})
        return made

    def _letters(self, count: int, letters: str) -> str:
        """Return so many letters; there are 32 or 64 to choose from, so that none is preferred."""
        data = self._entropy.token_bytes(count)
        return "".join(letters[byte % len(letters)] for byte in data)

    def _read(self) -> dict[str, Credential]:
        stamp = private_stamp(self.path)
        if stamp is not None and stamp == self._stamp:
            return self._known
        try:
            file = self._files.open(self.path)
            try:
                data = file.read_at(0, FILE_SIZE_MAX)
            finally:
                file.close()
        except FileNotFoundError:
            self._stamp, self._known = None, {}
            return {}
        except OSError as error:
            raise read_failure(error, self.path) from error
        try:
            known = {each["access_key"]: _decoded(each) for each in json.loads(data)["credentials"]}
        except (ValueError, KeyError, TypeError, EbsimError):
            raise CorruptionError(
                f"{self.path} does not hold credentials: remove it, and new ones are made",
                ErrorCode.UNKNOWN_FORMAT,
            ) from None
        self._stamp, self._known = stamp, known
        return known

    def _write(self, known: dict[str, Credential]) -> None:
        self._look_again = -math.inf
        document = {"credentials": [_encoded(each) for each in known.values()]}
        temporary = self.path.with_name(f".{CREDENTIALS_NAME}.new")
        try:
            write_private(temporary, json.dumps(document, indent=1).encode("ascii"), self._files)
            self._files.rename(temporary, self.path)
            self._files.sync_directory(self.path.parent)
        except OSError as error:
            raise write_failure(error, self.path) from error


def _encoded(credential: Credential) -> dict[str, Any]:
    return {
        "access_key": credential.access_key,
        "secret": credential.secret,
        "account": credential.account,
        "session_token": credential.session_token,
        "expires": None if credential.expires is None else credential.expires.isoformat(),
    }


def _decoded(fields: dict[str, Any]) -> Credential:
    expires = fields["expires"]
    return Credential(
        str(fields["access_key"]),
        str(fields["secret"]),
        parse_account(fields["account"]),
        str(fields["session_token"]),
        None if expires is None else datetime.fromisoformat(expires),
    )
