"""JSON of the control socket as text for people: what a technician in the rain wants, the gravest in colour."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chargerd.faults import FAULTS, explain

Json = dict[str, Any]

LIMITS = {
    "no-guard": "the guard does not answer",
    "no-vehicle": "no vehicle",
    "fault": "a fault forbids it",
    "no-card": "waits for a card or a start",
    "finished": "the session has ended; a card or a start begins another",
    "card-refused": "the backend refused the card",
    "meter": "waits for the meter's register",
    "stopping": "the transaction is ending",
    "writing": "waits until its begin is on the disk",
    "storage": "nothing can be written down, so nothing begins",
    "queue-full": "the queue for the backend is full, so nothing begins",
    "history-lost": "the history was lost, and nothing begins until that fault is cleared",
    "reset": "a restart is due, so nothing begins",
    "no-backend": "the backend has not accepted this station yet, so nothing begins",
    "outlet": "limited by the outlet's rating",
    "board": "limited by the outlet's rating",
    "cable": "limited by the cable",
    "station": "limited by the station's fuse, which all outlets share",
    "share": "limited by what the other outlets take of the station's limit",
    "profile": "limited by a charging profile of the backend",
    "station-profile": "limited by a charging profile of the backend for the whole station",
    "no-profile": "limited by charging.without_profile, as no charging profile of the backend is in force",
    "offline": "limited by charging.offline_amps, as the backend is away",
    "temperature": "limited by temperature: the outlet is hot",
    "shedding": "limited by load shedding",
    "phases": "between one phase and three: the vehicle has its pause",
    "lease": "limited by chargerd's permit",
    "evse": "another outlet of this EVSE is in use",
    "pause": "between two offers: the vehicle has 3 s to see that power was taken away",
    "self-test": "self-test of the residual-current monitor",
    "lock": "waits for the lock",
    "wake-up": "the vehicle is being woken",
    "digital": "digital communication",
    "unavailable": "out of service",
}
HEARD = 60.0  # s of silence from which on it is told
_GOOD = ("Charging", "Available")
_BAD = ("Faulted", "Unavailable")


@dataclass(frozen=True, slots=True)
class Ink:
    """Colour, where it is on."""

    on: bool

    def good(self, text: str) -> str:
        return self._dye("32", text)

    def bad(self, text: str) -> str:
        return self._dye("1;31", text)

    def bold(self, text: str) -> str:
        return self._dye("1", text)

    def word(self, status: str) -> str:
        return self.good(status) if status in _GOOD else self.bad(status) if status in _BAD else self.bold(status)

    def _dye(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text


# ---------------------------------------------------------------- status


def status(s: Json, ink: Ink) -> str:
    """The picture on one screen."""
    if s["station"]["id"] is None:
        return _unusable(s, ink)
    station, now = s["station"], s["now"]
    service = "in service" if station["operative"] else ink.bad("out of service")
    head = [ink.bold(station["id"]), f"chargerd {s['version']}", f"up {spell(station['uptime'])}", service]
    if station.get("reset"):
        head.append(ink.bad(f"{station['reset']} reset once nothing runs"))
    head += [ink.bad(f"EVSE {evse} starts anew once nothing runs there") for evse in station.get("resets", ())]
    lines = [" · ".join(head), _row("Backend", link(s["link"], now, ink, station["boot"]))]
    lines.append(_row("Queue", _queue(s["queue"], ink)))
    lines.append(_row("Guard", _guard(s["guard"], now, ink)))
    lines.append(_row("Clock", _clock(s["clock"], s["link"] is not None, ink)))
    if s["store"]["failed"]:
        lines.append(_row("Storage", ink.bad("FAILED: ") + s["store"]["failed"]))
    lines += [_row("Device", ink.bad(f"{name}: ") + why) for name, why in s["devices"].items()]
    if s["lobby"]:
        wait = "" if s["lobby"]["wait"] is None else f"; it counts for {spell(s['lobby']['wait'])} more"
        lines.append(_row("Card", f"{s['lobby']['token']} accepted, waits for a cable{wait}"))
    for outlet in s["outlets"]:
        lines += ["", *_outlet(outlet, now, ink)]
    lines += ["", faults(s["faults"], ink)]
    return "\n".join(lines)


def _unusable(s: Json, ink: Ink) -> str:
    """A daemon that could not read its configuration, or not open its books."""
    wrong = any(fault["fault"] == "ConfigInvalid" for fault in s["faults"])
    what = "the configuration is wrong" if wrong else "the books cannot be opened"
    head = f"{ink.bold('chargerd ' + s['version'])} · {ink.bad(what + ', the outlets stay off')}:"
    return "\n".join([head, *(f"  {mistake}" for mistake in s["mistakes"]), "", faults(s["faults"], ink)])


def link(link: Json | None, now: str, ink: Ink, boot: str | None = None) -> str:
    """The link to the backend in a line or two."""
    if link is None:
        return "none configured"
    since = _for(link["since"], now)
    if link["phase"] == "open":
        answered = "" if boot is None else f", boot {boot}" if boot != "none" else ", boot not answered yet"
        heard = f", last heard {spell(link['heard'])} ago" if (link["heard"] or 0.0) >= HEARD else ""
        return ink.good("connected") + f"{since}, OCPP {link['version']}{answered}{heard} · {link['url']}"
    state = "held down on request" if link["held_down"] else "connecting" if link["phase"] == "connecting" else "lost"
    text = ink.bad(state) + f"{since}, attempt {link['attempt']} · {link['url']}"
    if link["next_try"] is not None:
        text += f"\n          next try in {spell(link['next_try'])} (now: chargerctl link up)"
    if link["held_down"]:
        text += "\n          let go: chargerctl link auto"
    elif link["last_error"]:
        text += f"\n          last error: {link['last_error']}"
    return text


def _queue(queue: Json, ink: Ink) -> str:
    waiting = "empty" if not queue["waiting"] else _count(queue["waiting"], "message waits", "messages wait")
    if not queue["dead"]:
        return waiting
    return waiting + ", " + ink.bad(_count(queue["dead"], "dead letter", "dead letters")) + ": chargerctl queue"


def _guard(guard: Json, now: str, ink: Ink) -> str:
    since = "" if guard["since"] is None else _for(guard["since"], now)
    if guard["connected"]:
        return f"connected{since}{_pace(guard.get('vitals'), ink)}"
    why = f"it refuses: {guard['refused']}" if guard.get("refused") else FAULTS["GuardLost"].remedy
    return ink.bad("NOT CONNECTED") + f"{since}: {why}"


def _pace(vitals: Json | None, ink: Ink) -> str:
    if vitals is None:
        return ""
    if not (vitals["fifo"] and vitals["locked"]):
        return ", " + ink.bad("memory may be swapped" if vitals["fifo"] else "not real-time") + ": chargerctl guard"
    late = vitals["late"]
    return "" if late is None else f", {late[1] * 1e3:.1f} ms late at most in 99 turns of 100"


def _clock(clock: Json, backend: bool, ink: Ink) -> str:
    if not clock["trusted"]:
        who = "NTP or the backend" if backend else "NTP"
        return ink.bad("NOT TRUSTED") + f": stamps may be wrong until {who} tells the time"
    offset = round(clock["offset"], 1)
    return f"trusted, by the backend: {offset:+.1f} s to the system's" if offset else "trusted"


def _outlet(o: Json, now: str, ink: Ink) -> list[str]:
    place = f" (EVSE {o['evse']}, connector {o['connector']})" if (o["rank"], 1) != (o["evse"], o["connector"]) else ""
    lines = [f"Outlet {o['rank']}{place}  {ink.word(o['status'])}{_for(o['since'], now)}"]
    if not o["operative"]:
        lines.append("  set out of service")
    known = o["limit"] != "no-guard"
    lines.append(f"  {'' if known else 'seen last: '}" + ", ".join(_plug(o)))
    if o["lamp"] is not None:
        lines.append(f"  lamp {o['lamp']['looks']}")
    if not known:
        lines.append(f"  nobody knows what is offered: {LIMITS['no-guard']}")
    elif o["plug"] or o["offered"]:
        switched = f" on {_count(o['phases'], 'phase', 'phases')}" if o.get("switching") else ""
        lines.append(f"  {o['offered']:.1f} A offered{switched}: {LIMITS.get(o['limit'], o['limit'])}")
    lines += _warnings(o.get("warnings", ()), o["rank"], ink)
    tx = o["transaction"]
    if tx is not None:
        used = "energy unknown" if tx["energy_wh"] is None else f"{_kwh(tx['energy_wh'])} taken"
        state = tx["state"]
        if not known or (o["powered"] and "DeviceFailure" in o["faults"]):
            state = "power unknown"
        lines.append(f"  {used} in {spell(_between(tx['started'], now))}, {state}")
        card = "" if tx["token"] is None else f"card {tx['token']}, "
        lines.append(f"  {card}transaction {tx['tx']}")
    elif o["token"] is not None:
        lines.append(f"  card {o['token']} accepted")
    lines.append("  " + _reading(o["reading"]))
    return lines


def _plug(o: Json) -> list[str]:
    if o["plug"]:
        words = ["vehicle asks for power" if o["ready"] else "vehicle plugged in"]
    else:
        words = ["cable without a vehicle"] if o["cable"] else ["nothing plugged in"]
    if o["locked"]:
        held = o["held"]
        words.append(
            "plug locked" if held is None else f"plug held for card {held} (or: chargerctl unlock {o['rank']})"
        )
    bay = [] if o["bay"] is None else ["the bay is taken" if o["bay"] else "the bay is free"]
    return [*words, *bay, _contactor(o["powered"], o["faults"])]


def _contactor(closed: bool, faults: Iterable[str]) -> str:
    """What is known of it: while the board does not answer only that it was to open."""
    if closed and "DeviceFailure" in faults:
        return "contactor told to open, not seen to"
    return "contactor closed" if closed else "contactor open"


def _reading(reading: Json | None) -> str:
    if reading is None:
        return "meter: no reading"
    shown = "" if reading["shown"] is None else f" (the meter itself shows {_kwh(reading['shown'])})"
    words = [f"register {_kwh(reading['energy'])}{shown}"]
    if reading["power"] is not None:
        words.append(f"{reading['power'] / 1000:.2f} kW")
    if reading["amps"] is not None:
        words.append(" ".join(f"{amps:.1f}" for amps in reading["amps"]) + " A")
    old = f" (read {spell(reading['age'])} ago)" if reading["age"] > 5 else ""
    return "meter: " + ", ".join(words) + old


def faults(found: Iterable[Json], ink: Ink) -> str:
    """Each fault with where it is and what to do; one that is everywhere is named once."""
    where: dict[tuple[str, str], list[str]] = {}
    for fault in found:
        text = fault.get("why") or explain(fault["fault"], "OUTLET")
        where.setdefault((fault["fault"], text), []).append(str(fault["outlet"]))
    if not where:
        return "No faults."
    lines = [ink.bad("Faults")]
    for (name, text), ranks in where.items():
        place = "station" if ranks == ["0"] else f"outlet {', '.join(ranks)}"
        text = text.replace("OUTLET", ranks[0])
        lines.append(f"  {ink.bad(name)}, {place}: {text}")
    return "\n".join(lines)


def known_faults(ink: Ink) -> str:
    return "\n".join(f"{ink.bold(name)}: {explain(name, 'OUTLET')}" for name in FAULTS)


def guard_only(truths: Iterable[Json], why: str, ink: Ink) -> str:
    """What the guard alone knows, while there is no daemon."""
    lines = [ink.bad("chargerd does not answer") + f": {why}", "The guard does, and says:"]
    found = []
    for t in truths:
        offer = f"{t['offered']:.1f} A offered: {LIMITS.get(t['limit'], t['limit'] or 'no vehicle')}"
        if t["limit"] == "lease":
            offer += f", which ends in {spell(t['lease'])}" if t["lease"] else ": there is none, or none any more"
        contactor = _contactor(t["closed"], t["faults"])
        lines += [f"Outlet {t['outlet']}  pilot {t['pilot'] or 'unknown'}, {contactor}", f"  {offer}"]
        lines += _warnings(t.get("warnings", ()), t["outlet"], ink)
        found += [{"outlet": t["outlet"], "fault": fault} for fault in t["faults"]]
    return "\n".join([*lines, faults(found, ink)])


def _warnings(names: Iterable[str], outlet: int, ink: Ink) -> list[str]:
    return [f"  {ink.bold('warning')} {name}: {explain(name, outlet)}" for name in names]


# ---------------------------------------------------------------- lists


def sessions(rows: list[Json]) -> str:
    if not rows:
        return "No sessions."
    lines = [f"{'started':<17} {'duration':>12} {'outlet':>6} {'card':<10} {'kWh':>9}  end"]
    for r in rows:
        duration = spell(_between(r["started"], r["ended"]))
        energy = "?" if r["energy_wh"] is None else f"{r['energy_wh'] / 1000:.3f}"
        started = _local(r["started"]).strftime("%Y-%m-%d %H:%M") + (" " if r["trusted"] else "?")
        outlet = "-" if r["outlet"] is None else r["outlet"]
        lines.append(f"{started} {duration:>12} {outlet:>6} {r['token'] or '-':<10} {energy:>9}  {r['reason']}")
    total = sum(r["energy_wh"] or 0.0 for r in rows)
    return "\n".join([*lines, f"{_count(len(rows), 'session', 'sessions')}, {_kwh(total)}"])


def sessions_csv(rows: list[Json]) -> str:
    """Comma-separated, stamps in UTC; lines end as RFC 4180 wants it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["tx", "outlet", "card", "started", "ended", "clock_trusted", "kwh", "reason"])
    for r in rows:
        energy = "" if r["energy_wh"] is None else f"{r['energy_wh'] / 1000:.3f}"
        trusted = "yes" if r["trusted"] else "no"
        writer.writerow([r["tx"], r["outlet"], r["token"], r["started"], r["ended"], trusted, energy, r["reason"]])
    return text.getvalue()


