"""The recovery copy: everything comes back, and a slip of the finger is named by its line."""

import errno
import os
import re
import string
from pathlib import Path

import pytest

from ebsim.caller import Caller
from ebsim.errors import ConflictError, EbsimError, ErrorCode, InvalidInputError
from ebsim.keys import recovery_copy
from ebsim.keys.keyring import Keyring
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.keys.records import KeyState
from ebsim.keys.unlocking import LOG2_N_MIN, ScryptCost, Unlocking
from ebsim.keys.wrapping import Binding
from ebsim.storage.files import PosixFiles
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.seams import ManualClock, SeededEntropy

ALICE = Caller("123456789012", "us-east-1")
BOB = Caller("111122223333", "ap-southeast-1")
STORE = b"S" * 16


@pytest.fixture
def ring(fast_path: Path, clock: ManualClock) -> Keyring:
    return Keyring.create(
        fast_path / "keyring.json", seams=KeyringSeams(clock=clock, entropy=SeededEntropy())
    )


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def filled(ring: Keyring) -> str:
    first = ring.create_key(ALICE, "a text").arn
    ring.create_alias(ALICE, "alias/web", first)
    ring.create_alias(ALICE, "alias/" + "LONG/" * 50, first)
    ring.rotate_key(ALICE, first)
    ring.default_key(BOB)
    return ring.recovery_text()


def test_everything_that_was_wrapped_opens_again(ring: Keyring, fast_path: Path) -> None:
    callers = (ALICE, BOB)
    made = [(each, ring.generate_data_key(each, "alias/aws/ebs", STORE)) for each in callers]
    old = ring.create_key(ALICE)
    made.append((ALICE, ring.generate_data_key(ALICE, old.arn, STORE)))
    ring.rotate_key(ALICE, old.arn)
    made.append((ALICE, ring.generate_data_key(ALICE, old.arn, STORE)))
    text = filled(ring)
    cheap = Unlocking(passphrase=lambda: "x", cost=ScryptCost(LOG2_N_MIN))

    again = Keyring.recover(fast_path / "again.json", text, cheap)

    for caller, key in made:
        binding = Binding(STORE, key.data_key_id)
        assert again.unwrap_data_key(caller, key.key_arn, key.wrapped, binding) == key.plain
    for caller in callers:
        assert again.list_aliases(caller) == ring.list_aliases(caller)
        assert [key.arn for key in again.list_keys(caller)] == [
            key.arn for key in ring.list_keys(caller)
        ]
    assert lines(again.recovery_text()) == lines(text)


def test_what_a_copy_leaves_out_is_as_its_heading_says(ring: Keyring, fast_path: Path) -> None:
    disabled, deleted = ring.create_key(ALICE, "text"), ring.create_key(ALICE)
    ring.create_grant(ALICE, disabled.arn, BOB.account)
    ring.disable_key(ALICE, disabled.arn)
    ring.schedule_key_deletion(ALICE, deleted.arn)

    again = Keyring.recover(fast_path / "again.json", ring.recovery_text())

    for key in (disabled, deleted):
        found = again.describe_key(ALICE, key.arn)
        assert (found.state, found.description, found.grants) == (KeyState.DISABLED, "", ())
        assert found.deletion_us is None


def test_key_that_is_gone_is_not_in_the_copy(ring: Keyring, clock: ManualClock) -> None:
    key = ring.create_key(ALICE)
    ring.schedule_key_deletion(ALICE, key.arn)
    clock.advance(days=30)

    assert key.key_id not in ring.recovery_text()


def test_copy_fits_on_paper(ring: Keyring) -> None:
    text = filled(ring)

    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80
    for number, line in enumerate(lines(text), 1):
        assert re.fullmatch(rf"{number:03d} [a-z]+\+? .+ [A-Z2-7]{{4}}", line)


def test_empty_keyring_has_a_copy_too(ring: Keyring, fast_path: Path) -> None:
    again = Keyring.recover(fast_path / "again.json", ring.recovery_text())

    assert again.list_keys(ALICE) == []


def test_copy_is_typed_with_other_capitals_spaces_and_digits(
    ring: Keyring, fast_path: Path
) -> None:
    text = filled(ring)
    typed = []
    for line in lines(text):
        number, kind, rest = line.split(" ", 2)
        if kind.startswith("data"):
            rest = rest.lower().replace("o", "0").replace("b", "8").replace("i", "1")
            rest = rest[:-5].replace(" ", "") + rest[-5:]
        typed.append(f"   {int(number)}  {kind}   {rest}\t\n\n# a note")

    Keyring.recover(fast_path / "again.json", "\r\n".join(typed))


def test_any_mistyped_character_is_named_by_its_line(ring: Keyring) -> None:
    ring.create_alias(ALICE, "alias/web", ring.create_key(ALICE).arn)
    kept = lines(ring.recovery_text())
    alphabet = string.ascii_letters + string.digits + " +/-"
    for number, line in enumerate(kept, 1):
        for position, present in enumerate(line):
            other = alphabet[(alphabet.index(present) + 17) % len(alphabet)]
            if other.upper() == present.upper():
                continue
            mistyped = line[:position] + other + line[position + 1 :]
            text = "\n".join([*kept[: number - 1], mistyped, *kept[number:]])
            try:
                recovery_copy.parse(text)
            except InvalidInputError as error:
                assert error.code is ErrorCode.INVALID_RECOVERY_COPY  # noqa: PT017
                assert f"line {number} " in str(error), (mistyped, str(error))  # noqa: PT017
            else:
                assert " ".join(mistyped.split()) == line or other == " ", mistyped


