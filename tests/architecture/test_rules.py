"""The house rules that a machine can hold (CONTRIBUTING.md): size, names, layers, banned calls, no foreign paths."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "schemas",
    "detectors",
    "halts",
    "producers",
    "streams",
    "replay",
    "dashboards",
    "knightwatch",
    "benchmarks",
)
LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PURE = ("schemas", "detectors", "halts")
BANNED = {
    "time": "take time from the events", "datetime": "take time from the events", "random": "seed a numpy generator outside",
    "os": "reading the machine is for the shells", "logging": "give a record; the shells log it",
    "asyncio": "the core does not wait", "pickle": "plain, versioned data (detectors/snapshot.py)",
}  # fmt: skip
SERIALISED_CODE = ("pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib")
SHELL_OF_THE_CORE = re.compile(r"halts/gate\w*\.py")
"""The gate is the one piece of halts/ that goes into a router: it may hold a thread and a clock."""


def tracked(*endings: str) -> list[Path]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return [ROOT / n for n in names if n and n.endswith(endings) and (ROOT / n).is_file()]


PYTHON = [p for p in tracked(".py") if p.relative_to(ROOT).parts[0] in (*PACKAGES, "tests")]
OURS = [p for p in PYTHON if p.relative_to(ROOT).parts[0] in PACKAGES]


def where(path: Path, node: ast.AST | None = None) -> str:
    line = f":{node.lineno}" if node is not None and hasattr(node, "lineno") else ""
    return f"{path.relative_to(ROOT)}{line}"


def test_there_is_something_to_hold() -> None:
    assert len(OURS) > 100


def test_no_file_is_too_long() -> None:
    long = [f"{where(p)}: {n} lines" for p in PYTHON if (n := len(p.read_text().splitlines())) > LINES_MAX]
    assert not long, f"split by job, at most {LINES_MAX} lines: {long}"


def test_no_function_is_too_long() -> None:
    long = []
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
                lines = (node.end_lineno or 0) - (first or 0)
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{where(path, node)} {node.name}: {lines}")
    assert not long, f"at most {FUNCTION_LINES_MAX} lines without the docstring: {long}"


def test_every_module_says_what_it_is_for() -> None:
    silent = [where(p) for p in OURS if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not silent


def test_no_grab_bags_star_imports_or_bare_excepts() -> None:
    found = [where(p) for p in PYTHON if p.name in ("utils.py", "helpers.py", "common.py", "misc.py")]
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
                found.append(f"{where(path, node)}: star import")
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                found.append(f"{where(path, node)}: bare except")
    assert not found


def test_the_core_asks_no_clock_no_chance_and_no_machine() -> None:
    found = []
    for path in OURS:
        name = path.relative_to(ROOT).as_posix()
        if name.split("/")[0] not in PURE or SHELL_OF_THE_CORE.fullmatch(name):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            found += [
                f"{where(path, node)}: {m}: {BANNED[m.split('.')[0]]}" for m in modules if m.split(".")[0] in BANNED
            ]
    assert not found


def test_state_is_never_pickled() -> None:
    found = []
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{where(path, node)}: {n}" for n in names if n.split(".")[0] in SERIALISED_CODE]
    assert not found, "plain, versioned data (detectors/snapshot.py)"


def test_layers_are_kept() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize(
    "pattern", [r"(?<![\w./-])/(?:root|home|work|Users)/\w+", r"https?://(?:pypi|files\.pythonhosted|repo1?\.maven)\S+"]
)
def test_no_path_of_a_machine_and_no_registry_host_is_written_down(pattern: str) -> None:
    found = []
    for path in tracked(".py", ".md", ".toml", ".yml", ".yaml", ".json", "Makefile", "Dockerfile", "run"):
        if path == Path(__file__).resolve():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{where(path)}:{number}: {line.strip()[:100]}")
    assert not found
