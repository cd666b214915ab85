"""The progress bar of commands that work through a log: on stderr, with rate and time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Rate(ProgressColumn):
    """Events so far, and a second."""

    def render(self, task: Task) -> Text:
        """For the column."""
        return Text(f"{task.completed:,.0f}/{task.total or 0:,.0f} events, {task.speed or 0:,.0f}/s")


def _nowhere(_: int) -> None:
    """Nobody looks."""


@contextmanager
def events_bar(text: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Gives the function to call with the number of events just done. Nothing is shown when ``quiet``, or when stderr
    is no terminal."""
    if quiet:
        yield _nowhere
        return
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda n: bar.advance(task, n)
