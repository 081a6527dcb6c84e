"""Fixtures for every test: stores in fast temporary folders, and seams that a test holds."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from ebsim.testing import devices
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder

if TYPE_CHECKING:
    from ebsim.engine import Seams, Store  # imported late: unit tests do without
    from ebsim.testing.aws_service import Service
    from ebsim.testing.memory_store import MemoryStore

for number in (signal.SIGHUP, signal.SIGTERM):  # `nohup` has them ignored, in children too
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=150,
    stateful_step_count=40,
    suppress_health_check=SLOW_IS_FINE,
)
settings.register_profile(
    "long",
    deadline=None,
    max_examples=1000,
    stateful_step_count=60,
    print_blob=True,
    suppress_health_check=SLOW_IS_FINE,
)
# EBSIM_TEST_PROFILE=long searches for long and at random; `ci` is the same in every run.
PROFILE = os.environ.get("EBSIM_TEST_PROFILE", "ci")
settings.load_profile(PROFILE)

# New interpreters are started by the hundred: compiling ebsim again takes most of each one's time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """Have no collection of garbage look at the thousands of tests again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def hashes_remembered() -> Iterator[None]:
    """Hash each content once, unless tests are to run for long: most are written many times."""
    if PROFILE == "long":
        yield
        return
    from ebsim.testing.remembered_hashes import remembered_hashes

    with remembered_hashes():
        yield


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """An empty folder in memory, removed afterwards."""
    folder = fast_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def fast_module_path() -> Iterator[Path]:
    """An empty folder in memory for all tests of a module, removed afterwards."""
    folder = fast_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def store_path(fast_path: Path) -> Path:
    """Where `store` is; nothing is there unless `store` is asked for too."""
    return fast_path / "store"


@pytest.fixture
def clock() -> ManualClock:
    """The clock of `seams`."""
    return ManualClock()


@pytest.fixture
def seams(clock: ManualClock) -> "Seams":
    """Real files, a clock that stands still, and random bytes that are always the same."""
    from ebsim.engine import Seams

    return Seams(clock=clock, entropy=SeededEntropy())


@pytest.fixture
def store(store_path: Path, seams: "Seams") -> "Iterator[Store]":
    """An empty store, open."""
    from ebsim.engine import Store

    with Store.create(store_path, seams) as opened:
        yield opened


@pytest.fixture
def disk(fast_path: Path) -> "MemoryStore":
    """A store in memory, for handles that are opened and left as if their process was killed."""
    from ebsim.testing.memory_store import MemoryStore

    return MemoryStore(fast_path)


@pytest.fixture(scope="module")
def aws() -> "Iterator[Service]":
    """An AWS endpoint for all tests of a module, with what is behind it and clients."""
    from ebsim.testing.aws_service import running_service

    with running_service() as service:
        yield service


@pytest.fixture(autouse=True)
def answers_are_as_they_were_meant(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare each answer of an AWS endpoint, in all tests of clients, with what was meant."""
    if not (request.path.parent.name == "interop" and request.path.name.startswith("test_aws_")):
        yield
        return
    from ebsim.testing.aws_answers import compared_answers

    with compared_answers():
        yield


# Loop devices and mounted file systems: tests marked `root`, optionally with the tools they need,
# as in `@pytest.mark.root("mkfs.xfs")`. ebsim/testing/devices.py makes and takes down the devices.


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `root`, with the reason, where this machine cannot run it."""
    markers = list(item.iter_markers("root"))
    if markers:
        tools = [tool for marker in markers for tool in marker.args]
        if reason := devices.missing(*tools):
            pytest.skip(reason)
