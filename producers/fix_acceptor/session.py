"""The FIX session itself is QuickFIX's: logon, heartbeats, sequence numbers, resends. Here is what it tells us.

A message counts as taken (its number is written to QuickFIX's store) only after ``fromApp`` returned, so one that the
journal did not keep is resent by the counterpart after the next logon.

``poll`` instead of ``start``: stopping QuickFIX's own thread crashes or hangs now and then (seen with quickfix-tls
1.16.0.1rc1: ``stop`` closes the sockets under it), and everything in one thread ends in order.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import quickfix
from simplefix import FixMessage

from producers.fix_acceptor.intake import Intake
from producers.fix_acceptor.settings import AcceptorSettings, SessionSettings, TlsSettings

log = logging.getLogger(__name__)

IDLE_S: Final = 0.001
"""Between two looks at the sockets when there was nothing to read: some 2 % of a core."""
LOGOUT_S_MAX: Final = 3.0


class _DropCopies(quickfix.Application):  # type: ignore[misc]
    """QuickFIX's callbacks. None may raise: the library then ends the process."""

    def __init__(self, intake: Intake, give_up: Callable[[OSError], NoReturn]) -> None:
        super().__init__()
        self._intake, self._give_up = intake, give_up
        self.taken = 0

    def onCreate(self, session: Any) -> None:  # noqa: N802
        """A session is set up."""

    def onLogon(self, session: Any) -> None:  # noqa: N802
        """The counterpart is there."""
        log.info(f"{session.toString()}: logged on")

    def onLogout(self, session: Any) -> None:  # noqa: N802
        """The counterpart is gone, or never came to be."""
        log.info(f"{session.toString()}: logged out")

    def toAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        """What QuickFIX says on its own: tell people when it asks for a resend or ends the session."""
        kind = _value(message.getHeader(), 35)
        if kind == "2":
            log.info(
                f"{session.toString()}: messages are missing from MsgSeqNum {_value(message, 7)} on; asked for them"
            )
        elif kind in ("3", "5") and _value(message, 58):
            log.info(f"{session.toString()}: {_value(message, 58)}")

    def fromAdmin(self, message: Any, session: Any) -> None:  # noqa: N802
        """A logon is kept, without its password: where its number goes back, the counting of messages began anew."""
        header = message.getHeader()
        kind = _value(header, 35)
        if kind == "4":
            text = "on; what they were it does not say" if _value(message, 123) == "Y" else "on without filling the gap"
            log.info(f"{session.toString()}: the counterpart skips to MsgSeqNum {_value(message, 36)} and goes {text}")
        elif kind == "A":
            made = FixMessage()
            for tag in (8, 35, 34, 49, 52, 56):
                made.append_pair(tag, _value(header, tag))
            self._keep(made.encode())

    def toApp(self, message: Any, session: Any) -> None:  # noqa: N802
        """Nothing is ever sent."""

    def fromApp(self, message: Any, session: Any) -> None:  # noqa: N802
        """A message of the drop copy, in order, none twice."""
        self._keep(message.toString().encode("utf-8", "surrogateescape"))

    def _keep(self, raw: bytes) -> None:
        try:
            self._intake.take(raw)
            self.taken += 1
        except OSError as error:
            self._give_up(error)  # returning would count it as taken


class Acceptor:
    """Listens for the sessions of ``settings`` and hands their messages to ``intake``, in the thread that calls ``run``.

    give_up: called when a message cannot be kept; must end the process at once (``os._exit``), for there is no way out of
    QuickFIX's callback that does not count the message as taken. The constructor raises ValueError and OSError.
    """

    def __init__(self, settings: AcceptorSettings, intake: Intake, give_up: Callable[[OSError], NoReturn]) -> None:
        self._intake = intake
        store = Path(settings.store)
        made = quickfix.SessionSettings()
        made.set(_defaults(settings, store))
        self._ids = []
        for session in settings.session:
            self._ids.append(quickfix.SessionID(session.version, settings.name_us(session), session.sender))
            made.set(self._ids[-1], _own(session))
        self._application = _DropCopies(intake, give_up)
        stores, logs = quickfix.FileStoreFactory(made), quickfix.FileLogFactory(str(store / "log"))
        kind = quickfix.SSLSocketAcceptor if settings.tls else quickfix.SocketAcceptor
        try:
            self._acceptor = kind(self._application, stores, made, logs)
        except quickfix.FIXException as error:
            raise ValueError(f"QuickFIX refuses the settings: {error}; correct them (docs/import.md)") from None
        try:
            self._acceptor.poll()
        except quickfix.FIXException as error:
            raise OSError(f"cannot listen on {settings.port}: {error}; free that port or give another --port") from None

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set or the intake has failed; then logs out."""
        while not stop.is_set() and self._intake.failure is None:
            self._poll()
        self._intake.hurry()
        for id_ in self._ids:
            quickfix.Session.lookupSession(id_).logout("the acceptor ends")
        end = time.monotonic() + LOGOUT_S_MAX
        while self._acceptor.isLoggedOn() and time.monotonic() < end:
            self._poll()
        self._acceptor.stop(True)

    def _poll(self) -> None:
        before = self._application.taken
        self._acceptor.poll()
        if self._application.taken == before:
            time.sleep(IDLE_S)


def _defaults(settings: AcceptorSettings, store: Path) -> Any:
    given = {
        "ConnectionType": "acceptor", "SocketAcceptPort": str(settings.port), "SocketReuseAddress": "Y",
        "FileStorePath": str(store / "sequence"), "UseDataDictionary": "N", "SocketNodelay": "Y",
        **settings.quickfix, **_tls(settings.tls),
    }  # fmt: skip
    return _dictionary(given)


def _tls(tls: TlsSettings | None) -> dict[str, str]:
    if tls is None:
        return {}
    made = {"ServerCertificateFile": tls.certificate, "ServerCertificateKeyFile": tls.key}
    if tls.client_ca:  # level 1 demands a certificate (2 would only ask for one)
        made |= {"CertificationAuthoritiesFile": tls.client_ca, "CertificateVerifyLevel": "1"}
    return made


def _own(session: SessionSettings) -> Any:
    times = {} if "StartTime" in session.quickfix else {"NonStopSession": "Y"}
    return _dictionary({**times, **session.quickfix})


def _dictionary(values: dict[str, str]) -> Any:
    made = quickfix.Dictionary()
    for name, value in values.items():
        made.setString(name, value)
    return made


def _value(part: Any, tag: int) -> str:
    return str(part.getField(tag)) if part.isSetField(tag) else ""
