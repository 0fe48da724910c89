"""The pages of `hardware/` beside the files that the programs load: pins, parts, numbers and commands cannot drift."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chargerd.cli.commands import parser as chargerctl
from chargerd.main import parser as chargerd
from hal.lamps import LAMPS
from hal.pi import boardfile, pwm, spi, wiring
from hal.pi.boardfile import MONOSTABLE, BoardFile

FOLDER = Path(__file__).parents[1] / "hardware"
PAGES = sorted(FOLDER.glob("*.md"))
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
BOARDS = ("reference-pi4", "reference-pi5")
NAMED = re.compile(r"GPIO\s(\d+)(?:\s\(`([^`]+)`\))?")


@pytest.fixture(params=BOARDS)
def board(request: pytest.FixtureRequest) -> BoardFile:
    return boardfile.load(request.param)


def test_both_reference_boards_are_wired_alike_and_as_drawn(board: BoardFile) -> None:
    page = TEXTS["wiring.md"]
    for table in (wiring.table(board), wiring.channel_table(board)):
        assert "\n".join(["", *table, ""]) in page, "draw it anew: chargerd board show reference-pi4"


@pytest.mark.parametrize("name", TEXTS)
def test_every_pin_in_the_text_is_the_board_files(name: str, board: BoardFile) -> None:
    uses = {(use.number, use.key) for use in wiring.pins(board)}
    for number, key in NAMED.findall(TEXTS[name]):
        assert key, f"GPIO {number} without its key"
        assert (int(number), key) in uses


def test_each_output_that_switches_power_is_told_to_need_its_resistor(board: BoardFile) -> None:
    (told,) = re.findall(
        r"\*\*Every output that switches power\*\*(.*?)has 10 kΩ to ground", TEXTS["wiring.md"], re.DOTALL
    )
    assert {key for _, key in NAMED.findall(told)} == {use.key for use in wiring.pins(board) if use.role.powers}


def test_every_pin_is_explained(board: BoardFile) -> None:
    explained = {key for _, key in NAMED.findall(TEXTS["wiring.md"])}
    assert explained == {use.key for use in wiring.pins(board) if use.key != "adc.spi"}


def test_numbers_of_parts_and_times_are_the_board_files(board: BoardFile) -> None:
    divider, monostable, proximity = board.outlet[0].pilot.divider, board.monostable, board.outlet[0].proximity
    assert monostable is not None and proximity is not None
    kilo = [f"{ohms / 1000:g} kΩ" for ohms in (divider.top, divider.ground, divider.bias)]
    timing = [f"{monostable.ohms / 1000:g} kΩ", f"{monostable.farads * 1e9:g} nF"]
    lasts = f"{MONOSTABLE * monostable.ohms * monostable.farads * 1000:.0f} ms"
    holds, releases = f"{monostable.holds * 1000:g} ms", f"{monostable.releases * 1000:g} ms"
    for name, words in {
        "wiring.md": [*kilo, *timing, lasts, holds, releases, f"PP with {proximity.pull_up / 1000:g} kΩ"],
        "parts.md": [*kilo, *timing],
        "safety.md": [lasts, holds],
        "commissioning.md": [releases],
    }.items():
        for word in words:
            assert word in TEXTS[name], (name, word)


def test_config_txt_has_the_lines_that_the_drivers_ask_for(board: BoardFile) -> None:
    (lines,) = re.findall(r"config\.txt`\n\n```\n(.*?)```", TEXTS["wiring.md"], re.DOTALL)
    wanted = [*pwm.overlay(board.outlet[0].pilot.pwm).split(" and "), spi.overlay(f"/dev/spidev{board.adc.spi}")]
    assert set(wanted) <= set(lines.split())


COMMANDS = sorted(
    {
        command
        for text in TEXTS.values()
        for command in re.findall(r"`((?:chargerctl|chargerd) [^`]+)`", text.replace("\n", " "))
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_can_be_typed(command: str) -> None:
    program, *words = shlex.split(command.replace("OUTLET", "1"))
    (chargerctl if program == "chargerctl" else chargerd)().parse_args(words)


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 12 and "chargerd board calibrate pilot" in COMMANDS


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere_and_lines_fit(name: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", TEXTS[name]):
        assert (FOLDER / link).exists(), link
    assert all(len(line) <= 120 for line in TEXTS[name].splitlines() if not line.startswith("|"))


def test_while_the_machine_boots_the_lamp_says_out_of_service(board: BoardFile) -> None:
    lamp = board.outlet[0].lamp
    assert lamp is not None
    pins = {"r": lamp.red, "g": lamp.green, "b": lamp.blue, "buzzer": lamp.buzzer}
    lit = {at for at, pin in pins.items() if pin not in wiring.LOW_AT_BOOT}
    assert lit == set(LAMPS["unavailable"].colour)


def test_faults_that_are_named_exist() -> None:
    from chargerd.faults import FAULTS

    prose = re.sub(r"`[^`]*=[^`]*`", "", TEXTS["commissioning.md"])  # without settings of other programs
    named = set(re.findall(r"\b((?:[A-Z][a-z]+){2,})\b", prose))
    assert named and named <= set(FAULTS)


def test_every_page_is_listed() -> None:
    assert {f"({page.name})" for page in PAGES if page.name != "README.md"} <= set(
        re.findall(r"\([^)]+\)", TEXTS["README.md"])
    )
