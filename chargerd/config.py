"""The configuration: one TOML file → frozen values, with every mistake named by file, line, key and remedy.

`config_schema` says once what each key is; `load` checks a file against it and `reference` prints it as a file that
can be pasted. Initial values of OCPP variables are checked by their registry.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from chargerd.config_schema import (
    MONIKER,
    NO_BACKEND,
    NO_BAY,
    NO_METER,
    AuthorizationConfig,
    ChargingConfig,
    Config,
    CsmsConfig,
    GuardConfig,
    LogConfig,
    OutletConfig,
    ReaderConfig,
    Spec,
    StationConfig,
)
from chargerd.core.variables import HEX_KEY, SETTINGS, Refusal, canonical, find16
from chargerd.core.variables_table import BAY, MEASURANDS, TABLE, Access, Entry, Source
from chargerd.errors import ConfigInvalid, Problem
from hal.tables import line_numbers

__all__ = ["DEFAULT_PATH", "NO_BACKEND", "NO_METER", "Config", "line_of", "load", "parse", "reference"]

DEFAULT_PATH = Path("/etc/chargerd/chargerd.toml")
COLUMNS = 120  # of the reference
MOST_BYTES = 256 * 1024
MOST_ROOTS = 4 * 1024 * 1024
MOST_SOCKET = 107  # bytes of sun_path, see unix(7)

_SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        "station": StationConfig,
        "csms": CsmsConfig,
        "authorization": AuthorizationConfig,
        "charging": ChargingConfig,
        "outlet": OutletConfig,
        "guard": GuardConfig,
        "reader": ReaderConfig,
        "log": LogConfig,
    }
)
_LISTS = {"outlet": (1, 16), "reader": (0, 16)}  # sections that are lists of tables: how many
_NEEDED = ("station", "csms", "guard")
_OCPP = ("ocpp16", "ocpp2")


# ---------------------------------------------------------------- reading


def load(path: Path | str, *, secrets: bool = True) -> Config:
    """The configuration in this file. Raises ConfigInvalid with everything that is wrong in it.

    Without `secrets` no other file is opened, for a reader who may not and need not (the guard).
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigInvalid(
            Problem(str(path), 0, "", f"cannot be read ({error.strerror})", "check the path and its permissions")
        ) from None
    if len(raw) > MOST_BYTES:
        raise ConfigInvalid(Problem(str(path), 0, "", f"more than {MOST_BYTES} bytes", "this is no configuration file"))
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid(Problem(str(path), line, "", "not UTF-8", "save the file as UTF-8")) from None
    return parse(text, str(path), secrets=secrets)


def parse(text: str, file: str = "chargerd.toml", *, secrets: bool = True) -> Config:
    """As `load`, of a text. A `password_file` that is named is read, a `ca_file` is looked at."""
    try:
        body = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, but also a number of thousands of digits
        found = re.search(r"(.*) \(at line (\d+)", str(error))
        what, line = (found[1], int(found[2])) if found else ("nested too deeply or a number too long", 0)
        problem = Problem(file, line, "", f"not TOML: {what}", "quote texts, one key a line")
        raise ConfigInvalid(problem, run_dir=_run_dir(text)) from None
    return _Reader(file, text, body, secrets).config()


def line_of(path: Path | str, key: str) -> int:
    """Where `key` (`outlet[2].meter`) stands in a file that was loaded; 0: it does not."""
    return line_numbers(Path(path).read_text(encoding="utf-8")).get(key, 0)


def _run_dir(text: str) -> str | None:
    """The runtime directory that a file names, however wrong the rest of it is."""
    found = re.search(r"""^\s*run_dir\s*=\s*(["'])(/[^"'\n]*)\1""", text, re.MULTILINE)
    return found[2] if found else None


