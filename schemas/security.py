"""How clients prove to Kafka who they are, and who may do what there: the words, without a secret in them.

``KafkaSecurity`` is the configuration section ``[kafka.security]``; ``halts.gate_security`` makes client options of it.
``GRANTS`` is the one table of permissions; ``knightwatch topics --acls`` writes it to a cluster and verifies it.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from schemas.topics import (
    ACKS,
    ALL,
    AUDIT,
    COMMANDS,
    DEAD_LETTERS,
    DECLARED,
    HALTS,
    INTERNAL,
    NODES,
    ORDERFLOW,
    SNAPSHOTS,
    VERDICTS,
    Topic,
)

Protocol = Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
Role = Literal["router", "worker", "operator", "break_glass", "release", "viewer"]
Names = tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...]


class KafkaSecurity(Struct, frozen=True, forbid_unknown_fields=True):
    """How to connect. Secrets are named here (a variable, a file), never written here. Files: PEM."""

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    """Used with SASL_SSL and SASL_PLAINTEXT only. PLAIN shows the password to the broker: over TLS only."""
    username: str = ""
    username_env: str = ""
    """Environment variable with the user name: one configuration file serves many routers."""
    password_env: str = ""
    password_file: str = ""
    """File whose first line is the password; read by its owner only."""
    ca_file: str = ""
    """Authorities that may vouch for the broker; empty: those of the system."""
    cert_file: str = ""
    """This client's own certificate, for brokers that ask for one (mutual TLS)."""
    key_file: str = ""
    """Its private key; read by its owner only."""
    key_password_env: str = ""

    @property
    def tls(self) -> bool:
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        return self.protocol in ("SASL_SSL", "SASL_PLAINTEXT")


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting of ``[kafka.security]`` that contradicts another one."""

    key: str
    found: str
    expected: str
    remedy: str


def problem(security: KafkaSecurity) -> Problem | None:
    """The first contradiction; None when there is none.

    >>> problem(KafkaSecurity(protocol="SASL_SSL", username="r1")).key
    'password_env'
    """
    s = security
    named = [k for k in ("username", "username_env", "password_env", "password_file") if getattr(s, k)]
    files = [k for k in ("ca_file", "cert_file", "key_file") if getattr(s, k)]
    if not s.sasl and named:
        return Problem(named[0], repr(getattr(s, named[0])), f"nothing with protocol {s.protocol}", "use SASL_SSL")
    if not s.tls and files:
        return Problem(
            files[0], repr(getattr(s, files[0])), f"nothing with protocol {s.protocol}", "use SASL_SSL or SSL"
        )
    if s.protocol == "SASL_PLAINTEXT" and s.mechanism == "PLAIN":
        return Problem(
            "mechanism", "'PLAIN'", "SCRAM without TLS", "PLAIN would send the password readable: use SASL_SSL"
        )
    if bool(s.cert_file) != bool(s.key_file):
        lacks = "key_file" if s.cert_file else "cert_file"
        return Problem(lacks, "''", "cert_file and key_file together", "name both or none")
    if not s.sasl:
        return None
    if bool(s.username) == bool(s.username_env):
        found = "both" if s.username else "neither"
        return Problem("username", found, "username or username_env", "name the user once")
    if bool(s.password_env) == bool(s.password_file):
        found = "both" if s.password_env else "neither"
        return Problem("password_env", found, "password_env or password_file", "say where the password is, once")
    return None


class AclConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Kafka principals by role, as the broker names them (``User:NAME``; for mutual TLS ``User:CN=...``)."""

    router: Names = ("User:router",)
    worker: Names = ("User:worker",)
    operator: Names = ("User:operator",)
    break_glass: Names = ("User:break-glass",)
    release: Names = ("User:release",)
    viewer: Names = ("User:viewer",)

    def of(self, role: Role) -> Names:
        """Principals that have ``role``."""
        found: Names = getattr(self, role)
        return found


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role may do with topics. ``Read`` and ``Write`` imply ``Describe`` on the broker."""

    role: Role
    operation: Literal["Read", "Write", "DescribeConfigs"]
    topics: tuple[Topic, ...]
    why: str


GRANTS: Final = (
    Grant("router", "Write", (ORDERFLOW, NODES, ACKS), "its orders, its state, its gate's answers"),
    Grant("router", "Write", (DEAD_LETTERS,), "what a FIX session brought and the acceptor refused"),
    Grant("router", "Read", (HALTS,), "its gate obeys them"),
    Grant("worker", "Read", (*ALL, *INTERNAL), "inputs, and its own outputs when it takes over"),
    Grant("worker", "Write", (VERDICTS, HALTS, AUDIT, DEAD_LETTERS, SNAPSHOTS), "stage 1 and the desk"),
    Grant("worker", "Write", (ACKS,), "the gate of its canary answers"),
    Grant("worker", "DescribeConfigs", (*ALL, *INTERNAL), "verifies the topics when it starts"),
    Grant("operator", "Write", (COMMANDS,), "halt, resume, approve, drill"),
    Grant("operator", "Read", (HALTS, ACKS, COMMANDS, AUDIT, NODES), "status, and what came of a command"),
    Grant("break_glass", "Write", (COMMANDS, HALTS), "halt --direct when every worker is dead"),
    Grant("break_glass", "Read", (HALTS, ACKS, COMMANDS, AUDIT, NODES), "as an operator"),
    Grant("release", "Write", (DECLARED,), "what each node is meant to run"),
    Grant("viewer", "Read", ALL, "record, follow, annotate; writes nothing"),
)
"""The permissions, complete: what is not here is refused. Creating topics and permissions is the administrator's."""

GROUP_ROLES: Final[tuple[Role, ...]] = ("worker",)
"""Roles that are members of the workers' consumer group (``Read`` on the group)."""
