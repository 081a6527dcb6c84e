"""The printable copy of a keyring, from which it can be made again when it is lost.

It is text of at most 80 columns, to be printed and locked away, and typed in on the day it is
needed. Every line that counts is

    NUMBER KIND CONTENT CHECK

with the number of the line, from 1 without gaps, and four characters that depend on all of it, so
that a slip of the finger is found in its line. Lines that begin with `#`, and empty ones, are for
people. Kinds, in their order:

    ring   the keyring's id
    key    a key's id; what follows up to the next is about it
    of     account, Region, manager, state, and when it was made (microseconds since 1970)
    alias  a name; `alias+` continues it
    since  number of a version of its material, and when it was made
    data   the material: base32 in groups of four; `data+` continues it
    end    the number of keys, and a check of everything

A copy opens everything that its keys ever wrapped, passphrase or not. Descriptions, grants,
policies and tags are not in it. A key that was pending deletion comes back disabled.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ebsim.clock import format_time
from ebsim.errors import EbsimError, InvalidInputError
from ebsim.ids import KeyId, parse_account, parse_region
from ebsim.keys.names import DEFAULT_ALIAS, check_alias, is_key_id
from ebsim.keys.records import KeyManager, KeyMaterial, KeyState, KmsKey
from ebsim.keys.refusals import recovery_line
from ebsim.keys.wrapping import KEY_SIZE, joined

COLUMNS_MAX = 80
LINES_MAX = 1_000_000

_ALIAS_COLUMNS = 56
_DATA_COLUMNS = 40
"""Eight groups; a material and its check are two such lines."""

_CHECK_BYTES = 5
"""Of which four characters are printed: one slip in a million passes in its line, and then fails
the check of everything."""

_END_BYTES = 20
_MIXED_UP = str.maketrans("018", "OIB")
"""Digits that base32 does not have, and what they were read for."""

_LINE = re.compile(r"(\d{1,7})\s+([a-z]+\+?)\s+(.*\S)\s+(\w{4})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainKey:
    """A key with its materials as they are.

    Attributes:
        key: The key; the sealed form of its materials means nothing here.
        secrets: The 32 bytes of each version of its material, in their order.
    """

    key: KmsKey
    secrets: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    kind: str
    content: str


def render(keyring_id: str, keys: Sequence[PlainKey], now_us: int) -> str:
    """Return the recovery copy of a keyring, as text."""
    lines = list(_content_lines(keyring_id, keys))
    lines.append(("end", f"{len(keys)} {_grouped(_check_of_all(lines))}"))
    heading = [
        "# Recovery copy of an ebsim keyring, made " + format_time(now_us),
        "#",
        "# Whoever has this has all keys, without any passphrase. Keep it away from the",
        "# store, and from everybody. To make the keyring again, type the lines below",
        "# into a file and give it to `ebsim key recover`. Capitals and spaces do not",
        "# matter in the groups of four; the last group of a line checks the line.",
        "",
    ]
    body = [
        f"{number:03d} {kind} {content} {_check(number, kind, content)}"
        for number, (kind, content) in enumerate(lines, 1)
    ]
    return "\n".join([*heading, *body]) + "\n"


def parse(text: str) -> tuple[str, list[PlainKey]]:
    """Return id and keys of the keyring of a recovery copy.

    Raises:
        InvalidInputError: A line is mistyped, missing or out of order; it is named
            (InvalidRecoveryCopy).
    """
    lines = list(_numbered(text))
    if not lines or lines[-1].kind != "end":
        raise recovery_line(len(lines) + 1, "is missing: the copy ends with a line of kind end")
    *others, end = lines
    reader = _Reader(others, end.number)
    keyring_id = reader.only("ring")
    if not re.fullmatch("[0-9a-f]{32}", keyring_id):
        raise recovery_line(1, "has no keyring's id")
    keys = []
    while not reader.at_end():
        keys.append(_read_key(reader))
    _prove_end(end, others, len(keys))
    return keyring_id, keys


# writing


def _content_lines(keyring_id: str, keys: Sequence[PlainKey]) -> Iterator[tuple[str, str]]:
    yield "ring", keyring_id
    for plain in keys:
        key = plain.key
        state = KeyState.ENABLED if key.state is KeyState.ENABLED else KeyState.DISABLED
        yield "key", key.key_id
        yield "of", f"{key.account} {key.region} {key.manager} {state} {key.created_us}"
        for alias in key.aliases:
            yield from _continued("alias", alias, _ALIAS_COLUMNS)
        for material, secret in zip(key.materials, plain.secrets, strict=True):
            yield "since", f"{material.version} {material.created_us}"
            digits = _grouped(secret + _material_check(key, secret))
            yield from _continued("data", digits, _DATA_COLUMNS)


def _continued(kind: str, content: str, columns: int) -> Iterator[tuple[str, str]]:
    for start in range(0, len(content), columns):
        yield (f"{kind}+" if start else kind), content[start : start + columns].strip()


def _grouped(data: bytes) -> str:
    return _in_fours(base64.b32encode(data).decode("ascii").rstrip("="))


def _in_fours(digits: str) -> str:
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def _check(number: int, kind: str, content: str) -> str:
    digest = hashlib.sha256(joined("line", str(number), kind, content)).digest()
    return base64.b32encode(digest[:_CHECK_BYTES]).decode("ascii")[:4]


def _material_check(key: KmsKey, secret: bytes) -> bytes:
    return hashlib.sha256(joined("material", key.arn, secret)).digest()[:8]


def _check_of_all(lines: Sequence[tuple[str, str]]) -> bytes:
    parts = [part for line in lines for part in line]
    return hashlib.sha256(joined("copy", *parts)).digest()[:_END_BYTES]


# reading


def _numbered(text: str) -> Iterator[_Line]:
    """Yield the lines that count, each proved by its check."""
    expected = 1
    for raw in text.splitlines():
        stripped = raw.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.match(stripped)
        if match is None:
            raise recovery_line(expected, "is not a number, a kind, its content and a check")
        number, kind, content = int(match[1]), match[2], _tidied(match[2], match[3])
        if number != expected or number > LINES_MAX:
            raise recovery_line(expected, f"is missing: line {number} stands in its place")
        if _check(number, kind, content) != _base32(match[4]):
            raise recovery_line(number, "does not agree with its check: compare it with the print")
        yield _Line(number, kind, content)
        expected += 1


def _tidied(kind: str, content: str) -> str:
    """Return the content as it was printed, where capitals and spaces were typed otherwise."""
    if kind.startswith("data"):
        return _in_fours(_base32("".join(content.split())))
    first, *rest = content.split()
    if kind == "end":
        return f"{first} {_in_fours(_base32(''.join(rest)))}"
    return " ".join((first, *rest))


def _base32(text: str) -> str:
    return text.upper().translate(_MIXED_UP)


class _Reader:
    """Goes through the lines of a copy, with the lines that continue one joined to it."""

    def __init__(self, lines: Sequence[_Line], end: int) -> None:
        self._lines = lines
        self._end = end
        self._at = 0

    def at_end(self) -> bool:
        """Return whether all lines were read."""
        return self._at == len(self._lines)

    def next_is(self, kind: str) -> bool:
        """Return whether the next line is of a kind."""
        return not self.at_end() and self._lines[self._at].kind == kind

    def number(self) -> int:
        """Return the number of the line that was read last."""
        return self._lines[self._at - 1].number

    def only(self, kind: str) -> str:
        """Return the content of the next line.

        Raises:
            InvalidInputError: It is of another kind.
        """
        if not self.next_is(kind):
            number = self._end if self.at_end() else self._lines[self._at].number
            raise recovery_line(number, f"should be of kind {kind}")
        self._at += 1
        return self._lines[self._at - 1].content

    def joined(self, kind: str, separator: str) -> str:
        """Return the content of the next line and of those that continue it."""
        parts = [self.only(kind)]
        while self.next_is(f"{kind}+"):
            parts.append(self.only(f"{kind}+"))
        return separator.join(parts)


def _read_key(reader: _Reader) -> PlainKey:
    key_id = reader.only("key")
    if not is_key_id(key_id):
        raise recovery_line(reader.number(), "has no key's id")
    facts = reader.only("of").split()
    number = reader.number()
    try:
        account, region, manager, state, created = facts
        key = KmsKey(
            key_id=KeyId(key_id),
            account=parse_account(account),
            region=parse_region(region),
            manager=KeyManager(manager),
            state=KeyState(state),
            created_us=int(created),
            materials=(),
        )
    except (ValueError, EbsimError):
        raise recovery_line(number, "says no account, Region, manager, state and time") from None
    return _read_materials(reader, replace(key, aliases=tuple(_read_aliases(reader))))


def _read_aliases(reader: _Reader) -> Iterator[str]:
    while reader.next_is("alias"):
        name = reader.joined("alias", "")
        try:
            yield name if name == DEFAULT_ALIAS else check_alias(name)
        except InvalidInputError:
            raise recovery_line(reader.number(), "has no alias") from None


def _read_materials(reader: _Reader, key: KmsKey) -> PlainKey:
    materials: list[KeyMaterial] = []
    secrets: list[bytes] = []
    while not secrets or reader.next_is("since"):
        version, _, created = reader.only("since").partition(" ")
        if not (version.isdigit() and created.isdigit()):
            raise recovery_line(reader.number(), "says no version and time")
        materials.append(KeyMaterial(version=int(version), created_us=int(created), sealed=b""))
        secrets.append(_read_secret(reader, key))
    return PlainKey(key=replace(key, materials=tuple(materials)), secrets=tuple(secrets))


def _read_secret(reader: _Reader, key: KmsKey) -> bytes:
    digits = reader.joined("data", " ").replace(" ", "")
    try:
        data = base64.b32decode(digits + "=" * (-len(digits) % 8))
    except binascii.Error:
        raise recovery_line(reader.number(), "is not base32") from None
    secret, check = data[:KEY_SIZE], data[KEY_SIZE:]
    if len(secret) != KEY_SIZE or check != _material_check(key, secret):
        raise recovery_line(reader.number(), "ends a material that is not this key's")
    return secret


def _prove_end(end: _Line, lines: Sequence[_Line], keys: int) -> None:
    expected = _grouped(_check_of_all([(line.kind, line.content) for line in lines]))
    if end.content != f"{keys} {expected}":
        raise recovery_line(end.number, "does not agree with the lines before it")
