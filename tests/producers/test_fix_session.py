"""What QuickFIX does of itself, and what it must not count as taken: an acceptor and a socket that speaks FIX, no Kafka."""

import contextlib
import itertools
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

pytest.importorskip("quickfix", reason="needs QuickFIX: pip install 'knightwatch[fix]'")

from producers.fix_acceptor.session import Acceptor
from producers.fix_acceptor.settings import AcceptorSettings, SessionSettings, TlsSettings

NEW = "11=C{}|55=ACME|54=1|38=100|40=2|44=10.5|60=20261124-14:30:00|"


class Kept:
    """Stands where ``Intake`` does."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.messages: list[bytes] = []

    def take(self, raw: bytes) -> None:
        self.messages.append(raw)

    def hurry(self) -> None: ...


class Counterpart:
    """The other end of a session, by hand."""

    def __init__(
        self, port: int, tls: ssl.SSLContext | None = None, version: str = "FIX.4.4", us: str = "BROKER"
    ) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket: socket.socket = tls.wrap_socket(plain) if tls else plain
        self.version, self.us = version, us
        self.numbers = itertools.count(1)
        self.got = b""
        self.send("A", "98=0|108=30|141=Y|554=a password|")

    def send(self, kind: str, fields: str, spoilt: bool = False) -> None:
        now = datetime.now(UTC).strftime("%Y%m%d-%H:%M:%S")
        body = f"35={kind}|34={next(self.numbers)}|49={self.us}|52={now}|56=KNIGHTWATCH|{fields}".replace("|", "\x01")
        text = f"8={self.version}\x019={len(body)}\x01{body}"
        self.socket.sendall(f"{text}10={(sum(text.encode()) + spoilt) % 256:03d}\x01".encode())

    def hears(self, text: str) -> bool:
        """Does the acceptor say ``text`` within five seconds?"""
        wanted = text.replace("|", "\x01").encode()
        with contextlib.suppress(OSError):
            while wanted not in self.got and (more := self.socket.recv(4096)):
                self.got += more
        return wanted in self.got


@pytest.fixture
def port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def acceptor(port: int, store: Path, **more: Any) -> Iterator[Kept]:
    kept, stop = Kept(), threading.Event()
    sessions = (SessionSettings("BROKER", "r1"), SessionSettings("OLD", "r2", "FIX.4.2"))
    settings = AcceptorSettings(sessions, port=port, store=str(store), **more)
    made = Acceptor(settings, kept, lambda error: pytest.fail(str(error)))  # type: ignore[arg-type]
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        yield kept
    finally:
        stop.set()
        thread.join(10)


def test_a_spoilt_message_is_asked_for_again(port: int, tmp_path: Path) -> None:
    with acceptor(port, tmp_path) as kept:
        them = Counterpart(port)
        assert them.hears("35=A|")
        them.send("D", NEW.format(1))
        them.send("D", NEW.format(2), spoilt=True)
        them.send("D", NEW.format(3))
        assert them.hears("35=2|"), "CheckSum is wrong, so MsgSeqNum 3 never came"
        assert them.hears("7=3|16=0|")
    assert them.hears("58=the acceptor ends|")
    assert [m.split(b"\x01")[2] for m in kept.messages] == [b"35=A", b"35=D"]
    assert b"password" not in kept.messages[0]


def test_who_may_log_on(port: int, tmp_path: Path) -> None:
    with acceptor(port, tmp_path) as kept:
        assert Counterpart(port, version="FIX.4.2", us="OLD").hears("8=FIX.4.2|")
        assert not Counterpart(port, version="FIX.4.2").hears("35=A|"), "this one speaks 4.4"
        assert not Counterpart(port, us="STRANGER").hears("35=A|")
    assert len(kept.messages) == 1
    assert "STRANGER" in (tmp_path / "log" / "GLOBAL.event.current.log").read_text()


def test_what_the_disk_does_not_take_is_not_counted(port: int, tmp_path: Path) -> None:
    """The journal fails at the second message: the process ends inside it, and QuickFIX's store still expects it."""
    script = f"""
import os, threading
from tests.producers.test_fix_session import *
class Full(Kept):
    def take(self, raw):
        if b"11=C2" in raw:
            raise OSError(28, "No space left on device")
settings = AcceptorSettings((SessionSettings("BROKER", "r1"),), port={port}, store={str(tmp_path)!r})
made = Acceptor(settings, Full(), lambda error: os._exit(error.errno))
print("ready", flush=True)
made.run(threading.Event())
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        them = Counterpart(port)
        assert them.hears("35=A|")
        for i in (1, 2, 3):
            them.send("D", NEW.format(i))
        assert process.wait(10) == 28
    (store,) = (tmp_path / "sequence").glob("*.seqnums")
    assert int(store.read_text().split(":")[1]) == 3, "logon 1, order 2, and 3 is what it expects"


def certificate(folder: Path, name: str, by: tuple[x509.Name, Any] | None) -> tuple[x509.Name, Any]:
    """NAME.pem and NAME.key, signed ``by`` (None: by itself)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = by or (subject, key)
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    made = made.add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    (folder / f"{name}.pem").write_bytes(made.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(private)
    return subject, key


def test_tls_with_certificates_on_both_sides(port: int, tmp_path: Path) -> None:
    authority = certificate(tmp_path, "ca", None)
    for name in ("server", "client"):
        certificate(tmp_path, name, authority)
    stranger = certificate(tmp_path, "other-ca", None)
    certificate(tmp_path, "stranger", stranger)
    tls = TlsSettings(*(str(tmp_path / name) for name in ("server.pem", "server.key", "ca.pem")))
    with acceptor(port, tmp_path / "store", tls=tls) as kept:
        for name in ("", "stranger", "client"):
            context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            context.check_hostname = False
            if name:
                context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
            logged_on = False
            with contextlib.suppress(OSError):
                logged_on = Counterpart(port, context).hears("35=A|")
            assert logged_on is (name == "client"), name or "no certificate"
    assert len(kept.messages) == 1
