"""What only shows when the parts of a configuration are seen together, and in the files that it names.

The parts are given as far as they could be read: a key that is wrong by itself is not there, and whatever depends on it
is left alone. So all mistakes come at once, and none twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chargerd.config_schema import NO_BACKEND, NO_BAY, NO_METER
from chargerd.config_words import Mistakes, shown
from chargerd.core.variables import HEX_KEY, SETTINGS, Refusal, canonical, find16
from chargerd.core.variables_table import BAY, TABLE, Access, Entry, Source

MOST_ROOTS = 4 * 1024 * 1024
MOST_SOCKET = 107  # bytes of sun_path, see unix(7)

Part = Mapping[str, Any]


def together(
    station: Part, outlets: Sequence[Part], guard: Part, readers: Sequence[Part], initial: Part, wrong: Mistakes
) -> None:
    for n, outlet in enumerate(outlets, 1):
        if outlet.get("plug") == "type1" and outlet.get("tethered") is False:
            wrong.add(f"outlet[{n}].plug", "is a type 1 socket, which does not exist", "set tethered = true")
        for name in ("min_amps", "begin_amps"):
            if name in outlet and "amps" in outlet and outlet[name] > outlet["amps"]:
                wrong.add(f"outlet[{n}].{name}", "is more than its amps", "no vehicle would ever charge here")
    _places(outlets, readers, wrong)
    _meters(outlets, wrong)
    _bays(outlets, initial, wrong)
    for name in ("socket", "watch_socket"):
        if name in guard and "run_dir" in station:
            length = len(bytes(Path(station["run_dir"], guard[name])))
            if length > MOST_SOCKET:
                wrong.add(f"guard.{name}", f"is {length} bytes with run_dir", f"at most {MOST_SOCKET} for a socket")


def _places(outlets: Sequence[Part], readers: Sequence[Part], wrong: Mistakes) -> None:
    """EVSEs and their connectors are numbered from 1, each once."""
    places = [(outlet["evse"], outlet["connector"]) for outlet in outlets if {"evse", "connector"} <= outlet.keys()]
    if not places or len(places) < len(outlets):
        return
    for n, place in enumerate(places, 1):
        if place in places[: n - 1]:
            wrong.add(f"outlet[{n}].connector", "stands twice", "number the connectors of an EVSE from 1")
    evses = {evse for evse, _ in places}
    if evses != set(range(1, len(evses) + 1)):
        wrong.add("outlet", f"EVSE numbers are {sorted(evses)}", "number EVSEs from 1 without gaps")
    for evse in sorted(evses):
        here = {connector for at, connector in places if at == evse}
        if here != set(range(1, len(here) + 1)):
            wrong.add("outlet", f"EVSE {evse} has connectors {sorted(here)}", "number them from 1 without gaps")
    for n, reader in enumerate(readers, 1):
        if reader.get("evse") is not None and reader["evse"] not in evses:
            wrong.add(f"reader[{n}].evse", f"there is no EVSE {reader['evse']}", f"choose of {sorted(evses)}")


def _meters(outlets: Sequence[Part], wrong: Mistakes) -> None:
    """Each outlet has its own: another's current would read as one through an open contactor, and be billed twice."""
    first: dict[str, int] = {}
    for n, outlet in enumerate(outlets, 1):
        meter = outlet.get("meter", NO_METER)
        if meter != NO_METER and first.setdefault(meter, n) != n:
            wrong.add(f"outlet[{n}].meter", f"is that of outlet {first[meter]}", "each outlet needs a meter of its own")


def _bays(outlets: Sequence[Part], initial: Part, wrong: Mistakes) -> None:
    if all(outlet.get("bay") != NO_BAY for outlet in outlets):
        return
    for name in ("tx_start_points", "tx_stop_points"):
        if BAY in initial.get(name, "").split(","):
            place = SETTINGS[name].place
            wrong.add(f"ocpp2.{place}", f"has {BAY}", "give every outlet a detector: bay, or leave it out")


# ---------------------------------------------------------------- the backend


def backend(csms: Part, secrets: bool, wrong: Mistakes) -> str | None:
    """The password in the file that is named for it, if that may be read: `secrets`."""
    both = csms.get("password") and csms.get("password_file")
    if both:
        wrong.add("csms.password", "is given beside password_file", "keep one of the two")
    url = csms.get("url")
    if url is not None and url != NO_BACKEND:
        _address(csms, secrets, wrong)
    return _of_file(csms, wrong) if secrets and csms.get("password_file") and not both else None


def _address(csms: Part, secrets: bool, wrong: Mistakes) -> None:
    url: str = csms["url"]
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        wrong.add("csms.url", "is no ws:// or wss:// address", 'write "ws://host:port/path", or "none"')
    elif parts.username is not None or parts.query or parts.fragment or " " in url:
        wrong.add("csms.url", "has more than host, port and path", "put the password into csms.password")
    else:
        _security(csms, parts.scheme == "wss", secrets, wrong)


