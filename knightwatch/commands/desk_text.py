"""What ``knightwatch status`` and the operator's commands print for people."""

from typing import Any

from halts.coverage import unwatched_text


def effect_text(found: dict[str, Any]) -> str:
    lines = [f"{found['scope']}: {found['state']}, epoch {found['epoch']}, halt {found['halt_id'] or '-'}"]
    if found["text"]:
        lines.append(f"  {found['text']}")
    if found["already"]:
        lines.append("  stood already; nothing new was done")
    if found["effect_ms"] is not None:
        lines.append(f"  effective {found['effect_ms']:.0f} ms after the command")
    lines += [
        f"  gate {g['server']}: {g['status']}, {g['working']} working, blocked after {g['blocked_ms']:.0f} ms"
        + (f"; not answered: {', '.join(g['orders'])}" if g["orders"] else "")
        for g in found["gates"]
    ]
    if found["desk"] == "requested":
        lines.append(f"  waits for a second person: knightwatch approve {found['scope']} --reason ...")
    return "\n".join(lines)


def status_text(found: dict[str, Any]) -> str:
    desk, age = found["desk"], found["desk"]["heartbeat_age_ms"]
    heard = "never heard" if age is None else f"last heard {age / 1e3:.1f} s ago"
    lines = [f"desk: {'alive' if desk['alive'] else 'SILENT'}, {heard}, generation {desk['generation']}"]
    if not found["gates"]["open"]:
        lines.append(f"gates: CLOSED everywhere: {found['gates']['reason']}")
    lines.append(unwatched_text(found["gates"]["unwatched"]))
    shown = [s for s in found["scopes"] if s["state"] != "ACTIVE"]
    lines += [f"{s['scope']:20} {s['state']:9} {s['action']:17} epoch {s['epoch']:<4} {s['text']}" for s in shown]
    lines += [
        f"{s['scope']:20} resume asked by {s['resume_asked']['by']} ({s['resume_asked']['id']}): "
        f"{s['resume_asked']['reason']}"
        for s in shown
        if s["resume_asked"]
    ]
    free = len(found["scopes"]) - len(shown)
    lines.append(f"{free} scopes ACTIVE again" if free else "" if shown else "nothing is halted")
    return "\n".join(line for line in lines if line)
