"""No key and no passphrase is anywhere but in the keyring, and that is its user's alone.

What is looked through: all that is printed, logged and raised, what objects show of themselves, the
arguments and the environment of processes, and every file that is left. What is looked for: the
root key, the materials of all keys, data keys and the passphrase, in the forms in which bytes are
written down.
"""

import base64
import logging
import os
import pty
import re
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.cli.background import BackgroundProcesses
from ebsim.cli.environment import Environment
from ebsim.cli.invocation import Invocation
from ebsim.cli.keys import KeyOptions
from ebsim.cli.main import run
from ebsim.cli.stores import EngineStores
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError, ErrorCode
from ebsim.keys.keyring import Keyring
from ebsim.keys.keyring_file import decode_document
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.keys.unlocking import ScryptCost, Unlocking
from ebsim.testing.descriptors import no_descriptor_left
from ebsim.testing.seams import SeededEntropy

PASSPHRASE = "correct-horse-battery"
CHEAP = ScryptCost(log2_n=14)
LOCKING = Unlocking(passphrase=lambda: PASSPHRASE, cost=CHEAP)


class Remembering:
    """Random bytes, of which every one that is long enough to be a key is remembered."""

    def __init__(self) -> None:
        self._source = SeededEntropy(5)
        self.given: list[bytes] = []

    def token_bytes(self, count: int) -> bytes:
        token = self._source.token_bytes(count)
        if count >= 32:
            self.given.append(token)
        return token


