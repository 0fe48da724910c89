"""The configuration of a charger that stands in the simulated world, as a file that chargerd reads."""

from __future__ import annotations

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
    mode: str = "cards",
    world: str = "in-process",
) -> str:
    """TOML. `url` of the backend or `none`; `world` is the path of its socket; each outlet is an EVSE of its own."""
    fixed = str(tethered).lower()
    parts = [
        f'[station]\nid = "{STATION}"\nmax_amps = {64 * outlets}\nstate_dir = "{state_dir}"\nrun_dir = "{run_dir}"',
        f'[csms]\nurl = "{url}"\nversion = ["{version}"]',
        f'[authorization]\nmode = "{mode}"',
        f'[guard]\nboard = "sim:{world}"',
        *(
            f'[[outlet]]\nevse = {n}\namps = 32\ntethered = {fixed}\nmeter = "sim:{world}?outlet={n}"'
            for n in range(1, outlets + 1)
        ),
        f'[[reader]]\ndevice = "sim:{world}?reader=station"',
    ]
    return "\n".join(parts) + "\n"
