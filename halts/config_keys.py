"""Keys of a configuration tree: which are unknown, what was probably meant, what stands where."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """A key that no setting has. ``nearest`` is the full dotted key that was probably meant, or empty."""

    key: str
    value: object
    nearest: str
    expected: str


def unknown_key(tree: dict[str, Any], kind: type[Struct], path: str = "") -> UnknownKey | None:
    """The first key of ``tree`` that ``kind`` does not have, at any depth."""
    known = {f.encode_name: f.type for f in msgspec.structs.fields(kind)}
    for name, value in tree.items():
        key = f"{path}.{name}" if path else name
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.6)
            nearest = f"{path}.{near[0]}" if path and near else "".join(near)
            return UnknownKey(key, value, nearest, f"one of {', '.join(sorted(known))}")
        inner = _struct_of(known[name])
        found = None
        if isinstance(value, dict) and inner is not None:
            found = unknown_key(value, inner, key)
        elif isinstance(value, dict) and (item := _item_struct_of(known[name])) is not None:
            tables = ((f"{key}.{k}", v) for k, v in value.items() if isinstance(v, dict))
            found = next((u for k, v in tables if (u := unknown_key(v, item, k)) is not None), None)
        if found is not None:
            return found
    return None


def _struct_of(kind: Any) -> type[Struct] | None:
    return kind if isinstance(kind, type) and issubclass(kind, Struct) else None


def _item_struct_of(kind: Any) -> type[Struct] | None:
    """S for dict[str, S]."""
    return _struct_of(get_args(kind)[1]) if get_origin(kind) is dict else None


def value_at(tree: Any, key: str) -> Any:
    """What stands at a dotted key as msgspec writes it (``desk.ack_timeout_ms``, ``desk.two_person_scopes[1]``);
    None if nothing does."""
    for part in _parts(key):
        if isinstance(part, int):
            tree = tree[part] if isinstance(tree, list | tuple) and part < len(tree) else None
        else:
            tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def words_at(kind: Any, key: str) -> tuple[str, ...]:
    """The words allowed at a dotted key, if its type is a choice of words; else empty."""
    for part in _parts(key):
        inner = _struct_of(kind)
        if isinstance(part, int):
            kind = next(iter(get_args(kind)), None)
        elif inner is not None:
            kind = next((f.type for f in msgspec.structs.fields(inner) if f.encode_name == part), None)
    return tuple(get_args(kind)) if get_origin(kind) is Literal else ()


def _parts(key: str) -> list[str | int]:
    """``a.b[1]`` -> a, b, 1."""
    parts = [part for part in key.replace("[", ".").replace("]", "").split(".") if part]
    return [int(part) if part.isdigit() else part for part in parts]


def flatten(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Dotted key -> leaf value."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            flat.update(flatten(value, key))
        else:
            flat[key] = value
    return flat
