"""What to type after a finding of `check` or `rebuild`."""

from ebsim.reports import Finding

REPAIR = "ebsim repair --dry-run"
"""Tells what can be healed, and how."""

_REBUILD = "ebsim rebuild --dry-run"
_RESCUE = "ebsim restore {snapshot} TARGET --damaged zero"

_REPAIRED = frozenset(
    {"corrupt-block", "corrupt-record", "corrupt-segment", "missing-segment", "lost-block"}
)
_REBUILT = frozenset({"corrupt-value", "wrong-count", "wrong-reference", "wrong-lineage"})


def next_command(finding: Finding) -> str | None:
    """Return the command that heals what a finding tells, or saves the rest; None for none.

    A block that a repair could not heal is not healed by another one; what is left of its snapshots
    can be restored.
    """
    if finding.kind in _REPAIRED:
        return REPAIR
    if finding.kind in _REBUILT:
        return _REBUILD
    if finding.snapshots:
        return _RESCUE.format(snapshot=finding.snapshots[0])
    return None
