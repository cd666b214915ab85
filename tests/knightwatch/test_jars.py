"""Jars from a Maven repository served here: whole or not at all, downloaded once, a clear word when not to be had."""

import functools
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from knightwatch import jars

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>org.example</groupId><artifactId>{name}</artifactId><version>1.0</version><dependencies>{needs}</dependencies></project>"""
NEED = """<dependency><groupId>org.example</groupId><artifactId>{name}</artifactId><version>1.0</version>
<scope>{scope}</scope></dependency>"""


class Maven(http.server.ThreadingHTTPServer):
    """A repository in a folder; remembers what was asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(root)))

    def publish(self, name: str, needs: str = "", jar: bytes | None = None) -> None:
        folder = self.root / "org/example" / name / "1.0"
        folder.mkdir(parents=True)
        (folder / f"{name}-1.0.pom").write_text(POM.format(name=name, needs=needs))
        (folder / f"{name}-1.0.jar").write_bytes(archive(name) if jar is None else jar)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Maven)
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Tests do not chat."""


def archive(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("name", name)
    return out.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("M2_REPO", raising=False)
    return tmp_path / "cache" / "knightwatch" / "jars"


@pytest.fixture
def maven(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maven]:
    (tmp_path / "served").mkdir()
    with Maven(tmp_path / "served") as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv(jars.MAVEN_URL_VARIABLE, f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


def names(found: list[Path]) -> list[str]:
    return [path.name for path in found]


def test_what_is_needed_at_run_time_comes_along_in_order_and_once(maven: Maven) -> None:
    maven.publish("tool", NEED.format(name="library", scope="compile") + NEED.format(name="checks", scope="test"))
    maven.publish("library")
    maven.publish("extra", NEED.format(name="absent", scope="compile"))
    wanted = functools.partial(jars.class_path, "tool", ["org.example:tool:1.0"], ["org.example:extra:1.0"])
    found = wanted()
    assert names(found) == ["000-tool-1.0.jar", "001-library-1.0.jar", "002-extra-1.0.jar"]
    assert [zipfile.ZipFile(p).read("name") for p in found] == [b"tool", b"library", b"extra"]
    maven.asked.clear()
    assert wanted() == found
    assert not maven.asked, "what is cached is not asked for"


def test_two_at_once_download_once(maven: Maven) -> None:
    maven.publish("tool")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: jars.class_path("tool", ["org.example:tool:1.0"]), range(4)))
    assert all(f == found[0] for f in found)
    assert maven.asked.count("/org/example/tool/1.0/tool-1.0.jar") == 1


def test_a_cut_off_download_leaves_nothing_and_the_next_try_works(maven: Maven, cache: Path) -> None:
    maven.publish("tool", jar=archive("tool")[:-10])
    with pytest.raises(jars.JarError, match=r"tool-1\.0\.jar as found is not a zip archive"):
        jars.class_path("tool", ["org.example:tool:1.0"])
    assert [p.suffix for p in cache.iterdir()] == [".lock"]
    (maven.root / "org/example/tool/1.0/tool-1.0.jar").write_bytes(archive("tool"))
    assert names(jars.class_path("tool", ["org.example:tool:1.0"])) == ["000-tool-1.0.jar"]


def test_an_interrupt_leaves_nothing(maven: Maven, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maven.publish("tool")

    def interrupted(path: Path) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile, "is_zipfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jars.class_path("tool", ["org.example:tool:1.0"])
    assert [p.suffix for p in cache.iterdir()] == [".lock"]


def test_a_version_that_does_not_exist(maven: Maven) -> None:
    with pytest.raises(jars.JarError, match=r"org\.example:tool:1\.0 could not be downloaded from http://127"):
        jars.class_path("tool", ["org.example:tool:1.0"])


def test_maven_out_of_reach(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(jars.MAVEN_URL_VARIABLE, "http://127.0.0.1:1")
    with pytest.raises(jars.JarError, match=r"Check the network or proxy, or set KNIGHTWATCH_MAVEN_URL") as caught:
        jars.class_path("tool", ["org.example:tool:1.0"])
    assert "--bootstrap" in str(caught.value)
    assert [p.suffix for p in cache.iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(jars.JarError, match="set XDG_CACHE_HOME"):
        jars.class_path("tool", ["org.example:tool:1.0"])


def test_a_relative_cache_home_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert jars.cache_dir() == tmp_path / ".cache" / "knightwatch"
