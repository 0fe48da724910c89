"""The simulated world's words as they are typed: `plug 1 max_amps=16`, `fault 1 missing-diode`, `tap 04A1B2C3`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

TEXTS = frozenset({"uid", "reader", "kind", "step", "end", "fault", "level", "sensor"})
_WORDS = {"on": True, "yes": True, "off": False, "no": False, "none": None}


class BadWords(ValueError):
    """What was typed fits no form; the text says how it is written."""


@dataclass(frozen=True, slots=True)
class Form:
    """Words without a name fill `places` in order; `about` is what it does."""

    places: tuple[str, ...]
    usage: str
    about: str


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "plug": Form(("outlet",), "OUTLET [cable_amps=32] [OPTION=…]", "a cable with a vehicle at its end"),
        "unplug": Form(("outlet", "end"), "OUTLET [vehicle|cable|both]", "both, unless one end is named"),
        "vehicle": Form(
            ("outlet", "step"),
            "OUTLET [STEP] [amps=16] [OPTION=…]",
            "ready, not_ready, draw, pause, resume, sleep, wake, leave",
        ),
        "tap": Form(("uid", "reader"), "UID [station|evse1|…]", "a card to a reader"),
        "withdraw": Form(("reader",), "[READER]", "take the held card away"),
        "fault": Form(("outlet", "fault", "active"), "OUTLET FAULT [on|off]", "raise a fault or clear it"),
        "pilot": Form(("outlet", "level"), "OUTLET A…F|none", "a tester's box on the control pilot"),
        "meter": Form(("outlet",), "OUTLET [energy=WH] [silent=on]", "set the register, silence the meter"),
        "supply": Form(("volts", "frequency"), "VOLTS [HERTZ]", "the mains"),
        "bay": Form(("outlet", "occupied"), "OUTLET on|off", "somebody parks there"),
        "emergency-stop": Form(("pressed", "outlet"), "on|off [OUTLET]", "of one outlet or all"),
        "temperature": Form(("outlet", "celsius", "sensor"), "OUTLET CELSIUS|none [plug|cabinet]", "none: silent"),
        "state": Form((), "", "the whole picture"),
        "audit": Form((), "", "contactor closings and their conditions, energy"),
        "reset": Form((), "", "the first morning again"),
    }
)


def parse(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Method and params of `NAME [WORD…] [KEY=VALUE…]`. Raises BadWords."""
    name = _name(words[0])
    form = FORMS.get(name)
    if form is None:
        raise BadWords(f"sim {words[0]}: there is {', '.join(FORMS)}")
    params: dict[str, Any] = {}
    places = iter(form.places)
    for word in words[1:]:
        key, named, value = word.partition("=")
        if not named:
            key, value = next(places, ""), word
        if not key or key in params:
            raise BadWords(f"sim {name}: {word} is one too many; write: sim {usage(name)}")
        params[key] = _value(key, value)
    needed = [word for word in form.usage.split() if not word.startswith("[")]
    if not params.keys() >= set(form.places[: len(needed)]):
        raise BadWords(f"sim {name}: something is missing; write: sim {usage(name)}")
    return f"sim.{name.replace('-', '_')}", params


def _value(key: str, text: str) -> Any:
    if key in TEXTS:
        return None if text == "none" else text
    if text in _WORDS:
        return _WORDS[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def usage(word: str) -> str:
    """How that form is written."""
    name = _name(word)
    return f"{name} {FORMS[name].usage}".rstrip()


def _name(word: str) -> str:
    return word.replace("_", "-")


def overview() -> str:
    """Every form, a line each."""
    width = max(len(f"{name} {form.usage}") for name, form in FORMS.items())
    return "\n".join(f"  {f'{name} {form.usage}':<{width}}  {form.about}" for name, form in FORMS.items())
