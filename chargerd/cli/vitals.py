"""How the guard keeps its time, for a technician: what it needs, what it takes, and what helps."""

from __future__ import annotations

from chargerd.cli.show import Ink, Json, spell

UNHURRIED = 0.005  # s late in one turn of a hundred: somebody keeps it from the processor
_TIMES = (
    ("late", "late", "from when a turn was due to when it began"),
    ("jitter", "jitter", "by which the period of 20 ms was off"),
    ("exchange", "exchange", "with the board: put out, then sample"),
    ("turn", "turn", "all of it"),
)
_OPENINGS = (
    ("command", "command", "to the contactor"),
    ("mirror", "contact", "until its mirror contact showed it open"),
)


def vitals(v: Json, ink: Ink) -> str:
    """One screen. Times in milliseconds."""
    real = "real-time" if v["fifo"] else ink.bad("not real-time")
    memory = "memory locked" if v["locked"] else ink.bad("memory may be swapped")
    lines = [
        f"{ink.bold('Guard')} up {spell(v['up'])} · {real} · {memory}",
        f"{v['turns']:,} turns, {v['missed']:,} missed; {_pauses(v['pauses'], ink)}",
        f"{v['cpu'] * 100:.1f} % of a core, {v['memory'] / 2**20:.1f} MiB; {_modules(v, ink)}",
        "",
        f"{'ms':<10}{'median':>9}{'99 %':>9}{'worst':>9}   in the last minutes",
        *(_row(name, v[key], about) for key, name, about in _TIMES if v[key] is not None),
        *([_row("late", v["ever"], "since the start")] if v["ever"] is not None else []),
        "",
        f"A vehicle stopped asking while it charged: {v['opened']} times since the start",
        *(_row(name, v[key], about) for key, name, about in _OPENINGS if v[key] is not None),
    ]
    advice = [text for wrong, text in _advice(v) if wrong]
    return "\n".join(lines + (["", *advice] if advice else []))


def _advice(v: Json) -> list[tuple[bool, str]]:
    late = v["late"] is not None and v["late"][1] > UNHURRIED
    return [
        (not v["fifo"], "Real-time scheduling: give the service CAP_SYS_NICE or LimitRTPRIO=40, as the package does."),
        (not v["locked"], "Locked memory: give the service LimitMEMLOCK=infinity, as the package does."),
        (late, "It gets the processor late: look for other real-time programs, low voltage and heat (vcgencmd)."),
        (v["grown"] > 0, "It loaded modules while it was at work, which may take long: please report this."),
    ]


def _pauses(number: int, ink: Ink) -> str:
    if not number:
        return "no pause in which a contactor let go"
    return ink.bad(f"{number} pauses in which the contactors let go")


def _modules(v: Json, ink: Ink) -> str:
    grown = "none" if v["grown"] <= 0 else ink.bad(str(v["grown"]))
    return f"{v['modules']} modules, {grown} of them loaded since it was ready"


def _row(name: str, triple: list[float], about: str) -> str:
    return f"{name:<10}" + "".join(f"{seconds * 1e3:>9.2f}" for seconds in triple) + f"   {about}"
