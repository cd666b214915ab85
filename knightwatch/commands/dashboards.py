"""``knightwatch dashboards``: build, check and push the Grafana boards; annotate them with halts."""

import dataclasses
import json
import signal
import time
from pathlib import Path
from typing import Final

import typer

from dashboards.board import DESK_URL
from dashboards.build import HERE, PROMETHEUS_URL
from knightwatch.commands.options import Bootstrap, Config, Prefix
from knightwatch.config import kafka_options, load

GRAFANA_URL: Final = "http://localhost:3000"
AS_JSON: Final[bool] = typer.Option(False, "--json", help="Print one JSON document on stdout.")
TOKEN: Final[str] = typer.Option(..., envvar="GRAFANA_TOKEN", help="Service account token.", show_envvar=True)
URL: Final[str] = typer.Option(GRAFANA_URL, help="Address of Grafana, with its sub-path if it has one.")
DESK: Final[str] = typer.Option(DESK_URL, help="Address of the halt desk, which panels link to.")
VERIFY: Final[bool] = typer.Option(True, "--verify/--insecure", help="Check the TLS certificate of Grafana.")


def register(app: typer.Typer) -> None:
    """Add the group ``dashboards``."""
    group = typer.Typer(no_args_is_help=True, help="Build, check and push the Grafana dashboards.")
    for command in (build, check, push, annotate):
        group.command(command.__name__)(command)
    app.add_typer(group, name="dashboards")


def build(
    out: str = typer.Option("", help="Folder that gets generated/ and provisioning/; ours otherwise."),
    prometheus: str = typer.Option(PROMETHEUS_URL, help="Where Grafana finds Prometheus."),
    desk_url: str = DESK,
    as_json: bool = AS_JSON,
) -> None:
    """Write boards, alert rules and provisioning files from the code. The same code gives the same bytes."""
    from dashboards.build import files, write

    changed = write(Path(out) if out else HERE, desk_url, prometheus)
    total = len(files())
    if as_json:
        typer.echo(json.dumps({"files": total, "changed": changed}))
        return
    for name in changed:
        typer.echo(f"wrote {name}")
    typer.echo(f"{total} files, {len(changed)} changed")


def check(
    prometheus: str = typer.Option("", help="Ask every expression of this Prometheus too, as http://localhost:9090."),
    calm: bool = typer.Option(False, help="Expressions that need an incident may return nothing."),
    demo: bool = typer.Option(
        False, "--demo", help="Run the power-peg demo under a Prometheus of our own and ask that."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Is every panel complete, every metric known, every file fresh, and does every expression return data?"""
    from dashboards.check import Prometheus, live, static

    if demo:
        _rehearse(as_json)
        return
    report = live(Prometheus(prometheus), calm) if prometheus else static()
    if as_json:
        typer.echo(json.dumps({"ok": report.ok, "asked": prometheus or None, **dataclasses.asdict(report)}))
    else:
        for finding in report.findings:
            typer.echo(f"{finding.where}: {finding.problem}", err=True)
        asked = f"{report.series} series from {prometheus}" if prometheus else "no Prometheus asked (--prometheus URL)"
        quiet = f", {len(report.quiet)} quiet" if report.quiet else ""
        verdict = "all well" if report.ok else f"{len(report.findings)} problems"
        typer.echo(f"{report.panels} panels, {report.expressions} expressions, {asked}{quiet}: {verdict}")
    if not report.ok:
        raise typer.Exit(1)


def _rehearse(as_json: bool) -> None:
    """``check --demo``: everything together, for about half a minute. Exits 1 for any problem."""
    from knightwatch.config import load
    from knightwatch.demo import Demo, Plan
    from knightwatch.rehearsal import free_ports, rehearse

    plan = Plan(metrics_port=free_ports(2), afterwards_s=60.0)
    made = Demo(plan, load(None), lambda line: typer.echo(line, err=True), lambda *_: None)
    found = rehearse(made)
    if as_json:
        typer.echo(json.dumps(found.document()))
    else:
        for problem in found.problems:
            typer.echo(problem, err=True)
        typer.echo(
            f"{found.report.panels} panels, {found.report.expressions} expressions, {found.report.series} series; "
            f"{found.scope} halted, in Prometheus after {found.shown_after_s or 0:.2f} s; stands out: "
            f"{', '.join(found.standing_out) or 'nobody'}; firing: {', '.join(found.firing) or 'nothing'}"
        )
    if found.problems:
        raise typer.Exit(1)


def push(
    url: str = URL,
    token: str = TOKEN,
    prometheus: str = typer.Option(PROMETHEUS_URL, help="Where Grafana finds Prometheus."),
    desk_url: str = DESK,
    datasource: bool = typer.Option(True, help="Make or update the data source too (needs an Admin token)."),
    force: bool = typer.Option(False, "--force", help="Overwrite boards that were changed in Grafana meanwhile."),
    verify: bool = VERIFY,
    as_json: bool = AS_JSON,
) -> None:
    """Folder, data source, boards and alert rules into a running Grafana (11 to 13). Pushing twice changes nothing."""
    from dashboards.push import Grafana
    from dashboards.push import push as push_all

    done = push_all(Grafana(url, token, verify=verify), prometheus, desk_url, datasource=datasource, force=force)
    if as_json:
        typer.echo(json.dumps({"grafana": url, "done": [dataclasses.asdict(one) for one in done]}))
        return
    for one in done:
        typer.echo(f"{one.kind} {one.name}: {one.did}")


def annotate(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    url: str = URL,
    token: str = TOKEN,
    desk_url: str = DESK,
    verify: bool = VERIFY,
) -> None:
    """Follow halts and deploys and write them on the boards, until Ctrl-C."""
    from dashboards.annotate import Annotator
    from dashboards.push import Grafana

    found = load(config, bootstrap=bootstrap, prefix=prefix)
    grafana = Grafana(url, token, verify=verify)
    annotator = Annotator(found.kafka.bootstrap, grafana, found.kafka.prefix, desk_url, kafka=kafka_options(found))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    annotator.start()
    typer.echo(f"following halts at {found.kafka.bootstrap}, writing to {url}; Ctrl-C stops it", err=True)
    said, written = "", 0
    try:
        while True:
            time.sleep(0.5)
            if annotator.written != written:
                typer.echo(f"{annotator.written} annotations written", err=True)
            if annotator.trouble != said:
                typer.echo(f"trouble: {annotator.trouble}" if annotator.trouble else "all well again", err=True)
            said, written = annotator.trouble, annotator.written
    except KeyboardInterrupt:
        pass  # asked to stop
    finally:
        annotator.stop()
