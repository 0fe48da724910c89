"""The station's settings and what it tells of itself, with their two faces: 1.6 keys, 2.x component variables.

`Variables` holds the settings as text in layers: the table's default, the configuration file, what was set since.
What is not a setting comes in `facts`, a mapping of text that the caller builds for each request:

    outlets     "1.1,2.1"   EVSE.connector in rank order; always there, it decides which EVSEs and connectors exist
    connectors  "2"         how many there are; always there
    tethered    "2.1"       the outlets with a fixed cable
    bays        "1.1,2.1"   the outlets with a detector in the parking bay
    now, station_id, evse_state.1, connector_type.1.1, …   one for each FACT entry of the table; those of an EVSE or a
                connector carry its number. Without a fact the variable exists but has no value.
    evse_power_max.1        W, the upper limit of that EVSE's `evse_power`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from chargerd.core.variables_table import BAY, PHASED, TABLE, Access, Entry, Kind, Scope, Source

Facts = Mapping[str, str]

LONGEST = 1000  # SetVariableData.attributeValue; 1.6 has 500, checked by its schema
_NOTHING: Mapping[str, str] = MappingProxyType({})
HEX_KEY = re.compile(r"hex:(?:[0-9a-fA-F]{2}){16,20}", re.ASCII)  # a password of bytes (1.6 security A00.FR.205)
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)

ENTRIES: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in TABLE})
SETTINGS: Mapping[str, Entry] = MappingProxyType({e.name: e for e in TABLE if e.source is Source.SETTING})
_KEYS: Mapping[str, Entry] = MappingProxyType({e.key.casefold(): e for e in TABLE if e.key})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a text is no value: a 2.x reason code (part 2 appendices, chapter 5) and words without the text itself."""

    reason: str
    why: str


def check(name: str, text: str) -> Refusal | None:
    """None if the setting `name` can take `text`. KeyError for a name that is not a setting."""
    found = canonical(SETTINGS[name], text)
    return found if isinstance(found, Refusal) else None


def canonical(entry: Entry, text: str) -> str | Refusal:
    """`text` as this setting keeps it: digits only, true/false, lists without blanks in the table's spelling."""
    if len(text) > LONGEST:
        return Refusal("TooLargeElement", f"{len(text)} characters, at most {LONGEST}")
    if entry.kind is not Kind.TEXT:
        text = text.strip()
    if not text.isprintable():
        return Refusal("InvalidValue", "has characters that cannot be printed")
    match entry.kind:
        case Kind.INT:
            return _integer(entry, text)
        case Kind.BOOL:
            return text.lower() if text.lower() in ("true", "false") else Refusal("InvalidValue", "true or false")
        case Kind.MEMBERS | Kind.SEQUENCE:
            return _listed(entry, text)
        case _:
            return _worded(entry, text)


def _integer(entry: Entry, text: str) -> str | Refusal:
    if not _INTEGER.fullmatch(text):
        return Refusal("InvalidValue", "a whole number")
    number = int(text)
    if entry.low is not None and number < entry.low:
        return Refusal("ValueTooLow", f"at least {entry.low}{entry.unit and ' ' + entry.unit}")
    if entry.high is not None and number > entry.high:
        return Refusal("ValueTooHigh", f"at most {entry.high}{entry.unit and ' ' + entry.unit}")
    return str(number)


def _listed(entry: Entry, text: str) -> str | Refusal:
    spelled = {choice.casefold(): choice for choice in (*entry.choices, *entry.choices16)}
    chosen: dict[str, None] = {}  # a set that keeps its order
    for item in text.split(",") if text else ():
        choice = spelled.get(item.strip().casefold())
        if choice is None:
            return Refusal("InvalidValue", f"a list of {', '.join(entry.choices)}")
        chosen[choice] = None
    if not chosen and not entry.may_be_empty:
        return Refusal("InvalidValue", f"at least one of {', '.join(entry.choices)}")
    return ",".join(chosen)


def whole_of(measurand: str) -> str:
    """Without the phase that 1.6 may add (§9.1.15)."""
    return measurand.rpartition(".")[0] if measurand in PHASED else measurand


def _worded(entry: Entry, text: str) -> str | Refusal:
    if not entry.shortest <= len(text) <= entry.longest:
        return Refusal("InvalidValue", f"{entry.shortest} to {entry.longest} characters")
    if entry.pattern is not None and not entry.pattern.fullmatch(text):
        return Refusal("InvalidValue", f"not the form of {entry.default}")
    return text


