"""Files of hardware data: where they are found, and what a mistake in one is told as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hal import tables
from hal.api import DeviceError
from hal.pi import boardfile
from hal.tables import Mistake, bounded, choice, line_numbers, made

SHELF = boardfile.SHELF


@dataclass(frozen=True, kw_only=True)
class Part:
    pin: int = bounded(2, 27)
    ohms: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Whole:
    kind: str = choice("a", "b")
    part: Part
    more: tuple[int, ...] = ()
    spare: Part | None = None


GOOD: dict[str, Any] = {"kind": "a", "part": {"pin": 3}}


def test_a_table_becomes_a_value() -> None:
    assert made(Whole, GOOD | {"more": [1, 2]}) == Whole(kind="a", part=Part(pin=3), more=(1, 2))
    assert made(Whole, GOOD | {"spare": {"pin": 4, "ohms": 7}}).spare == Part(pin=4, ohms=7.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kidn": "a"}, "kidn: unknown key; did you mean kind?"),
        ({"zzz": 1}, "zzz: unknown key; known are kind, part, more, spare"),
        ({"kind": "c"}, "kind: is 'c'; choose one of a, b"),
        ({"kind": 1}, "kind: is 1; a text is needed"),
        ({"part": {}}, "part.pin: is missing"),
        ({"part": {"pin": 1}}, "part.pin: is 1; choose between 2 and 27"),
        ({"part": {"pin": True}}, "part.pin: is True; a whole number is needed"),
        ({"part": {"pin": 3, "ohms": float("nan")}}, "part.ohms: is nan; a number is needed"),
        ({"part": {"pin": 3, "ohms": 10**400}}, "part.ohms: a number of that size is nothing here"),
        ({"part": 7}, "part: a table is needed"),
        ({"more": 7}, "more: a list is needed"),
        ({"more": [1, "x"]}, "more[2]: is 'x'; a whole number is needed"),
        ({"spare": {"pin": 99}}, "spare.pin: is 99; choose between 2 and 27"),
    ],
)
def test_a_mistake_names_key_and_remedy(change: dict[str, Any], told: str) -> None:
    with pytest.raises(Mistake) as caught:
        made(Whole, GOOD | change)
    assert str(caught.value) == told and told.startswith(caught.value.key)


NESTED = """\
name = "x"
[[outlet]]
[outlet.pilot] # a comment
pwm = 12
[[outlet]]
stop = 3
  [ outlet . pilot ]
pwm = 13
note = '''
[not.a.table]
'''
"""


def test_lines_of_keys_also_in_the_second_of_a_list() -> None:
    lines = line_numbers(NESTED)
    wanted = {"name": 1, "outlet[1].pilot.pwm": 4, "outlet[2].stop": 6, "outlet[2].pilot": 7, "outlet[2].pilot.pwm": 8}
    assert {key: lines[key] for key in wanted} == wanted
    assert "not.a.table" not in lines


def refuse(raw: Mapping[str, Any]) -> None:
    raise Mistake("outlet[2].pilot.duty", "is wrong")


def overflows(raw: Mapping[str, Any]) -> None:
    float(10**400)


def missing(raw: Mapping[str, Any]) -> None:
    raise KeyError("blocks")


@pytest.mark.parametrize(
    ("text", "parse", "told"),
    [
        (NESTED, refuse, r"board file .*own\.toml:7: outlet\[2\]\.pilot\.duty: is wrong"),
        ("a = 1\nb = \n", refuse, r"own\.toml:2: not TOML: .*; quote texts"),
        ("a = 1", missing, "'blocks' is missing"),
        ("a = 1", overflows, r"own\.toml: int too large"),
        ("x = " + "[" * 20_000, refuse, r"own\.toml"),
        ("# " + "x" * tables.MOST_BYTES, refuse, "this is no such file"),
    ],
)
def test_a_file_is_refused_with_its_line(tmp_path: Path, text: str, parse: Any, told: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(DeviceError, match=told):
        SHELF.load(str(file), parse)


def test_what_is_in_etc_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LOCAL", tmp_path)
    shipped = SHELF.names()
    assert "reference-pi4" in shipped
    (tmp_path / "boards").mkdir()
    for name in ("reference-pi4", "mine"):
        (tmp_path / "boards" / f"{name}.toml").write_text(f"name = '{name} of our own'")
    assert set(SHELF.names()) == {*shipped, "mine"}
    for name in ("reference-pi4", "mine"):
        assert SHELF.load(name, dict) == {"name": f"{name} of our own"}


@pytest.mark.parametrize("name", ["nope", "../secrets", "", "a/b"])
def test_what_is_not_there_names_what_is(name: str) -> None:
    with pytest.raises(DeviceError, match=r"board .* is not known: use one of bench, reference-pi4"):
        SHELF.load(name, dict)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boards").mkdir()
    monkeypatch.setattr(tables, "LOCAL", tmp_path)
    real = Path.iterdir

    def refused(self: Path) -> Any:
        if self == tmp_path / "boards":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(DeviceError, match=r"board files in .*boards: Permission denied; check its permissions"):
        SHELF.load("bench", dict)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"name = '\xff'")
    for name in ("own.toml", "none.toml"):
        with pytest.raises(DeviceError, match="cannot be read"):
            SHELF.load(str(tmp_path / name), dict)
