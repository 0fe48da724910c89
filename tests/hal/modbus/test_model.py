"""Model files: values of every width, marks of what is not available; what is wrong in a file is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hal.api import DeviceError
from hal.modbus import model


def test_every_width_in_both_orders() -> None:
    words = {
        "u16": [0xFFFE],
        "i16": [0xFFFE],
        "u32": [1, 2],
        "i32": [0xFFFF, 0xFFFE],
        "i64": [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE],
    }
    numbers = {"u16": 65534.0, "i16": -2.0, "u32": 65538.0, "i32": -2.0, "i64": -2.0}
    words |= {"u64": [0, 0, 1, 2], "f32": [0x3FC0, 0], "f64": [0x3FF8, 0, 0, 0]}
    numbers |= {"u64": 65538.0, "f32": 1.5, "f64": 1.5}
    for kind, raw in words.items():
        assert model.Quantity(0, kind, high_first=True).decode(raw) == numbers[kind], kind
        assert model.Quantity(0, kind, high_first=False).decode(raw[::-1]) == numbers[kind], kind


@pytest.mark.parametrize(
    ("kind", "which", "words"),
    [
        ("u16", "largest", [0xFFFF]),
        ("i16", "largest", [0x7FFF]),
        ("i16", "smallest", [0x8000]),
        ("u32", "largest", [0xFFFF, 0xFFFF]),
        ("i32", "largest", [0x7FFF, 0xFFFF]),
        ("i64", "smallest", [0x8000, 0, 0, 0]),
        ("u64", "largest", [0xFFFF] * 4),
        ("f32", "nothing", [0x7FC0, 0]),
        ("f32", "nothing", [0xFFC0, 0]),
        ("f32", "nothing", [0x7F80, 0]),
        ("f64", "nothing", [0x7FF8, 0, 0, 0]),
    ],
)
def test_what_is_not_available_is_none(kind: str, which: str, words: list[int]) -> None:
    values = {"energy": {"address": 8, "type": kind}}
    quantity = model.parse(GOOD | {"not_available": which, "values": values, "blocks": [[0, 12]]}).quantities["energy"]
    assert quantity.decode(words) is None
    assert quantity.decode([*words[:-1], words[-1] ^ 1]) is not None or kind[0] == "f"


def test_counters_begin_anew_at_their_width() -> None:
    for kind, scale, wh in (("u32", 100, 2.0**32 * 100), ("i32", 1, 2.0**31), ("u16", 10, 655360.0), ("u64", 1, None)):
        values = {"energy": {"address": 0, "type": kind, "scale": scale}}
        assert model.parse(GOOD | {"values": values}).wraps_at == wh
    assert model.parse(GOOD).wraps_at is None
    assert model.parse(GOOD | {"values": {"energy": {"address": 8, "wraps_at": 100000, "scale": 1000}}}).wraps_at == 1e8


GOOD: dict[str, Any] = {
    "name": "Some meter",
    "function": 4,
    "type": "f32",
    "blocks": [[0, 10]],
    "values": {"energy": {"address": 8}},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"function": 6}, "function = 6"),
        ({"blocks": [[0, 81]]}, "blocks = 81"),
        ({"blocks": [[8, 2]] * 9}, "blocks, their number, = 9"),
        ({"not_available": "all ones"}, "not_available = 'all ones'"),
        ({"values": {"energy": {"address": 8, "wraps_at": 99999.9}}}, "energy.wraps_at = 99999.9"),
        ({"values": {"energy": {"address": 8}, "amps_l2": {"address": 0}}}, "give amps of L1, all three phases"),
        ({"serial_number": {"function": 3, "address": 0, "type": "f32"}}, "serial_number.type = 'f32'"),
        ({"identity": {"function": 3, "address": 0, "type": "u16"}}, "identity.values"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"type": "f16"}, "energy.type = 'f16'"),
        ({"word_order": "middle"}, "energy.word_order = 'middle'"),
        ({"serial": {"parity": "X"}}, "parity = 'X'"),
        ({"values": {}}, "no energy"),
        ({"values": {"energy": {"address": 9}}}, "energy.address = 0x0009: not wholly inside"),
        ({"values": {"energy": {"address": 8, "scale": 0}}}, "energy.scale = 0"),
        ({"values": {"energy": {"address": True}}}, "energy.address = True"),
        ({"values": {"energy": {"address": 8, "na_value": "all"}}}, "energy.na_value = 'all'"),
        ({"values": {"energy": {"address": 8}, "heat": {"address": 0}}}, "unknown key 'heat'"),
    ],
)
def test_a_wrong_model_names_the_key(change: dict[str, Any], words: str) -> None:
    assert model.parse(GOOD).quantities["energy"].address == 8
    with pytest.raises(ValueError) as caught:
        model.parse(GOOD | change)
    assert words in str(caught.value)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text((Path(__file__).parents[3] / "hardware/meters/eastron-sdm230.toml").read_text())
    assert model.load(str(file)).name == "Eastron SDM230"
    for text, words in (
        ("function = 4", "'blocks' is missing"),
        ("= 4", "Invalid"),
        ("blocks = 1\nname = 'x'\nfunction = 4", "not iterable"),
    ):
        file.write_text(text)
        with pytest.raises(DeviceError, match=words) as caught:
            model.load(str(file))
        assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["eastron-sdm", "../secrets", "", "/nowhere/at-all.toml"])
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=r"eastron-sdm630|cannot be read"):
        model.load(name)
