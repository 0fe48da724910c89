"""Charging profiles of OCPP 1.6 as a person types them: `1 tx 16/600:10A level=3`, for orders and transcripts.

PLACE PURPOSE LIMITS [WORD=VALUE …]

PLACE    the connector, 0 the station            PURPOSE  max, default or tx
LIMITS   in A or W: `10A`, or from which second of the schedule on which limit: `16/600:10/1200:0A`
id=8  level=0  phases=3  for=3600 (its duration in s)  least=6 (minChargingRate)
kind=relative, absolute, daily or weekly; all but relative start at start=, seconds from now (0)
from=  until=  validity, seconds from now        tx=  transactionId
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from chargerd.lab.peer import Payload

PURPOSES = {"max": "ChargePointMaxProfile", "default": "TxDefaultProfile", "tx": "TxProfile"}
_KINDS = {"relative": "Relative", "absolute": "Absolute", "daily": "Recurring", "weekly": "Recurring"}
_RECURS = {"daily": "Daily", "weekly": "Weekly"}


def profile(words: Sequence[str], now: float) -> tuple[int, Payload]:
    """The place and the ChargingProfile of these words at unix second `now`; ValueError says what is wrong."""
    if len(words) < 3:
        raise ValueError("a profile is PLACE PURPOSE LIMITS, as in: 1 tx 10A")
    place, purpose, limits, *rest = words
    if purpose not in PURPOSES:
        raise ValueError(f"{purpose}: choose {', '.join(PURPOSES)}")
    given = options(rest, _NAMES)
    kind = given.get("kind", "relative")
    if kind not in _KINDS:
        raise ValueError(f"kind={kind}: choose {', '.join(_KINDS)}")
    schedule: Payload = {
        "chargingRateUnit": limits[-1:].upper(),
        "chargingSchedulePeriod": _periods(limits[:-1], given.get("phases")),
    }
    if kind != "relative":
        schedule["startSchedule"] = stamp(now + number(given.get("start", "0")))
    if "for" in given:
        schedule["duration"] = whole(given["for"])
    if "least" in given:
        schedule["minChargingRate"] = number(given["least"])
    found: Payload = {
        "chargingProfileId": whole(given.get("id", "8")),
        "stackLevel": whole(given.get("level", "0")),
        "chargingProfilePurpose": PURPOSES[purpose],
        "chargingProfileKind": _KINDS[kind],
        "chargingSchedule": schedule,
    }
    found |= {"recurrencyKind": _RECURS[kind]} if kind in _RECURS else {}
    found |= {"transactionId": whole(given["tx"])} if "tx" in given else {}
    for name, field in (("from", "validFrom"), ("until", "validTo")):
        if name in given:
            found[field] = stamp(now + number(given[name]))
    return whole(place), found


_NAMES = ("id", "level", "phases", "for", "least", "kind", "start", "from", "until", "tx")


def options(words: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """`name=value` words; ValueError for others."""
    given: dict[str, str] = {}
    for word in words:
        name, is_set, value = word.partition("=")
        if not is_set or name not in names:
            raise ValueError(f"{word}: known are {', '.join(f'{each}=' for each in names)}")
        given[name] = value
    return given


def _periods(text: str, phases: str | None) -> list[Payload]:
    periods = []
    for item in text.split("/"):
        start, _, limit = item.rpartition(":")
        period: Payload = {"startPeriod": whole(start or "0"), "limit": number(limit)}
        periods.append(period | ({} if phases is None else {"numberPhases": whole(phases)}))
    return periods


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def whole(text: str) -> int:
    """ValueError in words."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """ValueError in words."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
