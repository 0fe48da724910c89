"""`chargerd`: the programs of the charger behind one command.

Exit codes: 0 stopped, 64 soft reset (or a guard that makes room for a newer one) and 65 hard reset (both to be started
again; deploy/systemd reboots the computer for the latter), 67 a user is unknown, 69 a device is missing, 70 too many
events that could not be digested, 73 the control socket cannot be served, 74 stopped while the
store could not be opened, 78 the configuration is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chargerd import __version__
from chargerd.errors import ConfigInvalid

if TYPE_CHECKING:
    from chargerd.config import Config

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; the exit code."""
    parser = argparse.ArgumentParser(prog="chargerd", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--version", action="version", version=f"chargerd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
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
    args = parser.parse_args(argv)
    try:
        match args.command:
            case "run":
                return _run(args.config)
            case "guard":
                return _guard(args.config, args.daemon_user)
            case _:
                return _config(args.check)
    except ConfigInvalid as e:
        sys.stderr.write(f"{e}\n")
        return os.EX_CONFIG


def _config(check: Path | None) -> int:
    from chargerd.config import load, reference

    if check is None:
        sys.stdout.write(reference())
        return 0
    if misnamed := _misnamed(check, load(check)):
        sys.stderr.write("\n".join(misnamed) + "\n")
        return os.EX_UNAVAILABLE
    sys.stdout.write(f"{check}: good\n")
    return 0


def _misnamed(path: Path, config: Config) -> list[str]:
    """What `run` would refuse of meters and readers, without touching a line."""
    import hal
    from chargerd.config import NO_METER, line_of
    from hal.api import DeviceError

    meters = ((f"outlet[{n}].meter", hal.open_meter, outlet.meter) for n, outlet in enumerate(config.outlets, 1))
    readers = ((f"reader[{n}].device", hal.open_reader, reader.device) for n, reader in enumerate(config.readers, 1))
    mistakes = []
    for key, opener, moniker in (*meters, *readers):
        try:
            if moniker != NO_METER:
                opener(moniker)
        except DeviceError as e:
            mistakes.append(f"{path}:{line_of(path, key)}: {key}: {e}")
    return mistakes


def _guard(path: Path, daemon_user: str | None) -> int:
    """Only what the guard needs is imported: it stays small, and nothing is loaded once it is ready."""
    import pwd

    from chargerd.config import load
    from chargerd.daemon.notify import notify, plain
    from chargerd.daemon.peers import May, doorkeeper, peer_of
    from chargerd.guard.loop import run
    from chargerd.guard.setup import GuardSetup, OutletSetup, TimingSetup

    try:
        uid = os.getuid() if daemon_user is None else pwd.getpwnam(daemon_user).pw_uid
    except KeyError:
        sys.stderr.write(f"--daemon-user {daemon_user}: there is no such user\n")
        return os.EX_NOUSER
    config = load(path, secrets=False)  # they are the daemon's user's
    keeper = doorkeeper()
    own_state = os.environ.get("STATE_DIRECTORY")  # systemd's: what is latched is out of the daemon's reach
    outlets = tuple(
        OutletSetup(
            evse=o.evse,
            amps=o.amps,
            phases=o.phases,
            tethered=o.tethered,
            ventilation=o.ventilation,
            residual=o.residual,
            wake_up=o.wake_up,
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
