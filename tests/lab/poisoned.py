"""`chargerd` with a station that cannot digest some cards: `python -m tests.lab.poisoned run --config FILE`."""

from __future__ import annotations

import sys
from typing import Any

from chargerd.core import station
from chargerd.core.events import TokenSeen

POISON = "DEAD"

if __name__ == "__main__":
    step = station.step

    def choosy(state: Any, event: Any, *more: Any) -> Any:
        if isinstance(event, TokenSeen) and event.token.id.upper().startswith(POISON):
            raise ZeroDivisionError("a fault of the program")
        return step(state, event, *more)

    station.step = choosy  # type: ignore[assignment]
    from chargerd.main import main

    sys.exit(main(sys.argv[1:]))
