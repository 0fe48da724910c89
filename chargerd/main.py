"""`chargerd`: the programs of the charger behind one command.

Exit codes: 0 stopped, 1 a measurement at the board is refused or no meter was found, 64 soft reset (or a guard that
makes room for a newer one) and 65 hard reset (both to be started again; deploy/systemd reboots the computer for the
latter), 67 a user is unknown, 69 a device is missing, 70 too many events that could not be digested, 73 the control
socket cannot be served, 74 stopped while the store could not be opened, 78 the configuration is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chargerd import __version__
from chargerd.errors import ConfigInvalid

if TYPE_CHECKING:
    from chargerd.config import Config

STOPPED = "With the guard stopped (systemctl stop chargerd-guard); the contactors stay open."
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; the exit code."""
    args = parser().parse_args(argv)
    try:
        match args.command:
            case "board":
                return _board(args)
            case "meters":
                return _meters(args)
            case "run":
                return _run(args.config)
            case "guard":
                return _guard(args.config, args.daemon_user)
            case _:
                return _config(args.check)
    except ConfigInvalid as e:
        sys.stderr.write(f"{e}\n")
        return os.EX_CONFIG


def parser() -> argparse.ArgumentParser:
    """What may be typed."""
    made = argparse.ArgumentParser(prog="chargerd", description=__doc__.splitlines()[0] if __doc__ else "")
    made.add_argument("--version", action="version", version=f"chargerd {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in (
        ("run", "the daemon: OCPP charge point, meters, cards"),
        ("guard", "the guard: pilot, contactor, lock, faults"),
    ):
        sub = commands.add_parser(name, help=about, description=about)
        sub.add_argument("--config", type=Path, default=Path("/etc/chargerd/chargerd.toml"), metavar="FILE")
        if name == "guard":
            sub.add_argument("--daemon-user", metavar="USER", help="who the daemon runs as, if not as the guard itself")
    config = commands.add_parser("config", help="check a configuration, or print the reference")
    what = config.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", type=Path, metavar="FILE", help="name the mistakes in FILE; exit 0 if there is none")
    what.add_argument("--reference", action="store_true", help="print every key with its meaning, ready to be pasted")
    _board_parser(commands)
    _meters_parser(commands)
    return made


def _board_parser(commands: Any) -> None:
    board = commands.add_parser("board", help="look at a board file or at its inputs, calibrate")
    deeds = board.add_subparsers(dest="deed", required=True, metavar="DEED")
    show = deeds.add_parser("show", help="check a board file; what is wired where", description="Touches no pin.")
    show.add_argument("name", metavar="NAME", help="of a board, or the path of a file")
    inputs = deeds.add_parser("inputs", help="every input, once a second", description=STOPPED)
    inputs.add_argument("--seconds", type=float, default=inf, metavar="N", help="and then end; else until Ctrl-C")
    calibrate = deeds.add_parser("calibrate", help="two points of a channel, by your meter", description=STOPPED)
    calibrate.add_argument("channel", choices=("pilot", "proximity", "plug-sensor", "cabinet-sensor"))
    calibrate.add_argument("--outlet", type=int, default=1, metavar="N")
    for deed in (inputs, calibrate):
        deed.add_argument("--config", type=Path, default=Path("/etc/chargerd/chargerd.toml"), metavar="FILE")


def _meters_parser(commands: Any) -> None:
    deeds = commands.add_parser("meters", help="the models of meters; find meters on a line").add_subparsers(
        dest="deed", required=True, metavar="DEED"
    )
    deeds.add_parser("list", help="the models: factory settings of the line, and what each can tell")
    probe = deeds.add_parser(
        "probe",
        help="find meters on a line, and print the lines for the configuration",
        description="Only reads. With the daemon stopped (systemctl stop chargerd), whose line it is otherwise. "
        "Goes through the line settings until somebody answers.",
    )
    probe.add_argument("place", metavar="PLACE", help="/dev/serial/by-id/…, or host[:port] of a Modbus TCP gateway")
    probe.add_argument("--units", default="1-10", metavar="A-B", help="unit numbers to ask for (1-10; at most 1-247)")
    probe.add_argument("--seconds", type=float, default=180.0, metavar="N", help="and then end (180)")


def _meters(args: argparse.Namespace) -> int:
    from chargerd import meters

    if args.deed == "list":
        return meters.show()
    try:
        units = meters.numbers(args.units)
    except ValueError as e:
        sys.stderr.write(f"--units {e}\n")
        return os.EX_USAGE
    return meters.probe(args.place, units, args.seconds)


def _board(args: argparse.Namespace) -> int:
    from chargerd import board
    from chargerd.config import load

    match args.deed:
        case "show":
            return board.show(args.name)
        case "inputs":
            return board.run(load(args.config, secrets=False), "inputs", 1, args.seconds)
        case _:
            return board.run(load(args.config, secrets=False), args.channel, args.outlet, 0.0)


