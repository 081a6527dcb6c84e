"""A sample of every campaign; and the driver that runs them all, tried on toys."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebsim.testing.seams import fast_folder
from ebsim.testing.torture import campaigns
from ebsim.testing.torture.campaign import Campaign
from ebsim.testing.torture.report import BEGIN, END
from ebsim.testing.torture.state import CampaignState, TortureState, case_order, spread

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = 1


@pytest.mark.slow
@pytest.mark.parametrize("campaign", campaigns.ALL, ids=lambda each: each.name)
def test_sample_of_a_campaign(campaign: Campaign, fast_path: Path) -> None:
    if reason := campaign.missing():
        pytest.skip(reason)
    numbers = spread(campaign.cases, campaign.sample)

    with campaign.prepare(SEED, fast_path) as run_case:
        trials = sum(run_case(number) for number in numbers)

    assert trials > 0, "a campaign without a trial shows nothing"


def test_campaigns_say_what_they_are() -> None:
    names = [each.name for each in campaigns.ALL]

    assert len(set(names)) == len(names)
    for each in campaigns.ALL:
        assert 0 < each.sample <= each.cases
        assert each.promise
        assert each.excludes
        for text in (each.name, each.promise, each.excludes):
            assert "\n" not in text
            assert "|" not in text


# The order of cases, and what is kept of them


@pytest.mark.parametrize("cases", [1, 2, 3, 10, 97, 1000, 4096])
def test_cases_come_once_each_in_an_order_that_is_spread(cases: int) -> None:
    order = case_order(cases)

    assert sorted(order) == list(range(cases))
    if cases >= 97:
        tenth = sorted(order[: cases // 10])
        gaps = [second - first for first, second in itertools.pairwise(tenth)]
        assert max(gaps) <= 40


def test_sample_is_spread() -> None:
    assert spread(100, 4) == [0, 25, 50, 75]
    assert spread(2, 4) == [0, 1]


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = TortureState.load(tmp_path, SEED)
    known = state.of("toy", 10)
    for position in (0, 2, 1, 5, 7):
        known.add(position, 3)
    known.seconds = 1.5
    state.save(tmp_path)

    loaded = TortureState.load(tmp_path, SEED)

    assert loaded == state
    assert loaded.of("toy", 10).done == 5
    assert list(loaded.of("toy", 10).remaining()) == [3, 4, 6, 8, 9]
    assert [each.name for each in tmp_path.iterdir()] == [f"torture-{SEED}.json"]


def test_state_of_other_sources_or_seeds_or_cases_begins_anew(tmp_path: Path) -> None:
    state = TortureState.load(tmp_path, SEED)
    state.of("toy", 10).add(0, 1)
    state.save(tmp_path)

    assert TortureState.load(tmp_path, SEED + 1).campaigns == {}
    assert TortureState.load(tmp_path, SEED, fresh=True).campaigns == {}
    assert TortureState.load(tmp_path, SEED).of("toy", 11) == CampaignState(11)
    state.sources = "others"
    state.save(tmp_path)
    assert TortureState.load(tmp_path, SEED).campaigns == {}


# The driver


@pytest.fixture
def work() -> Iterator[Path]:
    folder = fast_folder()
    yield folder
    assert list(folder.iterdir()) == [], "a run leaves nothing behind"
    folder.rmdir()


def command(*options: str) -> list[str]:
    start = [sys.executable, "-m", "ebsim.testing.torture", "--campaigns", "toy_campaigns"]
    return [*start, *options]


def environment(log: Path | None = None) -> dict[str, str]:
    paths = os.pathsep.join((str(Path(__file__).parent), str(REPOSITORY)))
    return os.environ | {"PYTHONPATH": paths} | ({"TOY_LOG": str(log)} if log else {})


def torture(*options: str, log: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options), env=environment(log), capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_every_case_is_run_once_and_the_figures_are_written(tmp_path: Path, work: Path) -> None:
    document = tmp_path / "testing.md"
    document.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    options = ["--only", "good,absent", "--work", str(work), "--document", str(document)]

    done = torture(*options, "--seed", "3", log=tmp_path / "log")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "No violation. Not run here: absent.\n"
    assert "good: 40 of 40 cases" in done.stderr
    ran = Counter((tmp_path / "log").read_text().splitlines())
    assert ran == Counter(f"good {number}" for number in range(40))
    text = document.read_text()
    assert text.startswith(f"# Before\n\n{BEGIN}\n20")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in text
    assert ", seed 3, " in text
    assert "| `good` | 40 | " in text
    assert "| `absent` | none: no toys here | 0 | 0 | " in text


@pytest.mark.slow
def test_violation_ends_the_run_and_says_how_to_see_it_again(work: Path) -> None:
    done = torture("--only", "bad,good", "--work", str(work), "--seed", "5", "--jobs", "1")

    assert done.returncode == 1
    again = "python -m ebsim.testing.torture --only bad --case 7 --seed 5"
    assert (
        f"VIOLATION in bad, case 7:\ncase 7 of seed 5 lost a number\n  see it again: {again}"
        in (done.stdout.replace("good: ", ""))
    )
    alone = torture("--only", "bad", "--case", "7", "--seed", "5", "--work", str(work))
    assert alone.returncode == 1
    assert alone.stdout == "VIOLATION in bad, case 7:\ncase 7 of seed 5 lost a number\n"
    other = torture("--only", "bad", "--case", "8", "--seed", "5", "--work", str(work))
    assert (other.returncode, "no violation" in other.stdout) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken", "ValueError: the toy is broken"),
        ("dying", "the process that ran it ended by signal 9 (Killed)"),
        ("unprepared", "OSError: no toy shop"),
    ],
)
def test_fault_of_a_campaign_is_no_verdict(name: str, told: str, work: Path) -> None:
    done = torture("--only", name, "--work", str(work), "--jobs", "1")

    assert done.returncode == 2
    assert "FAULT OF THE CAMPAIGN (no verdict on the store)" in done.stdout
    assert told in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_run_that_was_ended_goes_on(end: signal.Signals, tmp_path: Path, work: Path) -> None:
    state, log = tmp_path / "state", tmp_path / "log"
    options = ["--only", "large", "--work", str(work), "--state", str(state)]
    first = subprocess.Popen(
        command(*options, "--jobs", "1"), env=environment(log), stderr=subprocess.PIPE
    )
    while not log.exists() or len(log.read_text().splitlines()) < 20:
        assert first.poll() is None or log.exists()
    first.send_signal(end)
    _, told = first.communicate()  # also waits for the processes that it started
    before = len(log.read_text().splitlines())
    whole_by_chance = before == 400

    done = torture(*options, "--json", log=log)

    assert done.returncode == 0, done.stdout + done.stderr
    (large,) = json.loads(done.stdout)["Campaigns"]
    assert (large["Cases"], large["Done"], large["Violations"]) == (400, 400, 0)
    ran = Counter(log.read_text().splitlines())
    assert ran.keys() == {f"large {number}" for number in range(400)}
    if end is signal.SIGTERM and not whole_by_chance:
        assert b"run it again to go on" in told
        assert ran.total() <= 401, "what was done is not done again, but for the case at hand"


@pytest.mark.slow
def test_violation_is_not_forgotten_by_the_next_run(tmp_path: Path, work: Path) -> None:
    options = ["--only", "bad", "--work", str(work), "--state", str(tmp_path)]

    first = torture(*options, "--keep-going", "--json")
    second = torture(*options, "--json")

    assert (first.returncode, second.returncode) == (1, 1)
    for each in (first, second):
        (bad,) = json.loads(each.stdout)["Campaigns"]
        assert (bad["Done"], bad["Violations"]) == (40, 1)
        assert bad["Findings"][0]["Case"] == 7


@pytest.mark.slow
def test_run_without_time_says_that_it_is_not_done(work: Path) -> None:
    done = torture("--only", "good", "--work", str(work), "--minutes", "0")

    assert done.returncode == 0
    assert done.stdout == "No violation so far. Run it again to go on with good.\n"


@pytest.mark.slow
def test_misuse_is_told(tmp_path: Path) -> None:
    (tmp_path / "no-markers.md").write_text("# Nothing\n")

    listed = torture("--list")
    unknown = torture("--only", "worse")
    which = torture("--case", "3")

    assert listed.returncode == 0
    assert "good  40 cases, a sample of 4\n  promise   numbers stay numbers" in listed.stdout
    assert "cannot be run here: no toys here" in listed.stdout
    assert unknown.returncode == 2
    assert "there is no campaign worse; there are: good, large, bad" in unknown.stderr
    assert which.returncode == 2
    assert "--case needs --only" in which.stderr
