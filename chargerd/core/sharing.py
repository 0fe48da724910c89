"""How a station-wide limit is divided over the outlets that want power.

Everyone gets the same, nobody more than they can take; what one cannot use goes to the others. Below 6 A there is no
code on the pilot: then the youngest visit pauses, so that those before it can go on.
"""

from __future__ import annotations

from collections.abc import Mapping

from chargerd.core.status import LOWEST_AMPS


def share(total: float, wants: Mapping[int, float]) -> dict[int, float]:
    """Amperes per outlet: `wants` is outlet → most it can take, oldest visit first. The sum never exceeds `total`."""
    served = list(wants)
    while served:
        shares = _level(total, {rank: wants[rank] for rank in served})
        if all(shares[rank] >= LOWEST_AMPS for rank in served):
            return {rank: shares.get(rank, 0.0) for rank in wants}
        served.pop()
    return dict.fromkeys(wants, 0.0)


def _level(total: float, wants: Mapping[int, float]) -> dict[int, float]:
    shares: dict[int, float] = {}
    left, waiting = total, dict(wants)
    while waiting:
        even = left / len(waiting)
        small = {rank: most for rank, most in waiting.items() if most <= even}
        if not small:
            return shares | dict.fromkeys(waiting, even)
        shares |= small
        left -= sum(small.values())
        waiting = {rank: most for rank, most in waiting.items() if rank not in small}
    return shares
