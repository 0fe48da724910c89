"""Cuts and kills: the parts of the command `tests/crash`."""
