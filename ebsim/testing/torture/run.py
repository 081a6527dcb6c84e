"""Running campaigns case by case, in several processes, and going on where the last run ended."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ebsim.testing.torture.campaign import Campaign
from ebsim.testing.torture.crew import Member, Outcome, crew, outcomes
from ebsim.testing.torture.state import CampaignState, Found, TortureState, case_order

_SAVE_EVERY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for.

    Attributes:
        module: Whose `ALL` has the campaigns.
        seed: Decides what each case does.
        jobs: So many processes at once.
        minutes: Stop after so long; what is left is done by the next run. None: when all is done.
        state_folder: Where is kept what was done; None: nowhere.
        work: Where stores lie; None: in memory.
        keep_going: Go on after a violation.
        fresh: Forget what earlier runs did.
    """

    module: str
    seed: int
    jobs: int
    minutes: float | None = None
    state_folder: Path | None = None
    work: Path | None = None
    keep_going: bool = False
    fresh: bool = False


class Watcher(Protocol):
    """Is told how a run is going."""

    def advanced(self, campaign: Campaign, state: CampaignState) -> None:
        """Be told that another case is done."""
        ...

    def ended(self, campaign: Campaign, state: CampaignState) -> None:
        """Be told that no more of a campaign is run."""
        ...


def run(options: Options, campaigns: Sequence[Campaign], watcher: Watcher) -> TortureState:
    """Run what is left of the campaigns, and return what was done in all.

    Raises:
        OSError: The state cannot be kept.
        KeyboardInterrupt: It was stopped; what was done until then is kept.
    """
    state = TortureState.load(options.state_folder, options.seed, fresh=options.fresh)
    end = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    for place, campaign in enumerate(campaigns):
        known = state.of(campaign.name, campaign.cases)
        known.missing = campaign.missing()
        share = None
        if end is not None:  # what one campaign does not use is there for those that follow
            now = time.monotonic()
            share = now + max(0.0, end - now) / (len(campaigns) - place)
        may_run = not known.missing and (options.keep_going or not known.found)
        if may_run and known.done < known.cases and (share is None or share > time.monotonic()):
            _CampaignRun(options, campaign, state, watcher).run(share)
        watcher.ended(campaign, known)
        if known.found and not options.keep_going:
            break
    state.save(options.state_folder)
    return state


class _CampaignRun:
    """One campaign, from where it is to its end."""

    def __init__(
        self, options: Options, campaign: Campaign, state: TortureState, watcher: Watcher
    ) -> None:
        self._options = options
        self._campaign = campaign
        self._all = state
        self._state = state.of(campaign.name, campaign.cases)
        self._watcher = watcher
        order = case_order(campaign.cases)
        self._positions = {order[each]: each for each in self._state.remaining()}
        self._left = iter(list(self._positions))
        self._saved = self._counted = time.monotonic()

    def run(self, end: float | None) -> None:
        """Run until all is done, the time is up, or something is found."""
        jobs = min(self._options.jobs, len(self._positions))
        chosen = (self._options.module, self._campaign.name, self._options.seed)
        try:
            with crew(*chosen, jobs, self._options.work) as members:
                for outcome in self._outcomes(members, end):
                    self._note(outcome)
        finally:
            self._keep()

    def _outcomes(self, members: list[Member], end: float | None) -> Iterator[Outcome]:
        def next_case() -> int | None:
            stop = self._state.found and not self._options.keep_going
            late = end is not None and time.monotonic() >= end
            return None if stop or late else next(self._left, None)

        return outcomes(members, next_case)

    def _note(self, outcome: Outcome) -> None:
        if message := outcome.violation or outcome.fault:
            violation = bool(outcome.violation)
            found = Found(self._campaign.name, outcome.case, violation, message)
            self._state.found.append(found)
        if outcome.case >= 0 and not outcome.fault:
            self._state.add(self._positions[outcome.case], outcome.trials)
            self._watcher.advanced(self._campaign, self._state)
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self._keep()

    def _keep(self) -> None:
        now = time.monotonic()
        self._state.seconds += now - self._counted
        self._counted = self._saved = now
        self._all.save(self._options.state_folder)
