"""Who may connect, where to listen and where to keep what must survive: options or one small TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

Version = Literal["FIX.4.2", "FIX.4.4"]
CompId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f|=]+$")]
Server = Annotated[str, Meta(min_length=1, max_length=16, pattern=r"^[!-~]+$")]
Tag = Annotated[int, Meta(ge=0, le=99_999)]
Text = Annotated[str, Meta(max_length=12)]
OURS: Final = (
    "ConnectionType", "SocketAcceptPort", "FileStorePath", "FileLogPath", "UseDataDictionary", "ServerCertificateFile",
    "ServerCertificateKeyFile", "CertificationAuthoritiesFile", "CertificateVerifyLevel",
)  # fmt: skip
"""QuickFIX's settings that say what this program is: not to be given."""


class SessionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One counterpart. sender: its SenderCompID (49); server: the router that its orders are."""

    sender: CompId
    server: Server
    version: Version = "FIX.4.4"
    comp_id: str = ""
    """What it calls us (56); empty: as for all."""
    server_tag: Tag = 0
    """Tag that names the router, as 50 or 115; ``server`` is then for messages without it."""
    parent_tag: Tag = 0
    strategy_tag: Tag = 0
    parents: bool = True
    """Make up a parent for each order that has none."""
    account: Text = ""
    strategy: Text = ""
    quickfix: dict[str, str] = {}
    """QuickFIX's own settings of this session, by their names, as StartTime and EndTime (UTC)."""


class TlsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files. client_ca: only counterparts with a certificate of this authority may connect; empty: all may."""

    certificate: str
    key: str
    client_ca: str = ""


class AcceptorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """All of it. quickfix: QuickFIX's own settings, by their names. tls: as below; None: listen without."""

    session: Annotated[tuple[SessionSettings, ...], Meta(min_length=1)]
    comp_id: CompId = "KNIGHTWATCH"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 9878
    store: str = "fix-store"
    tls: TlsSettings | None = None
    quickfix: dict[str, str] = field(default_factory=dict)

    def name_us(self, session: SessionSettings) -> str:
        """Our CompID in ``session``."""
        return session.comp_id or self.comp_id


def session_key(version: str, ours: str, theirs: str) -> str:
    """The name of a session, as QuickFIX writes it from our side."""
    return f"{version}:{ours}->{theirs}"


def load(path: Path | None, sessions: list[str], version: str, **given: Any) -> AcceptorSettings:
    """The file's settings, and over them what is ``given`` on the command line (None: not given).

    sessions: SENDER=SERVER each, of ``version``. ValueError says what was found, what was expected and what to do.
    """
    source = str(path) if path else "command line"
    tree: dict[str, Any] = {}
    if path:
        try:
            tree = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"{source}: found {error}; expected a TOML file (docs/import.md); correct it") from error
    for text in sessions:
        sender, equals, server = text.partition("=")
        if not equals:
            raise ValueError(f"--session: found {text!r}; expected SENDER=SERVER, as BROKER=r1; correct it")
        tree.setdefault("session", []).append({"sender": sender, "server": server, "version": version})
    tree.update({name: value for name, value in given.items() if value is not None})
    if not tree.get("session"):
        raise ValueError(
            f"{source}: found no session; expected who may connect; give --session SENDER=SERVER or [[session]]"
        )
    try:
        made = msgspec.convert(tree, AcceptorSettings)
    except msgspec.ValidationError as error:
        raise ValueError(f"{source}: {error}; correct it (docs/import.md)") from error
    _check(made, source)
    return made


def _check(made: AcceptorSettings, source: str) -> None:
    keys = [session_key(s.version, made.name_us(s), s.sender) for s in made.session]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{source}: found the session {key} twice; expected each once; take one out")
    for name in (made.tls.certificate, made.tls.key, made.tls.client_ca) if made.tls else ():
        if name and not Path(name).is_file():
            raise ValueError(f"{source}: tls: found no file {name}; expected a PEM file; correct the path")
    for settings in (made.quickfix, *(s.quickfix for s in made.session)):
        for name in OURS:
            if name in settings:
                raise ValueError(f"{source}: found quickfix.{name}; expected that we say it; take it out")
