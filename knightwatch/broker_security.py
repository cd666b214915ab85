"""The embedded broker with locks on: TLS, SCRAM users and Kafka's own authorizer, all made anew at each start.

    with EmbeddedKafka(security=BrokerSecurity(("router", "worker"))) as kafka:
        options = client_options(kafka.security.of("router"))

A certificate authority, the broker's certificate and the users' passwords are made in the broker's data folder (files
of mode 0600, nothing on a command line) and go with it. The administrator is the only one whom the authorizer lets do
everything; a user may do nothing until an ACL says so (``streams.acls``).
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from halts.gate_security import client_options
from knightwatch.broker_properties import HOST
from schemas.security import AclConfig, KafkaSecurity, Role

ADMIN: Final = "admin"
ROLES: Final = tuple(name.removeprefix("User:") for role in get_args(Role) for name in AclConfig().of(role))
"""A user for each role, as ``kafka.acls`` names them by default."""
VALID_DAYS: Final = 30
ITERATIONS: Final = 4096
"""Of SCRAM; Kafka's least."""
_MECHANISM: Final = "SCRAM-SHA-512"
_LISTENER: Final = "clients"


class BrokerSecurity:
    """SASL_SSL for the users named, and StandardAuthorizer. One instance belongs to one broker."""

    def __init__(self, users: Sequence[str]) -> None:
        if ADMIN in users:
            raise ValueError(f"user {ADMIN!r} is the administrator's name; expected others")
        self.users = tuple(users)
        self._folder: Path | None = None

    def of(self, user: str) -> KafkaSecurity:
        """How ``user`` connects. The administrator uses PLAIN, since the broker needs a login before users exist."""
        if user not in (*self.users, ADMIN):
            raise ValueError(f"user {user!r} does not exist on this broker; expected one of {(*self.users, ADMIN)}")
        return KafkaSecurity(
            protocol="SASL_SSL",
            mechanism="PLAIN" if user == ADMIN else _MECHANISM,
            username=user,
            password_file=str(self.folder / f"{user}.password"),
            ca_file=str(self.folder / "ca.pem"),
        )

    def toml(self, user: str, bootstrap: str) -> str:
        """Configuration with which ``user`` connects; it holds no secret."""
        how = self.of(user)
        return (
            f'[kafka]\nbootstrap = "{bootstrap}"\n\n[kafka.security]\nprotocol = "{how.protocol}"\n'
            f'mechanism = "{how.mechanism}"\nusername = "{how.username}"\npassword_file = "{how.password_file}"\n'
            f'ca_file = "{how.ca_file}"\n'
        )

    def write_configs(self, bootstrap: str) -> list[Path]:
        """``USER.toml`` for everybody, beside the passwords."""
        paths = [self.folder / f"{user}.toml" for user in (*self.users, ADMIN)]
        for path in paths:
            path.write_text(self.toml(path.stem, bootstrap))
        return paths

    @property
    def folder(self) -> Path:
        """Where certificates and passwords are; RuntimeError before the broker has started."""
        if self._folder is None:
            raise RuntimeError("the broker has not started: there are no certificates and users yet")
        return self._folder

    def prepare(self, data: Path) -> None:
        """Make what is missing under ``data``: authority, broker's certificate, passwords."""
        folder = data / "security"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        if not (folder / "broker.pem").is_file():
            _certificates(folder)
        for user in (*self.users, ADMIN):
            if not (path := folder / f"{user}.password").is_file():
                _write(path, f"{secrets.token_urlsafe(24)}\n".encode())

    def properties(self) -> Mapping[str, str]:
        """Server properties; ``{port}`` and ``{controller_port}`` are filled in by the broker."""
        password = (self.folder / f"{ADMIN}.password").read_text().strip()
        login = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'username="{ADMIN}" password="{password}" user_{ADMIN}="{password}";'
        )
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return {
            "listeners": f"{_LISTENER.upper()}://{HOST}:{{port}},CONTROLLER://{HOST}:{{controller_port}}",
            "advertised.listeners": f"{_LISTENER.upper()}://{HOST}:{{port}}",
            "listener.security.protocol.map": f"{_LISTENER.upper()}:SASL_SSL,CONTROLLER:SASL_SSL",
            "inter.broker.listener.name": _LISTENER.upper(),
            "sasl.enabled.mechanisms": f"{_MECHANISM},PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.mechanism.controller.protocol": "PLAIN",
            f"listener.name.{_LISTENER}.plain.sasl.jaas.config": login,
            f"listener.name.{_LISTENER}.{_MECHANISM.lower()}.sasl.jaas.config": scram,
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": login,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.folder / "ca.pem"),
            "ssl.enabled.protocols": "TLSv1.3,TLSv1.2",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN}",
            "allow.everyone.if.no.acl.found": "false",
        }

    def admin_options(self) -> Mapping[str, Any]:
        """Client options of the administrator."""
        return client_options(self.of(ADMIN))

    def create_users(self, bootstrap: str) -> None:
        """Give the users their passwords. RuntimeError with what the broker said."""
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, **self.admin_options())
        try:
            wanted = [
                UserScramCredentialUpsertion(
                    user,
                    ScramMechanism.SCRAM_SHA_512,
                    password=(self.folder / f"{user}.password").read_text().strip(),
                    iterations=ITERATIONS,
                )
                for user in self.users
            ]
            answers = admin.alter_user_scram_credentials(wanted) if wanted else {}
        finally:
            admin.close()
        if failed := {user: said for user, said in answers.items() if said}:
            raise RuntimeError(f"Kafka did not take the users: {failed}")


def _certificates(folder: Path) -> None:
    """An authority that signs one certificate, the broker's, and whose own key is thrown away at once."""
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "knightwatch embedded broker CA")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "knightwatch embedded broker")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    ca = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    hosts = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(HOST)), x509.DNSName("localhost")])
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        builder(name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(hosts, critical=False)
        .add_extension(both, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem = certificate.public_bytes(Encoding.PEM)
    _write(folder / "ca.pem", ca.public_bytes(Encoding.PEM))
    _write(folder / "broker.pem", private + pem + ca.public_bytes(Encoding.PEM))


def _write(path: Path, data: bytes) -> None:
    """A new file that only its owner reads, whole or not there at all."""
    part = path.with_suffix(path.suffix + ".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600, exist_ok=False)
    part.write_bytes(data)
    part.rename(path)
