"""Permissions on the broker: made as ``schemas.security.GRANTS`` has them, and compared with it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import KafkaError, SecurityDisabledError

from halts.config import KafkaConfig
from schemas.security import GRANTS, GROUP_ROLES
from schemas.topics import topic_name
from streams.admin import TOPICS, Difference, Options, TopicsError, connect, refusal

ANY_HOST: Final = "*"
CHANGING: Final = ("Write", "Delete", "Alter", "AlterConfigs", "All")
"""Operations that change something. More of them than the table has are always shown; more reading is the firm's."""
_NAMES: Final = {
    "Read": ACLOperation.READ,
    "Write": ACLOperation.WRITE,
    "DescribeConfigs": ACLOperation.DESCRIBE_CONFIGS,
    "Delete": ACLOperation.DELETE,
    "Alter": ACLOperation.ALTER,
    "AlterConfigs": ACLOperation.ALTER_CONFIGS,
    "Create": ACLOperation.CREATE,
    "Describe": ACLOperation.DESCRIBE,
    "All": ACLOperation.ALL,
}
_OPERATIONS: Final = {operation: name for name, operation in _NAMES.items()}


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """``principal`` may do ``operation`` on the topic or group ``name``, from any host."""

    kind: str
    name: str
    principal: str
    operation: str

    @property
    def command(self) -> str:
        """The same for Kafka's own tool."""
        return (
            f"kafka-acls.sh --bootstrap-server HOST:PORT --command-config ADMIN.properties --add --allow-principal "
            f"'{self.principal}' --operation {self.operation} --{self.kind} '{self.name}'"
        )


def wanted(config: KafkaConfig) -> list[Permission]:
    """Every permission that the principals of ``kafka.acls`` need, sorted."""
    found = {
        Permission("topic", topic_name(topic, config.prefix), principal, grant.operation)
        for grant in GRANTS
        for principal in config.acls.of(grant.role)
        for topic in grant.topics
    }
    group = config.prefix + config.app_id
    found |= {
        Permission("group", group, principal, "Read") for role in GROUP_ROLES for principal in config.acls.of(role)
    }
    return sorted(found)


def create_acls(config: KafkaConfig, timeout_s: float = 30.0, kafka: Options = None) -> list[Permission]:
    """Add what is missing; returns what was added. Takes nothing away. TopicsError when the broker refuses."""
    admin = connect(config.bootstrap, timeout_s, kafka)
    try:
        there = {found for found, _ in _standing(admin, config)}
        missing = [permission for permission in wanted(config) if permission not in there]
        if missing:
            answer = admin.create_acls([_acl(permission) for permission in missing])
            if failed := answer["failed"]:
                raise TopicsError(_said(config, failed[0]()))
        return missing
    except KafkaError as error:
        raise TopicsError(_said(config, error)) from error
    finally:
        admin.close()


def verify_acls(config: KafkaConfig, timeout_s: float = 10.0, kafka: Options = None) -> list[Difference]:
    """What is missing, and who may change our topics besides those in the table. TopicsError as above."""
    admin = connect(config.bootstrap, timeout_s, kafka)
    try:
        standing = _standing(admin, config)
    except KafkaError as error:
        raise TopicsError(_said(config, error)) from error
    finally:
        admin.close()
    table = wanted(config)
    there = {permission for permission, _ in standing}
    out = [
        Difference(p.name, f"{p.operation} by {p.principal}", "refused", "allowed", "run `knightwatch topics --acls`")
        for p in table
        if p not in there
    ]
    return out + _too_much(standing, set(table))


def _too_much(standing: Iterable[tuple[Permission, str]], table: set[Permission]) -> list[Difference]:
    """Who may change a topic of ours, or write to it as anybody, though the table does not say so."""
    return [
        Difference(p.name, f"{p.operation} by {p.principal}{how}", "allowed", "refused",
                   "take it away (kafka-acls.sh --remove), or name the principal in [kafka.acls]")
        for p, how in sorted(standing)
        if p.kind == "topic" and p.operation in CHANGING and p not in table
    ]  # fmt: skip


def _standing(admin: KafkaAdminClient, config: KafkaConfig) -> list[tuple[Permission, str]]:
    """What is allowed on each topic and group of ours, and by which pattern if not by its name alone."""
    places = [(ResourceType.TOPIC, "topic", topic_name(topic, config.prefix)) for topic in TOPICS]
    places.append((ResourceType.GROUP, "group", config.prefix + config.app_id))
    out: list[tuple[Permission, str]] = []
    for kind, word, name in places:
        pattern = ResourcePatternFilter(kind, name, ACLResourcePatternType.MATCH)
        asked = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ALLOW, pattern)
        found, _ = admin.describe_acls(asked)
        out += [_permission(acl, word, name) for acl in found]
    return out


def _permission(acl: Any, kind: str, name: str) -> tuple[Permission, str]:
    pattern = acl.resource_pattern
    literal = pattern.pattern_type == ACLResourcePatternType.LITERAL and pattern.resource_name == name
    how = "" if literal else f" (by the pattern {pattern.resource_name!r}, {pattern.pattern_type.name})"
    if acl.host != ANY_HOST:
        how += f" (from {acl.host})"
    operation = _OPERATIONS.get(acl.operation, acl.operation.name)
    return Permission(kind, name, acl.principal, operation), how


def _acl(permission: Permission) -> ACL:
    kind = ResourceType.TOPIC if permission.kind == "topic" else ResourceType.GROUP
    return ACL(
        permission.principal,
        ANY_HOST,
        _NAMES[permission.operation],
        ACLPermissionType.ALLOW,
        ResourcePattern(kind, permission.name),
    )


def _said(config: KafkaConfig, error: KafkaError) -> str:
    if isinstance(error, SecurityDisabledError):
        return (
            f"Kafka at {config.bootstrap} has no authorizer: everybody may write everything. Set authorizer.class.name="
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer on every node (docs/security.md)"
        )
    return refusal(config.bootstrap, error)
