"""The campaign `catalog-flips` can fail: it is run on an opening that proves nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ebsim.core import catalog_doubt
from ebsim.storage.catalog_watch import CatalogWatch
from ebsim.testing.torture import catalog_flips
from ebsim.testing.torture.campaign import RunCase, Violation
from ebsim.testing.torture.catalog_flips import COARSE, CatalogFlips


@pytest.fixture
def run_case(fast_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunCase]:
    monkeypatch.setattr(catalog_flips, "FLIPS", 1)
    with CatalogFlips().prepare(1, fast_path) as run:
        yield run


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(COARSE)), ids=COARSE)
def test_each_kind_of_damage_is_mended(run_case: RunCase, number: int) -> None:
    assert run_case(number) == 2


@pytest.mark.slow
def test_catalog_that_nobody_proves_is_a_violation(
    run_case: RunCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CatalogWatch, "doubt", lambda *_, **__: "")

    with pytest.raises(Violation, match="cut off"):
        run_case(COARSE.index("cut off"))


@pytest.mark.slow
def test_old_catalog_that_is_taken_for_the_newest_is_a_violation(
    run_case: RunCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is whole, so nothing but its age tells."""

    def vouch_for_all(*_: object) -> tuple[str, int]:
        return "", 0

    monkeypatch.setattr(catalog_doubt, "_prove", vouch_for_all)

    with pytest.raises(Violation, match="old copy"):
        run_case(COARSE.index("old copy"))
