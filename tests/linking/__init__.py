"""The link under every fault that a network or a backend can have; see `tests/link --help`."""
