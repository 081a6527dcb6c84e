"""Each sync of ebsim is in the list of sites, and one that is left out is noticed.

All sites take minutes: `python -m ebsim.testing.torture` runs them as the campaign `sync-mutation`.
The default profile looks at fewer power cuts than EBSIM_TEST_PROFILE=long where none may lose a
thing, and tries one seed where that tries two.
"""

import ast
import os
import re
from collections import Counter
from pathlib import Path

import pytest

import ebsim
from ebsim.storage.files import PosixFiles
from ebsim.testing.forked_play import import_everything
from ebsim.testing.sync_sites import SyncSite, find_sites
from ebsim.testing.torture.campaign import Violation
from ebsim.testing.torture.sync_mutation import (
    FIRST,
    SCENARIOS,
    SPARED,
    SyncMutation,
    runs_green,
    scenario_that_sees,
)
from ebsim.testing.traced_disk import strace_is_missing

pytestmark = pytest.mark.crash

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
PRODUCT = Path(ebsim.__file__).parent
SITES = find_sites()
QUICK = (
    *("left", "vanished", "borrowed", "short transactions"),
    *("taken over", "off site", "repaired", "keyring", "sealed", "credentials"),
)

needs_strace = pytest.mark.skipif(strace_is_missing() is not None, reason="strace is not installed")


def site_named(beginning: str) -> SyncSite:
    return next(site for site in SITES if site.name.startswith(beginning))


def test_every_mention_of_a_sync_is_a_site() -> None:
    """Whatever calls something of that name is a site, and so is each option of LMDB."""
    lines = {(site.path, line) for site in SITES for line in range(site.first, site.last + 1)}
    for path in PRODUCT.rglob("*.py"):
        if path.is_relative_to(PRODUCT / "testing"):
            continue
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func).rpartition(".")[2]
            if re.search(r"sync(?!hron)", called) and called not in (
                "_sync_folder",
                "without_sync",
                "run_sync",  # which waits for a thread
            ):
                assert (str(path), node.lineno) in lines, f"{path}: {node.lineno}: {called}"
        assert "os.sync(" not in text
        assert "O_SYNC" not in text


def test_names_of_sites_are_unique() -> None:
    assert [name for name, count in Counter(s.name for s in SITES).items() if count > 1] == []
    assert len(SITES) > 30
    assert SyncMutation.cases == len(SITES)


def test_what_is_said_about_sites_is_about_sites() -> None:
    for beginning, scenario in FIRST.items():
        assert site_named(beginning).name.startswith(beginning)
        assert scenario in SCENARIOS
    assert set(SPARED) <= {site.name for site in SITES}
    assert len(SPARED) < len(SITES) / 8


@pytest.mark.parametrize("name", QUICK)
def test_with_all_syncs_nothing_is_lost(name: str) -> None:
    """F7, F8: what makes a site red is that it is switched off."""
    assert runs_green(name, None, 0)


@pytest.mark.parametrize(
    ("beginning", "scenario"),
    [
        ("core.complete:", "short transactions"),
        ("core.making:Making._publish", "borrowed"),
        ("core.making:Making._store_again", "vanished"),
        ("volumes.live_volume:LiveVolume.settle", "left"),
        ("volumes.kept_blocks:KeptBlocks.sync:sync", "left"),
        ("volumes.opening:_left_behind", "taken over"),
        ("core.off_site_making:OffSiteMaking._keep", "off site"),
        ("server.credentials:", "credentials"),
        ("storage.sealed_file:", "sealed"),
        ("core.repair:", "repaired"),
        ("storage.segments:LocalSegmentStore.rewrite_header", "repaired"),
        ("storage.set_aside:SetAside.keep:sync_directory", "repaired"),
        ("storage.set_aside:SetAside.keep:sync_directory#2", "repaired"),
        ("storage.set_aside:SetAside._write", "repaired"),
        ("keys.keyring_file:write_new_private", "keyring"),
        ("keys.keyring_file:KeyringFile._sync_folder", "keyring"),
        ("keys.keyring_file:write_private", "keyring"),
    ],
)
def test_sync_that_is_left_out_is_noticed(beginning: str, scenario: str) -> None:
    assert not runs_green(scenario, site_named(beginning), 0)


@needs_strace
def test_missing_sync_of_the_catalogs_folder_is_noticed() -> None:
    """F8: the name of LMDB's file is durable before the store is one."""
    import_everything()
    assert scenario_that_sees(site_named("storage.store_folder:_create_in"), 0) == "traced"


@needs_strace
@pytest.mark.parametrize("called", ["sync_fd", "sync_directory"])
def test_missing_sync_of_a_renewed_catalog_is_noticed(
    called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F11: the file that takes the place of one whose commit failed is durable, and so is its name.

    With both syncs nothing is lost: else these would be red by themselves.
    """
    import_everything()
    if called == "sync_fd":
        with monkeypatch.context() as fewer:
            if not LONG:
                fewer.setattr("ebsim.testing.torture.sync_mutation.TRACED_STATES", 12)
            assert runs_green("renewed", None, 0)
    assert not runs_green("renewed", site_named(f"storage.catalog_renewal:_copy:{called}"), 0)


@needs_strace
def test_missing_sync_between_two_renames_is_noticed() -> None:
    """F8: the new catalog has its name before the old one loses its own, whatever the chances."""
    import_everything()
    site = site_named("storage.catalog_swap:swap_catalog:sync_directory#2")
    for seed in (0, 1) if LONG else (0,):
        assert not runs_green("traced", site, seed)


def test_fault_of_a_scenario_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario that does not work must not pass for one that notices."""

    def broken(*_: object) -> None:
        raise AttributeError("the scenario is broken")

    monkeypatch.setitem(SCENARIOS, "left", broken)
    with pytest.raises(AttributeError):
        runs_green("left", SITES[0], 0)


def test_site_that_nobody_needs_is_a_violation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The campaign can fail: a sync that changes nothing is told."""
    nothing = SyncSite("storage.files:nothing", PosixFiles.__module__, 1, 1)
    monkeypatch.setattr(
        "ebsim.testing.torture.sync_mutation.SCENARIOS", {"left": SCENARIOS["left"]}
    )
    monkeypatch.setattr("ebsim.testing.torture.sync_mutation.FIRST", {})
    monkeypatch.setattr("ebsim.testing.torture.sync_mutation.find_sites", lambda: [nothing])
    with SyncMutation().prepare(0, tmp_path) as run_case, pytest.raises(Violation):
        run_case(0)
