"""What a backend may say, made from the published schemas by chance: lawful payloads, and ways to spoil them.

Everything is a function of the `random.Random` it is given. A frame is made in three layers, each of which may be
twisted by itself: the payload (a JSON value), the envelope (a JSON array), the text (bytes on the wire).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from chargerd.lab import schema

Json = Any
DEEP = 400
KNOWN_MOST = 60
LAWFUL = 3  # of four values that a schema leaves open, these come from what the station knows

_TIMES = ("2027-01-15T08:00:00Z", "2027-01-15T08:00:00.123+01:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
_NO_TIMES = ("", "soon", "2027-13-45T99:99:99Z", "2027-01-15T08:00:00", "0000-00-00T00:00:00Z", "+27-01-15T08:00:00Z")
_TEXTS = ("", " ", "A", "x" * 300, "\x00", "é", "😀" * 20, "‮", "' OR 1=1 --", "../../etc/passwd", "%n%s", "a\nb", "NaN")
_NUMBERS = (0, -1, 1, 2, 2**31 - 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**40, 0.1, -0.0, 1e308, 5e-324, 6.25)
_ODD: tuple[Json, ...] = (None, True, False, [], {}, [[]], {"": ""}, [None] * 50, *_TEXTS, *_NUMBERS)
_TOKENS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"00", b"1.", b"0x10", b"'a'", b"tru", b'"\\ud800"')


@cache
def _raw(version: str, name: str) -> Mapping[str, Any]:
    path = resources.files("ocpp") / schema.FOLDERS[version] / "schemas" / f"{name}.json"
    made: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
    return made


class Speech:
    """One backend's tongue in `version` (a subprotocol name). `known`: values that mean something to the station."""

    def __init__(self, version: str, chance: random.Random, known: Sequence[Json]) -> None:
        self.version, self._chance = version, chance
        self.known: list[Json] = list(known)
        self.actions = sorted(schema.actions(version))

    def learn(self, value: Json) -> None:
        """Something that means something to the station came up."""
        if isinstance(value, str) and value not in self.known and len(self.known) < KNOWN_MOST:
            self.known.append(value)

    # ---- lawful

    def request(self, action: str) -> dict[str, Json]:
        """A payload that the schema of `action` allows."""
        return self._payload(action + ("" if self.version == "ocpp1.6" else "Request"))

    def response(self, action: str) -> dict[str, Json]:
        return self._payload(f"{action}Response")

    def _payload(self, name: str) -> dict[str, Json]:
        raw = _raw(self.version, name)
        made: dict[str, Json] = self._value(raw, raw.get("definitions", {}), 0)
        return made

    def _value(self, node: Mapping[str, Any], named: Mapping[str, Any], depth: int) -> Json:
        if "$ref" in node:
            return self._value(named[node["$ref"].removeprefix("#/definitions/")], named, depth)
        chance = self._chance
        if "enum" in node:
            return chance.choice(node["enum"])
        match node.get("type"):
            case "object":
                required = set(node.get("required", ()))
                wanted = 0.6 if depth < 2 else 0.15
                return {
                    name: self._value(member, named, depth + 1)
                    for name, member in node.get("properties", {}).items()
                    if name in required or chance.random() < wanted
                }
            case "array":
                fewest = node.get("minItems", 0)
                most = min(node.get("maxItems", 4), fewest + 3)
                return [self._value(node["items"], named, depth + 1) for _ in range(chance.randint(fewest, most))]
            case "string":
                return self._text(node)
            case "integer":
                return self._within(node, self._known(int) if self._lucky() else chance.choice((2, 60, 300, 2**31 - 1)))
            case "number":
                return self._within(node, chance.choice((0, 1, 6.0, 16.5, 32, 11000.0)))
            case "boolean":
                return chance.random() < 0.5
        return self.known[0]

    def _text(self, node: Mapping[str, Any]) -> str:
        if node.get("format") == "date-time":
            return self._chance.choice(_TIMES)
        longest = node.get("maxLength", 50)
        found = self._known(str) if self._lucky() else self._chance.choice(("", "A", "é", "x" * 500))
        return str(found)[:longest]

    def _within(self, node: Mapping[str, Any], value: Json) -> Json:
        value = min(node.get("maximum", value), value)
        return max(node.get("minimum", value), value)

    def _lucky(self) -> bool:
        return self._chance.randrange(4) < LAWFUL

    def _known(self, kind: type) -> Json:
        return self._chance.choice([value for value in self.known if type(value) is kind])

    # ---- twisted

    def twisted(self, value: Json) -> Json:
        """The same value with one to three faults somewhere in it."""
        for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
            value = self._twist(value)
        return value

    def _twist(self, value: Json) -> Json:
        chance = self._chance
        if isinstance(value, dict) and value and chance.random() < 0.85:
            name = chance.choice(list(value))
            match chance.randrange(6):
                case 0:
                    return {key: item for key, item in value.items() if key != name}
                case 1:
                    return value | {chance.choice((*_TEXTS, name.upper(), "customData", "__proto__")): self._odd()}
                case 2:
                    return {(key.swapcase() if key == name else key): item for key, item in value.items()}
                case _:
                    return value | {name: self._twist(value[name])}
        if isinstance(value, list) and value and chance.random() < 0.8:
            place = chance.randrange(len(value))
            match chance.randrange(4):
                case 0:
                    return value * chance.choice((0, 2, 200))
                case 1:
                    return [*value[:place], self._odd(), *value[place + 1 :]]
                case _:
                    return [*value[:place], self._twist(value[place]), *value[place + 1 :]]
        if isinstance(value, str) and chance.random() < 0.5:
            return chance.choice((value * 100, value.swapcase(), value[:-1], value + "\x00", [value], *_NO_TIMES))
        if isinstance(value, int | float) and chance.random() < 0.5:
            return chance.choice((-value, value + 0.5, value * 10**12, str(value), not value))
        return self._odd()

    def _odd(self) -> Json:
        if self._chance.randrange(20) == 0:
            return _deep(self._chance.choice((20, 31, 32, 33, DEEP)))
        return self._chance.choice(_ODD)

    def bent(self, frame: list[Json]) -> Json:
        """An envelope with one fault: type, id, length or order."""
        chance = self._chance
        bends: tuple[Callable[[], Json], ...] = (
            lambda: [chance.choice((0, 1, 5, 6, 7, -2, 2.0, "2", None, True, 2**70)), *frame[1:]],
            lambda: [frame[0], self._odd(), *frame[2:]],
            lambda: [frame[0], chance.choice(("", "-1", "x" * 36, "x" * 37, "é" * 36)), *frame[2:]],
            lambda: frame[: chance.randrange(len(frame))],
            lambda: [*frame, *[self._odd() for _ in range(chance.choice((1, 2, 500)))]],
            lambda: [*frame[:2], self._odd(), *frame[3:]],
            lambda: frame[::-1],
            lambda: {str(n): part for n, part in enumerate(frame)},
            lambda: self._odd(),
        )
        return chance.choice(bends)()

    def spoiled(self, raw: bytes) -> bytes:
        """A text with one fault: cut, doubled, other bytes, other encodings, numbers and tokens that JSON lacks."""
        chance = self._chance
        at = chance.randrange(len(raw) + 1)
        end = min(len(raw), at + chance.choice((1, 4, 40)))
        match chance.randrange(10):
            case 0:
                return raw[:at]
            case 1:
                return raw[:at] + raw[end:]
            case 2:
                return raw[:at] + chance.randbytes(chance.choice((1, 3, 30))) + raw[at:]
            case 3:
                return raw[:at] + raw[at:end] * 3 + raw[end:]
            case 4:
                return raw[:at] + chance.choice(_TOKENS) + raw[end:]
            case 5:
                return chance.choice((b"\xef\xbb\xbf", b"\x00", b"\xff\xfe", b" " * 5000)) + raw
            case 6:
                return raw.decode("utf-8", "replace").encode("utf-16", "surrogatepass")
            case 7:
                return raw[:-1] + b" " * 300_000 + raw[-1:]
            case 8:
                return raw[:at] + b"[" * chance.choice((40, 5000)) + raw[at:]
            case _:
                return raw + raw


def _deep(levels: int) -> Json:
    made: Json = []
    for _ in range(levels):
        made = [made] if levels % 2 else {"a": made}
    return made


def written(frame: Json) -> bytes:
    """The frame as JSON text; numbers that are not finite stay as they are, as a careless backend writes them."""
    return json.dumps(frame, ensure_ascii=False).encode("utf-8", "surrogatepass")
