"""`chargerd` of another link version: `python -m tests.guard.neighbour VERSION guard|run --config FILE`."""

from __future__ import annotations

import sys

from chargerd.guard import lease

if __name__ == "__main__":
    lease.LINK_VERSION = int(sys.argv[1])  # before anything that asks for it is loaded
    from chargerd.main import main

    sys.exit(main(sys.argv[2:]))
