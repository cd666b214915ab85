"""Options for Kafka clients from ``[kafka.security]``: reads secrets and certificates, keeps them out of everything else.

    options = client_options(security)                      # {} for PLAINTEXT
    HaltGate("broker:9092", server="R3", ..., kafka=options)

The same options serve kafka-python and aiokafka. A secret is read when the options are made; changing one needs a
restart of the client. No message, repr or log line of ours carries one.
"""

import os
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from schemas.security import KafkaSecurity, problem

SECRET_BYTES_MAX: Final = 4096


class SecurityError(OSError):
    """Kafka cannot be reached as configured. Says what was found, what was expected and what to do; never a secret."""


class ClientOptions(dict[str, Any]):
    """Keyword arguments for a Kafka client, whose printed form hides the password."""

    def __repr__(self) -> str:
        shown = {k: "***" if "password" in k else v for k, v in self.items()}
        return f"ClientOptions({shown!r})"

    __str__ = __repr__


def client_options(security: KafkaSecurity, environ: Mapping[str, str] | None = None) -> ClientOptions:
    """Keyword arguments for a client of kafka-python or aiokafka; empty for PLAINTEXT. environ: os.environ if None.

    SecurityError for a contradiction, a variable that is not set, and a file that is missing, empty, readable by others
    or no PEM.
    """
    if (wrong := problem(security)) is not None:
        raise SecurityError(
            f"kafka.security.{wrong.key}: found {wrong.found}, expected {wrong.expected}; {wrong.remedy}"
        )
    env = os.environ if environ is None else environ
    options = ClientOptions()
    if security.protocol == "PLAINTEXT":
        return options
    options["security_protocol"] = security.protocol
    if security.tls:
        options["ssl_context"] = _context(security, env)
    if security.sasl:
        options["sasl_mechanism"] = security.mechanism
        options["sasl_plain_username"] = security.username or _variable("username_env", security.username_env, env)
        options["sasl_plain_password"] = (
            _variable("password_env", security.password_env, env)
            if security.password_env
            else secret_in(Path(security.password_file), "kafka.security.password_file")
        )
    return options


def refusal_hint(kafka: Mapping[str, Any] | None) -> str:
    """What to look at when no broker answers: a refused login looks the same to Kafka's clients. kafka: their options.

    >>> refusal_hint({"security_protocol": "SASL_SSL", "sasl_plain_username": "r1", "sasl_plain_password": "x"})
    "if one runs there, it refused SASL_SSL as user 'r1': check user, password, ca_file, and its certificate's host name"
    """
    if not kafka or "security_protocol" not in kafka:
        return "if one runs there, it may want TLS or a login: [kafka.security]"
    user = f" as user {kafka['sasl_plain_username']!r}" if "sasl_plain_username" in kafka else ""
    what = "user, password, ca_file" if user else "ca_file, cert_file"
    return f"if one runs there, it refused {kafka['security_protocol']}{user}: check {what}, and its certificate's host name"


def secret_in(path: Path, setting: str) -> str:
    """First line of a file that only its owner reads. setting: who names the file, for messages. SecurityError."""
    check_private(path, setting)
    try:
        with path.expanduser().open("rb") as file:
            lines = file.read(SECRET_BYTES_MAX + 1).splitlines()
        text = lines[0].decode() if lines else ""
    except (OSError, UnicodeDecodeError) as error:
        kind = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"unreadable ({error.strerror})"
        raise SecurityError(f"{setting}: {path} is {kind}; expected one line of text") from None
    if not text or len(text) > SECRET_BYTES_MAX:
        raise SecurityError(f"{setting}: {path} has an empty or too long first line; expected the secret there")
    return text


def check_private(path: Path, setting: str) -> None:
    """SecurityError unless only its owner can read the file: mode 0600 or less if it is ours, 0640 or less if root owns
    it (the rule PostgreSQL has for its keys, so that secrets mounted by an orchestrator work)."""
    try:
        found = path.expanduser().stat()
    except OSError as error:
        raise SecurityError(f"{setting}: {path}: {error.strerror}; expected a file with the secret in it") from None
    if not stat.S_ISREG(found.st_mode):
        raise SecurityError(f"{setting}: {path} is not a regular file; expected a file with the secret in it")
    mode, us = stat.S_IMODE(found.st_mode), os.geteuid()
    allowed = 0o640 if found.st_uid == 0 and us != 0 else 0o600
    if found.st_uid not in (us, 0):
        raise SecurityError(
            f"{setting}: {path} belongs to user id {found.st_uid}; expected this process' own ({us}) or root. "
            f"chown it, and change the secret if it was not meant to be there"
        )
    if mode & ~(allowed | 0o100):
        raise SecurityError(
            f"{setting}: {path} has mode {mode:04o}, so that others can read or change the secret; expected "
            f"{allowed:04o} or less. Run: chmod {allowed:o} {path} - and change the secret, others may have read it"
        )


def _variable(setting: str, name: str, env: Mapping[str, str]) -> str:
    value = env.get(name, "")
    if not value:
        raise SecurityError(
            f"kafka.security.{setting}: environment variable {name} is not set or empty; expected it to hold "
            f"the {setting.removesuffix('_env').replace('_', ' ')}. Set it for this process"
        )
    return value


def _context(security: KafkaSecurity, env: Mapping[str, str]) -> ssl.SSLContext:
    """TLS 1.2 or newer, broker's certificate and host name checked; there is no way to switch that off."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not security.ca_file:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:  # only this authority, none of the system's
        try:
            context.load_verify_locations(cafile=str(Path(security.ca_file).expanduser()))
        except (OSError, ssl.SSLError) as error:
            raise SecurityError(
                f"kafka.security.ca_file: {security.ca_file}: {_why(error)}; expected certificates in PEM"
            ) from None
    if security.cert_file:
        key = Path(security.key_file)
        check_private(key, "kafka.security.key_file")
        password = _variable("key_password_env", security.key_password_env, env) if security.key_password_env else None
        try:
            context.load_cert_chain(
                str(Path(security.cert_file).expanduser()),
                str(key.expanduser()),
                password=password if password is not None else _no_password,
            )
        except (OSError, ssl.SSLError, ValueError) as error:
            raise SecurityError(
                f"kafka.security.cert_file, key_file: {security.cert_file}, {key}: {_why(error)}; expected a "
                "certificate in PEM and the private key that belongs to it (key_password_env if it is encrypted)"
            ) from None
    return context


def _no_password() -> str:
    """OpenSSL would ask on the terminal; a service has none."""
    raise ValueError("the key is encrypted and key_password_env is not given")


def _why(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
