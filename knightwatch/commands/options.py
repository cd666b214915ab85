"""Options that mean the same in every command that has them."""

from pathlib import Path
from typing import Annotated

import typer

Bootstrap = Annotated[str | None, typer.Option("--bootstrap", help="Kafka as HOST:PORT[,HOST:PORT...].")]
Prefix = Annotated[str | None, typer.Option("--prefix", help="Put before the name of every topic.")]
Config = Annotated[Path | None, typer.Option("--config", help="Configuration file (TOML); defaults otherwise.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Key = Annotated[
    Path | None,
    typer.Option("--key", help="Your private key (PEM); else KNIGHTWATCH_KEY_FILE, else by name in the key folder."),
]