class _Mistake(Exception):
    """One value that cannot be taken."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy


def _value(hint: Any, spec: Spec, value: Any) -> Any:
    """`value` as the annotation and the bounds demand, or _Mistake."""
    if hint == tuple[str, ...]:
        return _choices(spec, value)
    kind = int if hint == int | None else hint
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise _Mistake(f"is {_SHAPES.get(type(value), 'no single value')}", f"give {_SHAPES[kind]}")
    if spec.choices and str(value) not in spec.choices:
        raise _Mistake(f"is {_shown(value)}", f"choose {_either(spec.choices)}")
    if isinstance(value, str):
        return _text(spec, value)
    if spec.low is not None and spec.high is not None and not spec.low <= value <= spec.high:
        raise _Mistake(f"is {_shown(value)}", f"choose {_bounds(spec)}")
    return kind(value)


def _text(spec: Spec, value: str) -> str:
    if len(value) > spec.longest or not value.isprintable():
        raise _Mistake(f"has {len(value)} characters", f"at most {spec.longest}, all printable")
    if spec.pattern and not re.fullmatch(spec.pattern, value):
        remedy = f"write it like {_toml(spec.example)}" if spec.example else "write an absolute path"
        raise _Mistake(f"is {_shown(value)}", remedy)
    return value


def _choices(spec: Spec, value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or len(set(map(str, items))) != len(items):
        raise _Mistake("is not a list without repetitions", f"write it like {_toml(spec.choices)}")
    for item in items:
        if item not in spec.choices:
            raise _Mistake(f"has {_shown(item)}", f"choose of {_either(spec.choices)}")
    return tuple(items)


class _Reader:
    """One file being read: `problems` grows, and at the end there is either a Config or all of them."""

    def __init__(self, file: str, text: str, body: dict[str, Any], secrets: bool) -> None:
        self._file, self._secrets = file, secrets
        self._body = body
        self._lines = line_numbers(text)
        self._run_dir = _run_dir(text)
        self._problems: list[Problem] = []

    def config(self) -> Config:
        for name in self._body:
            if name not in _SECTIONS and name not in _OCPP:
                self._unknown(name, name, (*_SECTIONS, *_OCPP), "section")
        made = {name: self._section(name, cls) for name, cls in _SECTIONS.items()}
        initial = self._initial()
        if made["csms"] is not None:
            self._backend(made["csms"])
        if not self._problems:
            self._together(made)
            self._bays(made["outlet"], initial)
        if not self._problems:
            made["csms"] = self._with_password(made["csms"])
        if self._problems:
            raise ConfigInvalid(*self._problems, run_dir=self._run_dir)
        return Config(
            station=made["station"],
            csms=made["csms"],
            authorization=made["authorization"],
            charging=made["charging"],
            outlets=made["outlet"],
            guard=made["guard"],
            readers=made["reader"],
            log=made["log"],
            initial=MappingProxyType(initial),
        )

    def _section(self, name: str, cls: type) -> Any:
        """The section's value, a tuple of them for a list; None where it could not be made."""
        if name not in _LISTS:
            if name in _NEEDED and name not in self._body:
                self._problem(name, "is missing", f"add a section [{name}]")
                return None
            return self._table(name, cls, self._body.get(name, {}))
        tables = self._body.get(name, [])
        least, most = _LISTS[name]
        if not isinstance(tables, list) or not least <= len(tables) <= most:
            self._problem(name, "is not the right number of tables", f"write [[{name}]] {least} to {most} times")
            return None
        return tuple(self._table(f"{name}[{n}]", cls, table) for n, table in enumerate(tables, 1))

    def _table(self, path: str, cls: type, table: Any) -> Any:
        if not isinstance(table, dict):
            self._problem(path, "is not a table", f"write [{path.partition('[')[0]}] on a line of its own")
            return None
        known = {key.name: key for key in fields(cls)}
        for name in table:
            if name not in known:
                self._unknown(f"{path}.{name}", name, tuple(known), "key")
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        before = len(self._problems)
        for name, key in known.items():
            spec: Spec = key.metadata["spec"]
            if name in table:
                try:
                    values[name] = _value(hints[name], spec, table[name])
                except _Mistake as mistake:
                    self._problem(f"{path}.{name}", mistake.what, mistake.remedy)
            elif key.default is MISSING:
                self._problem(f"{path}.{name}", "is missing", _add(name, spec))
        return cls(**values) if len(self._problems) == before else None

    # ---- what only shows when the parts are seen together

    def _together(self, made: Mapping[str, Any]) -> None:
        outlets: tuple[OutletConfig, ...] = made["outlet"]
        places = [(outlet.evse, outlet.connector) for outlet in outlets]
        for n, (place, outlet) in enumerate(zip(places, outlets, strict=True), 1):
            if place in places[: n - 1]:
                self._problem(f"outlet[{n}].connector", "stands twice", "number the connectors of an EVSE from 1")
            if outlet.plug == "type1" and not outlet.tethered:
                self._problem(f"outlet[{n}].plug", "is a type 1 socket, which does not exist", "set tethered = true")
            for name in ("min_amps", "begin_amps"):
                if getattr(outlet, name) > outlet.amps:
                    self._problem(f"outlet[{n}].{name}", "is more than its amps", "no vehicle would ever charge here")
        evses = {evse for evse, _ in places}
        if evses != set(range(1, len(evses) + 1)):
            self._problem("outlet", f"EVSE numbers are {sorted(evses)}", "number EVSEs from 1 without gaps")
        for evse in sorted(evses):
            here = {connector for at, connector in places if at == evse}
            if here != set(range(1, len(here) + 1)):
                self._problem("outlet", f"EVSE {evse} has connectors {sorted(here)}", "number them from 1 without gaps")
        guard: GuardConfig = made["guard"]
        for name, socket in (("socket", guard.socket), ("watch_socket", guard.watch_socket)):
            length = len(bytes(Path(made["station"].run_dir, socket)))
            if length > MOST_SOCKET:
                self._problem(f"guard.{name}", f"is {length} bytes with run_dir", f"at most {MOST_SOCKET} for a socket")
        for n, reader in enumerate(made["reader"], 1):
            if reader.evse is not None and reader.evse not in evses:
                self._problem(f"reader[{n}].evse", f"there is no EVSE {reader.evse}", f"choose of {sorted(evses)}")

    def _bays(self, outlets: tuple[OutletConfig, ...], initial: Mapping[str, str]) -> None:
        if all(outlet.bay != NO_BAY for outlet in outlets):
            return
        for name in ("tx_start_points", "tx_stop_points"):
            if BAY in initial.get(name, "").split(","):
                place = SETTINGS[name].place
                self._problem(f"ocpp2.{place}", f"has {BAY}", "give every outlet a detector: bay, or leave it out")

    def _backend(self, csms: CsmsConfig) -> None:
        if csms.password and csms.password_file:
            self._problem("csms.password", "is given beside password_file", "keep one of the two")
        if csms.url == NO_BACKEND:
            return
        try:
            parts = urlsplit(csms.url)
            usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            self._problem("csms.url", "is no ws:// or wss:// address", 'write "ws://host:port/path", or "none"')
        elif parts.username is not None or parts.query or parts.fragment or " " in csms.url:
            self._problem("csms.url", "has more than host, port and path", "put the password into csms.password")
        else:
            self._security(csms, parts.scheme == "wss")

    def _security(self, csms: CsmsConfig, tls: bool) -> None:
        """What url, password and the rest say about TLS and authentication must be one thing (2.0.1 A00)."""
        password, wanted = bool(csms.password or csms.password_file), csms.security_profile
        if (wanted == "2" and not tls) or (wanted == "1" and tls):
            has = "TLS (wss://)" if tls else "no TLS (ws://)"
            self._problem("csms.security_profile", f'is "{wanted}", but csms.url has {has}', "change one of the two")
        if wanted != "auto" and (wanted != "0") != password:
            there = "there is one" if password else "there is none"
            self._problem("csms.security_profile", f'is "{wanted}", but of a password {there}', "change one of the two")
        if csms.ca_file and not tls:
            self._problem("csms.ca_file", "is given, but csms.url has no TLS", "write wss://, or remove the line")
        if csms.ca_file and tls and self._secrets:
            self._roots(csms.ca_file)
        if csms.password:
            self._password("csms.password", csms.password, csms)
        if csms.proxy and not re.fullmatch(r"http://[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}/?", csms.proxy):
            self._problem("csms.proxy", f"is {_shown(csms.proxy)}", 'write it like "http://proxy.example:3128"')

    def _roots(self, path: str) -> None:
        try:
            with Path(path).open("rb") as file:
                text = file.read(MOST_ROOTS)
        except OSError as error:
            self._problem("csms.ca_file", f"cannot be read ({error.strerror})", "check path and permissions")
            return
        if b"-----BEGIN CERTIFICATE-----" not in text:
            self._problem("csms.ca_file", "holds no certificate", "give certificates in PEM, one below the other")

    def _password(self, path: str, password: str, csms: CsmsConfig) -> None:
        """A00.FR.205: 16 to 64 characters, sent as UTF-8; in 1.6 as well 16 to 20 bytes in hexadecimal."""
        if not password.startswith("hex:"):
            if not 16 <= len(password) <= 64 or not password.isprintable():
                self._problem(path, f"has {len(password)} characters", "one line of 16 to 64 printable characters")
        elif not HEX_KEY.fullmatch(password):
            self._problem(path, "is no key in hexadecimal", "write hex: and 32 to 40 digits 0-9 a-f, an even number")
        elif csms.version != ("1.6",):
            self._problem(path, "is a binary key, which only OCPP 1.6 has", "give a text of 16 to 64 characters")

    def _with_password(self, csms: CsmsConfig) -> CsmsConfig:
        if not csms.password_file or not self._secrets:
            return csms
        try:
            with Path(csms.password_file).open(encoding="utf-8") as file:
                password = file.readline(1024).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            self._problem(
                "csms.password_file", f"cannot be read ({type(error).__name__})", "check path and permissions"
            )
            return csms
        self._password("csms.password_file", password, csms)
        return replace(csms, password=password)

    # ---- initial values of OCPP variables

    def _initial(self) -> dict[str, str]:
        """Both sections by internal name; a variable that stands in both must say the same."""
        places = {entry.place.casefold(): entry for entry in TABLE if entry.place}
        keys = tuple(entry.key for entry in SETTINGS.values() if entry.key)
        known = tuple(entry.place for entry in SETTINGS.values() if entry.place)
        initial: dict[str, str] = {}
        for key, value in self._given("ocpp16"):
            self._take(initial, f"ocpp16.{key}", key, find16(key), value, keys)
        for key, value in self._given("ocpp2"):
            self._take(initial, f"ocpp2.{key}", key, places.get(key.casefold()), value, known)
        return initial

    def _given(self, section: str) -> Iterator[tuple[str, Any]]:
        """The keys of a section; `Component.Variable` without quotes, which TOML takes for a table, is joined again."""
        table = self._body.get(section, {})
        if not isinstance(table, dict):
            self._problem(section, "is not a table", f"write [{section}] on a line of its own")
            return
        for key, value in table.items():
            if isinstance(value, dict):
                yield from ((f"{key}.{name}", inner) for name, inner in value.items())
            else:
                yield key, value

    def _take(
        self, initial: dict[str, str], path: str, key: str, entry: Entry | None, value: Any, known: tuple[str, ...]
    ) -> None:
        text = _ocpp_text(value)
        if entry is None:
            self._unknown(path, key, known, "variable")
        elif entry.source is not Source.SETTING:
            self._problem(path, "says what this station is, it cannot be set", "remove the line")
        elif entry.access is Access.WRITE_ONLY:
            self._problem(path, "is a secret", "write it as csms.password or into csms.password_file")
        elif text is None:
            self._problem(path, "has no OCPP value", "give a text, a number, true, false or a list of texts")
        elif isinstance(found := canonical(entry, text), Refusal):
            self._problem(path, f"is {_shown(text)}", f"give {found.why}")
        elif initial.setdefault(entry.name, found) != found:
            self._problem(path, "has another value under its other name", "keep one of the two")

    # ---- problems

    def _unknown(self, path: str, name: str, known: tuple[str, ...], what: str) -> None:
        import difflib  # only where there is a mistake: the guard stays small

        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        remedy = (
            f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}" if len(known) < 20 else "remove it"
        )
        self._problem(path, f"unknown {what}", remedy)

    def _problem(self, path: str, what: str, remedy: str) -> None:
        self._problems.append(Problem(self._file, self._line(path), path, what, remedy))

    def _line(self, path: str) -> int:
        while path not in self._lines and "." in path:
            path = path.rpartition(".")[0]
        return self._lines.get(path) or self._lines.get(path.partition("[")[0], 0)


