"""The keyring's file: old or new after every crash, one writer, private, and not forged."""

import errno
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xxhash

from ebsim.caller import Caller
from ebsim.errors import (
    ConflictError,
    CorruptionError,
    EbsimError,
    ErrorCode,
    FormatVersionError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    StoreError,
    WrongKeyError,
)
from ebsim.keys import keyring_file
from ebsim.keys.keyring import Keyring
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.keys.unlocking import LOG2_N_MIN, ScryptCost, Unlocking
from ebsim.keys.wrapping import Binding
from ebsim.storage.files import Files
from ebsim.storage.locks import Lock, LockFile
from ebsim.testing.machine import Killed
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.volatile_files import VolatileFiles

ALICE = Caller("123456789012", "us-east-1")
STORE = b"S" * 16
PATH = Path("/keys/keyring.json")
CHEAP = ScryptCost(LOG2_N_MIN)
BY_FILE = Unlocking(key_file=PATH.parent / "key")


def passphrase(text: str) -> Unlocking:
    return Unlocking(passphrase=lambda: text, cost=CHEAP)


def seams(files: Files, folder: Path, seed: int = 0) -> KeyringSeams:
    return KeyringSeams(
        files=files,
        clock=ManualClock(),
        entropy=SeededEntropy(seed),
        locks=LockFile(folder / "lock"),
    )


@pytest.fixture
def path(fast_path: Path) -> Path:
    return fast_path / "keyring.json"


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a keyring as somebody can who does not have its root key: the checksum is right."""
    fields = json.loads(path.read_text())
    del fields["checksum"]
    change(fields)
    body = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    fields["checksum"] = xxhash.xxh3_128_hexdigest(body)
    path.write_text(json.dumps(fields, sort_keys=True, separators=(",", ":")))


# crashes


class Dying:
    """Files of a process that dies before its n-th call."""

    def __init__(self, files: Files, die_at: int | None) -> None:
        self.steps = 0
        self._die_at = die_at
        self.files = ObservedFiles(files, self._step)

    def _step(self, _method: str, _path: Path) -> None:
        self.steps += 1
        if self._die_at is not None and self.steps >= self._die_at:
            raise Killed


def machine(folder: Path) -> tuple[VolatileFiles, str]:
    """Return a disk with a durable keyring of one key, and the key's ARN."""
    disk = VolatileFiles()
    disk.make_directory(PATH.parent)
    disk.sync_directory(PATH.parent.parent)
    key_file = disk.create(PATH.parent / "key")
    key_file.write_at(0, [b"k" * 32])
    key_file.sync()
    ring = Keyring.create(PATH, seams=seams(disk, folder))
    key = ring.create_key(ALICE, "old")
    assert disk.unsynced == {}
    return disk, key.arn


