"""``knightwatch demo``: a runaway and its halt, live."""

import json
import sys
from typing import Any

import typer

from knightwatch.commands.options import Config


def register(app: typer.Typer) -> None:
    """Add ``demo``."""
    app.command("demo")(demo)


def demo(
    scenario: str = typer.Option("power-peg", help="Scenario of `knightwatch simulate`, as power-peg or calm."),
    speed: float = typer.Option(1.0, help="Event time passes so many times as fast as the clock."),
    seed: int = typer.Option(0, min=0, help="Which server, symbols, sides and rates."),
    servers: int = typer.Option(8, min=2, max=16, help="Router nodes."),
    workers: int = typer.Option(1, min=1, max=4, help="Faust workers."),
    minutes: float | None = typer.Option(None, help="Event time at most; an incident ends soon after its halt."),
    config: Config = None,
    metrics_port: int | None = typer.Option(
        None, min=1, help="Serve Prometheus metrics: of the workers from this port on, of the routers on the next."
    ),
    as_json: bool = typer.Option(False, "--json", help="No view; print the summary as one JSON document."),
) -> None:
    """Start Kafka, a worker and eight routers with gates; let one run away; show how it is halted.

    Exits 1 when an incident was not halted, or when something was halted that ought not to be.
    """
    from rich.console import Console
    from rich.live import Live

    from knightwatch.config import load
    from knightwatch.demo import Demo, Plan
    from knightwatch.demo_view import View
    from producers import scenarios

    plan = Plan(scenario, seed, speed, servers, workers, minutes, config, metrics_port)
    view = View(scenario, scenarios.build(scenario, seed, servers).servers)
    console = Console(stderr=as_json or not sys.stdout.isatty())
    shown = console.is_terminal and not as_json
    with Live(console=console, refresh_per_second=8, transient=False, auto_refresh=shown) as live:

        def show(run: Any, seen: Any, gates: Any, phase: str) -> None:
            if shown:
                view.sample(run.stats)
                live.update(view.render(run.stats, seen, gates, phase))

        found = Demo(plan, load(config), lambda line: typer.echo(line, err=True), show).run()
    if as_json:
        typer.echo(json.dumps(found))
    else:
        typer.echo(text(found))
    halted = found["time_to_halt_ms"] is not None
    if found["false_halts"] or halted != bool(found["expected"]):
        raise typer.Exit(1)


def text(found: dict[str, Any]) -> str:
    """The summary for people."""
    lines = [f"{found['scenario']} (seed {found['seed']}): {found['events']:,} events"]
    if found["time_to_halt_ms"] is not None:
        lines += [
            f"  halted             {', '.join(found['halted'])} (expected: {', '.join(found['expected'])})",
            f"  time to halt       {found['time_to_halt_ms']:,.0f} ms from the first bad order to the closed gate",
            f"  bad orders before  {found['bad_orders_before_halt']:,}",
            f"  orders blocked     {found['orders_blocked']:,}",
            f"  lost               USD {found['loss_usd']:,.0f} instead of USD {found['loss_usd_unhalted']:,.0f} unhalted",
            f"  {found['text']}",
        ]
    elif found["expected"]:
        lines.append(f"  NOT HALTED; expected {', '.join(found['expected'])}; lost USD {found['loss_usd']:,.0f}")
    lines.append(f"  false halts        {found['false_halts']}")
    return "\n".join(lines)
