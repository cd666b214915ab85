"""Client options from ``[kafka.security]``: secrets come from where they may be, and go nowhere else."""

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import faust
import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from halts.config import ConfigError, parse
from halts.gate_security import SecurityError, client_options
from knightwatch.broker_security import ADMIN, BrokerSecurity
from schemas.security import KafkaSecurity, problem
from streams.app import _credentials
from streams.settings import Settings

SECRET = "hunter2-hunter2"
Make = Callable[..., KafkaSecurity]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """SASL_SSL with a password file and an authority; what is given replaces it."""
    locks = BrokerSecurity(("router",))
    locks.prepare(tmp_path)
    password = tmp_path / "password"
    password.write_text(f"{SECRET}\nsecond line\n")
    password.chmod(0o600)

    def make(**other: str) -> KafkaSecurity:
        fields = {
            "protocol": "SASL_SSL", "username": "router", "password_file": str(password),
            "ca_file": str(locks.folder / "ca.pem"),
        }  # fmt: skip
        return KafkaSecurity(**(fields | other))  # type: ignore[arg-type]

    return make


def test_plaintext_needs_nothing() -> None:
    assert client_options(KafkaSecurity()) == {}


def test_options_serve_kafka_python_and_faust(made: Make) -> None:
    options = client_options(made())
    assert options["sasl_plain_password"] == SECRET
    context = options["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1, "with ca_file, none of the system's authorities"
    credentials = _credentials(options)
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert isinstance(_credentials({"ssl_context": context}), faust.SSLCredentials)
    assert _credentials({}) is None


def test_user_and_password_from_the_environment(made: Make) -> None:
    security = made(username="", username_env="WHO", password_file="", password_env="WORD")
    options = client_options(security, {"WHO": "r7", "WORD": SECRET})
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("r7", SECRET)
    with pytest.raises(SecurityError, match="environment variable WORD is not set or empty"):
        client_options(security, {"WHO": "r7"})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o700 | 0o004])
def test_a_secret_that_others_can_read_is_refused(made: Make, mode: int) -> None:
    path = Path(made().password_file)
    path.chmod(mode)
    with pytest.raises(SecurityError, match=f"mode {mode:04o}.*chmod 600") as refused:
        client_options(made())
    assert SECRET not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_secret_that_belongs_to_somebody_else_is_refused(made: Make) -> None:
    os.chown(made().password_file, 12345, -1)
    with pytest.raises(SecurityError, match="belongs to user id 12345"):
        client_options(made())


def test_what_cannot_be_read_is_said(made: Make, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch(0o600)
    with pytest.raises(SecurityError, match="empty or too long"):
        client_options(made(password_file=str(empty)))
    with pytest.raises(SecurityError, match="No such file"):
        client_options(made(password_file=str(tmp_path / "none")))
    with pytest.raises(SecurityError, match="not a regular file"):
        client_options(made(password_file=str(tmp_path)))
    with pytest.raises(SecurityError, match=r"ca_file.*expected certificates in PEM"):
        client_options(made(ca_file=str(empty)))


def test_a_clients_own_certificate(made: Make, tmp_path: Path) -> None:
    pem = tmp_path / "security" / "broker.pem"  # key and certificate in one file
    options = client_options(made(cert_file=str(pem), key_file=str(pem)))
    assert isinstance(options["ssl_context"], ssl.SSLContext)
    wrong = made(cert_file=str(tmp_path / "security" / "ca.pem"), key_file=str(pem))
    with pytest.raises(SecurityError, match="the private key that belongs to it"):
        client_options(wrong)
    pem.chmod(0o644)
    with pytest.raises(SecurityError, match=r"key_file: .* mode 0644"):
        client_options(made(cert_file=str(pem), key_file=str(pem)))


@pytest.mark.parametrize(
    ("other", "key"),
    [({"protocol": "PLAINTEXT"}, "username"), ({"protocol": "SSL"}, "username"), ({"username": ""}, "username"),
     ({"username_env": "WHO"}, "username"), ({"password_file": ""}, "password_env"), ({"password_env": "W"}, "password_env"),
     ({"protocol": "SASL_PLAINTEXT"}, "ca_file"),
     ({"protocol": "SASL_PLAINTEXT", "ca_file": "", "mechanism": "PLAIN"}, "mechanism"),
     ({"cert_file": "c.pem"}, "key_file"), ({"key_file": "k.pem"}, "cert_file")],
)  # fmt: skip
def test_contradictions_are_refused_with_their_key(made: Make, other: dict[str, str], key: str) -> None:
    wrong = problem(made(**other))
    assert wrong is not None
    assert wrong.key == key
    with pytest.raises(SecurityError, match=f"kafka.security.{key}"):
        client_options(made(**other))


@pytest.mark.parametrize(
    "line", [f'password = "{SECRET}"', f'sasl_plain_password = "{SECRET}"', f'secret = "{SECRET}"']
)
def test_a_secret_in_a_configuration_file_is_refused_and_not_repeated(line: str) -> None:
    with pytest.raises(ConfigError, match="no secret in a configuration file") as refused:
        parse(f"[kafka.security]\n{line}\n", "f.toml")
    assert SECRET not in str(refused.value)
    with pytest.raises(ConfigError, match=r"kafka\.security\.username"):
        parse('[kafka.security]\nprotocol = "SASL_SSL"\n', "f.toml")


def test_no_printed_form_and_no_log_line_holds_the_password(made: Make, caplog: pytest.LogCaptureFixture) -> None:
    options = client_options(made())
    settings = Settings(kafka=options)
    texts = [repr(options), str(options), f"{options}", repr(settings), repr(_credentials(options))]
    with caplog.at_level(logging.DEBUG), pytest.raises(KafkaError):
        KafkaConsumer(bootstrap_servers="127.0.0.1:1", bootstrap_timeout_ms=300, **options)
    assert not [text for text in [*texts, caplog.text] if SECRET in text]
    assert "'***'" in repr(options)


def test_the_embedded_brokers_users(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="administrator's name"):
        BrokerSecurity((ADMIN,))
    locks = BrokerSecurity(("router",))
    with pytest.raises(RuntimeError, match="has not started"):
        locks.of("router")
    locks.prepare(tmp_path)
    first = (locks.folder / "router.password").read_text()
    locks.prepare(tmp_path)
    assert (locks.folder / "router.password").read_text() == first, "a folder that is taken up again keeps its users"
    assert {path.stat().st_mode & 0o777 for path in locks.folder.iterdir()} == {0o600}
    assert client_options(locks.of(ADMIN))["sasl_mechanism"] == "PLAIN"
    with pytest.raises(ValueError, match="'nobody' does not exist"):
        locks.of("nobody")
