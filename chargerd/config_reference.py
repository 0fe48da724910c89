"""The reference: the configuration file with every key, its meaning and its default, ready to be pasted."""

from __future__ import annotations

import textwrap
from dataclasses import Field, fields
from typing import Any

from chargerd.config import LISTS, SECTIONS
from chargerd.config_schema import Spec
from chargerd.config_words import bounds, either, toml
from chargerd.core.variables import SETTINGS
from chargerd.core.variables_table import MEASURANDS, Access, Entry

COLUMNS = 120


def reference() -> str:
    """The annotated reference: a file that loads as it stands; lines that begin with `#key` show defaults."""
    parts = [
        "# Configuration of chargerd. Unknown keys are errors. Check it with: chargerd config --check <this file>\n"
        "# A line that begins with # and a key shows the default."
    ]
    for name, cls in SECTIONS.items():
        header = f"[[{name}]]" if name in LISTS else f"[{name}]"
        parts.append("\n".join([f"# {cls.__doc__}", header, *(_described(key) for key in fields(cls))]))
    parts.append(_variables("ocpp16", "OCPP 1.6: initial value of a configuration key.", "key"))
    parts.append(_variables("ocpp2", "OCPP 2.x: initial value of a variable.", "place"))
    return "\n\n".join(parts) + "\n"


def _described(key: Field[Any]) -> str:
    spec: Spec = key.metadata["spec"]
    notes = []
    if spec.choices:
        notes.append(either(spec.choices))
    if spec.low is not None:
        notes.append(bounds(spec))
    about = _comment(spec.about + (f" ({'; '.join(notes)})" if notes else ""))
    if spec.example is not None:
        return f"{about}\n{key.name} = {toml(spec.example)}"
    return f"{about}\n#{key.name} = {toml(1 if key.default is None else key.default)}"


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
            limits = f"{entry.low} to {entry.high} {entry.unit}".rstrip() if entry.low is not None else ""
            note = limits or ("measurands" if entry.choices is MEASURANDS else ", ".join(entry.choices))
            line, beside = f"#{quoted} = {_ocpp_toml(entry)}", f"  # {note}" if note else ""
            fits = len(line + beside) <= COLUMNS
            lines += [line + beside] if fits else [_comment(note), line]
    return "\n".join(lines)


def _ocpp_toml(entry: Entry) -> str:
    return entry.default if entry.default in ("true", "false") or entry.low is not None else toml(entry.default)
