"""What months do to a charger: the parts of the command `tests/endure`, and tests of bad disks and bad clocks."""