@dataclass(frozen=True, slots=True)
class Variables:
    """The settings. `initial` comes from the configuration file; `overrides` is what was set since: persist those."""

    initial: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    overrides: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)

    def get_text(self, name: str) -> str:
        """The canonical text of a setting or of a fixed value. KeyError for any other name."""
        entry = ENTRIES[name]
        if entry.source is Source.FACT:
            raise KeyError(name)
        return self.overrides.get(name, self.initial.get(name, entry.default))

    def get_int(self, name: str) -> int:
        return int(self.get_text(name))

    def get_bool(self, name: str) -> bool:
        return self.get_text(name) == "true"

    def get_list(self, name: str) -> tuple[str, ...]:
        """The members in their order; empty text is an empty list."""
        return tuple(item for item in self.get_text(name).split(",") if item)

    def with_(self, name: str, text: str) -> Variables:
        """With this setting set. ValueError where `check` refuses, KeyError for what is not a setting."""
        text = _sure(name, text)
        if self.overrides.get(name) == text:
            return self
        return Variables(self.initial, MappingProxyType({**self.overrides, name: text}))

    def starting(self, values: Mapping[str, str]) -> Variables:
        """With these as initial values: the configuration file's layer. Errors as `with_`."""
        initial = {**self.initial, **{name: _sure(name, text) for name, text in values.items()}}
        return Variables(MappingProxyType(initial), self.overrides)

    def restored(self, kept: Mapping[str, str]) -> tuple[Variables, tuple[str, ...]]:
        """With the overrides of an earlier run, and the names that this build does not take any more."""
        dropped = tuple(name for name, text in kept.items() if name not in SETTINGS or check(name, text))
        overrides = {name: _sure(name, text) for name, text in kept.items() if name not in dropped}
        return Variables(self.initial, MappingProxyType(overrides)), dropped


def _sure(name: str, text: str) -> str:
    found = canonical(SETTINGS[name], text)
    if isinstance(found, Refusal):
        raise ValueError(f"{name}: {found.why}")
    return found


# ---------------------------------------------------------------- writing, from either face


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REBOOT_REQUIRED = "reboot-required"
    NOT_SUPPORTED = "not-supported"  # 1.6: no such key
    UNKNOWN_COMPONENT = "unknown-component"
    UNKNOWN_VARIABLE = "unknown-variable"
    NOT_SUPPORTED_ATTRIBUTE = "not-supported-attribute"


@dataclass(frozen=True, slots=True)
class Change:
    """What a write comes to. `done`: setting `name` is to become `text`. `reason` is a 2.x reason code, `why` words."""

    outcome: Outcome
    name: str = ""
    text: str = ""
    reason: str = ""
    why: str = ""

    @property
    def done(self) -> bool:
        return self.outcome in (Outcome.ACCEPTED, Outcome.REBOOT_REQUIRED)


def _write(variables: Variables, facts: Facts, entry: Entry, text: str) -> tuple[Change, Variables]:
    if _access(entry, facts) is Access.READ_ONLY:
        return Change(Outcome.REJECTED, reason="ReadOnly", why="cannot be set"), variables
    found = canonical(_offered(entry, facts), text)
    if isinstance(found, Refusal):
        return Change(Outcome.REJECTED, reason=found.reason, why=found.why), variables
    outcome = Outcome.REBOOT_REQUIRED if entry.reboot else Outcome.ACCEPTED
    return Change(outcome, entry.name, found), variables.with_(entry.name, found)


def _access(entry: Entry, facts: Facts) -> Access:
    return Access.READ_ONLY if _without_socket(entry, facts) else entry.access


def _without_socket(entry: Entry, facts: Facts) -> bool:
    return entry.sockets and _every_outlet(facts, "tethered")


def _every_outlet(facts: Facts, fact: str) -> bool:
    return set(facts["outlets"].split(",")) <= set(facts.get(fact, "").split(","))


def _offered(entry: Entry, facts: Facts) -> Entry:
    """The entry with the choices that there are at this station."""
    if BAY not in entry.choices or _every_outlet(facts, "bays"):
        return entry
    return replace(entry, choices=tuple(choice for choice in entry.choices if choice != BAY))