def queue(q: Json, ink: Ink) -> str:
    lines = ["Nothing waits."]
    if q["waiting"]:
        kinds = ", ".join(f"{number} {kind}" for kind, number in q["kinds"].items())
        lines = [
            f"{_count(q['waiting'], 'message waits', 'messages wait')}: {kinds}",
            f"oldest: {_letter(q['oldest'])}",
        ]
    if q["dead"]:
        lines.append(ink.bad(_count(q["dead"], "dead letter", "dead letters")) + ", refused by the backend for good:")
        lines += [f"  {_letter(letter)}" for letter in q["letters"]]
    return "\n".join(lines)


def _letter(row: Json) -> str:
    words = [row["kind"], f"of {_local(row['at']):%Y-%m-%d %H:%M:%S}"]
    if row["tx"] is not None:
        words.append(f"in transaction {row['tx']}")
    return " ".join(words) + f", {_count(row['attempts'], 'attempt', 'attempts')}"


def cards(rows: list[Json]) -> str:
    if not rows:
        return "No cards. Add one: chargerctl cards learn"
    return "\n".join(r["card"] + ("" if r["group"] is None else f"  group {r['group']}") for r in rows)


def known(answer: Json, what: str) -> str:
    """The cache, or the local list."""
    if not answer["enabled"]:
        return f"{what} is switched off."
    head = f"version {answer['version']}" if "version" in answer else ""
    if not answer["entries"]:
        return f"{what} is empty."
    rows = [
        f"{e['card']:<6} {e['status']}"
        + ("" if e["group"] is None else f"  group {e['group']}")
        + ("" if e["expires"] is None else f"  until {_local(e['expires']):%Y-%m-%d %H:%M}")
        for e in answer["entries"]
    ]
    return "\n".join([head, *rows] if head else rows)


