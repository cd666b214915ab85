"""Changes of the configuration as commands: versioned, and by two people if they loosen a control.

A ``config`` command holds every setting, and names the version that it replaces. What only tightens counts at once;
what loosens anything (or is the first there is) waits for another person. The approved configuration's digest goes out
with each heartbeat, and a worker whose own differs does not start.
"""

from halts.changes import changes, digest, values_problem
from halts.draft import Draft
from halts.state import Configured, Proposal, Proposed
from schemas.records import Command
from schemas.scopes import FIRM
from schemas.units import MS_NS


def refusal(d: Draft, c: Command) -> str:
    """Why the configuration may not be proposed now; empty if it may."""
    if c.scope != FIRM:
        return f"a config is for {FIRM}, not for {c.scope}: send it with that scope"
    if problem := values_problem(c.values):
        return problem
    approved = d.state.config
    if c.epoch != approved.version:
        return (
            f"stale: it replaces version {c.epoch} of the configuration, but {approved.version} is in force: look at "
            "'knightwatch config diff' again, then propose anew"
        )
    if digest(c.values) == approved.digest:
        return f"it is what is in force already (version {approved.version})"
    return ""


def propose(d: Draft, c: Command) -> None:
    """Take the settings over, or have them wait for a second person."""
    if d.state.config.version and not any(change.loosens for change in changes(d.state.config.values, c.values)):
        _configure(d, c.values, c.by, c.command_id)
        return
    d.add(Proposed(Proposal(c.command_id, c.by, c.key_id, c.reason, d.now, dict(c.values))))


def approve(d: Draft, proposal: Proposal, c: Command) -> None:
    """A second person agrees; that it is another was checked."""
    _configure(d, proposal.values, f"{proposal.by}, {c.by}", proposal.command_id)


def expire(d: Draft) -> None:
    """A proposal that nobody approved in time is void."""
    proposal = d.state.proposal
    if proposal is not None and d.now - proposal.asked_at >= d.config.request_ttl_ms * MS_NS:
        d.add(Proposed(None, f"nobody approved {proposal.command_id} in time"))


def _configure(d: Draft, values: dict[str, object], by: str, command_id: str) -> None:
    approved = d.state.config
    d.add(
        Configured(
            version=approved.version + 1,
            digest=digest(values),
            values=values,
            changes=changes(approved.values, values),
            by=by,
            command_id=command_id,
        )
    )
