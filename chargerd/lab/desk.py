"""What an operator asks of a station, said in the words of its version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from chargerd.lab.peer import Payload, StationView

Call = Callable[[str, str, Payload], Awaitable[Payload]]


class Desk:
    """Each request returns the station's own word for how it went, or raises what `Csms.call` raises."""

    def __init__(self, call: Call, station: StationView) -> None:
        self._call = call
        self._station = station.id
        self._remote_starts = station.remote_starts
        self._old = station.version == "ocpp1.6"

    async def _status(self, action: str, payload: Payload) -> str:
        return str((await self._call(self._station, action, payload))["status"])

    async def remote_start(self, token: str, evse: int | None = None, *, type: str = "ISO14443", **more: Any) -> str:
        """F01/F02, 1.6 §5.11; `evse` is 1.6's connectorId, `more` goes into the request (chargingProfile …)."""
        if self._old:
            where = {} if evse is None else {"connectorId": evse}
            return await self._status("RemoteStartTransaction", {"idTag": token, **where, **more})
        where = {} if evse is None else {"evseId": evse}
        who = {"idToken": {"idToken": token, "type": type}, "remoteStartId": next(self._remote_starts)}
        return await self._status("RequestStartTransaction", who | where | more)

    async def remote_stop(self, transaction: int | str) -> str:
        """F03, 1.6 §5.12."""
        action = "RemoteStopTransaction" if self._old else "RequestStopTransaction"
        return await self._status(action, {"transactionId": transaction})

    async def unlock(self, evse: int, connector: int = 1) -> str:
        """F05, 1.6 §5.18."""
        where = {"connectorId": evse} if self._old else {"evseId": evse, "connectorId": connector}
        return await self._status("UnlockConnector", where)

    async def reset(self, *, hard: bool = False) -> str:
        """B11/B12, 1.6 §5.14; hard is Hard or Immediate, else Soft or OnIdle."""
        words = ("Soft", "Hard") if self._old else ("OnIdle", "Immediate")
        return await self._status("Reset", {"type": words[hard]})

    async def change_availability(self, operative: bool, evse: int = 0) -> str:
        """G03/G04, 1.6 §5.2; EVSE 0 is the whole station."""
        word = "Operative" if operative else "Inoperative"
        if self._old:
            return await self._status("ChangeAvailability", {"connectorId": evse, "type": word})
        where = {"evse": {"id": evse}} if evse else {}
        return await self._status("ChangeAvailability", {"operationalStatus": word, **where})

    async def trigger(self, message: str, evse: int | None = None) -> str:
        """F06, 1.6 §5.17."""
        where: Payload = {}
        if evse is not None:
            where = {"connectorId": evse} if self._old else {"evse": {"id": evse}}
        return await self._status("TriggerMessage", {"requestedMessage": message, **where})

    async def clear_cache(self) -> str:
        """C11, 1.6 §5.4."""
        return await self._status("ClearCache", {})

    async def send_list(self, version: int, entries: Mapping[str, str | None], *, full: bool = True) -> str:
        """1.6 §5.15: token → status, None takes it off the list."""
        rows = [
            {"idTag": token} | ({} if status is None else {"idTagInfo": {"status": status}})
            for token, status in entries.items()
        ]
        kind = "Full" if full else "Differential"
        payload = {"listVersion": version, "updateType": kind, "localAuthorizationList": rows}
        return await self._status("SendLocalList", payload)

    async def list_version(self) -> int:
        """1.6 §5.10."""
        return int((await self._call(self._station, "GetLocalListVersion", {}))["listVersion"])

    async def reserve(self, number: int, token: str, until: str, evse: int = 0, group: str | None = None) -> str:
        """1.6 §5.13; EVSE 0 is any; `until` in RFC 3339."""
        payload = {"connectorId": evse, "expiryDate": until, "idTag": token, "reservationId": number}
        return await self._status("ReserveNow", payload | ({} if group is None else {"parentIdTag": group}))

    async def cancel_reservation(self, number: int) -> str:
        """1.6 §5.1."""
        return await self._status("CancelReservation", {"reservationId": number})

    async def set_profile(self, place: int, profile: Payload) -> str:
        """1.6 §5.16; connector 0 is the station."""
        return await self._status("SetChargingProfile", {"connectorId": place, "csChargingProfiles": profile})

    async def clear_profiles(self, **which: Any) -> str:
        """1.6 §5.5: id, connectorId, chargingProfilePurpose, stackLevel, or none of them."""
        return await self._status("ClearChargingProfile", which)

    async def composite(self, place: int, duration: int, unit: str | None = None) -> Payload:
        """1.6 §5.7: the whole answer."""
        payload = {"connectorId": place, "duration": duration}
        more = {} if unit is None else {"chargingRateUnit": unit}
        return await self._call(self._station, "GetCompositeSchedule", payload | more)

    async def get(self, *names: str) -> dict[str, str | None]:
        """B06, 1.6 §5.8: keys, or `Component.Variable` in 2.x; what is unknown or unreadable is None."""
        if self._old:
            told = await self._call(self._station, "GetConfiguration", {"key": list(names)} if names else {})
            found = {entry["key"]: entry.get("value") for entry in told.get("configurationKey", ())}
            return found | dict.fromkeys(told.get("unknownKey", ()))
        wanted = [_variable(name) for name in names]
        told = await self._call(self._station, "GetVariables", {"getVariableData": wanted})
        results = told["getVariableResult"]
        return {f"{one['component']['name']}.{one['variable']['name']}": one.get("attributeValue") for one in results}

    async def set(self, name: str, value: str) -> str:
        """B05, 1.6 §5.3."""
        if self._old:
            return await self._status("ChangeConfiguration", {"key": name, "value": value})
        wanted = {**_variable(name), "attributeValue": value}
        told = await self._call(self._station, "SetVariables", {"setVariableData": [wanted]})
        return str(told["setVariableResult"][0]["attributeStatus"])


def _variable(name: str) -> Payload:
    component, _, variable = name.partition(".")
    return {"component": {"name": component}, "variable": {"name": variable}}
