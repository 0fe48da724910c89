"""One context with pcscd, and what can be asked within it of one reader and the card in its field. All of it blocks."""

from __future__ import annotations

import time
from typing import Any

from hal.api import CardRefused, DeviceError
from hal.pcsc.lights import taken
from hal.pcsc.trouble import absent, explain

ATTEMPTS, BETWEEN, PATIENCE = 3, 0.1, 1.0  # s; a card at the edge of the field needs more than one
_GET_UID = bytes.fromhex("FFCA000000")  # PC/SC part 3 §3.2.2.1.3
_NOT_SUPPORTED = (b"\x63\x00", b"\x6a\x81", b"\x6d\x00", b"\x6e\x00")
_SAM = " SAM"  # a slot within the reader, where no driver can hold a card


class Field:
    """A context, from `with` to its end. Any method may raise DeviceError: then the context is of no use any more."""

    def __init__(self, scard: Any, name: str) -> None:
        self._scard, self._name = scard, name
        self._context: Any = None
        self._state = scard.SCARD_STATE_UNAWARE
        self.reader = ""

    def __enter__(self) -> Field:
        code, self._context = self._scard.SCardEstablishContext(self._scard.SCARD_SCOPE_USER)
        self._check(code, "card readers")
        return self

    def __exit__(self, *_: object) -> None:
        self._scard.SCardReleaseContext(self._context)

    def find(self) -> DeviceError | None:
        """Set `reader`; why there is none, or more than one, that the name can mean."""
        code, readers = self._scard.SCardListReaders(self._context, [])
        if code != self._scard.SCARD_E_NO_READERS_AVAILABLE:
            self._check(code, "card readers")
        found = [reader for reader in readers if self._name in reader]
        named = [reader for reader in found if reader == self._name or (_SAM not in reader or _SAM in self._name)]
        if self._name in found:
            named = [self._name]
        if not named:
            return absent(self._name, readers)
        if len(named) > 1:
            return DeviceError(f"card reader {self._name!r} may be {' or '.join(named)}: write pcsc:<the whole name>")
        self.reader = str(named[0])
        return None

    def wait(self, seconds: float) -> bool | None:
        """True: a card is there that was not, or came anew; False: the field is empty; None: nothing is new."""
        scard = self._scard
        code, states = scard.SCardGetStatusChange(self._context, int(seconds * 1000), [(self.reader, self._state)])
        if code == scard.SCARD_E_TIMEOUT:
            return None
        self._check(code, self._what)
        state = self._state = states[0][1]
        if state & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE):
            raise explain(scard, scard.SCARD_E_READER_UNAVAILABLE, self._what)
        if state & scard.SCARD_STATE_PRESENT:
            return True
        return False if state & scard.SCARD_STATE_EMPTY else None

    def uid(self) -> bytes | None:
        """The number of the card in the field; None: it has left. `CardRefused`: it gives none."""
        began = time.monotonic()
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(BETWEEN)
            if time.monotonic() - began > PATIENCE:  # one that hangs is asked once
                break
            answer = self._exchange(_GET_UID)
            if answer is None:
                return None
            if answer[-2:] == b"\x90\x00":
                return answer[:-2]
            if answer[-2:] in _NOT_SUPPORTED:
                raise CardRefused(f"card reader {self.reader} gives no number for this kind of card")
        raise CardRefused(f"card reader {self.reader} could not read the card: hold it flat and still")

    def command(self, command: bytes) -> str:
        """Give the reader an order by way of the card in its field; why it does not take it, "" where it does."""
        answer = self._exchange(command)
        if answer is None or taken(answer):
            return ""
        return f"it answers {answer[:8].hex(' ').upper() or 'nothing'}"

    @property
    def _what(self) -> str:
        return f"card reader {self.reader}"

    def _exchange(self, command: bytes) -> bytes | None:
        """The answer of card or reader, empty where the exchange failed; None: the card has left."""
        scard = self._scard
        protocols = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        code, handle, protocol = scard.SCardConnect(self._context, self.reader, scard.SCARD_SHARE_SHARED, protocols)
        if code == scard.SCARD_S_SUCCESS:
            try:
                header = scard.SCARD_PCI_T1 if protocol == scard.SCARD_PROTOCOL_T1 else scard.SCARD_PCI_T0
                code, answer = scard.SCardTransmit(handle, header, list(command))
            finally:
                scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)
            if code == scard.SCARD_S_SUCCESS:
                return bytes(answer)
        if code in (scard.SCARD_E_NO_SMARTCARD, scard.SCARD_W_REMOVED_CARD):
            return None
        if code in self._passing:
            return b""
        raise explain(scard, code, self._what)

    @property
    def _passing(self) -> tuple[int, ...]:
        """What a card at the edge of the field, or a damaged one, makes of an exchange: the reader is well."""
        scard = self._scard
        return (
            scard.SCARD_W_RESET_CARD,
            scard.SCARD_W_UNRESPONSIVE_CARD,
            scard.SCARD_W_UNPOWERED_CARD,
            scard.SCARD_W_UNSUPPORTED_CARD,
            scard.SCARD_E_PROTO_MISMATCH,
            scard.SCARD_E_NOT_TRANSACTED,
            scard.SCARD_E_CARD_UNSUPPORTED,
        )

    def _check(self, code: int, what: str) -> None:
        if code != self._scard.SCARD_S_SUCCESS:
            raise explain(self._scard, code, what)
