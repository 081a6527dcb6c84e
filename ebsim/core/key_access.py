"""The keyring of an open store: where it is, which one it is, and when it is made.

It lies in the store's folder as `keyring.json`, or where `ebsim init --keyring` said, which the
store keeps in its catalog and journal; what a handle was told (`Seams.keyring`, `--keyring`,
EBSIM_KEYRING) wins. A handle opens it once, at the first need, for all who act through it.

It is made at the first need of a key, protected by what the handle was told to open it with, and by
its mode alone (0600) where that is nothing. From then on the store knows its id: another keyring in
its place is refused, and a missing one is missing, never made anew, because what it held is needed.
The keyring is written first, and then the store's note of its id: after a crash between the two,
the next need finds the keyring and notes it.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.errors import NotFoundError
from ebsim.format.catalog_values import Table
from ebsim.format.keyring_settings import (
    KeyringSettings,
    decode_keyring_settings,
    encode_keyring_settings,
)
from ebsim.keys import refusals
from ebsim.keys.keyring import Keyring
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.keys.unlocking import NO_PROTECTION
from ebsim.storage.catalog import CatalogReader
from ebsim.storage.store_safety import KEYRING_NAME

SETTINGS_KEY = b"keyring"
"""Under which META has them."""


def load_keyring_settings(reader: CatalogReader) -> KeyringSettings:
    """Return which keyring is a store's.

    Raises:
        CorruptionError: The catalog holds something else.
    """
    value = reader.get(Table.META, SETTINGS_KEY)
    return KeyringSettings() if value is None else decode_keyring_settings(value)


def keyring_path(context: StoreContext) -> Path:
    """Return where the keyring of a handle lies, or will lie.

    Raises:
        InvalidInputError: It was put into the store's folder under another name.
        CorruptionError: The catalog is damaged.
    """
    with context.catalog.read() as reader:
        return _place(context, load_keyring_settings(reader))


def _place(context: StoreContext, settings: KeyringSettings) -> Path:
    own = context.path / KEYRING_NAME
    if context.state.keyring_path is not None:
        return outside_store(context.state.keyring_path, context.path)
    return Path(settings.path) if settings.path else own


def outside_store(path: Path, store: Path) -> Path:
    """Return the absolute path of a keyring that may lie in a store's folder under one name only.

    Raises:
        InvalidInputError: It would lie there under another.
    """
    absolute, folder = Path(os.path.abspath(path)), Path(os.path.abspath(store))
    if absolute.is_relative_to(folder) and absolute != folder / KEYRING_NAME:
        raise refusals.keyring_inside(absolute, folder)
    return absolute


def open_keyring(context: StoreContext, *, create: bool) -> Keyring:
    """Return the keyring of a handle, opened at the first need.

    With `create`, it is made if the store never had one; then, or when it is used for the first
    time, the store notes its id in a transaction of its own: no other may be under way in this
    thread.

    Raises:
        NotFoundError: There is none (KeyringNotFound).
        WrongKeyError: It is another one than the store's.
        StoreError: It cannot be read, others can read it (KeyringExposed), or a write failed.
        InvalidInputError: It would lie within the store, or what is to protect it is missing.
        FormatVersionError, CorruptionError: It is no keyring, or damaged.
    """
    state = context.state
    with state.keyring_mutex:
        if state.keyring is None:
            state.keyring = _opened(context, create=create)
        keyring = state.keyring
    if create:
        _note_id(context, keyring.keyring_id)
    return keyring


def _opened(context: StoreContext, *, create: bool) -> Keyring:
    with context.catalog.read() as reader:
        settings = load_keyring_settings(reader)
    path, wanted = _place(context, settings), settings.keyring_id
    unlocking = context.state.unlocking or NO_PROTECTION
    seams = _seams(context)
    try:
        keyring = Keyring.open(path, unlocking, seams)
    except NotFoundError:
        if wanted:
            raise refusals.keyring_lost(path, wanted) from None
        if not create:
            raise
        context.ensure_writable()
        return Keyring.create(path, unlocking, seams)
    ensure_not_another(context, path, keyring.keyring_id)
    return keyring


def _seams(context: StoreContext) -> KeyringSeams:
    return KeyringSeams(files=context.files, clock=context.clock, entropy=context.entropy)


def find_keyring(context: StoreContext) -> Keyring | None:
    """Return the keyring of a handle; None where the store never had one.

    Raises:
        NotFoundError: It is lost (KeyringNotFound).
        WrongKeyError, StoreError, InvalidInputError, FormatVersionError, CorruptionError: As
            `open_keyring`.
    """
    try:
        return open_keyring(context, create=False)
    except NotFoundError:
        with context.catalog.read() as reader:
            if load_keyring_settings(reader).keyring_id:
                raise
        return None


def ensure_not_another(context: StoreContext, path: Path, keyring_id: str) -> None:
    """See that a keyring is not another than the store's, if the store had one.

    Raises:
        WrongKeyError: It is.
    """
    with context.catalog.read() as reader:
        wanted = load_keyring_settings(reader).keyring_id
    if wanted and keyring_id != wanted:
        raise refusals.wrong_keyring(path, wanted, keyring_id)


def _note_id(context: StoreContext, keyring_id: str) -> None:
    change_keyring_settings(
        context, lambda settings: replace(settings, keyring_id=settings.keyring_id or keyring_id)
    )


def set_keyring_place(context: StoreContext, path: Path | None) -> None:
    """Have the store look for its keyring elsewhere from now on; None: in its own folder.

    Handles that opened it already go on with what they opened.

    Raises:
        InvalidInputError: It would lie within the store under another name.
        WrongKeyError: Another keyring than the store's is there.
        StoreError, LimitExceededError, FormatVersionError, CorruptionError: A write failed, or what
            is there cannot be read.
    """
    own = context.path / KEYRING_NAME
    wanted = own if path is None else outside_store(path, context.path)
    with suppress(NotFoundError):  # it may be brought there later
        there = Keyring.open(wanted, NO_PROTECTION, _seams(context))
        ensure_not_another(context, wanted, there.keyring_id)
    place = "" if wanted == own else str(wanted)
    change_keyring_settings(context, lambda settings: replace(settings, path=place))


def change_keyring_settings(
    context: StoreContext, change: Callable[[KeyringSettings], KeyringSettings]
) -> None:
    """Change which keyring is the store's, in its journal too; no change writes nothing.

    Raises:
        StoreError, LimitExceededError: A write failed.
    """

    def run(commit: JournaledCommit) -> None:
        changed = change(load_keyring_settings(commit.writer))
        commit.writer.put(Table.META, SETTINGS_KEY, encode_keyring_settings(changed))
        commit.journal("keyring", {"keyring": asdict(changed)})

    with context.catalog.read() as reader:
        settings = load_keyring_settings(reader)
    if change(settings) != settings:
        with writing(context):
            commit_journaled(context, run)