CHANGES: dict[str, Callable[[Keyring, str], object]] = {
    "describe": lambda ring, arn: ring.update_description(ALICE, arn, "new"),
    "rotate": lambda ring, arn: ring.rotate_key(ALICE, arn),
    "create": lambda ring, _arn: ring.create_key(ALICE, "second"),
    "default": lambda ring, _arn: ring.default_key(ALICE),
    "protect": lambda ring, _arn: ring.change_protection(BY_FILE),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("power_cut", [False, True], ids=["kill", "power cut"])
def test_death_at_any_step_leaves_the_old_keyring_or_the_new_one(
    fast_path: Path, change: Callable[[Keyring, str], object], power_cut: bool
) -> None:
    die_at, seed, seen, finished = 0, 0, set(), False
    while not finished:
        die_at += 1
        for _ in range(4 if power_cut else 1):
            seed += 1
            disk, arn = machine(fast_path)
            before = disk.open(PATH).read_at(0, 1 << 20)
            dying = Dying(disk, die_at)
            ring = Keyring(PATH, seams=seams(dying.files, fast_path, seed))
            finished = True
            try:
                change(ring, arn)
            except Killed:
                finished = False
            if power_cut:
                disk.cut_power(random.Random(seed))
            found = disk.open(PATH).read_at(0, 1 << 20)
            opened = Keyring.open(PATH, BY_FILE, seams(disk, fast_path, -seed))
            opened.unlock()
            assert opened.generate_data_key(ALICE, arn, STORE).plain
            seen.add(found == before)
            assert not (finished and found == before), "what was acknowledged is lost"
            opened.create_key(ALICE, "after the crash")  # and whatever was left is no hindrance
    assert seen == {True, False}
    assert die_at > 5


@pytest.mark.parametrize("power_cut", [False, True], ids=["kill", "power cut"])
def test_death_while_a_keyring_is_made_leaves_it_or_none(fast_path: Path, power_cut: bool) -> None:
    for die_at in range(1, 20):
        disk = VolatileFiles()
        disk.make_directory(PATH.parent)
        disk.sync_directory(PATH.parent.parent)
        dying = Dying(disk, die_at)
        try:
            Keyring.create(PATH, seams=seams(dying.files, fast_path))
            made = True
        except Killed:
            made = False
        if power_cut:
            disk.cut_power(random.Random(die_at))
        if made:
            Keyring.open(PATH, seams=seams(disk, fast_path)).unlock()
            return
        try:
            Keyring.open(PATH, seams=seams(disk, fast_path)).unlock()
        except NotFoundError:
            Keyring.create(PATH, seams=seams(disk, fast_path)).unlock()
    pytest.fail("it was never finished")


def test_crash_test_would_notice_a_missing_sync(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the sync before the renaming, some power cut leaves a keyring that is none."""

    def careless(path: Path, data: bytes, files: Files) -> None:
        file = files.create(path)
        file.write_at(0, [data])
        file.close()

    bad = 0
    for seed in range(30):
        monkeypatch.undo()
        disk, arn = machine(fast_path)
        monkeypatch.setattr(keyring_file, "write_private", careless)
        ring = Keyring.open(PATH, seams=seams(disk, fast_path, seed))
        ring.update_description(ALICE, arn, "new" * 500)
        disk.cut_power(random.Random(seed))
        try:
            found = Keyring.open(PATH, seams=seams(disk, fast_path)).describe_key(ALICE, arn)
            bad += found.description == "old"
        except EbsimError:
            bad += 1

    assert bad > 0


@pytest.mark.parametrize("method", ["create", "write_at", "sync", "rename"])
def test_failed_write_changes_nothing(fast_path: Path, method: str) -> None:
    disk, arn = machine(fast_path)
    failing = True

    def fail(called: str, path: Path) -> None:
        if failing and called == method and path.suffix == ".new":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    ring = Keyring.open(PATH, seams=seams(ObservedFiles(disk, fail), fast_path))
    with pytest.raises(StoreError, match=r"keyring\.json"):
        ring.update_description(ALICE, arn, "new")

    assert ring.describe_key(ALICE, arn).description == "old"
    assert sorted(disk.list(PATH.parent)) == ["key", "keyring.json"]
    failing = False
    ring.update_description(ALICE, arn, "new")
    assert ring.describe_key(ALICE, arn).description == "new"


def test_full_disk_is_told_as_such(fast_path: Path) -> None:
    disk, arn = machine(fast_path)

    def fail(called: str, _path: Path) -> None:
        if called == "write_at":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ring = Keyring.open(PATH, seams=seams(ObservedFiles(disk, fail), fast_path))

    with pytest.raises(LimitExceededError) as caught:
        ring.rotate_key(ALICE, arn)

    assert caught.value.code is ErrorCode.NO_SPACE
    assert len(ring.describe_key(ALICE, arn).materials) == 1


def test_failed_sync_of_the_folder_is_an_unknown_outcome(fast_path: Path) -> None:
    disk, arn = machine(fast_path)

    def fail(called: str, _path: Path) -> None:
        if called == "sync_directory":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    ring = Keyring.open(PATH, seams=seams(ObservedFiles(disk, fail), fast_path))

    with pytest.raises(StoreError) as caught:
        ring.rotate_key(ALICE, arn)

    assert caught.value.code is ErrorCode.OUTCOME_UNKNOWN


def test_keyring_has_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Keyring.create(path)
    monkeypatch.setattr(keyring_file, "KEYRING_SIZE_MAX", 1000)

    with pytest.raises(LimitExceededError):
        ring.create_key(ALICE, "x" * 1000)


# several at once


def test_two_handles_in_many_threads_lose_no_change(path: Path) -> None:
    rings = [Keyring.create(path), Keyring.open(path), Keyring.open(path)]
    failures: list[BaseException] = []

    def work(ring: Keyring) -> None:
        try:
            for _ in range(10):
                ring.create_key(ALICE)
        except BaseException as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(ring,)) for ring in rings * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    for ring in rings:
        assert len(ring.list_keys(ALICE)) == 60


WRITER = """
import sys
from pathlib import Path
from ebsim.caller import Caller
from ebsim.keys.keyring import Keyring
ring = Keyring.open(Path(sys.argv[1]))
for number in range(15):
    ring.create_key(Caller("123456789012", "us-east-1"))
    ring.default_key(Caller("123456789012", "us-east-1"))
"""


class Overtaken(LockFile):
    """A lock before which another process does something."""

    def __init__(self, path: Path, before: Callable[[], object]) -> None:
        super().__init__(path)
        self._before = before

    def hold(self, region: int, *, exclusive: bool = True) -> Lock:
        self._before()
        return super().hold(region, exclusive=exclusive)


def test_default_key_is_made_once_though_two_need_it_at_once(path: Path) -> None:
    other = Keyring.create(path)
    locks = Overtaken(path.with_name("lock"), lambda: other.default_key(ALICE))
    ring = Keyring.open(path, seams=KeyringSeams(locks=locks))

    assert ring.default_key(ALICE) == other.default_key(ALICE)
    assert len(ring.list_keys(ALICE)) == 1


@pytest.mark.slow
def test_two_processes_lose_no_change_and_make_one_default_key(path: Path) -> None:
    ring = Keyring.create(path)
    version = ring.version()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for writer in writers:
        _, stderr = writer.communicate()
        assert (writer.returncode, stderr) == (0, b"")

    assert len(ring.list_keys(ALICE)) == 31
    assert ring.version() > version


def test_changes_are_seen_however_fast_they_follow(path: Path) -> None:
    """Three writings within a tick of the clock may take turns with two inodes."""
    writer, reader = Keyring.create(path), Keyring.open(path)
    arn = writer.create_key(ALICE).arn
    for number in range(300):
        text = f"{number:04}"
        writer.update_description(ALICE, arn, text)
        if number % 3 == 2:
            assert reader.describe_key(ALICE, arn).description == text


# making and opening


def test_keyring_is_never_written_over(path: Path) -> None:
    ring = Keyring.create(path)
    ring.create_key(ALICE)
    before = path.read_bytes()

    with pytest.raises(ConflictError) as caught:
        Keyring.create(path)

    assert caught.value.code is ErrorCode.KEYRING_EXISTS
    assert path.read_bytes() == before


def test_keyring_that_is_not_there_is_told(path: Path) -> None:
    for missing in (path, path / "below"):
        with pytest.raises(NotFoundError) as caught:
            Keyring.open(missing)
        assert caught.value.code is ErrorCode.KEYRING_NOT_FOUND
        assert str(missing) in str(caught.value)


def test_keyring_that_vanished_is_told_at_once(path: Path) -> None:
    ring = Keyring.create(path)
    path.unlink()

    with pytest.raises(NotFoundError):
        ring.list_keys(ALICE)
    with pytest.raises(NotFoundError):
        ring.create_key(ALICE)


def test_symbolic_link_is_not_followed(path: Path) -> None:
    Keyring.create(path)
    link = path.with_name("link.json")
    link.symlink_to(path)

    with pytest.raises(StoreError):
        Keyring.open(link)


# other people's eyes


def test_keyring_is_readable_by_its_owner_only(path: Path) -> None:
    ring = Keyring.create(path)
    ring.create_key(ALICE)
    ring.export(path.with_name("copy.txt"))

    for each in path.parent.iterdir():
        assert each.stat().st_mode & 0o777 == 0o600, each


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o666, 0o601])
def test_keyring_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    ring = Keyring.create(path)
    path.chmod(mode)

    for call in (lambda: Keyring.open(path), lambda: ring.list_keys(ALICE)):
        with pytest.raises(StoreError, match="chmod 600") as caught:
            call()
        assert caught.value.code is ErrorCode.KEYRING_EXPOSED
    path.chmod(0o600)
    assert ring.list_keys(ALICE) == []


def test_keyring_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Keyring.create(path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(StoreError, match="another user"):
        Keyring.open(path)


# damage and forgery


def test_every_flipped_byte_is_an_error(path: Path) -> None:
    ring = Keyring.create(path)
    made = ring.generate_data_key(ALICE, ring.create_key(ALICE).arn, STORE)
    whole = path.read_bytes()
    undetected = []
    for position in range(len(whole) - 1):  # the last byte ends the line and says nothing
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        try:
            Keyring.open(path).unwrap_data_key(
                ALICE, made.key_arn, made.wrapped, Binding(STORE, made.data_key_id)
            )
            undetected.append(position)
        except (CorruptionError, FormatVersionError) as error:
            assert error.code in (ErrorCode.CORRUPT_KEYRING, ErrorCode.UNKNOWN_FORMAT)  # noqa: PT017

    assert undetected == []


@pytest.mark.parametrize("size", [0, 1, 100, -2])
def test_keyring_that_is_cut_off_is_damage(path: Path, size: int) -> None:
    Keyring.create(path)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(CorruptionError, match="recovery copy"):
        Keyring.open(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["keys"][0].update(state="Enabled"),
        lambda fields: fields["keys"][0].update(account="111122223333"),
        lambda fields: fields["keys"][0].update(aliases=["alias/other"]),
        lambda fields: fields["keys"][0].update(deletion_us=1),
        lambda fields: fields["keys"].pop(),
        lambda fields: fields["protection"].update(note="x"),
        lambda fields: fields.update(extra=1),
        lambda fields: fields.update(mac="00" * 32),
    ],
)
def test_change_without_the_root_key_is_not_believed(
    path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    ring = Keyring.create(path)
    arn = ring.create_key(ALICE).arn
    ring.disable_key(ALICE, arn)
    rewritten(path, change)

    for opened in (ring, Keyring.open(path)):
        with pytest.raises(CorruptionError, match="changed by something"):
            opened.generate_data_key(ALICE, arn, STORE)
        with pytest.raises(CorruptionError):
            opened.create_key(ALICE)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("keys"),
        lambda fields: fields.pop("mac"),
        lambda fields: fields.update(mac="no hex"),
        lambda fields: fields.update(root_commitment=None),
        lambda fields: fields.update(protection=None),
        lambda fields: fields.update(keys=[1]),
        lambda fields: fields.update(keys=None),
        lambda fields: fields["keys"][0].update(state="Broken"),
        lambda fields: fields["keys"][0].update(materials=[{}]),
        lambda fields: fields["keys"][0].update(grants=[{"operations": ["Fly"]}]),
        lambda fields: fields["keys"][0].pop("region"),
    ],
)
def test_what_is_no_keyring_is_damage(
    path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    Keyring.create(path).create_key(ALICE)
    rewritten(path, change)

    with pytest.raises(CorruptionError) as caught:
        Keyring.open(path)

    assert caught.value.code is ErrorCode.CORRUPT_KEYRING


@pytest.mark.parametrize("fields", [{"magic": "other"}, {"format_version": 2}])
def test_another_format_is_told_apart_from_damage(path: Path, fields: dict[str, Any]) -> None:
    Keyring.create(path)
    rewritten(path, lambda present: present.update(fields))

    with pytest.raises(FormatVersionError, match="keyring"):
        Keyring.open(path)


# protection


def test_keyring_is_looked_at_without_its_passphrase(path: Path) -> None:
    asked = []

    def ask() -> str:
        asked.append(1)
        return "secret"

    key = Keyring.create(path, passphrase("secret")).create_key(ALICE)
    ring = Keyring.open(path, Unlocking(passphrase=ask))

    assert ring.list_keys(ALICE) == [key]
    assert ring.protection() == "scrypt"
    assert asked == []
    ring.generate_data_key(ALICE, key.arn, STORE)
    ring.create_key(ALICE)
    assert asked == [1]


@pytest.mark.parametrize(
    ("unlocking", "error"), [(passphrase("wrong"), WrongKeyError), (Unlocking(), InvalidInputError)]
)
def test_nothing_is_done_without_the_passphrase(
    path: Path, unlocking: Unlocking, error: type[EbsimError]
) -> None:
    key = Keyring.create(path, passphrase("secret")).create_key(ALICE)
    before = path.read_bytes()
    ring = Keyring.open(path, unlocking)

    for call in (
        ring.recovery_text,
        lambda: ring.disable_key(ALICE, key.arn),
        lambda: ring.generate_data_key(ALICE, key.arn, STORE),
    ):
        with pytest.raises(error):
            call()
    assert path.read_bytes() == before


def test_new_passphrase_wraps_the_root_key_only(path: Path) -> None:
    ring = Keyring.create(path, passphrase("old"))
    made = ring.generate_data_key(ALICE, ring.create_key(ALICE).arn, STORE)
    other = Keyring.open(path, passphrase("old"))
    other.unlock()
    before = json.loads(path.read_text())

    ring.change_protection(passphrase("new"))

    after = json.loads(path.read_text())
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"protection", "mac", "checksum"}
    binding = Binding(STORE, made.data_key_id)
    for opened in (ring, other, Keyring.open(path, passphrase("new"))):
        assert opened.unwrap_data_key(ALICE, made.key_arn, made.wrapped, binding) == made.plain
    with pytest.raises(WrongKeyError):
        Keyring.open(path, passphrase("old")).unlock()


def test_protection_is_added_and_taken_away(path: Path) -> None:
    ring = Keyring.create(path)
    key_file = path.with_name("key")
    key_file.touch(mode=0o600)
    key_file.write_bytes(os.urandom(32))

    for unlocking, name in (
        (passphrase("x"), "scrypt"),
        (Unlocking(key_file=key_file), "key-file"),
        (Unlocking(), "none"),
    ):
        ring.change_protection(unlocking)
        assert ring.protection() == name
        Keyring.open(path, unlocking).create_key(ALICE)


def test_no_key_lies_in_a_protected_keyring_in_the_clear(path: Path) -> None:
    ring = Keyring.create(path, passphrase("open sesame"))
    made = ring.generate_data_key(ALICE, ring.create_key(ALICE).arn, STORE)
    present = ring._ring.present()
    secrets = [present.materials.root, made.plain]
    for key in present.contents.keys.values():
        secrets += present.materials.opened(key).secrets

    data = path.read_bytes()
    for secret in secrets:
        assert secret.hex().encode() not in data
    assert b"sesame" not in data


def test_keyring_put_in_its_place_is_opened_anew(path: Path) -> None:
    """A recovered keyring has another root key; a handle that is open goes on with it."""
    ring = Keyring.create(path)
    made = ring.generate_data_key(ALICE, ring.create_key(ALICE).arn, STORE)
    text = ring.recovery_text()
    path.unlink()

    Keyring.recover(path, text)

    binding = Binding(STORE, made.data_key_id)
    assert ring.unwrap_data_key(ALICE, made.key_arn, made.wrapped, binding) == made.plain
