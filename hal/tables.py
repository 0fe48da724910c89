"""Files of hardware data, `NAME.toml`: found by name, read into dataclasses, refused with file, line and key.

A board and a meter model are found alike: among those that come with the package, in /etc/chargerd (these go first), or
by an absolute path.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from hal.api import DeviceError

LOCAL = Path("/etc/chargerd")
MOST_BYTES = 64 * 1024
MOST = 1 << 63  # of a whole number: TOML itself sets no bound
T = TypeVar("T")


class Mistake(ValueError):
    """What is wrong at `key` (`outlet[1].pilot.pwm`; "": in the file as a whole), and what would be right."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"{key}: {what}" if key else what)
        self.key = key


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where files of one kind are: `folder` beside `package`, and below /etc/chargerd. `kind` is for the texts."""

    kind: str
    package: str
    folder: str

    def names(self) -> list[str]:
        """What is there by name. DeviceError where a folder may not be read."""
        try:
            found = [
                file.name
                for folder in (self._shipped, LOCAL / self.folder)
                if folder.is_dir()
                for file in folder.iterdir()
            ]
        except OSError as e:
            raise DeviceError(f"{self.kind} files in {e.filename}: {e.strerror}; check its permissions") from None
        return sorted({name.removesuffix(".toml") for name in found if name.endswith(".toml")})

    def load(self, name: str, parse: Callable[[Mapping[str, Any]], T]) -> T:
        """What `parse` makes of the file of this name, or path. DeviceError names file, line, key and remedy.

        `parse` raises ValueError, TypeError or KeyError for what it does not take.
        """
        file = self._file(name)
        try:
            with file.open("rb") as opened:
                raw = opened.read(MOST_BYTES + 1)
            if len(raw) > MOST_BYTES:
                raise DeviceError(f"{self.kind} file {file}: more than {MOST_BYTES} bytes: this is no such file")
            text = raw.decode()
        except (OSError, UnicodeError) as e:
            raise DeviceError(f"{self.kind} file {file}: cannot be read ({e}); check path and permissions") from None
        try:
            return parse(tomllib.loads(text))
        except tomllib.TOMLDecodeError as e:
            at = re.search(r"at line (\d+)", str(e))
            where = f"{file}:{at[1]}" if at else f"{file}"
            raise DeviceError(f"{self.kind} file {where}: not TOML: {e}; quote texts, one key a line") from None
        except KeyError as e:
            raise DeviceError(f"{self.kind} file {file}: {e} is missing") from None
        except (ValueError, TypeError, RecursionError, OverflowError) as e:
            line = _line(text, e.key if isinstance(e, Mistake) else str(e))
            raise DeviceError(f"{self.kind} file {file}{f':{line}' if line else ''}: {e}") from None

    @property
    def _shipped(self) -> Path:
        # importlib.resources would load some ten modules into a guard that needs none of them.
        return Path(sys.modules[self.package].__path__[0], self.folder)

    def _file(self, name: str) -> Path:
        if name.startswith("/"):
            return Path(name)
        if not re.fullmatch(r"[a-z0-9-]+", name) or name not in self.names():
            raise DeviceError(
                f"{self.kind} {name!r} is not known: use one of {', '.join(self.names())}, or the path of a file"
            )
        local = LOCAL / self.folder / f"{name}.toml"
        return local if local.exists() else self._shipped / f"{name}.toml"


# ---------------------------------------------------------------- tables to dataclasses


def bounded(low: float, high: float, default: Any = MISSING) -> Any:
    """A field whose number lies within these bounds."""
    return field(default=default, metadata={"low": low, "high": high})


def choice(*choices: str, default: Any = MISSING) -> Any:
    """A field whose text is one of these."""
    return field(default=default, metadata={"choices": choices})


def made(kind: Callable[..., T], raw: Any, where: str = "") -> T:
    """A dataclass from a table: every key known, of its type, within its bounds. Mistake names the first that is not.

    Fields may be numbers, texts, flags, such dataclasses, tuples of one of these, or tables of numbers.
    """
    if not isinstance(raw, Mapping):
        raise Mistake(where, "a table is needed")
    hints, known = get_type_hints(kind), {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in raw:
        if key not in known:
            import difflib  # only where there is a mistake: the guard stays small

            close = difflib.get_close_matches(key, known, 1)
            remedy = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise Mistake(_at(where, key), f"unknown key; {remedy}")
    values = {}
    for name, one in known.items():
        if name in raw:
            values[name] = _value(hints[name], raw[name], _at(where, name), one.metadata)
        elif one.default is MISSING and one.default_factory is MISSING:
            raise Mistake(_at(where, name), "is missing")
    return kind(**values)


def _value(hint: Any, raw: Any, where: str, bounds: Mapping[str, Any]) -> Any:
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if type(None) in get_args(hint) else [hint]
    (kind,) = kinds
    if get_origin(kind) is tuple:
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            raise Mistake(where, "a list is needed")
        return tuple(_value(get_args(kind)[0], item, f"{where}[{n}]", bounds) for n, item in enumerate(raw, 1))
    if get_origin(kind) is dict:
        if not isinstance(raw, Mapping):
            raise Mistake(where, "a table is needed")
        return {str(key): _value(float, item, f"{where}.{key}", bounds) for key, item in raw.items()}
    if is_dataclass(kind):
        return made(kind, raw, where)  # type: ignore[arg-type]
    if isinstance(raw, int) and not -MOST <= raw <= MOST:
        raise Mistake(where, "a number of that size is nothing here")
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        raw = float(raw)
    if type(raw) is not kind or (kind is float and not isfinite(raw)):
        raise Mistake(where, f"is {raw!r}; {_KINDS[kind]} is needed")
    low, high, choices = bounds.get("low"), bounds.get("high"), bounds.get("choices")
    if low is not None and not low <= raw <= high:
        raise Mistake(where, f"is {raw!r}; choose between {low:g} and {high:g}")
    if choices is not None and raw not in choices:
        raise Mistake(where, f"is {raw!r}; choose one of {', '.join(choices)}")
    return raw


_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


# ---------------------------------------------------------------- where a key stands

_HEADER = re.compile(r"\s*(\[{1,2})\s*([^\[\]]+?)\s*\]{1,2}\s*(#.*)?$")
_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_ASSIGNED = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")


def line_numbers(text: str) -> dict[str, int]:
    """Path → line of its first mention: `csms.url`, `outlet[2].pilot.pwm`. tomllib keeps none."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    section, inside = "", False
    for number, line in enumerate(text.splitlines(), 1):
        opened = (line.count('"""') + line.count("'''")) % 2 == 1
        if not inside and (header := _HEADER.match(line)):
            section = _plain(header[2])
            first, dot, rest = section.partition(".")
            if first in counts and dot:  # a table of the last of its list
                section = f"{first}[{counts[first]}].{rest}"
            if header[1] == "[[":
                counts[section] = counts.get(section, 0) + 1
                lines.setdefault(section, number)
                section = f"{section}[{counts[section]}]"
            lines.setdefault(section, number)
        elif not inside and (assigned := _ASSIGNED.match(line)):
            lines.setdefault(f"{section}.{_plain(assigned[1])}".removeprefix("."), number)
        inside ^= opened
    return lines


def _plain(key: str) -> str:
    return re.sub(r"\s*\.\s*", ".", re.sub(r"[\"']", "", key))


def _line(text: str, told: str) -> int:
    """The line of the key that a text begins with, or else of the innermost table that should hold it; 0: nowhere."""
    begun = re.match(r"[\w.\[\]-]+", told)
    key, lines = (begun[0].rstrip(".") if begun else ""), line_numbers(text)
    while key:
        for path, number in lines.items():
            if path == key or path.endswith(f".{key}"):
                return number
        key = re.sub(r"(\.|^)[^.\[]+$|\[\d+\]$", "", key)
    return 0
