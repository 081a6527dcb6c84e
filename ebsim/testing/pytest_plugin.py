"""Fixtures for tests of programs that use ebsim. pytest finds them where ebsim is installed.

ebsim_harness   all of it: `ebsim.testing.harness.Harness`
ebsim_store     its store: new for each test, open, removed afterwards
ebsim_volume    a volume of 1 GiB in it, empty
ebsim_clock     its clock, which stands still until it is moved
ebsim_faults    what is to go wrong in it
ebsim_endpoint  an AWS endpoint of it, which listens on this machine (needs `ebsim[server]`)
ebsim_ec2       a boto3 client of EC2 for it (needs boto3)
ebsim_ebs       a boto3 client of the EBS direct APIs for it
ebsim_aws       the endpoint, for programs that make their clients themselves

Whoever installed ebsim loads this module with each run of pytest. So it imports nothing but pytest
before a fixture is used.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ebsim.engine import Store
    from ebsim.results import Volume
    from ebsim.testing.aws import RunningEndpoint
    from ebsim.testing.faults import Faults
    from ebsim.testing.harness import Harness
    from ebsim.testing.seams import ManualClock

_FOLDER_HELP = (
    "Where the stores of ebsim's fixtures lie; by default in memory, or else where temporary files"
    " lie."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--ebsim-folder`, and the setting `ebsim_folder`."""
    group = parser.getgroup("ebsim", "stores of volumes and snapshots")
    group.addoption("--ebsim-folder", metavar="FOLDER", type=Path, help=_FOLDER_HELP)
    parser.addini("ebsim_folder", _FOLDER_HELP)


@pytest.fixture
def ebsim_harness(request: pytest.FixtureRequest) -> "Iterator[Harness]":
    """A new store with its clock and its faults: what the other fixtures are parts of."""
    from ebsim.testing.harness import Harness

    with Harness(_parent(request.config)) as harness:
        yield harness


@pytest.fixture
def ebsim_store(ebsim_harness: "Harness") -> "Store":
    """A new store, open; it is closed and removed afterwards."""
    return ebsim_harness.store


@pytest.fixture
def ebsim_volume(ebsim_harness: "Harness") -> "Volume":
    """An empty volume of 1 GiB in `ebsim_store`."""
    return ebsim_harness.new_volume()


@pytest.fixture
def ebsim_clock(ebsim_harness: "Harness") -> "ManualClock":
    """The clock of `ebsim_store`: it stands still until `advance(days=...)`."""
    return ebsim_harness.clock


@pytest.fixture
def ebsim_faults(ebsim_harness: "Harness") -> "Faults":
    """What is to go wrong in `ebsim_store`."""
    return ebsim_harness.faults


@pytest.fixture
def ebsim_endpoint(ebsim_harness: "Harness") -> "Iterator[RunningEndpoint]":
    """An AWS endpoint that serves `ebsim_store` on a free port of 127.0.0.1."""
    from ebsim.testing.aws import running_endpoint

    with running_endpoint(ebsim_harness.store, ebsim_harness.faults) as endpoint:
        yield endpoint


@pytest.fixture
def ebsim_ec2(ebsim_endpoint: "RunningEndpoint") -> Any:  # noqa: ANN401 - boto3 has no types
    """A boto3 client of EC2 that talks to `ebsim_store`, as account 123456789012 in us-east-1."""
    return ebsim_endpoint.client("ec2")


@pytest.fixture
def ebsim_ebs(ebsim_endpoint: "RunningEndpoint") -> Any:  # noqa: ANN401 - boto3 has no types
    """A boto3 client of the EBS direct APIs that talks to `ebsim_store`."""
    return ebsim_endpoint.client("ebs")


@pytest.fixture
def ebsim_aws(
    ebsim_endpoint: "RunningEndpoint", monkeypatch: pytest.MonkeyPatch
) -> "RunningEndpoint":
    """`ebsim_endpoint`, for programs that make their clients themselves.

    The variables of the environment say where it is until the test ends: clients that are made
    during it, without arguments, talk to it, and so do the programs that it starts.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:  # noqa: TID251
        monkeypatch.delenv(name)
    for name, value in ebsim_endpoint.environment().items():
        monkeypatch.setenv(name, value)
    with suppress(ModuleNotFoundError):
        import boto3

        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys of earlier tests
    return ebsim_endpoint


def _parent(config: pytest.Config) -> Path | None:
    """Return the folder that was asked for, made if need be; None: the default."""
    given: Path | None = config.getoption("--ebsim-folder")
    setting = config.getini("ebsim_folder")
    folder = given or (config.rootpath / str(setting) if setting else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder
