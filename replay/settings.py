"""Configurations as values by dotted key: changing some, telling what differs, writing that down as TOML."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from halts.config import Config, keys


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with some settings changed. KeyError for a key it does not have; msgspec.ValidationError for a
    value that may not be."""
    tree = msgspec.to_builtins(config)
    for key, value in values.items():
        *path, last = key.split(".")
        inner = tree
        for name in path:
            inner = inner[name]
        if last not in inner:
            raise KeyError(key)
        inner[last] = value
    return msgspec.convert(tree, Config)


def differences(config: Config, base: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (value in ``base``, value in ``config``) of all settings that differ; None where there is none."""
    mine, theirs = keys(config), keys(base)
    return {
        key: (theirs.get(key), mine.get(key)) for key in sorted({*mine, *theirs}) if mine.get(key) != theirs.get(key)
    }


def to_toml(values: Mapping[str, Any], head: str = "") -> str:
    """Settings by dotted key as TOML, tables in order of name; ``head`` becomes the comment at the top."""
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    tables: dict[str, list[str]] = {}
    for key, value in sorted(values.items()):
        table, _, name = key.rpartition(".")
        tables.setdefault(table, []).append(f"{name} = {json.dumps(value)}")
    for table, entries in sorted(tables.items()):
        lines += ["", f"[{table}]", *entries] if table else entries
    return "\n".join(lines) + "\n"
