"""Model files: what comes with the package decodes golden register images; what is wrong in a file is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hal.api import DeviceError
from hal.modbus import model


def image(words: dict[int, str], chosen: model.Model) -> dict[int, int]:
    """A register image from runs of hex words; what no run covers reads 0."""
    registers = {address: 0 for start, count in chosen.blocks for address in range(start, start + count)}
    for start, text in words.items():
        registers |= enumerate((int(word, 16) for word in text.split()), start)
    return registers


GOLDEN: dict[str, tuple[dict[int, str], dict[str, float | None]]] = {
    "eastron-sdm630": (
        {
            0x0000: "4366 199A 4365 CCCD 4367 0000",
            0x0006: "417E 6666 4180 0000 417C CCCD",
            0x0034: "462B 9000",
            0x0046: "4247 F5C3",
            0x0048: "449A 5225 3F00 0000",
        },
        {
            "volts_l1": 230.1,
            "volts_l2": 229.8,
            "volts_l3": 231.0,
            "amps_l1": 15.9,
            "amps_l2": 16.0,
            "amps_l3": 15.8,
            "power": 10980.0,
            "frequency": 49.99,
            "energy": 1234567.0,
            "export": 500.0,
        },
    ),
    "eastron-sdm120": (
        {0x0000: "4366 199A", 0x0006: "417E 6666", 0x000C: "C565 0000", 0x0046: "7FC0 0000 449A 5225"},
        {"volts_l1": 230.1, "amps_l1": 15.9, "power": -3664.0, "frequency": None, "energy": 1234567.0, "export": 0.0},
    ),
    "eastron-sdm220": ({0x0048: "449A 5225 3F00 0000"}, {"energy": 1234567.0, "export": 500.0}),
    "eastron-sdm72": (
        {0x0034: "462B 9000", 0x0048: "449A 5225 3F00 0000"},
        {"power": 10980.0, "energy": 1234567.0, "export": 500.0},
    ),
    "eastron-sdm72-v2": (
        {0x0000: "4366 199A", 0x000A: "417E 6666", 0x0034: "462B 9000", 0x0048: "449A 5225"},
        {"volts_l1": 230.1, "amps_l3": 15.9, "power": 10980.0, "energy": 1234567.0},
    ),
    "eastron-sdm230": ({0x0048: "449A 5225 7F80 0000"}, {"energy": 1234567.0, "export": None}),
    "abb-b23": (
        {
            0x5000: "0000 0000 0001 E240 FFFF FFFF FFFF FFFF",
            0x5B00: "0000 08FD FFFF FFFF 0000 0906",
            0x5B0C: "0000 0636",
            0x5B14: "FFFF FF9C",
            0x5B2C: "1387",
        },
        {
            "energy": 1234560.0,
            "export": None,
            "volts_l1": 230.1,
            "volts_l2": None,
            "volts_l3": 231.0,
            "amps_l1": 15.9,
            "power": -1.0,
            "frequency": 49.99,
        },
    ),
    "carlo-gavazzi-em24": (
        {0x0004: "08FD 0000", 0x000C: "3E1C 0000", 0x0028: "FF9C FFFF", 0x0037: "01F4", 0x0042: "3039 0000"},
        {"volts_l3": 230.1, "amps_l1": 15.9, "power": -10.0, "frequency": 50.0, "energy": 1234500.0},
    ),
    **{
        name: (
            {
                0x000E: "4366 199A",
                0x0014: "4248 0000 417E 6666",
                0x001C: "412F AE14",
                0x0108: "449A 5225",
                0x0110: "3F00",
            },
            {
                "volts_l1": 230.1,
                "frequency": 50.0,
                "amps_l1": 15.9,
                "power": 10980.0,
                "energy": 1234567.0,
                "export": 500.0,
            },
        )
        for name in ("orno-we-516", "orno-we-517")
    },
    "schneider-iem3155": (
        {
            0x0BBB: "417E 6666",
            0x0BD3: "4366 199A",
            0x0BF3: "412F AE14",
            0x0C25: "4248 0000",
            0x0C83: "0000 0000 0012 D687 0000 0000 0000 01F4",
        },
        {
            "amps_l3": 15.9,
            "volts_l1": 230.1,
            "power": 10980.0,
            "frequency": 50.0,
            "energy": 1234567.0,
            "export": 500.0,
        },
    ),
    "carlo-gavazzi-em340": (
        {0x0000: "08FD 0000", 0x000C: "3E1C 0000", 0x0028: "FF9C FFFF", 0x0033: "01F4 3039 0000", 0x004E: "0005 0000"},
        {"volts_l1": 230.1, "amps_l1": 15.9, "power": -10.0, "frequency": 50.0, "energy": 1234500.0, "export": 500.0},
    ),
}


@pytest.mark.parametrize("name", model.names())
def test_golden_image(name: str) -> None:
    words, expected = GOLDEN[name]
    chosen = model.load(name)
    values = chosen.decode(image(words, chosen))
    for key, value in expected.items():
        assert values[key] == (None if value is None else pytest.approx(value, rel=1e-6)), key


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
        ("blocks = 1\nname = 'x'", "not iterable"),
    ):
        file.write_text(text)
        with pytest.raises(DeviceError, match=words) as caught:
            model.load(str(file))
        assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["eastron-sdm", "../secrets", "", "/nowhere/at-all.toml"])
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=r"eastron-sdm630|cannot be read"):
        model.load(name)
