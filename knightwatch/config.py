"""Reading the configuration file: the only place that does."""

from pathlib import Path

import msgspec

from halts.config import Config, ConfigError, parse
from halts.gate_security import ClientOptions, client_options


def load(path: Path | None = None, *, bootstrap: str | None = None, prefix: str | None = None) -> Config:
    """The file's settings over the defaults, and the command line's over both. ConfigError names file, key and value."""
    config = Config()
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                str(path), "", f"unreadable ({error})", "a TOML file in UTF-8", "check --config"
            ) from error
        config = parse(text, str(path))
    kafka = config.kafka
    if bootstrap is not None:
        kafka = msgspec.structs.replace(kafka, bootstrap=bootstrap)
    if prefix is not None:
        kafka = msgspec.structs.replace(kafka, prefix=prefix)
    return msgspec.structs.replace(config, kafka=kafka)


def kafka_options(config: Config) -> ClientOptions:
    """Options for every Kafka client of this process, from ``[kafka.security]``; reads the secrets. SecurityError."""
    return client_options(config.kafka.security)
