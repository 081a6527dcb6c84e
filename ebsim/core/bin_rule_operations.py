"""The operations on retention rules, as `Store.recycle_bin.rules` offers them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace

from ebsim import bin_refusals
from ebsim.core.access import owns
from ebsim.core.bin_catalog import list_rules
from ebsim.core.bin_rules import (
    checked,
    ensure_changeable,
    ensure_within_limits,
    lock_state,
    locked,
    show_rule,
    tagged,
    unlocked,
    updated,
)
from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.events import rule_changed
from ebsim.core.paging import Pager
from ebsim.core.quotas import load_quotas
from ebsim.errors import InvalidInputError
from ebsim.format.bin_records import RuleRecord, decode_rule, encode_rule
from ebsim.format.catalog_values import Table
from ebsim.ids import RuleId, new_rule_id, parse_rule_id
from ebsim.recycle_bin import (
    RetentionRule,
    RulePage,
    RuleQuery,
    RuleRequest,
    RuleUpdate,
    TagPair,
)
from ebsim.storage.catalog import CatalogReader, CatalogWriter

PAGE_MAX = 1000
US_PER_S = 1_000_000

Change = Callable[[CatalogReader, RuleRecord], RuleRecord]


class RuleOperations:
    """Retention rules of the caller: what the Recycle Bin keeps when it is deleted."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def create(self, request: RuleRequest) -> RetentionRule:
        """Make a rule. It keeps what is deleted from now on, and not what was before.

        Raises:
            InvalidInputError: rbin would not take the request (ValidationException).
            LimitExceededError: There are 250 rules, or a tag is in five.
        """
        request = checked(request)
        rule_id = new_rule_id(self._context.entropy)

        def change(commit: JournaledCommit) -> RuleRecord:
            record = self._new(commit.writer, rule_id, request)
            number = commit.journal("bin-rule", {"rule_id": rule_id, "rule": asdict(record)})
            record = replace(record, number=number)
            _put(commit.writer, record)
            if record.unlock_delay_days:
                rule_changed(self._context, commit.writer, record, "Locked", "CreateRule")
            return record

        with writing(self._context):
            with self._context.catalog.read() as reader:  # refused before anything is written
                self._new(reader, rule_id, request)
            return self._show(commit_journaled(self._context, change))

    def get(self, rule_id: str) -> RetentionRule:
        """Return a rule.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such rule.
        """
        wanted = parse_rule_id(rule_id)
        with self._context.catalog.read() as reader:
            return self._show(self._own(reader, wanted))

    def update(self, rule_id: str, update: RuleUpdate) -> RetentionRule:
        """Change a rule. What is in the bin already stays as long as it was to stay.

        Raises:
            InvalidInputError: The id is malformed, or rbin would not take the update.
            NotFoundError: There is no such rule.
            ConflictError: It is locked, or its unlock delay is not over.
            LimitExceededError: A tag is in five rules already.
        """
        now = self._context.clock.now_us()

        def change(reader: CatalogReader, rule: RuleRecord) -> RuleRecord:
            ensure_changeable(rule, now)
            changed = updated(rule, update)
            others = list_rules(reader, self._context.acting)
            ensure_within_limits(changed, [each for each in others if each.rule_id != rule_id])
            return changed

        return self._change(rule_id, change)

    def delete(self, rule_id: str) -> None:
        """Delete a rule. What is in the bin stays there as long as it was to stay.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such rule.
            ConflictError: It is locked, or its unlock delay is not over.
        """
        wanted = parse_rule_id(rule_id)
        now = self._context.clock.now_us()

        def change(commit: JournaledCommit) -> None:
            ensure_changeable(self._own(commit.writer, wanted), now)
            commit.journal("bin-rule", {"rule_id": wanted, "rule": None})
            commit.writer.delete(Table.BIN_RULES, wanted.encode())

        with writing(self._context), self._context.reserve.released_if_low():
            with self._context.catalog.read() as reader:
                ensure_changeable(self._own(reader, wanted), now)
            commit_journaled(self._context, change)

    def list(self, query: RuleQuery | None = None) -> RulePage:
        """Return a page of the rules that a query asks for, in the order in which they were made.

        Raises:
            InvalidInputError: A page size is none of 1 to 1,000, or the token is another query's.
        """
        query = query or RuleQuery()
        size = query.max_results
        if size is not None and (type(size) is not int or not 1 <= size <= PAGE_MAX):
            raise bin_refusals.rule_invalid(f"MaxResults is {size}; expected 1 to {PAGE_MAX}.")
        now = self._context.clock.now_us()
        with self._context.catalog.read() as reader:
            rules = list_rules(reader, self._context.caller)
        found = [rule for rule in rules if _matches(rule, query, now)]
        asked = {**asdict(query), "max_results": None, "next_token": None}
        pager = Pager(self._context.hash_key, ["rules", asked])
        try:
            page, token = pager.page(found, lambda rule: rule.number, size, query.next_token)
        except InvalidInputError as error:
            refusal = bin_refusals.rule_invalid(str(error))
            refusal.reason = "INVALID_PAGE_TOKEN"
            raise refusal from None
        return RulePage(rules=tuple(show_rule(rule, now) for rule in page), next_token=token)

    def lock(self, rule_id: str, unlock_delay_days: int) -> RetentionRule:
        """Lock a Region-level rule: from now on it can be neither changed nor deleted.

        Args:
            rule_id: The rule.
            unlock_delay_days: How long that still holds once it is unlocked: 7 to 30.

        Raises:
            InvalidInputError: The id is malformed, the delay is another, or the rule has tags.
            NotFoundError: There is no such rule.
            ConflictError: It is locked already.
        """
        now = self._context.clock.now_us()
        return self._change(
            rule_id,
            lambda _reader, rule: locked(rule, unlock_delay_days, now),
            ("Locked", "LockRule"),
        )

    def unlock(self, rule_id: str) -> RetentionRule:
        """Unlock a rule: it can be changed and deleted once its unlock delay is over.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such rule.
            ConflictError: It is not locked.
        """
        now = self._context.clock.now_us()
        return self._change(
            rule_id, lambda _reader, rule: unlocked(rule, now), ("Unlock Scheduled", "UnlockRule")
        )

    def add_tags(self, rule_id: str, tags: Mapping[str, str | None]) -> RetentionRule:
        """Give a rule tags of its own, in place of those with the same keys; a locked one too.

        Raises:
            InvalidInputError: The id or a tag is malformed, or there are too many.
            NotFoundError: There is no such rule.
        """
        return self._change(rule_id, lambda _reader, rule: tagged(rule, tags))

    def remove_tags(self, rule_id: str, keys: Collection[str]) -> RetentionRule:
        """Take tags of its own from a rule; those that it does not have are passed over.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such rule.
        """

        def change(_reader: CatalogReader, rule: RuleRecord) -> RuleRecord:
            left = {key: value for key, value in rule.tags.items() if key not in keys}
            return replace(rule, tags=left)

        return self._change(rule_id, change)

    def _change(
        self, rule_id: str, change: Change, told: tuple[str, str] | None = None
    ) -> RetentionRule:
        """Change a rule, and record what is told about it: an event, and the API that caused it."""
        wanted = parse_rule_id(rule_id)

        def run(commit: JournaledCommit) -> RuleRecord:
            record = change(commit.writer, self._own(commit.writer, wanted))
            commit.journal("bin-rule", {"rule_id": wanted, "rule": asdict(record)})
            _put(commit.writer, record)
            if told is not None:
                rule_changed(self._context, commit.writer, record, *told)
            return record

        with writing(self._context), self._context.reserve.released_if_low():
            with self._context.catalog.read() as reader:
                present = self._own(reader, wanted)
                if change(reader, present) == present:
                    return self._show(present)
            return self._show(commit_journaled(self._context, run))

    def _new(self, reader: CatalogReader, rule_id: RuleId, request: RuleRequest) -> RuleRecord:
        """Return the record of a rule that may be made, without its number."""
        now, owner = self._context.clock.now_us(), self._context.acting
        pending_s = load_quotas(reader).rule_pending_s
        record = RuleRecord(
            rule_id=rule_id,
            number=0,
            resource_type=request.resource_type.value,
            retention_days=request.retention_days,
            resource_tags=[list(pair) for pair in request.resource_tags],
            exclude_tags=[list(pair) for pair in request.exclude_tags],
            description=request.description,
            tags={key: value or "" for key, value in request.tags.items()},
            created_us=now,
            available_us=now + round(pending_s * US_PER_S),
            owner=owner.account,
            region=owner.region,
        )
        if request.unlock_delay_days is not None:
            record = locked(record, request.unlock_delay_days, now)
        ensure_within_limits(record, list_rules(reader, owner))
        return record

    def _own(self, reader: CatalogReader, rule_id: RuleId) -> RuleRecord:
        value = reader.get(Table.BIN_RULES, rule_id.encode())
        record = None if value is None else decode_rule(value)
        if record is None or not owns(self._context.caller, record):
            raise bin_refusals.rule_not_found(rule_id)
        return record

    def _show(self, record: RuleRecord) -> RetentionRule:
        return show_rule(record, self._context.clock.now_us())


def _put(writer: CatalogWriter, record: RuleRecord) -> None:
    writer.put(Table.BIN_RULES, record.rule_id.encode(), encode_rule(record))


def _matches(rule: RuleRecord, query: RuleQuery, now_us: int) -> bool:
    def has_one(wanted: Sequence[TagPair], pairs: list[list[str]]) -> bool:
        return not wanted or any(list(pair) in pairs for pair in wanted)

    return (
        query.resource_type in (None, rule.resource_type)
        and has_one(query.resource_tags, rule.resource_tags)
        and has_one(query.exclude_tags, rule.exclude_tags)
        and query.lock_state in (None, lock_state(rule, now_us))
    )
