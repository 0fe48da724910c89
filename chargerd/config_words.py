"""Values, bounds and mistakes of a configuration, as its file and its messages write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chargerd.config_schema import Spec
from chargerd.errors import Problem


class Mistakes:
    """Those of one file, as they are found; `lines`: where each key stands."""

    def __init__(self, file: str, lines: Mapping[str, int]) -> None:
        self._file, self._lines = file, lines
        self.problems: list[Problem] = []

    def add(self, path: str, what: str, remedy: str) -> None:
        self.problems.append(Problem(self._file, self._line(path), path, what, remedy))

    def unknown(self, path: str, name: str, known: tuple[str, ...], what: str) -> None:
        import difflib  # only where there is a mistake: the guard stays small

        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        remedy = (
            f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}" if len(known) < 20 else "remove it"
        )
        self.add(path, f"unknown {what}", remedy)

    def _line(self, path: str) -> int:
        while path not in self._lines and "." in path:
            path = path.rpartition(".")[0]
        return self._lines.get(path) or self._lines.get(path.partition("[")[0], 0)


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case tuple() | list():
            return "[" + ", ".join(map(toml, value)) + "]"
    return str(value)


def either(choices: tuple[str, ...]) -> str:
    return ", ".join(choices[:-1]) + " or " + choices[-1]


def shown(value: Any) -> str:
    """A value of the file in a message: short, on one line."""
    text = toml(value)
    return text if len(text) <= 60 else text[:57] + "..."


def bounds(spec: Spec) -> str:
    return f"{spec.low:g} to {spec.high:g} {spec.unit}".rstrip()
