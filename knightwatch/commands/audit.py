"""``knightwatch audit verify | export``: that nobody changed the record, and what it says about one halt."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from knightwatch.commands.options import Bootstrap, Config, Json, Prefix
from knightwatch.config import load

Out = Annotated[Path, typer.Option("--out", help="Folder for the two files.")]


def register(app: typer.Typer) -> None:
    """Add ``audit``."""
    audit = typer.Typer(no_args_is_help=True, help="Verify the hash-chained record, or export the evidence of a halt.")
    audit.command("verify")(verify)
    audit.command("export")(export)
    app.add_typer(audit, name="audit")


def verify(bootstrap: Bootstrap = None, prefix: Prefix = None, config: Config = None, as_json: Json = False) -> None:
    """Check every record of `audit`: each must carry the SHA-256 of the one before. Exit code 0 only if all do."""
    from knightwatch.audit_log import read_audit

    found = _checked(read_audit(load(config, bootstrap=bootstrap, prefix=prefix)))
    typer.echo(json.dumps(found) if as_json else _text(found))
    if not found["intact"]:
        raise typer.Exit(1)


def export(
    halt_id: Annotated[str, typer.Argument(help="Id of the halt, or a scope: its latest halt.")],
    out: Out = Path(),
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write the evidence of a halt as halt-ID.json and as halt-ID.html, a page that needs nothing else."""
    import msgspec

    from halts.evidence import evidence, halts_in
    from knightwatch.audit_log import read_audit
    from knightwatch.evidence_page import page

    log = read_audit(load(config, bootstrap=bootstrap, prefix=prefix), builds=True)
    known = halts_in(log.lines)
    latest = {scope: id_ for id_, scope in known.items()}
    pack = evidence(latest.get(halt_id, halt_id), log.lines)
    if pack is None:
        some = ", ".join(f"{id_} ({scope})" for id_, scope in list(known.items())[-5:]) or "none"
        raise ValueError(f"audit holds no halt {halt_id!r}; the latest are: {some}")
    pack = msgspec.structs.replace(pack, builds=tuple(log.builds), chain=_checked(log))
    out.mkdir(parents=True, exist_ok=True)
    files = (out / f"halt-{pack.halt_id}.json", out / f"halt-{pack.halt_id}.html")
    files[0].write_bytes(msgspec.json.format(msgspec.json.encode(pack), indent=1))
    files[1].write_text(page(pack), encoding="utf-8")
    done = {"halt_id": pack.halt_id, "scope": pack.scope, "files": [str(f) for f in files], "entries": len(pack.timeline),
            "intact": pack.chain["intact"]}  # fmt: skip
    typer.echo(json.dumps(done) if as_json else f"{files[0]}\n{files[1]}\n{_text(pack.chain)}")
    if not pack.chain["intact"]:
        raise typer.Exit(1)


def _checked(log: Any) -> dict[str, Any]:
    """What is to be said of the chain in a ``knightwatch.audit_log.AuditLog``."""
    from halts.audit import verify as verified

    problem = verified((line.value for line in log.lines), log.start, log.head)
    line = log.lines[problem.line] if problem is not None and problem.line < len(log.lines) else None
    return {
        "intact": problem is None,
        "records": len(log.lines),
        "from_the_beginning": log.begin == 0,
        "head_named_by_desk": log.head.n if log.head is not None else None,
        "problem": f"{problem}" if problem is not None else None,
        "offset": line.offset if line is not None else None,
    }


def _text(found: dict[str, Any]) -> str:
    if not found["intact"]:
        where = f" (offset {found['offset']})" if found["offset"] is not None else ""
        return f"BROKEN: {found['problem']}{where}. Keep a copy of the topic as it is, then find who may write to it"
    start = "from the beginning" if found["from_the_beginning"] else "older ones were deleted by retention"
    named = found["head_named_by_desk"]
    head = f"all {named} that the desk named in its last heartbeat are there" if named else "no desk has named how many"
    return f"intact: {found['records']} records, {start}; {head}"