def _config(check: Path | None) -> int:
    from chargerd.config import load
    from chargerd.config_reference import reference

    if check is None:
        sys.stdout.write(reference())
        return 0
    config = load(check)
    if misnamed := _misnamed(check, config):
        sys.stderr.write("\n".join(misnamed) + "\n")
        return os.EX_UNAVAILABLE
    sys.stdout.writelines(f"{check}: {note}\n" for note in _meter_notes(config))
    sys.stdout.write(f"{check}: good\n")
    return 0


def _misnamed(path: Path, config: Config) -> list[str]:
    """What `run` and `guard` would refuse of board, meters and readers, without touching a line."""
    import hal
    from chargerd.config import NO_METER, line_of
    from chargerd.guard.setup import unfit
    from hal.api import DeviceError

    def fits(moniker: str) -> None:
        outlets = hal.check_board(moniker)
        if outlets is not None and (lacks := list(unfit(outlets, config.outlets))):
            raise DeviceError("; ".join(lacks))

    meters = ((f"outlet[{n}].meter", hal.open_meter, outlet.meter) for n, outlet in enumerate(config.outlets, 1))
    readers = ((f"reader[{n}].device", hal.open_reader, reader.device) for n, reader in enumerate(config.readers, 1))
    mistakes = []
    for key, opener, moniker in (("guard.board", fits, config.guard.board), *meters, *readers):
        try:
            if moniker != NO_METER:
                opener(moniker)
        except DeviceError as e:
            mistakes.append(f"{path}:{line_of(path, key)}: {key}: {e}")
    return mistakes


def _meter_notes(config: Config) -> list[str]:
    """What is asked for and the meters cannot tell."""
    import hal
    from chargerd.config import NO_METER
    from chargerd.ocpp.measurands import lacks

    meters = ((n, hal.open_meter(o.meter)) for n, o in enumerate(config.outlets, 1) if o.meter != NO_METER)
    return [f"outlet[{n}].meter: {text}" for n, meter in meters for text in lacks(meter.kind, config.variables())]


def _guard(path: Path, daemon_user: str | None) -> int:
    """Only what the guard needs is imported: it stays small, and nothing is loaded once it is ready."""
    import pwd
    from dataclasses import asdict

    from chargerd.config import load
    from chargerd.daemon.notify import notify, plain
    from chargerd.daemon.peers import May, doorkeeper, peer_of
    from chargerd.guard.loop import run
    from chargerd.guard.setup import GuardSetup, OutletSetup, TimingSetup
    from chargerd.protection import Protection

    try:
        uid = os.getuid() if daemon_user is None else pwd.getpwnam(daemon_user).pw_uid
    except KeyError:
        sys.stderr.write(f"--daemon-user {daemon_user}: there is no such user\n")
        return os.EX_NOUSER
    config = load(path, secrets=False)  # they are the daemon's user's
    keeper = doorkeeper()
    own_state = os.environ.get("STATE_DIRECTORY")  # systemd's: what is latched is out of the daemon's reach
    protection = Protection(**asdict(config.protection))
    outlets = tuple(
        OutletSetup(
            evse=o.evse,
            amps=o.amps,
            phases=o.phases,
            tethered=o.tethered,
            ventilation=o.ventilation,
            residual=o.residual,
            wake_up=o.wake_up,
            protection=protection,
        )
        for o in config.outlets
    )
    return run(
        GuardSetup(outlets, TimingSetup(config.guard.max_pauses, config.guard.max_turn)),
        config.guard.board,
        str(config.guard_socket),
        str(config.guard_watch_socket),
        str(Path(own_state, config.guard.latch_file) if own_state else config.latch_file),
        uid,
        __version__,
        lambda text: notify(text, plain),
        lambda caller: keeper.may(peer_of(caller)) is not May.NOTHING,
    )


def _run(path: Path) -> int:
    import asyncio
    import logging

    from chargerd.config import load
    from chargerd.daemon.database import StoreFailed
    from chargerd.daemon.invalid import Trouble, serve_trouble
    from chargerd.daemon.journal import lines
    from chargerd.daemon.notify import notify, watchdog_interval
    from chargerd.daemon.run import serve
    from chargerd.daemon.store import opens
    from hal.api import DeviceError

    handler = logging.StreamHandler()
    handler.setFormatter(lines())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    try:
        config = load(path)
    except ConfigInvalid as e:
        return asyncio.run(serve_trouble(Trouble.of_config(e), notify, watchdog_interval()))
    logging.getLogger().setLevel(config.log.level.upper())
    try:
        return asyncio.run(serve(config, BOOT_ID.read_text().strip(), notify, watchdog_interval()))
    except DeviceError as e:
        sys.stderr.write(f"{e}\n")
        return os.EX_UNAVAILABLE
    except StoreFailed as e:
        trouble = Trouble(
            "StorageFailure", "the books cannot be opened", (str(e),), os.EX_IOERR, config.station.run_dir
        )
        books = Path(config.station.state_dir, "chargerd.db")
        return asyncio.run(serve_trouble(trouble, notify, watchdog_interval(), lambda: opens(books)))
    except OSError as e:
        if e.filename != str(config.control_socket):
            raise
        sys.stderr.write(f"{e.filename}: {e.strerror}\n")
        return os.EX_CANTCREAT


if __name__ == "__main__":
    sys.exit(main())
