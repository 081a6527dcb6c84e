"""A command that is refused leaves no new store behind; one that is not makes it."""

import json
from pathlib import Path

import pytest

from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.cli.stores import EngineStores

MISSING = "/nowhere/disk.img"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"disk")
    return path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["volume", "import", MISSING], "SourceNotFound"),
        (["volume", "import", "IMAGE", "--size", "0"], "InvalidParameterValue"),
        (["volume", "import", "IMAGE", "--type", "io1", "--size", "4"], "MissingParameter"),
        (["volume", "import", "IMAGE", "--type", "best"], "UnknownVolumeType"),
        (["volume", "import", "IMAGE", "--tag", "aws:x=y"], "InvalidTagKey.Malformed"),
        (["volume", "import", "IMAGE", "--az", "mars-1a"], "InvalidZone.NotFound"),
        (["volume", "create", "--size", "0"], "InvalidParameterValue"),
        (["volume", "create", "--size", "1", "--az", "mars-1a"], "InvalidZone.NotFound"),
        (["snapshot", "create", MISSING], "SourceNotFound"),
        (["snapshot", "create", "/dev/null"], "SourceUnsupported"),
        (["snapshot", "create", "IMAGE", "--description", "x" * 256], "InvalidParameterValue"),
        (["snapshot", "create", "IMAGE", "--tag", "aws:x=y"], "InvalidTagKey.Malformed"),
        (["snapshot", "create", "IMAGE", "--volume", f"vol-{0:017x}"], "StoreNotFound"),
        (["snapshot", "create", "IMAGE", "--parent", f"snap-{0:017x}"], "StoreNotFound"),
        (["snapshot", "create", f"vol-{0:017x}"], "StoreNotFound"),
    ],
)
def test_what_is_refused_makes_no_store(
    arguments: list[str],
    code: str,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = tmp_path / "store"
    given = [str(image) if each == "IMAGE" else each for each in arguments]

    assert run([*given, "--json"], Environment(store=store), EngineStores()) == 1

    assert json.loads(capsys.readouterr().out)["Error"]["Code"] == code
    assert not store.exists()


@pytest.mark.parametrize("command", [["volume", "import"], ["snapshot", "create"]])
def test_what_is_not_refused_makes_the_store(
    command: list[str], image: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"

    assert run([*command, str(image)], Environment(store=store), EngineStores()) == 0

    assert (store / "store.json").exists()