def _value(variables: Variables, facts: Facts, entry: Entry, where: str = "") -> str | None:
    if entry.source is Source.FACT:
        return facts.get(entry.name + where)
    return "false" if _without_socket(entry, facts) else variables.get_text(entry.name)


# ---------------------------------------------------------------- the face of OCPP 1.6


@dataclass(frozen=True, slots=True)
class Key16:
    """One configurationKey of GetConfiguration.conf; `value` None where there is none now."""

    key: str
    readonly: bool
    value: str | None


def find16(key: str) -> Entry | None:
    """The variable behind a configuration key, in any letter case (CiString50)."""
    return _KEYS.get(key.casefold())


def key16(variables: Variables, facts: Facts, entry: Entry) -> Key16:
    secret = entry.access is Access.WRITE_ONLY
    value = None if secret else _value(variables, facts, entry)
    return Key16(entry.key, _access(entry, facts) is Access.READ_ONLY, value)


def keys16(variables: Variables, facts: Facts) -> list[Key16]:
    """All configuration keys (1.6 §5.8), in the table's order."""
    return [key16(variables, facts, entry) for entry in _KEYS.values()]


def set16(variables: Variables, facts: Facts, key: str, text: str) -> tuple[Change, Variables]:
    """ChangeConfiguration (1.6 §5.3): accepted, reboot-required, rejected, or not-supported for an unknown key."""
    entry = find16(key)
    if entry is None:
        return Change(Outcome.NOT_SUPPORTED), variables
    if entry.access is Access.WRITE_ONLY:  # AuthorizationKey: the bytes in hexadecimal (1.6 security §7.2)
        text = f"hex:{text.lower()}"
        if not HEX_KEY.fullmatch(text):
            return Change(Outcome.REJECTED, reason="InvalidValue", why="32 to 40 hexadecimal digits"), variables
    return _write(variables, facts, entry, text)


# ---------------------------------------------------------------- the face of OCPP 2.x

ACTUAL = "Actual"  # controller components know no other attribute (2.0.1 part 1 §4.3)


@dataclass(frozen=True, slots=True)
class Address:
    """Component and variable, each with its instance ("": none), at an EVSE and connector (None: the station)."""

    component: str
    variable: str
    component_instance: str = ""
    instance: str = ""
    evse: int | None = None
    connector: int | None = None


