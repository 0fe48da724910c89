"""Hardware trouble as a technician meets it: a whole charger, something breaks or is wrong from the start, and then

- the contactor is open and the pilot at X1 (or no guard runs that could have touched them),
- the fault has its name, in `chargerctl status`,
- what helps is there and in the log of the process that found it,
- everything leaves in seconds when it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hal.modbus.peer import Line, Meter, image
from tests.hal.pcsc import vpcd
from tests.trouble.installed import ROOT, Installed, until

LEAVES = 8.0


async def nothing(charger: Installed) -> None: ...


@dataclass(frozen=True)
class Case:
    """`prepare` before the start, `strike` once it runs; `energised`: while a vehicle charges.

    `fault` by name, "" where none is to be; `shown`: in `chargerctl status`; `log`: (process, what it says).
    `refuses`: the process that ends by itself, with its exit code.
    """

    prepare: Callable[[Installed], Awaitable[None]] = nothing
    strike: Callable[[Installed], Awaitable[None]] = nothing
    energised: bool = False
    fault: str = ""
    shown: str = ""
    log: tuple[str, str] = ("daemon", "")
    refuses: tuple[str, int] | None = None


# ---------------------------------------------------------------- what breaks


async def garbling_meter(charger: Installed) -> None:
    line = Line(Meter(1, image("eastron-sdm630"), habit="garbage"))
    charger.change(r'meter = ".*"', f'meter = "modbus:rtu:{line.path}?model=eastron-sdm630"')


async def locked_line(charger: Installed) -> None:
    line = Line(Meter(1, image("eastron-sdm630")))
    await asyncio.to_thread(Path(line.path).chmod, 0)
    charger.change(r'meter = ".*"', f'meter = "modbus:rtu:{line.path}?model=eastron-sdm630"')


async def no_reader_service(charger: Installed) -> None:
    pytest.importorskip("smartcard.scard", reason="pyscard is not installed", exc_type=ImportError)
    charger.change(r'device = ".*"', 'device = "pcsc:ACR122U"')
    charger.environment["PCSCLITE_CSOCK_NAME"] = str(charger.folder / "none.comm")


async def virtual_reader(charger: Installed) -> None:
    pytest.importorskip("smartcard.scard", reason="pyscard is not installed", exc_type=ImportError)
    if why := vpcd.missing():
        pytest.skip(why)
    service = vpcd.Pcscd(charger.folder)
    charger.later.callback(service.stop)
    await asyncio.to_thread(service.start)
    charger.environment["PCSCLITE_CSOCK_NAME"] = str(service.socket)
    charger.change(r'device = ".*"', 'device = "pcsc:Virtual PCD 00 00"')
    charger.field = service.port


async def flood(charger: Installed) -> None:
    """A card at the edge of the field, that nobody can be known by."""
    await until(charger.connected, "guard and daemon")
    await asyncio.sleep(1.5)
    for n in range(8):
        with contextlib.suppress(OSError), vpcd.HeldCard(charger.field, f"08{n:06X}"):
            await asyncio.sleep(0.05)
    with vpcd.HeldCard(charger.field, "08FFFFFF"):
        await asyncio.sleep(1.5)
    said = charger.log("daemon")
    assert 1 <= said.count("card with a random number") <= 5, said


def parts(**changed: object) -> Callable[[Installed], Awaitable[None]]:
    async def strike(charger: Installed) -> None:
        charger.put(**changed)

    return strike


def on_memory(**changed: object) -> Callable[[Installed], Awaitable[None]]:
    async def prepare(charger: Installed) -> None:
        charger.on_memory()
        charger.put(**changed)

    return prepare


def board_file(old: str, new: str) -> Callable[[Installed], Awaitable[None]]:
    text = (ROOT / "hardware" / "boards" / "reference-pi4.toml").read_text(encoding="utf-8")
    assert old in text

    async def prepare(charger: Installed) -> None:
        file = charger.folder / "board.toml"
        file.write_text(text.replace(old, new), encoding="utf-8")
        charger.on_memory(str(file))

    return prepare


def world_fault(name: str) -> Callable[[Installed], Awaitable[None]]:
    async def strike(charger: Installed) -> None:
        await charger.world("fault", outlet=1, fault=name)

    return strike


async def weld(charger: Installed) -> None:
    await charger.world("fault", outlet=1, fault="contactor-welded")
    await charger.world("vehicle", outlet=1, step="not_ready")


async def real_board(charger: Installed) -> None:
    charger.change(r'board = ".*"', 'board = "pi:reference-pi4"')


async def unreadable_latch(charger: Installed) -> None:
    (charger.folder / "latch").chmod(0)


async def missing_latch(charger: Installed) -> None:
    (charger.folder / "latch").unlink()


async def closed_state(charger: Installed) -> None:
    closed = charger.folder / "state"
    closed.mkdir()
    (closed / "latch").touch()
    charger.change(r'state_dir = ".*"', f'state_dir = "{closed}"')
    closed.chmod(0o500)


async def typo(charger: Installed) -> None:
    charger.change("amps = 32", "ampz = 32")


CASES = {
    "a meter that answers garbage": Case(
        garbling_meter,
        fault="PowerMeterFailure",
        shown="PowerMeterFailure.*chargerd meters probe finds address, speed and model",
        log=("daemon", "meter of outlet 1: "),
    ),
    "a serial line without permission": Case(
        locked_line,
        fault="PowerMeterFailure",
        shown="Device .*this user may not: .*dialout",
        log=("daemon", "this user may not: .*dialout"),
    ),
    "a meter that falls silent": Case(
        strike=world_fault("meter-silent"),
        fault="PowerMeterFailure",
        shown="PowerMeterFailure.*chargerd meters probe",
        log=("daemon", "meter of outlet 1: .*does not answer"),
    ),
    "a card reader without its service": Case(
        no_reader_service,
        shown="Device .*pcscd does not run; check it: sudo systemctl enable --now pcscd.socket|pcscd is not installed",
        log=("daemon", "pcscd (does not run; check it: sudo systemctl|is not installed: sudo apt)"),
    ),
    "a card reader that floods": Case(
        virtual_reader,
        flood,
        shown="^(?!.*(ReaderFailure|Device ))",
        log=("daemon", "pcsc:Virtual PCD 00 00: card with a random number .*use a plain card"),
    ),
    "a converter that sticks": Case(
        on_memory(),
        parts(stuck=True),
        energised=True,
        fault="DeviceFailure",
        shown="DeviceFailure.*check its cable and supply",
        log=("guard", "outlet 1: .*check the driver's converter"),
    ),
    "a converter that repeats itself": Case(
        on_memory(),
        parts(repeating=True),
        energised=True,
        fault="DeviceFailure",
        shown="DeviceFailure.*check its cable and supply",
        log=("guard", "outlet 1: the ADC repeats its last burst; check it and its bus"),
    ),
    "a converter that is gone": Case(
        on_memory(),
        parts(gone=True),
        energised=True,
        fault="DeviceFailure",
        shown="DeviceFailure.*check its cable and supply",
        log=("guard", "ADC: gone"),
    ),
    "a typo in a board file": Case(
        board_file("[outlet.pilot]\npwm = 12", "[outlet.pilot]\npwn = 12"),
        shown="NOT CONNECTED.*systemctl status chargerd-guard",
        log=("guard", r"board file .*/board\.toml:\d+: outlet\[1\]\.pilot\.pwn: .*pwm"),
        refuses=("guard", os.EX_UNAVAILABLE),
    ),
    "the same pin for two purposes": Case(
        board_file("disconnect = 26", "disconnect = 25"),
        log=("guard", r"board file .*/board\.toml.*25"),
        refuses=("guard", os.EX_UNAVAILABLE),
    ),
    "a pin in use": Case(
        on_memory(held=[24]),
        shown="NOT CONNECTED.*systemctl status chargerd-guard",
        log=("guard", "contactor on GPIO24: .*in use.*(another program|overlay)"),
        refuses=("guard", os.EX_UNAVAILABLE),
    ),
    "a Pi's board on a machine that is none": Case(
        real_board,
        log=("guard", "no Raspberry Pi: .*a board pi:… needs one"),
        refuses=("guard", os.EX_UNAVAILABLE),
    ),
    "a latch file without permission": Case(
        unreadable_latch,
        fault="LatchUnreadable",
        shown="LatchUnreadable.*check the contactors, create it empty, restart the guard",
        log=("guard", "latch.*[Pp]ermission"),
    ),
    "a latch file that is missing": Case(
        missing_latch,
        fault="LatchUnreadable",
        shown="LatchUnreadable.*create it empty",
        log=("guard", "latch"),
    ),
    "a state directory without permission": Case(
        closed_state,
        fault="StorageFailure",
        shown="the books cannot be opened.*",
        log=("daemon", "the books cannot be opened"),
    ),
    "a typo in the configuration": Case(
        typo,
        fault="ConfigInvalid",
        shown=r"chargerd\.toml:\d+: outlet\[1\]\.ampz: unknown key; did you mean amps\?",
        log=("guard", r"outlet\[1\]\.ampz: unknown key; did you mean amps\?"),
        refuses=("guard", os.EX_CONFIG),
    ),
    "a contactor that has welded": Case(
        strike=weld,
        energised=True,
        fault="ContactorWelded",
        shown="ContactorWelded.*cut the supply, replace the contactor.*chargerctl clear 1 ContactorWelded",
    ),
}


async def charge(charger: Installed) -> None:
    """A vehicle comes and takes power."""
    if charger.memory:
        charger.put(ohms=220.0, plateau=8.92)
        await until(charger.offered, "the offer")
        charger.put(plateau=5.96)
    else:
        await until(charger.connected, "guard and daemon")
        await charger.world("plug", outlet=1)
    await until(charger.energised, "power")


@pytest.mark.parametrize("name", CASES)
async def test_trouble(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    charger = Installed(tmp_path)
    await case.prepare(charger)
    await charger.start()
    try:
        if case.energised:
            await charge(charger)
        await case.strike(charger)
        if case.refuses is not None:
            process, code = case.refuses

            async def left() -> bool:
                return charger.left(process) == code

            await until(left, f"{process} ends with {code}")

        async def told() -> bool:
            process, words = case.log
            said = re.search(words, charger.log(process), re.DOTALL) is not None
            faults = await charger.faults()
            return said and faults is not None and (case.fault in faults if case.fault else True)

        try:
            await until(told, "the fault by name, and its words in the log")
        finally:
            text = await charger.chargerctl("status")
            for words in (text, charger.log("guard"), charger.log("daemon")):
                sys.stdout.write(f"{words}\n---\n")
        assert re.search(case.shown, re.sub(r"\s+", " ", text)), "not in chargerctl status"
        if not case.energised and not charger.memory and case.fault:
            await charger.world("plug", outlet=1)  # a vehicle that comes now gets nothing
            await asyncio.sleep(1.0)
        if name != "a contactor that has welded":
            await until(charger.safe, "contactor open, pilot at X1", 7.0)
    finally:
        assert await charger.close() < LEAVES
