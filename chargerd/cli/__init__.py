"""chargerctl: what a technician types. It knows the control socket and the guard's read-only one, nothing else."""

from chargerd.cli.commands import main

__all__ = ["main"]
