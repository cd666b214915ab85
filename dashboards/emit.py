"""YAML out, nothing in: what provisioning files need, with a fixed layout, so that a build is the same everywhere.
Strings are JSON strings, which YAML takes as they are."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_NOT_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def yaml(value: Mapping[str, Any], heading: str) -> str:
    """``value`` as a YAML document under comment lines."""
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    return comment + "\n".join(_block(value, 0)) + "\n"


def _block(value: Any, depth: int) -> Iterator[str]:
    pad = "  " * depth
    if isinstance(value, Mapping):
        for key, item in value.items():
            if _nested(item):
                yield f"{pad}{_key(key)}:"
                yield from _block(item, depth + 1)
            else:
                yield f"{pad}{_key(key)}: {_scalar(item)}"
        return
    for item in value:
        if _nested(item):
            lines = _block(item, depth + 1)
            yield f"{pad}- {next(lines)[len(pad) + 2 :]}"
            yield from lines
        else:
            yield f"{pad}- {_scalar(item)}"


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | Sequence) and not isinstance(value, str) and len(value) > 0


def _key(key: str) -> str:
    """Bare where it is a plain word that no YAML reader takes for a truth value."""
    plain = key.replace("_", "").isalnum() and key.lower() not in _NOT_WORDS and not key[0].isdigit()
    return key if plain else json.dumps(key, ensure_ascii=False)


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
