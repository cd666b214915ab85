"""Configuration: one root struct, checked when read. Reading the file is the shells' job; this module only parses text.

Every field has a default, and config/default.toml repeats every default with its unit (a test keeps the two equal).
"""

import tomllib
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from detectors.config import Stage1Config
from detectors.fleet.config import FleetConfig
from halts.config_keys import flatten, unknown_key, value_at, words_at
from halts.gate_trust import Trust
from halts.keys import Operator, Ring, release_problem
from schemas.records import Action
from schemas.security import AclConfig, KafkaSecurity, problem
from schemas.topics import HEARTBEAT_MS

Ms = Annotated[int, Meta(ge=0, le=86_400_000)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
S = TypeVar("S", bound=Struct)
Outcome = Literal["halt", "combine", "warn", "ignore"]


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """What a breach of one family (or one detector) does.

    ``halt``: halts alone. ``combine``: warns, halts with an independent group or beyond ``bound_halt``.
    ``warn``: warns only. ``ignore``: nothing.
    """

    hard: Outcome = "halt"
    """For a broken invariant (``Breach.hard``)."""
    statistical: Outcome = "combine"
    """For a score beyond its limit."""
    group: str = ""
    """Evidence that counts as one: two families of one group never halt by agreeing. Empty: the family's own name."""
    flow: bool = False
    """Its updates mean new orders, so that updates after a block show that the block does not hold."""
    common: bool = False
    """A move of the whole fleet (an auction, news) explains it: while all servers move as one, and this one is not
    unlike its peers, its score neither warns nor agrees with others, for at most ``common_hold_ms``; nor, on a server
    that has peers, for the first ``common_look_ms``. Beyond its ``bound_halt`` it always counts."""


def default_rules() -> dict[str, Rule]:
    """Rules by family, or by detector. Rate, novelty, divergence in rate, breadth and participation all rise with the
    mere volume of orders (news, an auction, a failover), so they are one group: two of them agreeing says no more than
    one. What parents do not explain (fan-out) is evidence of its own."""
    return {
        "conservation": Rule(group="parents", flow=True),
        "rate": Rule(group="volume", flow=True, common=True),
        "novelty": Rule(group="volume", common=True),
        "divergence": Rule(group="volume"),
        "divergence_fan_out": Rule(group="parents"),
        "divergence_rejects": Rule(group="malformed"),
        "divergence_crossing": Rule(group="spread"),
        "breadth": Rule(group="volume"),
        "participation": Rule(group="volume"),
        "crossing": Rule(group="spread", flow=True, common=True),
        "repetition": Rule(group="repetition", flow=True),
        "malformed": Rule(group="malformed", flow=True),
        "exposure": Rule(group="position"),
        "exposure_near": Rule(group="position", statistical="warn"),
        "limits": Rule(group="position"),
        "drift": Rule(group="software"),
        "silence": Rule(group="health", hard="warn", statistical="warn"),
        "silence_blind": Rule(group="health", hard="warn", statistical="halt"),
    }


class KafkaConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the topics are, and how clients prove who they are."""

    bootstrap: Annotated[str, Meta(min_length=3)] = "127.0.0.1:9092"
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]*$", max_length=100)] = ""
    """Put before the name of every topic."""
    partitions: Annotated[int, Meta(ge=1, le=1_000)] = 8
    """Partitions of ``orderflow``, ``nodes`` and ``declared``."""
    replication: Annotated[int, Meta(ge=1, le=7)] = 1
    app_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+$", max_length=100)] = "knightwatch"
    """Consumer group of the workers."""
    security: KafkaSecurity = KafkaSecurity()
    acls: AclConfig = AclConfig()


class DeskConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 2. Times called "desk time" pass with the ticks on ``verdicts``; event time is that of the order flow."""

    action: Action = "block_and_cancel"
    """What a halt orders unless it says otherwise."""
    ack_timeout_ms: Ms = 500
    """Desk time from halt to ``blocked`` of every gate concerned; later the scope widens. 0: no gates answer here
    (study of a log that was recorded without them)."""
    join_timeout_ms: Ms = 5_000
    """The same for a node that appears while the halt stands: its gate first reads ``halts``."""
    after_halt_grace_ms: Ms = 100
    """Orders in a frame that began later than this after the gate said ``blocked`` are after-halt flow. Event time."""
    widen_after_ms: Ms = 1_000
    """A symbol, strategy or account whose detector still sees flow so long after ``blocked`` widens to the server."""
    siblings_to_widen: Annotated[int, Meta(ge=0, le=1_000)] = 3
    """So many scopes of one server halted close the server; so many servers close the firm. 0: never."""
    families_to_halt: Annotated[int, Meta(ge=2, le=10)] = 2
    """Independent groups that must be open at once on one scope for statistical scores to halt."""
    combine_window_ms: Ms = 30_000
    """They agree only if each was last seen beyond its bound within this of the newest. Event time."""
    confirm_ms: Ms = 200
    """A statistical halt that rests on a single input waits for a second one, at most this long. Desk time."""
    common_look_ms: Ms = 1_000
    """What a move of the whole fleet could explain is put off so long, until the fleet was seen since; servers without
    peers excepted. Two of its judgements, as its rates are smoothed over a second. Desk time."""
    common_hold_ms: Ms = 60_000
    """What a move of the whole fleet explains is put off by at most this; then it counts as ever. Desk time."""
    warn_quiet_ms: Ms = 30_000
    """Desk time without a breach after which WARNED returns to ACTIVE."""
    open_stale_ms: Ms = 600_000
    """A breach that was neither updated nor closed for so long is forgotten. Desk time."""
    node_alive_ms: Ms = 2_500
    """A node heard from within this is expected to answer a halt. Desk time."""
    unwatched_after_ms: Ms = 2_000
    """Gates of routers whose partition no worker has read for so long close until one does. UTC of workers. 0: never."""
    tick_step_ms_max: Annotated[int, Meta(ge=1, le=60_000)] = 250
    """Desk time passes by at most this per tick: one bad stamp cannot make timeouts fire."""
    cool_off_ms: Ms = 5_000
    """Desk time from the halt before a resume may take effect."""
    resume_stage_ms: Ms = 30_000
    """Desk time in RESUMING (reducing orders only) without a breach before ACTIVE."""
    drill_ms_max: Ms = 2_000
    """A drill ends by itself when every gate concerned has confirmed, or after this. Desk time."""
    request_ttl_ms: Ms = 600_000
    """A resume request that nobody approves for so long is void. Desk time."""
    resuming_strict: bool = True
    """While RESUMING, what would otherwise warn halts."""
    two_person_scopes: tuple[Literal["firm", "server", "strategy", "account", "symbol"], ...] = ("firm", "server")
    """Kinds of scope whose resume needs a request and the approval of another person."""
    resume_orders_per_s: Annotated[float, Meta(ge=0, le=1e6)] = 20.0
    """Second stage of RESUMING: so many orders a second may pass each gate concerned, besides those that reduce. 0: no
    such stage."""
    probation_ms: Ms = 300_000
    """Desk time after a resume, once ACTIVE again, in which what would otherwise warn halts."""
    command_age_ms_max: Ms = 60_000
    """A resume, approve or config whose stamp is further from the desk's clock is stale. Wall time."""
    halt_age_ms_max: Ms = 86_400_000
    """The same for a halt or drill, which may have waited for a desk to come back."""
    require_signatures: bool = False
    """Refuse every command that is not signed by a known key. Always so once operators are configured."""
    audience: Annotated[str, Meta(max_length=100)] = ""
    """Name of this fleet. Part of what is signed, so that a command for one fleet is worth nothing in another."""
    operators: dict[str, Operator] = field(default_factory=dict)
    """Who may order what, by name."""
    inputs_audit_ms: Ms = 10_000
    """The order of inputs goes to ``audit`` at least this often (at every tick if topics interleaved). Desk time."""
    scopes_max: Count = 8_192
    opens_max: Count = 4_096
    """Breaches open at once, over all scopes; the one unheard of for longest is forgotten first."""
    causes_max: Annotated[int, Meta(ge=1, le=100)] = 16
    nodes_max: Count = 256
    commands_max: Count = 1_024
    """Command ids remembered, so that a repeated command does nothing."""
    fleet: FleetConfig = FleetConfig()
    rules: dict[str, Rule] = field(default_factory=default_rules)
    """By family or, first looked up, by detector. What is not listed follows ``Rule()``."""

    def rule(self, detector: str, family: str) -> Rule:
        """The rule for a breach: that of its detector, else of its family, else the default."""
        return self.rules.get(detector) or self.rules.get(family) or _PLAIN_RULE


_PLAIN_RULE: Final = Rule()


class GateConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The gate in the router."""

    fail_closed_after_ms: Annotated[int, Meta(ge=2 * HEARTBEAT_MS, le=60_000)] = 2_000
    """Without a heartbeat of the desk for so long the gate is closed."""
    clock_skew_ms_max: Annotated[int, Meta(ge=0, le=60_000)] = 500
    """How far the clocks of desk and router may be apart before heartbeats count as old."""
    desk_keys: tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...] = ()
    """Public keys of the desk (base64). With any, what they have not signed closes a gate, operators' halts aside."""


class CanaryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The probe of the kill path: a drill on a scope of its own, by the worker that has the desk."""

    interval_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 60_000
    """Time between two probes. 0: none."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything configurable."""

    kafka: KafkaConfig = KafkaConfig()
    stage1: Stage1Config = Stage1Config()
    desk: DeskConfig = field(default_factory=DeskConfig)
    gate: GateConfig = GateConfig()
    canary: CanaryConfig = CanaryConfig()


class ConfigError(ValueError):
    """A configuration that cannot be used. The message names file, key, value found, value expected, and a remedy."""

    def __init__(self, source: str, key: str, found: str, expected: str, remedy: str = "") -> None:
        self.source, self.key, self.found, self.expected = source, key, found, expected
        tail = f"; {remedy}" if remedy else ""
        where = f"{source}: {key}" if key else source
        super().__init__(f"{where}: found {found}, expected {expected}{tail}")


def parse(text: str, source: str) -> Config:
    """Config from TOML. Keys left out take their defaults; rules are merged into the default rules one by one.

    source: name of the file, for messages. Raises ConfigError.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, "", f"invalid TOML ({error})", "TOML 1.0", "correct that line") from error
    if (stray := unknown_key(tree, Config)) is not None:
        if any(word in stray.key.rpartition(".")[2].lower() for word in ("password", "passwd", "secret", "token")):
            expected = "no secret in a configuration file; password_env or password_file say where it is"
            remedy = "move it there, and change it: whoever read this file has it"
            raise ConfigError(source, stray.key, "a secret (not shown)", expected, remedy)
        remedy = f"did you mean {stray.nearest!r}?" if stray.nearest else "remove it"
        raise ConfigError(source, stray.key, f"an unknown key (value {stray.value!r})", stray.expected, remedy)
    config = _convert(_with_default_rules(tree, source), Config, source, "")
    if config.gate.fail_closed_after_ms <= config.desk.ack_timeout_ms:
        found, least = config.gate.fail_closed_after_ms, config.desk.ack_timeout_ms
        expected = f"more than desk.ack_timeout_ms ({least})"
        raise ConfigError(source, "gate.fail_closed_after_ms", repr(found), expected, "raise it, or lower the other")
    ours, fleets = config.stage1.day_begins_min, config.desk.fleet.exposure.day_begins_min
    if ours != fleets:
        expected = f"that of stage1.day_begins_min ({ours})"
        raise ConfigError(source, "desk.fleet.exposure.day_begins_min", repr(fleets), expected, "give both or neither")
    if (wrong := problem(config.kafka.security)) is not None:
        raise ConfigError(source, f"kafka.security.{wrong.key}", wrong.found, wrong.expected, wrong.remedy)
    _check_operators(config.desk, source)
    try:
        trust_of(config)
    except ValueError as error:
        expected = "public keys as 'knightwatch keys show' prints them"
        raise ConfigError(source, "gate.desk_keys", str(error), expected, "correct the key") from error
    return config


def trust_of(config: Config) -> Trust:
    """Whose word on ``halts`` counts for gates, for the desk that takes over, and for those who look on."""
    halters = {name: who.public_key for name, who in config.desk.operators.items() if "halt" in who.roles}
    return Trust(config.gate.desk_keys, halters if config.gate.desk_keys else {}, config.desk.audience)


def _check_operators(desk: DeskConfig, source: str) -> None:
    try:
        Ring(desk.operators)
    except ValueError as error:
        raise ConfigError(source, "desk.operators", str(error), "a key of its own for each person") from error
    if (unreleasable := release_problem(desk.operators)) is not None:
        found, _, expected = unreleasable.partition("; expected ")
        raise ConfigError(source, "desk.operators", found, expected, "give the roles, or remove all operators")


def _convert(tree: Any, kind: type[S], source: str, path: str) -> S:
    """``kind`` from plain data standing at the dotted ``path``; ConfigError for the first wrong value."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$")
        inner = where.rstrip("`").lstrip(".")
        words = words_at(kind, inner)
        expected = f"one of {', '.join(words)}" if words else problem.removeprefix("Expected ").partition(", got")[0]
        key = ".".join(part for part in (path, inner) if part)
        raise ConfigError(source, key, repr(value_at(tree, inner)), expected, "correct the value") from error


def keys(config: Config) -> dict[str, Any]:
    """Dotted key -> value of every setting, rules included (for ``default.toml`` and for showing what is in force)."""
    return flatten(msgspec.to_builtins(config))


def _with_default_rules(tree: dict[str, Any], source: str) -> dict[str, Any]:
    """The tree with rules completed: a rule given in part keeps the rest of the default rule of that name."""
    desk = tree.get("desk")
    rules = desk.get("rules") if isinstance(desk, dict) else None
    if not isinstance(desk, dict) or not isinstance(rules, dict):
        return tree
    merged = default_rules()
    for name, given in rules.items():
        whole = {**msgspec.to_builtins(merged.get(name, Rule())), **given} if isinstance(given, dict) else given
        merged[name] = _convert(whole, Rule, source, f"desk.rules.{name}")
    return {**tree, "desk": {**desk, "rules": msgspec.to_builtins(merged)}}
