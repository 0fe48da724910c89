"""chargerctl's commands: what is typed, asked of the control socket, and shown.

Exit status: 0 done, 1 refused, 2 wrongly typed, 3 chargerd does not answer.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from chargerd import __version__
from chargerd import faults as table
from chargerd.cli import show, sim, vitals
from chargerd.cli.fold import for_stream
from chargerd.cli.talk import Control, Failed, Unreachable, guard_words
from chargerd.cli.why import why

SOCKET = "/run/chargerd/control.sock"
STATUS_ANSWER = 5.0  # s; then the guard is asked instead
CLEARING = 3.0  # s in which a cleared fault must be gone
FOLLOWING = 0.5  # s for the link to follow before it is shown
EPILOG = """\
examples:
  chargerctl status                       everything on one screen
  chargerctl watch                        what happens, as it happens
  chargerctl why 1                        every limit of outlet 1, and which one decides
  chargerctl guard                        whether the guard keeps its time
  chargerctl cards learn                  the next card tapped is let in from now on
  chargerctl sessions --since 2026-11-01 --csv > november.csv
  chargerctl start 1; chargerctl stop 1   without a card
  chargerctl unlock 1                     a plug that does not come out
  chargerctl clear 1 ContactorWelded      after the repair
  chargerctl link down                    to see it work without the backend; link auto ends it
  chargerctl sim plug 1 max_amps=16       in a simulated world only

Reading is for the group chargerd, everything else for chargerd-admin and root."""


class Screen:
    """Where answers go: JSON or text."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.ink = show.Ink(not as_json and sys.stdout.isatty() and "NO_COLOR" not in os.environ)

    def say(self, answer: Any, text: Callable[[], str]) -> None:
        self.write(json.dumps(answer, indent=2) if self.as_json else for_stream(text(), sys.stdout))

    def line(self, answer: Any, text: Callable[[], str]) -> None:
        """One of a stream: JSON on one line."""
        self.write(json.dumps(answer) if self.as_json else for_stream(text(), sys.stdout))

    def write(self, text: str) -> None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()

    def fail(self, code: int | str, text: str) -> None:
        body = json.dumps({"error": {"code": code, "message": text}})
        sys.stderr.write((body if self.as_json else for_stream(f"chargerctl: {text}", sys.stderr)) + "\n")