@dataclass(frozen=True, slots=True)
class Got:
    """The answer to one GetVariableData; `value` "" where the variable has none now (B06.FR.13), None on refusal."""

    outcome: Outcome
    value: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One reportData with its only attribute and its characteristics; `value` None: write-only, "": unset."""

    address: Address
    value: str | None
    mutability: str
    persistent: bool
    constant: bool
    data_type: str
    unit: str
    minimum: float | None
    maximum: float | None
    values_list: str
    supports_monitoring: bool = False
    attribute: str = ACTUAL


class Base(StrEnum):
    FULL = "FullInventory"
    CONFIGURATION = "ConfigurationInventory"
    SUMMARY = "SummaryInventory"


def find2(address: Address, facts: Facts) -> Entry | Outcome:
    """The variable at an address; names in any letter case. UNKNOWN_COMPONENT or UNKNOWN_VARIABLE (B06.FR.06/07/15)."""
    component, variable = address.component.casefold(), address.variable.casefold()
    here = _scope(address, facts)
    found = [e for e in TABLE if e.place and e.scope is here and e.component.casefold() == component]
    if not found or address.component_instance:
        return Outcome.UNKNOWN_COMPONENT
    instance = address.instance.casefold()
    for entry in found:
        if entry.variable.casefold() == variable and entry.instance.casefold() == instance:
            return entry
    return Outcome.UNKNOWN_VARIABLE


def _scope(address: Address, facts: Facts) -> Scope | None:
    """None: no such EVSE or connector."""
    match address.evse, address.connector:
        case None, None:
            return Scope.STATION
        case int(evse), None if any(evse == here for here, _ in _outlets(facts)):
            return Scope.EVSE
        case int(evse), int(connector) if (evse, connector) in _outlets(facts):
            return Scope.CONNECTOR
    return None


def _outlets(facts: Facts) -> list[tuple[int, int]]:
    pairs = (outlet.partition(".") for outlet in facts["outlets"].split(","))
    return [(int(evse), int(connector)) for evse, _, connector in pairs]


def _where(address: Address) -> str:
    return "".join(f".{number}" for number in (address.evse, address.connector) if number is not None)


def get2(variables: Variables, facts: Facts, address: Address, attribute: str = ACTUAL) -> Got:
    """One GetVariableData (B06.FR.04 to FR.15)."""
    entry = find2(address, facts)
    if isinstance(entry, Outcome):
        return Got(entry)
    if attribute != ACTUAL:
        return Got(Outcome.NOT_SUPPORTED_ATTRIBUTE)
    if entry.access is Access.WRITE_ONLY:
        return Got(Outcome.REJECTED, reason="WriteOnly")
    return Got(Outcome.ACCEPTED, _value2(variables, facts, entry, _where(address)))


def _value2(variables: Variables, facts: Facts, entry: Entry, where: str) -> str:
    """As 2.x may tell it: what only 1.6 may set becomes the choice that it is a part of."""
    text = _value(variables, facts, entry, where) or ""
    if not any(item in entry.choices16 for item in text.split(",")):
        return text
    return ",".join(dict.fromkeys(whole_of(item) if item in entry.choices16 else item for item in text.split(",")))


def set2(variables: Variables, facts: Facts, address: Address, attribute: str, text: str) -> tuple[Change, Variables]:
    """One SetVariableData (B05.FR.04 to FR.10)."""
    entry = find2(address, facts)
    if isinstance(entry, Outcome):
        return Change(entry), variables
    if attribute != ACTUAL:
        return Change(Outcome.NOT_SUPPORTED_ATTRIBUTE), variables
    if entry.access is Access.WRITE_ONLY and HEX_KEY.fullmatch(text):  # A00.FR.205: it would be sent as other bytes
        return Change(Outcome.REJECTED, reason="InvalidValue", why="looks like a key of OCPP 1.6"), variables
    return _write(variables, facts, replace(entry, choices16=()), text)


def report2(variables: Variables, facts: Facts, base: Base) -> list[Row]:
    """The rows of a base report (B07.FR.07 to FR.09), in the table's order, EVSEs and connectors ascending."""
    return [
        _row(variables, facts, entry, address)
        for entry in TABLE
        if entry.place and _reported(entry, base, facts)
        for address in _addresses(entry, facts)
    ]


def _reported(entry: Entry, base: Base, facts: Facts) -> bool:
    match base:
        case Base.CONFIGURATION:
            return _access(entry, facts) is not Access.READ_ONLY
        case Base.SUMMARY:
            return entry.summary
        case Base.FULL:
            return True


def _addresses(entry: Entry, facts: Facts) -> Iterator[Address]:
    outlets = sorted(_outlets(facts))
    places: list[tuple[int | None, int | None]] = [(None, None)]
    match entry.scope:
        case Scope.EVSE:
            places = [(evse, None) for evse in sorted({evse for evse, _ in outlets})]
        case Scope.CONNECTOR:
            places = [(evse, connector) for evse, connector in outlets]
    for evse, connector in places:
        yield Address(entry.component, entry.variable, "", entry.instance, evse, connector)


def _row(variables: Variables, facts: Facts, entry: Entry, address: Address) -> Row:
    entry, where = _offered(entry, facts), _where(address)
    secret = entry.access is Access.WRITE_ONLY
    low, high = _limits(entry)
    most = facts.get(f"{entry.name}_max{where}")
    return Row(
        address=address,
        value=None if secret else _value2(variables, facts, entry, where),
        mutability=_access(entry, facts),
        persistent=entry.source is not Source.FACT,
        constant=entry.source is Source.FIXED,
        data_type=entry.kind,
        unit=entry.unit,
        minimum=low,
        maximum=float(most) if most is not None else high,
        values_list=",".join(entry.choices),
    )


def _limits(entry: Entry) -> tuple[int | None, int | None]:
    """minLimit and maxLimit; of texts and lists maxLimit bounds the length (2.x VariableCharacteristicsType)."""
    match entry.kind:
        case Kind.TEXT:
            return None, entry.longest
        case Kind.OPTION:
            return None, max(map(len, entry.choices))
        case Kind.MEMBERS | Kind.SEQUENCE:
            return None, len(",".join(entry.choices))
        case _:
            return entry.low, entry.high