def forms(secret: bytes) -> Iterator[bytes]:
    """Yield how a secret would look that was written down."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield base64.b64encode(secret).rstrip(b"=")[:-1]
    yield repr(secret)[2:-1].encode()


def assert_nowhere(secrets: list[bytes], content: bytes, where: str) -> None:
    for secret in secrets:
        for form in forms(secret):
            assert form not in content, where


def root_key(folder: Path) -> bytes:
    document = decode_document((folder / "keyring.json").read_bytes())
    return bytes.fromhex(document.protection["root_key"])


def materials(folder: Path) -> list[bytes]:
    """Return what the recovery copy, which is to hold them, says are the materials."""
    from ebsim.keys import recovery_copy

    ring = Keyring.open(folder / "keyring.json")
    _, keys = recovery_copy.parse(ring.recovery_text())
    return [secret for key in keys for secret in key.secrets]


def use_keys(store: Store, folder: Path) -> list[bytes]:
    """Do all that there is to do with keys; return the data keys that were made."""
    key = store.keys.create("web", "alias/web")
    other = store.keys.create()
    data_keys = []
    keyring = store._context.keyring()
    for reference in (key.arn, "alias/aws/ebs"):
        made = keyring.generate_data_key(store.caller, reference, store._context.header.store_id)
        data_keys.append(made.plain)
    store.keys.rotate(key.arn)
    store.keys.create_grant(key.arn, "111122223333")
    store.encryption.modify_default_kms_key_id(key.arn)
    store.encryption.enable_by_default()
    store.keys.schedule_deletion(other.arn)
    store.keys.export(folder / "recovery.txt")
    store.check(data=True)
    store.events()
    return data_keys


def files_below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that takes nothing away: modes are what ebsim makes them."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_files_are_their_owners_alone_and_the_keyring_alone_has_keys(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    with Store.create(store_path, seams) as store:
        secrets = use_keys(store, fast_path)
    secrets += [root_key(store_path), *materials(store_path)]
    looked_at = 0
    for path in files_below(fast_path):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path} has mode {mode:o}"
        if path.name not in ("keyring.json", "recovery.txt"):
            assert_nowhere(secrets, path.read_bytes(), str(path))
            looked_at += 1
    assert looked_at >= 6
    for secret in secrets[:2]:  # data keys are in the keyring in no form
        assert_nowhere([secret], (store_path / "keyring.json").read_bytes(), "the keyring")


def test_protected_keyring_holds_no_key_in_the_clear(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    entropy = Remembering()
    with Store.create(store_path, replace(seams, entropy=entropy, unlocking=LOCKING)) as store:
        data_keys = use_keys(store, fast_path)
    content = (store_path / "keyring.json").read_bytes()
    document = decode_document(content)
    public = [bytes.fromhex(document.protection["salt"])]
    grants = [bytes.fromhex(g.grant_id) for k in document.contents.keys.values() for g in k.grants]
    secrets = [each for each in entropy.given if each not in (*public, *grants)]
    assert len(secrets) >= 6  # the root key, materials, data keys, the hash key of the store
    assert set(data_keys) < set(secrets)
    assert_nowhere([*secrets, PASSPHRASE.encode()], content, "the keyring")


def test_change_of_protection_leaves_no_key_in_the_clear(store_path: Path, seams: Seams) -> None:
    with Store.create(store_path, seams) as store:
        store.keys.create()
        root = root_key(store_path)
        store.keys.protect(LOCKING)
    for path in files_below(store_path):
        assert_nowhere([root, PASSPHRASE.encode()], path.read_bytes(), str(path))


# what is said


def test_errors_and_logs_have_no_secret(
    fast_path: Path,
    store_path: Path,
    seams: Seams,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    key_file = fast_path / "file"
    key_file.touch(mode=0o600)
    key_file.write_bytes(b"secret-" * 8)
    with Store.create(store_path, seams) as store:
        use_keys(store, fast_path)
        root, secrets = root_key(store_path), materials(store_path)
        store.keys.protect(LOCKING)
    wrong = [
        Unlocking(passphrase=lambda: "wrong-" + PASSPHRASE),
        Unlocking(passphrase_command=f"echo wrong-{PASSPHRASE}"),
        Unlocking(passphrase_command=f"false {PASSPHRASE}"),
        Unlocking(passphrase_command=f"/nowhere {PASSPHRASE}"),
        Unlocking(passphrase_command=f"'{PASSPHRASE}"),
        Unlocking(key_file=key_file),
        Unlocking(passphrase=lambda: PASSPHRASE, key_file=key_file),
    ]
    for unlocking in wrong:
        with (
            Store.open(store_path, replace(seams, unlocking=unlocking)) as store,
            pytest.raises(EbsimError) as caught,
        ):
            store.keys.protect(unlocking)
        said += traceback.format_exception(caught.value)
        said += [str(caught.value), repr(caught.value), repr(unlocking)]
    damaged = (store_path / "keyring.json").read_bytes().replace(b"Enabled", b"Enabler")
    (store_path / "keyring.json").write_bytes(damaged)
    with Store.open(store_path, replace(seams, unlocking=LOCKING)) as store:
        with pytest.raises(EbsimError) as caught:
            store.keys.create()
        said += traceback.format_exception(caught.value)
    said.append(caplog.text)
    text = "\n".join(said).replace("wrong-" + PASSPHRASE, "")
    assert len(said) > 20
    assert_nowhere([root, *secrets], text.encode(), "what is said")
    assert "secret-secret-" not in text
    shown = "\n".join(line for line in text.splitlines() if "lambda" not in line)
    assert PASSPHRASE not in shown.replace(f'"echo {PASSPHRASE}', "")


def test_objects_show_no_secret(fast_path: Path, store_path: Path, seams: Seams) -> None:
    locked = replace(seams, unlocking=Unlocking(passphrase_command=f"echo {PASSPHRASE}"))
    environment = Environment(store=None, passphrase_command=f"echo {PASSPHRASE}")
    options = KeyOptions.from_environment(environment)
    options.typed = PASSPHRASE
    with Store.create(store_path, locked) as store:
        data_keys = use_keys(store, fast_path)
        context = store._context
        made = context.keyring().generate_data_key(store.caller, "alias/web", b"S" * 16)
        shown = [
            *map(repr, (store, context, context.state, locked, environment, options, made)),
            *map(repr, (context.keyring(), context.keyring()._ring, KeyringSeams())),
            *map(repr, store.keys.list()),
            repr(context.keyring()._ring.present()),
            repr(context.keyring()._ring.read()),
            repr(Invocation(environment, EngineStores(keys=options), keys=options)),
        ]
    text = "\n".join(shown)
    assert PASSPHRASE not in text
    assert_nowhere([*data_keys, made.plain], text.encode(), "what objects show")


@pytest.mark.slow
def test_commands_print_no_secret(
    fast_path: Path, store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"echo {PASSPHRASE}"
    options = KeyOptions(passphrase_command=command)
    for arguments in (
        ["init"],
        ["key", "create", "--alias", "alias/web"],
        ["key", "rotate", "alias/web"],
        ["key", "export", str(fast_path / "copy")],
        ["key", "protect"],
        ["key", "show", "alias/web", "--json"],
        ["key", "protect", "--none"],
        ["dump"],
        ["check", "--data", "--json"],
        ["encryption-by-default", "enable", "--key", "alias/web"],
    ):
        environment = Environment(store=store_path, debug=True)
        assert run(arguments, environment, EngineStores(keys=options), keys=options) == 0
    said = capsys.readouterr()
    assert_nowhere(
        [root_key(store_path), *materials(store_path), PASSPHRASE.encode()],
        (said.out + said.err).encode(),
        "what commands print",
    )


# processes


def test_arguments_of_processes_have_no_passphrase(
    store_path: Path, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.create(store_path, replace(seams, unlocking=LOCKING)) as store:
        store.keys.create()
    seen: list[str] = []
    spawn = os.posix_spawn

    def watched(path: str, argv: list[str], env: dict[str, str], **others: object) -> int:
        seen.extend([path, *argv, *env.values(), repr(others)])
        return spawn(path, argv, env, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "posix_spawn", watched)
    started = BackgroundProcesses(KeyOptions(typed=PASSPHRASE)).start(store_path, ["key", "create"])
    _, status = os.waitpid(started, 0)

    assert status == 0  # it had the passphrase
    with Store.open(store_path, seams) as store:
        assert len(store.keys.list()) == 2
    assert seen
    assert PASSPHRASE not in "\n".join(seen)


def test_descriptors_of_a_process_in_the_background_are_no_others(
    store_path: Path, seams: Seams
) -> None:
    """Neither end of the pipe stays open here, so that nobody reads the passphrase later."""
    Store.create(store_path, seams).close()
    with no_descriptor_left():
        before = set(os.listdir("/proc/self/fd"))
        background = BackgroundProcesses(KeyOptions(typed=PASSPHRASE))
        started = background.start(store_path, ["key", "list"])
        assert set(os.listdir("/proc/self/fd")) == before
    os.waitpid(started, 0)


def test_process_that_asks_a_command_shows_nothing_and_leaves_no_core_dump(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    with Store.create(store_path, seams) as store:
        store.keys.protect(Unlocking(passphrase=lambda: PASSPHRASE, cost=CHEAP))
    script = fast_path / "asked"
    script.write_text(
        "#!/bin/sh\n"
        f"cat /proc/$PPID/cmdline /proc/$PPID/environ > {fast_path}/seen\n"
        f"cp /proc/$PPID/limits {fast_path}/limits\n"
        f"cat {fast_path}/passphrase\n"
    )
    script.chmod(0o700)
    (fast_path / "passphrase").write_text(PASSPHRASE)
    done = subprocess.run(
        [sys.executable, "-m", "ebsim", "--store", str(store_path), "key", "create"],
        env={**os.environ, "EBSIM_PASSPHRASE_COMMAND": str(script)},
        capture_output=True,
        check=True,
    )

    assert b"ebsim" in (fast_path / "seen").read_bytes()
    assert PASSPHRASE.encode() not in (fast_path / "seen").read_bytes() + done.stdout + done.stderr
    (line,) = [
        line for line in (fast_path / "limits").read_text().splitlines() if "core file" in line
    ]
    assert line.split()[4] == "0"


def on_a_terminal(arguments: list[str], typed: list[str]) -> tuple[int, str]:
    """Run ebsim on a terminal of its own, type a line after each prompt; return what it showed."""
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, "-m", "ebsim", *arguments])
    shown = bytearray()
    answered = 0
    left = list(typed)
    with suppress(OSError):  # the end, as terminals tell it
        while part := os.read(terminal, 4096):
            shown += part
            if left and re.search(b"(keyring|again): ", shown[answered:]):
                answered = len(shown)
                os.write(terminal, left.pop(0).encode() + b"\n")
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_passphrase_that_is_typed_is_not_shown(store_path: Path, seams: Seams) -> None:
    Store.create(store_path, seams).close()
    place = ["--store", str(store_path)]
    code, shown = on_a_terminal(
        ["key", "protect", "--new-passphrase", *place], [PASSPHRASE, PASSPHRASE]
    )
    assert (code, "New passphrase" in shown, PASSPHRASE in shown) == (0, True, False)
    code, shown = on_a_terminal(["key", "create", *place], [PASSPHRASE])
    assert (code, "Passphrase of the keyring" in shown, PASSPHRASE in shown) == (0, True, False)
    code, shown = on_a_terminal(["key", "create", *place], ["wrong"])
    assert (code, "is not the one" in shown) == (1, True)
    with Store.open(store_path, seams) as store:
        assert len(store.keys.list()) == 1


# files that others can read


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o666])
def test_exposed_keyring_is_refused_also_by_who_trusts_others(
    fast_path: Path, store_path: Path, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    ring = fast_path / "ring.json"
    options = KeyOptions(keyring=ring)
    environment = Environment(store=store_path, trust_others=True)
    stores = EngineStores(trust_others=True, keys=options)
    assert run(["key", "create"], environment, stores, keys=options) == 0
    ring.chmod(mode)
    for arguments in (["key", "list"], ["key", "create"], ["key", "export", str(fast_path / "c")]):
        assert run(arguments, environment, stores, keys=options) == 1
        assert "chmod 600" in capsys.readouterr().err
    assert not (fast_path / "c").exists()


def test_keyring_of_another_user_is_refused(
    store_path: Path, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.create(store_path, seams) as store:
        store.keys.create()
        owner = (store_path / "keyring.json").stat().st_uid
        ring = Keyring(store_path / "keyring.json")
        with monkeypatch.context() as patched:
            patched.setattr("os.geteuid", lambda: owner + 1)
            with pytest.raises(EbsimError) as caught:
                ring.list_keys(store.caller)
    assert caught.value.code is ErrorCode.KEYRING_EXPOSED