Command = Callable[[argparse.Namespace, Screen], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where the locale lacks a sign
    args = parser().parse_args(argv)
    screen = Screen(args.json)
    command: Command = args.command
    try:
        return command(args, screen)
    except sim.BadWords as e:
        screen.fail("usage", str(e))
        return 2
    except Failed as e:
        screen.fail(e.code, str(e))
        return 1
    except Unreachable as e:
        screen.fail("unreachable", str(e))
        return 3
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


# ---------------------------------------------------------------- commands


def _asks(method: str, text: Callable[[Any, show.Ink], str], *names: str) -> Command:
    """A command that is one call, with these arguments as its params."""

    def command(args: argparse.Namespace, screen: Screen) -> int:
        params = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
        with Control(args.socket) as control:
            answer = control.call(method, **params)
        screen.say(answer, lambda: text(answer, screen.ink))
        return 0

    return command


def _status(args: argparse.Namespace, screen: Screen) -> int:
    try:
        with Control(args.socket, STATUS_ANSWER) as control:
            answer = control.call("status")
    except Unreachable as e:
        why = str(e)
        words = guard_words(_beside(args.socket))
        if words is None:
            raise
        notes = {word.get("outlet"): word for word in words.get("notes", [])}
        truths = [{**notes.get(truth["outlet"], {}), **truth} for truth in words["truth"]]
        screen.say({"error": why, "guard": truths}, lambda: show.guard_only(truths, why, screen.ink))
        return 3
    screen.say(answer, lambda: show.status(answer, screen.ink))
    return 0


def _guard(args: argparse.Namespace, screen: Screen) -> int:
    """Of chargerd, and where it does not answer or does not know, of the guard itself."""
    found: Any = None
    why = "the guard is not connected"
    try:
        with Control(args.socket, STATUS_ANSWER) as control:
            found = control.call("status").get("guard", {}).get("vitals")
    except Unreachable as e:
        why = str(e)
    if found is None:
        told = (guard_words(_beside(args.socket)) or {}).get("vitals", [])
        found = {name: value for name, value in told[0].items() if name != "t"} if told else None
    if found is None:
        raise Unreachable(f"{why}; nor does the guard say how it does: systemctl status chargerd-guard")
    screen.say(found, lambda: vitals.vitals(found, screen.ink))
    return 0


def _beside(control_socket: str) -> Path:
    """The guard's read-only socket."""
    return Path(control_socket).parent / "guard-ro.sock"


def _why(args: argparse.Namespace, screen: Screen) -> int:
    with Control(args.socket) as control:
        found = control.call("why")
    chosen = [each for each in found if args.outlet in (None, each["outlet"])]
    if not chosen:
        raise Failed(-32602, f"outlet {args.outlet}: there are outlets 1 to {len(found)}")
    screen.say(chosen, lambda: why(chosen, screen.ink))
    return 0


def _watch(args: argparse.Namespace, screen: Screen) -> int:
    with Control(args.socket) as control:
        control.call("watch")
        for method, params in control.notifications():
            if method == "dropped":
                raise Failed(-32000, params["why"])
            screen.line(params, partial(show.event, params, screen.ink))
    return 0


def _sessions(args: argparse.Namespace, screen: Screen) -> int:
    with Control(args.socket) as control:
        rows = control.call("sessions", limit=args.limit, since=args.since)
    if args.csv:
        screen.write(show.sessions_csv(rows))
    else:
        screen.say(rows, lambda: show.sessions(rows))
    return 0


def _learn(args: argparse.Namespace, screen: Screen) -> int:
    with Control(args.socket) as control:
        seconds = control.call("cards.learn")["seconds"]
        if not screen.as_json:
            screen.write(f"Tap the card within {seconds:.0f} s.")
        learned = next(params for method, params in control.notifications(seconds + 5) if method == "cards.learned")
    if learned["card"] is None:
        raise Failed(-32000, learned["why"])
    screen.say(learned, lambda: f"{learned['card']} " + ("was known already" if learned["known"] else "added"))
    return 0


def _link(args: argparse.Namespace, screen: Screen) -> int:
    with Control(args.socket) as control:
        if args.to is not None:
            control.call("link.force", up={"up": True, "down": False, "auto": None}[args.to])
            time.sleep(FOLLOWING)
        answer = control.call("status")
    if answer["station"]["id"] is None:
        raise Failed(-32000, "chargerd could not start; `chargerctl status` says why")
    screen.say(answer["link"], lambda: show.link(answer["link"], answer["now"], screen.ink, answer["station"]["boot"]))
    return 0


def _faults(args: argparse.Namespace, screen: Screen) -> int:
    if args.known:
        every = [{"fault": name, **table.plain(name, "OUTLET")} for name in table.FAULTS]
        screen.say(every, lambda: show.known_faults(screen.ink))
        return 0
    with Control(args.socket) as control:
        found = [
            {**fault, **table.plain(fault["fault"], fault["outlet"])} for fault in control.call("status")["faults"]
        ]
    screen.say(found, lambda: show.faults(found, screen.ink))
    return 0


def _clear(args: argparse.Namespace, screen: Screen) -> int:
    """Ask the guard, and look whether it agreed."""
    with Control(args.socket) as control:
        control.call("faults.clear", outlet=args.outlet, fault=args.fault)
        until = time.monotonic() + CLEARING
        while {"outlet": args.outlet, "fault": args.fault} in control.call("status")["faults"]:
            if time.monotonic() >= until:
                raise Failed(-32000, f"{args.fault} is still there: {table.explain(args.fault, args.outlet)}")
            time.sleep(0.2)
    place = f"outlet {args.outlet}" if args.outlet else "station"
    screen.say({}, lambda: f"{place}: {args.fault} cleared")
    return 0


def _sim(args: argparse.Namespace, screen: Screen) -> int:
    method, params = sim.parse(args.words)
    with Control(args.socket) as control:
        answer = control.call(method, **params)
    screen.say(answer, lambda: show.moved(answer))
    return 0


# ---------------------------------------------------------------- the command line


def parser() -> argparse.ArgumentParser:
    """Options that every command knows may stand before or after it."""
    top = argparse.ArgumentParser(
        prog="chargerctl",
        description="See and do at an EV charger what can be seen and done.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"chargerctl {__version__}")
    top.set_defaults(json=False, socket=os.environ.get("CHARGERD_SOCKET", SOCKET))
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for each in (top, common):
        each.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="answers as JSON")
        each.add_argument(
            "--socket", metavar="PATH", default=argparse.SUPPRESS, help=f"control socket ({SOCKET}, or CHARGERD_SOCKET)"
        )
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def add(name: str, about: str, command: Command, **more: Any) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(
            name, help=about, description=about, parents=[common], **more
        )
        sub.set_defaults(command=command)
        return sub

    _add_seeing(add)
    _add_doing(add)
    _add_cards(add("cards", "local cards", _asks("cards.list", lambda rows, ink: show.cards(rows))), common)
    cached = _asks("cache.list", lambda answer, ink: show.known(answer, "The cache"))
    _add_cache(add("cache", "what the backend said of cards", cached), common)
    add(
        "sim",
        "move the simulated world",
        _sim,
        epilog=f"forms, each also with KEY=VALUE for every parameter:\n{sim.overview()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_argument("words", nargs="+", metavar="WORD")
    return top


def _add_seeing(add: Callable[..., argparse.ArgumentParser]) -> None:
    add("status", "everything on one screen; from the guard alone where chargerd does not answer", _status)
    add("guard", "how the guard keeps its time", _guard)
    reasons = add("why", "why there are as many amperes as there are, and not more", _why)
    reasons.add_argument("outlet", nargs="?", type=int, metavar="OUTLET", help="only this one")
    add("watch", "what happens, as it happens", _watch)
    sessions = add("sessions", "closed transactions, newest first", _sessions)
    sessions.add_argument("--csv", action="store_true", help="comma-separated, in UTC")
    sessions.add_argument("--limit", type=int, default=50, metavar="N", help="at most N of them (50)")
    sessions.add_argument("--since", type=_since, default=0.0, metavar="DATE", help="2026-11-01, or with a time")
    add("queue", "messages that wait for the backend, and dead letters", _asks("queue", show.queue))
    faults = add("faults", "what is wrong, and what helps", _faults)
    faults.add_argument("--known", action="store_true", help="every fault there is, instead of those that are")
    add(
        "local-list",
        "cards that the backend sent ahead; only it may change them (without one: `cards`)",
        _asks("list", lambda answer, ink: show.known(answer, "The local list")),
    )
    add("reservations", "what is kept for whom", _asks("reservations", lambda rows, ink: show.reservations(rows)))
    variables = add("variables", "OCPP settings", _asks("variables", lambda rows, ink: show.variables(rows), "name"))
    variables.add_argument("name", nargs="?", metavar="NAME", help="its name here, in OCPP 1.6 or in 2.x")
    add("config", "the configuration as read", _asks("config.get", lambda answer, ink: show.plain(answer)))


def _add_doing(add: Callable[..., argparse.ArgumentParser]) -> None:
    tap = add("tap", "as if a card were tapped", _asks("tap", lambda answer, ink: "tapped", "token", "evse"))
    tap.add_argument("token", metavar="CARD", help="its number")
    tap.add_argument("--evse", type=int, metavar="N", help="at the reader of this EVSE")
    start = add("start", "start charging; nobody is asked", _asks("start", lambda *_: "accepted", "outlet", "token"))
    start.add_argument("outlet", type=int, metavar="OUTLET", help="its number, as in `status`")
    start.add_argument("--token", metavar="CARD", help="on whose account; a backend may end it without")
    stop = add("stop", "stop charging", _asks("stop", lambda *_: "stopping", "outlet"))
    stop.add_argument("outlet", type=int, metavar="OUTLET", help="its number, as in `status`")
    add(
        "clear-profiles",
        "forget the backend's charging profiles; what is limited goes on by the other limits",
        _asks("profiles.clear", lambda answer, ink: f"{answer['cleared']} cleared"),
    )
    unlock = add("unlock", "let go of the plug", _asks("unlock", lambda *_: "unlocked", "outlet"))
    unlock.add_argument("outlet", type=int, metavar="OUTLET", help="its number, as in `status`")
    link = add("link", "the link to the backend: see it, bring it up now, hold it down, let it go", _link)
    link.add_argument("to", nargs="?", choices=("up", "down", "auto"), help="auto: as chargerd thinks best")
    clear = add("clear", "clear a fault after the repair", _clear)
    clear.add_argument("outlet", type=int, metavar="OUTLET", help="0: the station as a whole")
    clear.add_argument("fault", metavar="FAULT", help="as `chargerctl faults` names it")
    reset = add("reset", "end what runs, then start anew", _asks("reset", lambda a, ink: str(a["outcome"]), "kind"))
    reset.add_argument("kind", nargs="?", choices=("soft", "hard"), default="soft", help="hard: the whole computer")
    add("shutdown", "end chargerd; what charges goes on for its lease", _asks("shutdown", lambda *_: "ending"))


def _add_cards(cards: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    kinds = cards.add_subparsers(metavar="list|add|remove|learn")
    kinds.add_parser("list", help="those there are", parents=[common])
    new = kinds.add_parser("add", help="let a card in", parents=[common])
    new.add_argument("card", metavar="CARD", help="its number")
    new.add_argument("--group", metavar="GROUP", help="cards of one group stop each other's transactions")
    new.set_defaults(command=_asks("cards.add", lambda *_: "added", "card", "group"))
    old = kinds.add_parser("remove", help="let a card in no more", parents=[common])
    old.add_argument("card", metavar="CARD", help="its number, or the end of it")
    old.set_defaults(command=_asks("cards.remove", lambda *_: "removed", "card"))
    learn = kinds.add_parser("learn", help="let the next card in that is tapped", parents=[common])
    learn.set_defaults(command=_learn)


def _add_cache(cache: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    kinds = cache.add_subparsers(metavar="list|put|clear")
    kinds.add_parser("list", help="those there are", parents=[common])
    new = kinds.add_parser("put", help="as if the backend had said it", parents=[common])
    new.add_argument("card", metavar="CARD", help="its number")
    new.add_argument("--group", metavar="GROUP", help="its group (parentIdTag)")
    new.add_argument("--status", metavar="STATUS", help="Accepted, Blocked, Expired, Invalid …")
    new.set_defaults(command=_asks("cache.put", lambda *_: "put", "card", "group", "status"))
    old = kinds.add_parser("clear", help="forget them all", parents=[common])
    old.set_defaults(command=_asks("cache.clear", lambda *_: "cleared"))


def _since(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text}: no date; write it like 2026-11-01 or 2026-11-01T18:30") from None
