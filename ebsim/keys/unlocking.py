"""What opens a keyring: a passphrase, or a key file.

Apart from what is done with it (`ebsim.keys.protection`), so that a program may say what opens its
keyring before it is known whether any key is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ebsim.keys.refusals import invalid_value
from ebsim.refusals import invalid_combination

NONE, SCRYPT, KEY_FILE = "none", "scrypt", "key-file"

LOG2_N_MIN = 14
"""16 MiB and 0.04 s a guess: what RFC 7914's author called the least, for logins."""

LOG2_N_MAX = 24
"""16 GiB: a keyring that asks for more is damaged, or made to hurt."""

SECRET_SIZE_MAX = 1 << 20
"""Of a passphrase or key file, in bytes: no one has more, and it must end somewhere."""


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """How long one guess takes: 128 * 2**log2_n * r bytes of memory, p times.

    The default takes 128 MiB and about 0.4 s.

    Raises:
        InvalidInputError: It is below the floor, or beyond all use.
    """

    log2_n: int = 17
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        if not (
            LOG2_N_MIN <= self.log2_n <= LOG2_N_MAX and 8 <= self.r <= 32 and 1 <= self.p <= 16
        ):
            raise invalid_value(
                f"scrypt with N=2**{self.log2_n}, r={self.r}, p={self.p} is out of bounds: N is "
                f"2**{LOG2_N_MIN} to 2**{LOG2_N_MAX}, r 8 to 32, p 1 to 16"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocking:
    """What opens a keyring, or will: at most one of the first three; none: no protection.

    Attributes:
        passphrase: Asks for the passphrase, and returns it.
        passphrase_command: A command that prints it, with its arguments; no shell is used.
        key_file: A file of at least 32 bytes that are hard to guess.
        cost: Of scrypt, when a keyring is protected by a passphrase from now on.
        ask: Asks for the passphrase where a keyring turns out to have one, and nothing else was
            given; it protects no new one.
    """

    passphrase: Callable[[], str] | None = field(default=None, repr=False)
    passphrase_command: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    cost: ScryptCost = ScryptCost()
    ask: Callable[[], str] | None = field(default=None, repr=False)

    def method(self) -> str:
        """Return how a keyring is protected with it.

        Raises:
            InvalidInputError: More than one thing was given.
        """
        given = (self.passphrase, self.passphrase_command, self.key_file)
        if sum(each is not None for each in given) > 1:
            raise invalid_combination("a keyring has one passphrase or one key file, not both")
        if self.key_file is not None:
            return KEY_FILE
        return NONE if given == (None, None, None) else SCRYPT


NO_PROTECTION = Unlocking()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyringAccess:
    """Where the keyring of a second store lies, and what opens it.

    Attributes:
        keyring: Where it lies; None: where that store says.
        unlocking: What opens it; None: nothing.
    """

    keyring: Path | None = None
    unlocking: Unlocking | None = field(default=None, repr=False)