def _security(csms: Part, tls: bool, secrets: bool, wrong: Mistakes) -> None:
    """What url, password and the rest say about TLS and authentication must be one thing (2.0.1 A00)."""
    wanted, roots, proxy = csms.get("security_profile"), csms.get("ca_file"), csms.get("proxy")
    if (wanted == "2" and not tls) or (wanted == "1" and tls):
        has = "TLS (wss://)" if tls else "no TLS (ws://)"
        wrong.add("csms.security_profile", f'is "{wanted}", but csms.url has {has}', "change one of the two")
    if {"security_profile", "password", "password_file"} <= csms.keys() and wanted != "auto":
        password = bool(csms["password"] or csms["password_file"])
        if (wanted != "0") != password:
            there = "there is one" if password else "there is none"
            wrong.add("csms.security_profile", f'is "{wanted}", but of a password {there}', "change one of the two")
    if roots and not tls:
        wrong.add("csms.ca_file", "is given, but csms.url has no TLS", "write wss://, or remove the line")
    if roots and tls and secrets:
        _roots(roots, wrong)
    if csms.get("password"):
        _password("csms.password", csms["password"], csms, wrong)
    if proxy and not re.fullmatch(r"http://[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}/?", proxy):
        wrong.add("csms.proxy", f"is {shown(proxy)}", 'write it like "http://proxy.example:3128"')


def _roots(path: str, wrong: Mistakes) -> None:
    try:
        with Path(path).open("rb") as file:
            text = file.read(MOST_ROOTS)
    except OSError as error:
        wrong.add("csms.ca_file", f"cannot be read ({error.strerror})", "check path and permissions")
        return
    if b"-----BEGIN CERTIFICATE-----" not in text:
        wrong.add("csms.ca_file", "holds no certificate", "give certificates in PEM, one below the other")


def _password(path: str, password: str, csms: Part, wrong: Mistakes) -> None:
    """A00.FR.205: 16 to 64 characters, sent as UTF-8; in 1.6 as well 16 to 20 bytes in hexadecimal."""
    if not password.startswith("hex:"):
        if not 16 <= len(password) <= 64 or not password.isprintable():
            wrong.add(path, f"has {len(password)} characters", "one line of 16 to 64 printable characters")
    elif not HEX_KEY.fullmatch(password):
        wrong.add(path, "is no key in hexadecimal", "write hex: and 32 to 40 digits 0-9 a-f, an even number")
    elif csms.get("version", ("1.6",)) != ("1.6",):
        wrong.add(path, "is a binary key, which only OCPP 1.6 has", "give a text of 16 to 64 characters")


def _of_file(csms: Part, wrong: Mistakes) -> str | None:
    try:
        with Path(csms["password_file"]).open(encoding="utf-8") as file:
            password = file.readline(1024).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        wrong.add("csms.password_file", f"cannot be read ({type(error).__name__})", "check path and permissions")
        return None
    _password("csms.password_file", password, csms, wrong)
    return password


# ---------------------------------------------------------------- initial values of OCPP variables


def initial(body: Part, wrong: Mistakes) -> dict[str, str]:
    """Sections ocpp16 and ocpp2 by internal name; a variable that stands in both must say the same."""
    places = {entry.place.casefold(): entry for entry in TABLE if entry.place}
    keys = tuple(entry.key for entry in SETTINGS.values() if entry.key)
    known = tuple(entry.place for entry in SETTINGS.values() if entry.place)
    values: dict[str, str] = {}
    for key, value in _given(body, "ocpp16", wrong):
        _take(values, f"ocpp16.{key}", key, find16(key), value, keys, wrong)
    for key, value in _given(body, "ocpp2", wrong):
        _take(values, f"ocpp2.{key}", key, places.get(key.casefold()), value, known, wrong)
    return values


def _given(body: Part, section: str, wrong: Mistakes) -> Iterator[tuple[str, Any]]:
    """The keys of a section; `Component.Variable` without quotes, which TOML takes for a table, is joined again."""
    table = body.get(section, {})
    if not isinstance(table, dict):
        wrong.add(section, "is not a table", f"write [{section}] on a line of its own")
        return
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _take(
    values: dict[str, str],
    path: str,
    key: str,
    entry: Entry | None,
    value: Any,
    known: tuple[str, ...],
    wrong: Mistakes,
) -> None:
    text = _text(value)
    if entry is None:
        wrong.unknown(path, key, known, "variable")
    elif entry.source is not Source.SETTING:
        wrong.add(path, "says what this station is, it cannot be set", "remove the line")
    elif entry.access is Access.WRITE_ONLY:
        wrong.add(path, "is a secret", "write it as csms.password or into csms.password_file")
    elif text is None:
        wrong.add(path, "has no OCPP value", "give a text, a number, true, false or a list of texts")
    elif isinstance(found := canonical(entry, text), Refusal):
        wrong.add(path, f"is {shown(text)}", f"give {found.why}")
    elif values.setdefault(entry.name, found) != found:
        wrong.add(path, "has another value under its other name", "keep one of the two")


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return str(value).lower()
        case int() | str():
            return str(value)
        case list() if all(isinstance(item, str) for item in value):
            return ",".join(value)
    return None