def test_missing_doubled_and_swapped_lines_are_named(ring: Keyring) -> None:
    kept = lines(filled(ring))
    for at in range(len(kept)):
        number = at + 1
        doubled = [*kept[:number], *kept[at:]]
        variants = [([*kept[:at], *kept[number:]], number), (doubled, number + 1)]
        if number < len(kept):
            variants.append(([*kept[:at], kept[number], kept[at], *kept[number + 1 :]], number))
        for changed, named in variants:
            with pytest.raises(InvalidInputError, match=rf"line {named} ") as caught:
                recovery_copy.parse("\n".join(changed))
            assert caught.value.code is ErrorCode.INVALID_RECOVERY_COPY


@pytest.mark.parametrize("text", ["", "# nothing\n", "hello", "1 ring\n"])
def test_what_is_no_copy_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="line 1 "):
        recovery_copy.parse(text)


def checked(*contents: tuple[str, str]) -> str:
    """Return lines whose checks are right, whatever they say."""
    entries = [
        *contents,
        ("end", "1 " + recovery_copy._grouped(recovery_copy._check_of_all(contents))),
    ]
    return "\n".join(
        f"{number} {kind} {content} {recovery_copy._check(number, kind, content)}"
        for number, (kind, content) in enumerate(entries, 1)
    )


RING = ("ring", "0" * 32)
KEY = ("key", "01234567-89ab-4cde-8f01-23456789abcd")
OF = ("of", "123456789012 us-east-1 CUSTOMER Enabled 5")


@pytest.mark.parametrize(
    ("contents", "named"),
    [
        ([("ring", "zz")], 1),
        ([KEY], 1),
        ([RING, OF], 2),
        ([RING, ("key", "web")], 2),
        ([RING, KEY], 3),
        ([RING, KEY, ("of", "123456789012 us-east-1 CUSTOMER Enabled")], 3),
        ([RING, KEY, ("of", "123 us-east-1 CUSTOMER Enabled 5")], 3),
        ([RING, KEY, ("of", "123456789012 us-east-1 NOBODY Enabled 5")], 3),
        ([RING, KEY, OF, ("alias", "web")], 4),
        ([RING, KEY, OF, ("since", "x y")], 4),
        ([RING, KEY, OF, ("since", "1 5"), ("data", "AAAA")], 5),
        ([RING, KEY, OF, ("since", "1 5"), ("data", "9999")], 5),
        ([RING, KEY, OF, ("since", "1 5"), ("data", "AAAA AAAA " * 8)], 5),
        ([RING, KEY, OF, ("since", "1 5"), ("alias", "alias/x")], 5),
    ],
)
def test_line_that_makes_no_sense_is_named(contents: list[tuple[str, str]], named: int) -> None:
    tidied = [(kind, content.strip()) for kind, content in contents]

    with pytest.raises(InvalidInputError, match=rf"line {named} "):
        recovery_copy.parse(checked(*tidied))


def test_line_of_another_copy_is_found_at_the_end(ring: Keyring) -> None:
    """Its own check is right, and it makes sense; the check of everything is wrong."""
    kept = lines(filled(ring))
    at = next(number for number, line in enumerate(kept) if " since 1 " in line)
    number, kind, content = at + 1, "since", "1 1767225600000001"
    kept[at] = f"{number} {kind} {content} {recovery_copy._check(number, kind, content)}"

    with pytest.raises(InvalidInputError, match=rf"line {len(kept)} .* lines before it"):
        recovery_copy.parse("\n".join(kept))


def test_material_of_another_key_is_not_taken(ring: Keyring) -> None:
    """Even where every check of a line and of everything is right."""
    ring.create_key(ALICE)
    body = []
    for line in lines(ring.recovery_text())[:-1]:
        _, kind, content = line.rsplit(" ", 1)[0].split(" ", 2)
        body.append((kind, content))
    at = [kind for kind, _ in body].index("key")
    body[at] = KEY

    with pytest.raises(InvalidInputError, match="not this key's"):
        recovery_copy.parse(checked(*body))


def test_export_writes_a_new_file(ring: Keyring, fast_path: Path) -> None:
    copy = fast_path / "copy.txt"

    ring.export(copy)

    assert lines(copy.read_text()) == lines(ring.recovery_text())
    assert copy.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConflictError) as caught:
        ring.export(copy)
    assert caught.value.code is ErrorCode.KEYRING_EXISTS


def test_recovery_writes_over_nothing(ring: Keyring) -> None:
    with pytest.raises(ConflictError):
        Keyring.recover(ring.path, ring.recovery_text())


def test_export_to_nowhere_is_told(ring: Keyring, fast_path: Path) -> None:
    with pytest.raises(EbsimError, match="nowhere"):
        ring.export(fast_path / "nowhere" / "copy.txt")


def test_copy_that_could_not_be_written_is_not_left_there(fast_path: Path) -> None:
    def fail(called: str, path: Path) -> None:
        if called == "sync" and path.name == "copy.txt":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files = ObservedFiles(PosixFiles(), fail)
    ring = Keyring.create(fast_path / "keyring.json", seams=KeyringSeams(files=files))

    with pytest.raises(EbsimError, match=r"copy\.txt"):
        ring.export(fast_path / "copy.txt")

    assert not (fast_path / "copy.txt").exists()


def test_secrets_of_a_copy_are_not_shown(ring: Keyring) -> None:
    ring.create_key(ALICE)
    _, keys = recovery_copy.parse(ring.recovery_text())

    assert repr(keys[0].secrets[0]) not in repr(keys)
