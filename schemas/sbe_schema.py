"""The numpy dtype of an order event, derived from the SBE schema file (FIX Trading Community, SBE 1.0).

The XML is the only place that spells field order, widths and codes; real-logic's sbe-tool reads the same file.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

import numpy as np

PRIMITIVES = {
    "char": "S1", "uint8": "u1", "int8": "i1", "uint16": "<u2", "int16": "<i2",
    "uint32": "<u4", "int32": "<i4", "uint64": "<u8", "int64": "<i8", "float": "<f4", "double": "<f8",
}  # fmt: skip
HEADER_FIELDS = ("blockLength", "templateId", "schemaId", "version")


@dataclass(frozen=True)
class SbeMessage:
    """A fixed-width SBE message: ``dtype`` holds header and block, so that messages back to back are one array."""

    name: str
    header: tuple[int, int, int, int]
    """blockLength, templateId, schemaId, version as they stand in every message."""
    dtype: np.dtype[Any]
    fields: tuple[str, ...]
    enums: dict[str, dict[str, int]]
    """Field name -> wire word -> code, for the fields whose type is an enum or a set (there: bit number)."""


def _type_table(root: ElementTree.Element) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Type name -> numpy code, and type name -> words, for one ``<types>`` block."""
    codes = dict(PRIMITIVES)
    words: dict[str, dict[str, int]] = {}
    for node in root.iterfind("types/*"):
        name = node.attrib["name"]
        if node.tag == "type":
            primitive = PRIMITIVES[node.attrib["primitiveType"]]
            length = int(node.attrib.get("length", "1"))
            codes[name] = f"S{length}" if primitive == "S1" else primitive
        elif node.tag in ("enum", "set"):
            codes[name] = PRIMITIVES[node.attrib["encodingType"]]
            words[name] = {child.attrib["name"]: int(child.text or "0") for child in node}
    return codes, words


@cache
def order_event() -> SbeMessage:
    """The ``OrderEvent`` message of ``schemas/sbe/order-event.xml``."""
    text = files("schemas").joinpath("sbe/order-event.xml").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    message = next(node for node in root if node.tag.endswith("}message"))
    codes, words = _type_table(root)
    names, formats, offsets, enums = [], [], [], {}
    position = 0
    for name in HEADER_FIELDS:
        names.append(name)
        formats.append("<u2")
        offsets.append(position)
        position += 2
    start = position
    for field in message.iterfind("field"):
        name, kind = field.attrib["name"], field.attrib["type"]
        names.append(name)
        formats.append(codes[kind])
        offsets.append(position)
        position += np.dtype(codes[kind]).itemsize
        if kind in words:
            enums[name] = words[kind]
    block = int(message.attrib.get("blockLength", position - start))
    if block < position - start:
        raise ValueError(
            f"order-event.xml: blockLength {block} is less than the {position - start} bytes of its fields"
        )
    dtype: np.dtype[Any] = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": start + block})
    header = (block, int(message.attrib["id"]), int(root.attrib["id"]), int(root.attrib["version"]))
    return SbeMessage(message.attrib["name"], header, dtype, tuple(names[len(HEADER_FIELDS) :]), enums)
