"""Access keys: what another process changes is known soon, what this one changes at once."""

from pathlib import Path

from ebsim.entropy import SystemEntropy
from ebsim.server.credentials import LOOK_S, Credentials
from ebsim.storage.files import PosixFiles


class Stopwatch:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def opened(folder: Path, stopwatch: Stopwatch) -> Credentials:
    return Credentials(folder, PosixFiles(), SystemEntropy(), stopwatch)


def test_key_that_another_process_made_is_found_at_once(fast_path: Path) -> None:
    stopwatch = Stopwatch()
    mine, theirs = opened(fast_path, stopwatch), opened(fast_path, stopwatch)
    known = mine.of_account()
    assert mine.find(known.access_key) == known
    made = theirs.of_account("222222222222")
    assert mine.find(made.access_key) == made


def test_key_that_another_process_deleted_is_forgotten_soon(fast_path: Path) -> None:
    stopwatch = Stopwatch()
    mine, theirs = opened(fast_path, stopwatch), opened(fast_path, stopwatch)
    known = mine.of_account()
    assert mine.find(known.access_key) == known
    theirs.delete(known.access_key)
    stopwatch.now_s += LOOK_S
    assert mine.find(known.access_key) is None


def test_keys_of_a_file_that_was_removed_are_none_any_more(fast_path: Path) -> None:
    stopwatch = Stopwatch()
    mine = opened(fast_path, stopwatch)
    known = mine.of_account()
    assert mine.find(known.access_key) == known
    mine.path.unlink()
    stopwatch.now_s += LOOK_S
    for _ in range(2):
        assert mine.find(known.access_key) is None


def test_own_deletion_is_seen_at_once(fast_path: Path) -> None:
    mine = opened(fast_path, Stopwatch())
    known = mine.of_account()
    assert mine.find(known.access_key) == known
    mine.delete(known.access_key)
    assert mine.find(known.access_key) is None