def _add(name: str, spec: Spec) -> str:
    """A simulated device is an explicit choice: no remedy for a missing one."""
    if spec.pattern == MONIKER:
        return f'add {name} = "…", the moniker of what is fitted (in a simulated world: {_toml(spec.example)})'
    return f"add {name} = {_toml(spec.example)}"


_SHAPES: Mapping[type, str] = MappingProxyType(
    {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
)


def _ocpp_text(value: Any) -> str | None:
    match value:
        case bool():
            return str(value).lower()
        case int() | str():
            return str(value)
        case list() if all(isinstance(item, str) for item in value):
            return ",".join(value)
    return None


# ---------------------------------------------------------------- the reference


def reference() -> str:
    """The annotated reference: a file that loads as it stands; lines that begin with `#key` show defaults."""
    parts = [
        "# Configuration of chargerd. Unknown keys are errors. Check it with: chargerd config --check <this file>\n"
        "# A line that begins with # and a key shows the default."
    ]
    for name, cls in _SECTIONS.items():
        header = f"[[{name}]]" if name in _LISTS else f"[{name}]"
        parts.append("\n".join([f"# {cls.__doc__}", header, *(_described(key) for key in fields(cls))]))
    parts.append(_variables("ocpp16", "OCPP 1.6: initial value of a configuration key.", "key"))
    parts.append(_variables("ocpp2", "OCPP 2.x: initial value of a variable.", "place"))
    return "\n\n".join(parts) + "\n"


def _described(key: Field[Any]) -> str:
    spec: Spec = key.metadata["spec"]
    notes = []
    if spec.choices:
        notes.append(_either(spec.choices))
    if spec.low is not None:
        notes.append(_bounds(spec))
    about = _comment(spec.about + (f" ({'; '.join(notes)})" if notes else ""))
    if spec.example is not None:
        return f"{about}\n{key.name} = {_toml(spec.example)}"
    return f"{about}\n#{key.name} = {_toml(1 if key.default is None else key.default)}"


def _comment(text: str) -> str:
    return textwrap.fill(text, COLUMNS, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _variables(section: str, about: str, face: str) -> str:
    lines = [
        _comment(f"{about} What the backend sets later wins."),
        _comment(f"Measurands: {', '.join(MEASURANDS)}"),
        f"[{section}]",
    ]
    for entry in SETTINGS.values():
        name: str = getattr(entry, face)
        if name and entry.access is not Access.WRITE_ONLY:
            quoted = name if section == "ocpp16" else f'"{name}"'
            bounds = f"{entry.low} to {entry.high} {entry.unit}".rstrip() if entry.low is not None else ""
            note = bounds or ("measurands" if entry.choices is MEASURANDS else ", ".join(entry.choices))
            line, beside = f"#{quoted} = {_ocpp_toml(entry)}", f"  # {note}" if note else ""
            fits = len(line + beside) <= COLUMNS
            lines += [line + beside] if fits else [_comment(note), line]
    return "\n".join(lines)


def _ocpp_toml(entry: Entry) -> str:
    return entry.default if entry.default in ("true", "false") or entry.low is not None else _toml(entry.default)


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case tuple() | list():
            return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)


def _either(choices: tuple[str, ...]) -> str:
    return ", ".join(choices[:-1]) + " or " + choices[-1]


def _shown(value: Any) -> str:
    """A value of the file in a message: short, on one line."""
    text = _toml(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _bounds(spec: Spec) -> str:
    return f"{spec.low:g} to {spec.high:g} {spec.unit}".rstrip()