def reservations(rows: list[Json]) -> str:
    if not rows:
        return "Nothing is reserved."
    return "\n".join(
        f"{r['number']}: {'outlet ' + str(r['outlet']) if r['outlet'] else 'any outlet'} for {r['card']}"
        + ("" if r["group"] is None else f" or group {r['group']}")
        + f" until {_local(r['until']):%Y-%m-%d %H:%M:%S}"
        for r in rows
    )


def variables(rows: list[Json]) -> str:
    lines = []
    for r in rows:
        value = "(secret)" if r["value"] is None and r["access"] == "WriteOnly" else r["value"]
        origin = "" if r["from"] in ("default", "station") else f"  ({r['from']})"
        name = r["key16"] or r["place2"] or r["name"]
        lines.append(f"{name} = {'' if value is None else value} {r['unit']}".rstrip() + origin)
    return "\n".join(lines)


def moved(answer: Json) -> str:
    """What a `sim` call answered."""
    if answer == {"cable": True}:
        return "done; the cable is still in the socket"
    if answer.keys() == {"new"}:
        return "tapped" if answer["new"] else "the reader holds this card already: chargerctl sim withdraw"
    return plain(answer) if answer and answer != {"cable": False} else "done"


def plain(value: Any, indent: str = "") -> str:
    """Any JSON, a line each."""
    match value:
        case dict():
            found = [(name, each) for name, each in value.items()]
        case list():
            found = [(str(number), each) for number, each in enumerate(value, 1)]
        case _:
            return f"{indent}{_leaf(value)}"
    lines = []
    for name, each in found:
        if isinstance(each, dict | list) and each and not _flat(each):
            lines += [f"{indent}{name}:", plain(each, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {_leaf(each)}")
    return "\n".join(lines)


def _flat(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(each, dict | list) for each in value)


def _leaf(value: Any) -> str:
    match value:
        case list():
            return " ".join(map(_leaf, value)) or "-"
        case None | {}:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return str(round(value, 3))
    return str(value)


# ---------------------------------------------------------------- events


def event(e: Json, ink: Ink) -> str:
    """One line of `watch`."""
    say = _EVENTS.get(e["kind"])
    text = say(e, ink) if say else f"{e['kind']} " + json.dumps(e)
    place = f"outlet {e['outlet']}  " if e.get("outlet") else ""
    return f"{_local(e['at']):%H:%M:%S}  {place}{text}"


def _transaction(e: Json, ink: Ink) -> str:
    words = [f"transaction {e['edge']}: {e['cause'] if e['reason'] is None else e['reason']}", e["state"]]
    if e["token"] is not None:
        words.append(f"card {e['token']}")
    if e["register"] is not None:
        words.append(f"register {_kwh(e['register'])}")
    return ", ".join(words)


def _session(e: Json, ink: Ink) -> str:
    energy = "energy unknown" if e["energy_wh"] is None else _kwh(e["energy_wh"])
    return ink.bold(f"session closed: {energy}") + f", card {e['token'] or '-'}, {e['reason']}"


def _fault(e: Json, ink: Ink) -> str:
    if not e["active"]:
        return f"{e['fault']} is gone"
    return ink.bad(e["fault"]) + f": {explain(e['fault'], e['outlet'])}"


_EVENTS: dict[str, Callable[[Json, Ink], str]] = {
    "status": lambda e, ink: f"{e['was']} → {ink.word(e['status'])}",
    "card": lambda e, ink: f"card {e['token']} tapped" + ("" if e["evse"] is None else f" at EVSE {e['evse']}"),
    "refused": lambda e, ink: ink.bad("card refused"),
    "plug": lambda e, ink: str(e["what"]).replace("-", " "),
    "transaction": _transaction,
    "session": _session,
    "meter": lambda e, ink: f"register {_kwh(e['register'])}",
    "fault": _fault,
    "limit": lambda e, ink: f"{e['amps']:.1f} A permitted: {LIMITS.get(e['source'], e['source'])}",
    "security": lambda e, ink: f"security event {e['name']} {e['info']}".rstrip(),
    "link": lambda e, ink: ink.good("backend connected") if e["up"] else ink.bad("backend lost") + ": chargerctl link",
    "boot": lambda e, ink: f"backend on our boot: {e['status']}",
    "storage": lambda e, ink: (
        "storage works again" if e["works"] else ink.bad("storage FAILED") + ": chargerctl status"
    ),
}


# ---------------------------------------------------------------- words


def spell(seconds: float) -> str:
    """A duration in its two greatest units."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _row(name: str, text: str) -> str:
    return f"{name:<10}{text}"


def _for(since: str, now: str) -> str:
    return f" for {spell(_between(since, now))}"


def _between(since: str, now: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()


def _local(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp).astimezone()


def _kwh(wh: float) -> str:
    return f"{wh / 1000:.3f} kWh"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
