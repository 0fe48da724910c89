"""The configuration of a charger that stands in the simulated world, as a file that chargerd reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

STATION = "CS-0001"


def configuration(
    state_dir: Path,
    run_dir: Path,
    *,
    url: str,
    version: str,
    outlets: int = 1,
    tethered: bool = False,
    bays: bool = False,
    mode: str = "cards",
    world: str = "in-process",
    max_amps: float | None = None,
    metered: bool = True,
    readers: Sequence[int | None] = (None,),
    each: str = "",
) -> str:
    """TOML. `url` of the backend or `none`; `world` is the path of its socket; each outlet is an EVSE of its own.

    `each`: more keys of every outlet's table. `readers`: one each, at this EVSE, or for the whole station.
    """
    fixed = str(tethered).lower()

    def meter(n: int) -> str:
        return f"sim:{world}?outlet={n}" if metered else "none"

    def place(evse: int | None) -> str:
        return "station" if evse is None else f"evse{evse}"

    def at(evse: int | None) -> str:
        return "" if evse is None else f"\nevse = {evse}"

    most = max_amps or 64 * outlets
    parts = [
        f'[station]\nid = "{STATION}"\nmax_amps = {most}\nstate_dir = "{state_dir}"\nrun_dir = "{run_dir}"',
        f'[csms]\nurl = "{url}"\nversion = ["{version}"]',
        f'[authorization]\nmode = "{mode}"',
        f'[guard]\nboard = "sim:{world}"',
        *(
            f'[[outlet]]\nevse = {n}\namps = 32\ntethered = {fixed}\nmeter = "{meter(n)}"'
            + f"\n{each}"
            + (f'\nbay = "sim:{world}?outlet={n}"' if bays else "")
            for n in range(1, outlets + 1)
        ),
        *(f'[[reader]]\ndevice = "sim:{world}?reader={place(evse)}"{at(evse)}' for evse in readers),
    ]
    return "\n".join(parts) + "\n"
