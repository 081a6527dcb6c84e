"""What to type after a finding of `check`."""

from ebsim.results import Finding

_RESCUE = "ebsim restore {snapshot} TARGET --damaged zero"


def next_command(finding: Finding) -> str | None:
    """Return the command that saves what a finding leaves; None where none is needed."""
    if finding.snapshots:
        return _RESCUE.format(snapshot=finding.snapshots[0])
    return None
