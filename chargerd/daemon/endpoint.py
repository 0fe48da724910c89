"""Where the backend is, and as whom the station comes to it. 1.6 ocppj §3.1 and §6.2, 2.0.1 part 4 §3.1, A00."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from chargerd.daemon.dial import Target
from chargerd.daemon.tls import Trust

_HEX_KEY = re.compile(r"hex:((?:[0-9a-fA-F]{2})+)")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to, as whom. `url` without the station id; `password` is sent as Basic, `hex:…` as the bytes it stands for.

    `subprotocols` in order of preference (`ocpp2.0.1`, `ocpp1.6`). `trust` is for wss://. `proxy`: http://host:port.
    """

    url: str
    station: str
    subprotocols: tuple[str, ...]
    password: str | None = field(default=None, repr=False)
    trust: Trust = field(default_factory=Trust, repr=False)
    wildcards: bool = False
    proxy: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.query or parts.fragment or "@" in self.url:
            raise ValueError(f"backend address {self.url!r}: use ws://host[:port]/path or wss://…, nothing after it")
        if not self.station or ":" in self.station:
            raise ValueError(f"station id {self.station!r}: must not be empty nor hold a colon")
        if not self.subprotocols:
            raise ValueError("no OCPP version to offer: name at least one subprotocol")

    @property
    def connection_url(self) -> str:
        """The endpoint URL, a slash, and the percent-encoded station id (part 4 §3.1.1)."""
        return f"{self.url.rstrip('/')}/{quote(self.station, safe='')}"

    @property
    def authorization(self) -> dict[str, str]:
        """The HTTP Basic header, user = station id (1.6 ocppj §6.2.2, A00.FR.204); empty without a password."""
        if self.password is None:
            return {}
        key = _HEX_KEY.fullmatch(self.password)
        password = self.password.encode() if key is None else bytes.fromhex(key[1])
        token = base64.b64encode(self.station.encode() + b":" + password).decode()
        return {"Authorization": f"Basic {token}"}

    def target(self) -> Target:
        """For one connection. Raises TrustUnusable."""
        parts = urlsplit(self.url)
        secure = parts.scheme == "wss"
        return Target(
            url=self.connection_url,
            host=parts.hostname or "",
            port=parts.port or (443 if secure else 80),
            subprotocols=self.subprotocols,
            headers=self.authorization,
            tls=self.trust.context() if secure else None,
            wildcards=self.wildcards,
            proxy=self.proxy,
        )
