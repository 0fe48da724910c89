"""The configuration: one TOML file → frozen values, with every mistake named by file, line, key and remedy.

`config_schema` says once what each key is; here a file is read against it, `config_meaning` looks at what only shows
when the parts are seen together, and `config_reference` prints it all as a file that can be pasted.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from chargerd import config_meaning as meaning
from chargerd.config_schema import (
    MONIKER,
    NO_BACKEND,
    NO_METER,
    AuthorizationConfig,
    ChargingConfig,
    Config,
    CsmsConfig,
    GuardConfig,
    LogConfig,
    OutletConfig,
    ProtectionConfig,
    ReaderConfig,
    Spec,
    StationConfig,
)
from chargerd.config_words import Mistakes, bounds, either, shown, toml
from chargerd.errors import ConfigInvalid, Problem
from hal.tables import line_numbers

__all__ = ["DEFAULT_PATH", "NO_BACKEND", "NO_METER", "Config", "line_of", "load", "parse"]

DEFAULT_PATH = Path("/etc/chargerd/chargerd.toml")
MOST_BYTES = 256 * 1024

SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        "station": StationConfig,
        "csms": CsmsConfig,
        "authorization": AuthorizationConfig,
        "charging": ChargingConfig,
        "outlet": OutletConfig,
        "guard": GuardConfig,
        "protection": ProtectionConfig,
        "reader": ReaderConfig,
        "log": LogConfig,
    }
)
LISTS = {"outlet": (1, 16), "reader": (0, 16)}  # sections that are lists of tables: how many
_NEEDED = ("station", "csms", "guard")
_OCPP = ("ocpp16", "ocpp2")


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
        raise _Mistake(f"is {shown(value)}", f"choose {either(spec.choices)}")
    if isinstance(value, str):
        return _text(spec, value)
    if spec.low is not None and spec.high is not None and not spec.low <= value <= spec.high:
        raise _Mistake(f"is {shown(value)}", f"choose {bounds(spec)}")
    return kind(value)


def _text(spec: Spec, value: str) -> str:
    if len(value) > spec.longest or not value.isprintable():
        raise _Mistake(f"has {len(value)} characters", f"at most {spec.longest}, all printable")
    if spec.pattern and not re.fullmatch(spec.pattern, value):
        remedy = f"write it like {toml(spec.example)}" if spec.example else "write an absolute path"
        raise _Mistake(f"is {shown(value)}", remedy)
    return value


def _choices(spec: Spec, value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or len(set(map(str, items))) != len(items):
        raise _Mistake("is not a list without repetitions", f"write it like {toml(spec.choices)}")
    for item in items:
        if item not in spec.choices:
            raise _Mistake(f"has {shown(item)}", f"choose of {either(spec.choices)}")
    return tuple(items)


class _Reader:
    """One file being read: in the end there is either a Config or every mistake in it."""

    def __init__(self, file: str, text: str, body: dict[str, Any], secrets: bool) -> None:
        self._body, self._secrets = body, secrets
        self._wrong = Mistakes(file, line_numbers(text))
        self._run_dir = _run_dir(text)

    def config(self) -> Config:
        wrong = self._wrong
        for name in self._body:
            if name not in SECTIONS and name not in _OCPP:
                wrong.unknown(name, name, (*SECTIONS, *_OCPP), "section")
        one = {name: self._section(name) for name in SECTIONS if name not in LISTS}
        many = {name: self._sections(name) for name in LISTS}
        initial = meaning.initial(self._body, wrong)
        password = meaning.backend(one["csms"], self._secrets, wrong)
        meaning.together(one["station"], many["outlet"], one["guard"], many["reader"], initial, wrong)
        if wrong.problems:
            raise ConfigInvalid(*wrong.problems, run_dir=self._run_dir)
        if password is not None:
            one["csms"]["password"] = password
        made: dict[str, Any] = {name: SECTIONS[name](**values) for name, values in one.items()}
        for name, tables in many.items():
            made[f"{name}s"] = tuple(SECTIONS[name](**values) for values in tables)
        return Config(**made, initial=MappingProxyType(initial))

    def _section(self, name: str) -> dict[str, Any]:
        if name in _NEEDED and name not in self._body:
            self._wrong.add(name, "is missing", f"add a section [{name}]")
            return {}
        return self._table(name, SECTIONS[name], self._body.get(name, {}))

    def _sections(self, name: str) -> list[dict[str, Any]]:
        tables = self._body.get(name, [])
        least, most = LISTS[name]
        if not isinstance(tables, list) or not least <= len(tables) <= most:
            self._wrong.add(name, "is not the right number of tables", f"write [[{name}]] {least} to {most} times")
            return []
        return [self._table(f"{name}[{n}]", SECTIONS[name], table) for n, table in enumerate(tables, 1)]

    def _table(self, path: str, cls: type, table: Any) -> dict[str, Any]:
        """Its values and defaults, without those that are wrong or missing."""
        if not isinstance(table, dict):
            self._wrong.add(path, "is not a table", f"write [{path.partition('[')[0]}] on a line of its own")
            return {}
        known = {key.name: key for key in fields(cls)}
        for name in table:
            if name not in known:
                self._wrong.unknown(f"{path}.{name}", name, tuple(known), "key")
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        for name, key in known.items():
            spec: Spec = key.metadata["spec"]
            if name in table:
                try:
                    values[name] = _value(hints[name], spec, table[name])
                except _Mistake as mistake:
                    self._wrong.add(f"{path}.{name}", mistake.what, mistake.remedy)
            elif key.default is MISSING:
                self._wrong.add(f"{path}.{name}", "is missing", _add(name, spec))
            else:
                values[name] = key.default
        return values


def _add(name: str, spec: Spec) -> str:
    """A simulated device is an explicit choice: no remedy for a missing one."""
    if spec.pattern == MONIKER:
        return f'add {name} = "…", the moniker of what is fitted (in a simulated world: {toml(spec.example)})'
    return f"add {name} = {toml(spec.example)}"


_SHAPES: Mapping[type, str] = MappingProxyType(
    {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
)
