"""Keys, who may use them, and what they encrypt, as the simplest program that has these rules.

A key belongs to an account and lies in a Region. Its owner may use it there, and whom it is granted
to; nobody while it is disabled or is to be deleted, or once it is gone. The default key of an
account is one that the owner chose, or the AWS managed one, which is always there, and which nobody
else can be let use. The tables are those of EBS for CreateVolume and CopySnapshot.

Independent of `ebsim.keys`, `ebsim.core.encryption` and its rules; compared with them by
`ebsim.testing.account_histories`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ebsim.caller import Caller
from ebsim.errors import ErrorCode

MANAGED = "the AWS managed key"
SAME = "the source's key"
DEFAULT = "the account's default key"

Row = Mapping[object, str]

VOLUME_KEYS: Mapping[str, Row] = {
    "empty or plain": {(False, False): "", (True, False): DEFAULT, "by default": DEFAULT},
    "one's own": {(False, False): SAME, (True, False): SAME, "by default": SAME},
    "another's": {(False, False): DEFAULT, (True, False): DEFAULT, "by default": DEFAULT},
}
"""Table 5.2 where no key is given: by the source, and whether it is asked for, or the default."""

COPY_KEYS: Mapping[str, Row] = {
    "plain": {(False, False): "", (True, False): DEFAULT, "by default": DEFAULT},
    "encrypted": {(False, False): DEFAULT, (True, False): DEFAULT, "by default": DEFAULT},
}
"""Table 5.3 where no key is given."""


@dataclass(slots=True, kw_only=True)
class ModelKey:
    """A key that was made.

    Attributes:
        owner: Whose it is, and in which Region.
        managed: Whether it is AWS's.
        enabled: Whether it is not disabled.
        gone_us: When it is gone; None: never.
        users: Other accounts that may use it, and the ids of their grants.
    """

    owner: Caller
    managed: bool = False
    enabled: bool = True
    gone_us: int | None = None
    users: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class KeyModel:
    """Which keys there are, and what accounts have set about encryption.

    Attributes:
        now_us: Tells the time.
        keys: Those that were ever made, by ARN.
        by_default: Who has all that is new encrypted.
        chosen: The default keys that were chosen.
    """

    now_us: Callable[[], int]
    keys: dict[str, ModelKey] = field(default_factory=dict)
    by_default: set[Caller] = field(default_factory=set)
    chosen: dict[Caller, str] = field(default_factory=dict)

    def is_gone(self, key: ModelKey) -> bool:
        """Return whether a key is deleted."""
        return key.gone_us is not None and key.gone_us <= self.now_us()

    def use_refusal(self, account: str, arn: str) -> ErrorCode | None:
        """Return what KMS says to an account that uses a key; None: it may, or needs none."""
        if arn in ("", MANAGED):
            return None
        key = self.keys.get(arn)
        if key is None or self.is_gone(key):
            return ErrorCode.KEY_NOT_FOUND
        if key.owner.account != account and account not in key.users:
            return ErrorCode.ACCESS_DENIED
        if key.gone_us is not None:
            return ErrorCode.KEY_INVALID_STATE
        return None if key.enabled else ErrorCode.KEY_DISABLED

    def can_encrypt(self, caller: Caller, arn: str) -> bool:
        """Return whether an account may encrypt something new under a key, in its Region."""
        here = arn == MANAGED or self.keys[arn].owner.region == caller.region
        return here and self.use_refusal(caller.account, arn) is None

    def change_refusal(self, account: str, arn: str) -> ErrorCode | None:
        """Return what KMS says to an account that changes a key; None: it may."""
        key = self.keys[arn]
        if self.is_gone(key):
            return ErrorCode.KEY_NOT_FOUND
        if key.owner.account != account or key.managed:
            return ErrorCode.ACCESS_DENIED
        return None if key.gone_us is None else ErrorCode.KEY_INVALID_STATE

    def default_of(self, caller: Caller) -> str:
        """Return the default key of an account in a Region."""
        return self.chosen.get(caller, MANAGED)

    def managed_of(self, caller: Caller) -> str | None:
        """Return the AWS managed key of an account in a Region, if it was made."""
        for arn, key in self.keys.items():
            if key.managed and key.owner == caller:
                return arn
        return None

    def volume_key(
        self, caller: Caller, source: str | None, owner: Caller | None, request: "Asked"
    ) -> str:
        """Return the key of a volume that is made; empty: it is not encrypted.

        Args:
            caller: For whom.
            source: The key of the snapshot that it is made from; empty or None: no key, no source.
            owner: Whose snapshot that is.
            request: What is asked for.
        """
        if request.key:
            return request.key
        kind = "empty or plain"
        if source:
            kind = "one's own" if owner == caller else "another's"
        return self._from(VOLUME_KEYS[kind], caller, source or "", request)

    def copy_key(self, caller: Caller, source: str, request: "Asked") -> str:
        """Return the key of a copy; empty: it is not encrypted."""
        if request.key:
            return request.key
        return self._from(COPY_KEYS["encrypted" if source else "plain"], caller, source, request)

    def _from(self, row: Row, caller: Caller, source: str, request: "Asked") -> str:
        by_default = caller in self.by_default
        found = row["by default" if by_default else (request.encrypted, False)]
        return {SAME: source, DEFAULT: self.default_of(caller)}.get(found, found)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of encryption.

    Attributes:
        encrypted: Whether its flag is set.
        key: The key it names, by ARN; empty: none.
    """

    encrypted: bool = False
    key: str = ""
