"""`chargerctl why`: why the amperes are what they are, in words."""

from __future__ import annotations

from typing import Any

from chargerd.cli.show import LIMITS, Ink, spell

Json = dict[str, Any]

_SOURCES = {
    "outlet": "contactor and wiring of the outlet (outlet.amps)",
    "cable": "the cable, as coded in its plug",
    "station": "the station's fuse (station.max_amps)",
    "no-profile": "charging.without_profile, as no charging profile of the backend is in force",
    "offline": "charging.offline_amps, as the backend is away",
}
_PURPOSES = {
    "station-max": "for the whole station",
    "tx-default": "by default",
    "tx": "for this transaction",
}
_SHARED = ("station", "station-profile")


def why(outlets: list[Json], ink: Ink) -> str:
    return "\n\n".join("\n".join(_outlet(outlet, ink)) for outlet in outlets)


def _outlet(o: Json, ink: Ink) -> list[str]:
    phases = "on one phase" if o["phases"] == 1 else f"on {o['phases']} phases"
    offered = "nobody knows what is offered" if o["guard"] is None else f"{o['offered']:.1f} A offered {phases}"
    lines = [f"{ink.bold('Outlet ' + str(o['outlet']))}  {offered}: {_decides(o)}"]
    lines += [f"  {note}" for note in _notes(o)]
    lines.append("  limits, the least first (A per phase):")
    lines += [f"  {limit['amps']:7.1f}  {_source(limit, o)}" for limit in o["limits"]]
    return lines


def _decides(o: Json) -> str:
    return str(LIMITS.get(o["decides"], o["decides"]))


def _notes(o: Json) -> list[str]:
    """What is not a limit, and matters all the same."""
    notes = []
    least = min((limit["amps"] for limit in o["limits"]), default=0.0)
    if o["needs"] is not None and o["permitted"] == 0.0:
        had = least if o["share"] is None or least < o["needs"] else o["share"]
        notes.append(f"paused: {had:.1f} A would be left, and a vehicle needs {o['needs']:.1f} A here")
    if o["sharing"] and o["share"] is not None:
        others = ", ".join(map(str, o["sharing"]))
        notes.append(f"shares the station's limits with outlet {others}: its part is {o['share']:.1f} A")
    if o["waits"]:
        notes.append("gets more as soon as the vehicles at the other outlets have surely let go of it (10 s at most)")
    if o["permitted"] - o["offered"] > 0.1 and o["permitted"] >= 6.0 and o["guard"] not in (None, "lease"):
        notes.append(
            f"chargerd permits {o['permitted']:.1f} A; the guard offers less: {LIMITS.get(o['guard'], o['guard'])}"
        )
    if o["celsius"] is not None:
        notes.append(f"temperature {o['celsius']:.0f} °C")
    if len(o["uses"]) < o["phases"]:
        notes.append("the vehicle uses phase " + ", ".join(f"L{phase}" for phase in o["uses"]) + " only")
    if o["sated"]:
        notes.append("the vehicle takes nothing of what it was offered; where others need it, it comes last")
    if o["switches"]:
        notes.append(f"phases switched {o['switches']} times for this vehicle")
    return notes


def _source(limit: Json, o: Json) -> str:
    profile = limit["profile"]
    if profile is None:
        text = str(_SOURCES.get(limit["source"], limit["source"]))
    else:
        age = "" if limit["age"] is None else f", set {spell(limit['age'])} ago"
        about = f"{_PURPOSES[profile['purpose']]}, stack level {profile['level']}{age}"
        text = f"charging profile {profile['id']} of the backend ({about})"
    if limit["source"] in _SHARED and o["sharing"]:
        text += ", for all outlets together"
    if limit["changes"] is not None:
        then = "none" if limit["then"] is None else f"{limit['then']:.1f} A"
        text += f"; in {spell(limit['changes'])}: {then}"
    return text
