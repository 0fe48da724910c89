"""The table at the end of the day: what should be seen, and what was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chargerd.lab.screen import WIDTH, cut


@dataclass(frozen=True, slots=True)
class Row:
    """Something to be seen. `small`: only with the small CSMS; `old`: and in OCPP 1.6."""

    what: str
    small: bool = False
    old: bool = False


ROWS = {
    "boot": Row("boot → accepted"),
    "told": Row("then the status of every connector", small=True),
    "heartbeat": Row("heartbeat", small=True),
    "plug": Row("plug → the connector's status"),
    "card": Row("card → Authorize, accepted", small=True),
    "start": Row("transaction starts with the first register"),
    "charging": Row("charging is told"),
    "energy": Row("meter values that rise"),
    "stop": Row("unplug → stop with the meter's own register"),
    "free": Row("unplug → status Available"),
    "reserved": Row("reserved → kept for its driver, told with the start", small=True, old=True),
    "app-start": Row("app → remote start", small=True),
    "limit": Row("charging profile → the vehicle follows", small=True, old=True),
    "app-stop": Row("app → remote stop", small=True),
    "refused": Row("card that nobody knows → refused, no transaction", small=True),
    "roaming": Row("card that the roaming partner knows → accepted", small=True),
    "killed": Row("daemon killed → the current never stops"),
    "same": Row("daemon back → the same transaction goes on"),
    "offline": Row("backend away → a known card charges"),
    "list": Row("local list → its card charges meanwhile", small=True, old=True),
    "queue": Row("backend back → the queue is delivered"),
    "reset": Row("soft reset → exit 64, started again", small=True),
    "rejected": Row("boot rejected → nothing else is said", small=True),
    "alone": Row("boot rejected → a known card charges", small=True),
    "late": Row("boot accepted at last → the session is delivered", small=True),
    "goodbye": Row("shutdown → status Unavailable", small=True),
    "closed": Row("shutdown → link closed, exit status 0"),
    "safe": Row("the contactor never closed without its conditions"),
    "books": Row("energy in the CSMS's books = the world's meters", small=True),
    "judge": Row("nothing to complain about", small=True),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """`yes` None: not asked. `evidence` in a few words."""

    yes: bool | None
    evidence: str


def table(seen: Mapping[str, Seen]) -> Iterator[str]:
    """The verdict for people, at most 100 columns."""
    words = {True: "yes", False: "NO", None: "not asked"}
    yield f"{'what was seen on the wire':<51}{'seen':<11}evidence"
    for name, one in seen.items():
        yield f"{ROWS[name].what:<51}{words[one.yes]:<11}{cut(one.evidence, WIDTH - 62)}"
