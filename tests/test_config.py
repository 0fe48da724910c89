"""The configuration file: what it may say, and how every mistake is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd import config
from chargerd.config import Config, parse
from chargerd.config_reference import reference
from chargerd.core.variables import SETTINGS
from chargerd.errors import ConfigInvalid, Problem

GOOD = """\
[station]
id = "CS-7"
max_amps = 32

[csms]
url = "wss://csms.example/ocpp"
password = "a secret of the owner"

[[outlet]]
evse = 1
amps = 32
meter = "sim:/run/w?outlet=1"

[[outlet]]
evse = 2
amps = 16.5
phases = 1
tethered = true

[guard]
board = "sim:/run/w"

[[reader]]
device = "pcsc:ACR122"
evse = 2
"""


def problems(text: str) -> list[Problem]:
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, "c.toml")
    return list(caught.value.problems)


def only(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def test_a_good_file_becomes_values_with_defaults() -> None:
    got = parse(GOOD)
    assert got.station.id == "CS-7"
    assert got.station.max_amps == 32.0 and isinstance(got.station.max_amps, float)
    assert got.csms.version == ("2.1", "2.0.1", "1.6")
    assert [(o.evse, o.connector, o.amps, o.phases, o.tethered) for o in got.outlets] == [
        (1, 1, 32.0, 3, False),
        (2, 1, 16.5, 1, True),
    ]
    assert got.outlets[1].meter == config.NO_METER
    assert [(r.device, r.evse) for r in got.readers] == [("pcsc:ACR122", 2)]
    assert got.backend


def test_sockets_and_files_live_in_their_directories_unless_absolute() -> None:
    got = parse(GOOD.replace('id = "CS-7"', 'id = "CS-7"\nrun_dir = "/r"\nstate_dir = "/s"'))
    assert str(got.guard_socket) == "/r/guard.sock"
    assert str(got.guard_watch_socket) == "/r/guard-ro.sock"
    assert str(got.control_socket) == "/r/control.sock"
    assert str(got.latch_file) == "/s/latch"
    assert str(parse(GOOD.replace("[guard]", '[guard]\nsocket = "/else/g"')).guard_socket) == "/else/g"


def test_a_secret_is_not_in_the_repr() -> None:
    assert "secret" not in repr(parse(GOOD))


def test_without_a_backend() -> None:
    got = parse(GOOD.replace("wss://csms.example/ocpp", "none") + '[authorization]\nmode = "free"\n')
    assert not got.backend
    assert got.authorization.mode == "free"


# ---------------------------------------------------------------- the reference


def test_the_reference_loads_and_is_the_deployed_file() -> None:
    assert isinstance(parse(reference()), Config)
    assert max(map(len, reference().splitlines())) <= 120
    deployed = Path(__file__).parents[1] / "deploy" / "chargerd.toml"
    assert deployed.read_text(encoding="utf-8") == reference(), "write it anew with chargerd config --reference"


def test_every_commented_default_of_the_reference_can_be_pasted() -> None:
    text = re.sub(r"^#(?=\S)", "", reference(), flags=re.MULTILINE)
    got, plain = parse(text), parse(reference())
    assert (got.station, got.csms, got.outlets, got.guard, got.log) == (
        plain.station,
        plain.csms,
        plain.outlets,
        plain.guard,
        plain.log,
    )
    assert {name: SETTINGS[name].default for name in got.initial} == dict(got.initial)
    assert set(SETTINGS) - set(got.initial) == {"basic_auth_password"}


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "what", "remedy"),
    [
        ("max_amps = 32", "max_amps = 5.9", 3, "station.max_amps", "is 5.9", "6 to 1000 A"),
        ("max_amps = 32", "max_amps = nan", 3, "station.max_amps", "is nan", "6 to 1000 A"),
        ("max_amps = 32", "max_amps = true", 3, "station.max_amps", "is true or false", "give a number"),
        ("max_amps = 32", 'max_amps = "32"', 3, "station.max_amps", "is a text", "give a number"),
        ("max_amps = 32", "", 1, "station.max_amps", "is missing", "add max_amps = 32"),
        ('id = "CS-7"', 'id = "CS:7"', 2, "station.id", 'is "CS:7"', 'like "CS-0001"'),
        ('id = "CS-7"', f'id = "{"x" * 49}"', 2, "station.id", "49 characters", "at most 48"),
        ('id = "CS-7"', 'idd = "CS-7"\nid = "x"', 2, "station.idd", "unknown key", "did you mean id?"),
        ('id = "CS-7"', 'id = "x"\nrun_dir = "run"', 3, "station.run_dir", 'is "run"', "absolute path"),
        ("[csms]", "[cmss]\n[csms]", 5, "cmss", "unknown section", "did you mean csms?"),
        ("wss://", "https://", 6, "csms.url", "no ws:// or wss://", "none"),
        ("wss://csms", "wss://u:p@csms", 6, "csms.url", "more than host", "csms.password"),
        ("csms.example/ocpp", "csms.example/ocpp?a=1", 6, "csms.url", "more than host", "csms.password"),
        ("csms.example", "csms.example:99999", 6, "csms.url", "no ws:// or wss://", "none"),
        ("[csms]", '[csms]\nversion = ["1.5"]', 6, "csms.version", 'has "1.5"', "1.6, 2.0.1 or 2.1"),
        ("[csms]", '[csms]\nversion = ["1.6", "1.6"]', 6, "csms.version", "repetitions", '["1.6", "2.0.1", "2.1"]'),
        ("[csms]", '[csms]\npassword_file = "/x"', 8, "csms.password", "beside password_file", "keep one"),
        ("amps = 16.5", "amps = 81", 16, "outlet[2].amps", "is 81", "6 to 80 A"),
        ("phases = 1", "phases = 2", 17, "outlet[2].phases", "is 2", "1 or 3"),
        ('meter = "sim:/run/w?outlet=1"', 'plug = "type1"', 12, "outlet[1].plug", "type 1 socket", "tethered"),
        ("evse = 2\namps", "evse = 2\nconnector = 2\namps", 9, "outlet", "connectors [2]", "without gaps"),
        ('"pcsc:ACR122"\nevse = 2', '"pcsc:ACR122"\nevse = 3', 25, "reader[1].evse", "no EVSE 3", "[1, 2]"),
        ('"pcsc:ACR122"', '"ACR122"', 24, "reader[1].device", 'is "ACR122"', "sim:/run"),
        ('[guard]\nboard = "sim:/run/w"', "", 0, "guard", "is missing", "[guard]"),
        ("[guard]", f'[guard]\nsocket = "{"x" * 100}"', 21, "guard.socket", "bytes with run_dir", "at most 107"),
        ("[csms]", "[log]\nlevel = 3\n[csms]", 6, "log.level", "is a whole number", "text in quotes"),
        ("[csms]", "[ocpp16]\nHeartbeatInterval = 0\n[csms]", 6, "ocpp16.HeartbeatInterval", 'is "0"', "at least 1 s"),
        (
            "[csms]",
            "[ocpp16]\nHartbeatInterval = 9\n[csms]",
            6,
            "ocpp16.HartbeatInterval",
            "unknown",
            "HeartbeatInterval?",
        ),
        (
            "[csms]",
            "[ocpp16]\nNumberOfConnectors = 9\n[csms]",
            6,
            "ocpp16.NumberOfConnectors",
            "cannot be set",
            "remove",
        ),
        ("[csms]", "[ocpp16]\nResetRetries = 1.5\n[csms]", 6, "ocpp16.ResetRetries", "no OCPP value", "a number"),
        (
            "[csms]",
            '[ocpp2]\n"SecurityCtrlr.BasicAuthPassword" = "0123456789abcdef"\n[csms]',
            6,
            "ocpp2.SecurityCtrlr.BasicAuthPassword",
            "is a secret",
            "csms.password",
        ),
        (
            "[csms]",
            "[ocpp16]\nResetRetries = 2\n[ocpp2]\nOCPPCommCtrlr.ResetRetries = 3\n[csms]",
            8,
            "ocpp2.OCPPCommCtrlr.ResetRetries",
            "other name",
            "keep one",
        ),
        ("[csms]", "ocpp2 = 3\n[csms]", 5, "station.ocpp2", "unknown key", "known: "),
    ],
)
def test_a_mistake_names_line_key_value_and_remedy(
    old: str, new: str, line: int, key: str, what: str, remedy: str
) -> None:
    assert GOOD.count(old) == 1
    found = only(GOOD.replace(old, new))
    assert (found.file, found.line, found.key) == ("c.toml", line, key)
    assert what in found.what
    assert remedy in found.remedy


def test_all_mistakes_are_reported_at_once() -> None:
    text = GOOD.replace("max_amps = 32", "max_amps = 2").replace("amps = 16.5", "amps = 1").replace("device", "devise")
    assert [(p.line, p.key) for p in problems(text)] == [
        (3, "station.max_amps"),
        (16, "outlet[2].amps"),
        (24, "reader[1].devise"),
        (23, "reader[1].device"),
    ]


def test_a_mistake_elsewhere_hides_none_of_the_backend_s() -> None:
    text = GOOD.replace("max_amps = 32", "max_amps = 2").replace("wss://", "http://")
    assert [p.key for p in problems(text)] == ["station.max_amps", "csms.url"]


def test_no_section_waits_for_another_to_be_right() -> None:
    text = (
        GOOD.replace("max_amps = 32", "max_amps = 3")
        .replace("amps = 16.5", 'amps = "a lot"')
        .replace("tethered = true", 'plug = "type1"')
        .replace("evse = 2\n", "evse = 3\n")
        .replace("[guard]\n", f'[guard]\nsocket = "/{"s" * 120}"\n')
        + '[ocpp2]\n"TxCtrlr.TxStartPoint" = "ParkingBayOccupancy"\n[log]\nlevel = "loud"\n'
    )
    assert {problem.key for problem in problems(text)} == {
        "station.max_amps",
        "outlet[2].amps",
        "outlet[2].plug",
        "outlet",  # EVSE 3 without 2; the reader's EVSE is there
        "guard.socket",
        "ocpp2.TxCtrlr.TxStartPoint",
        "log.level",
    }


def test_what_depends_on_a_wrong_key_is_not_named_beside_it() -> None:
    assert only(GOOD.replace("evse = 1", 'evse = "one"')).key == "outlet[1].evse"
    assert only(GOOD.replace('"wss://csms.example/ocpp"', "7")).key == "csms.url"


def test_outlets_are_numbered_without_gaps_and_repetitions() -> None:
    twice = problems(GOOD.replace("evse = 2\namps", "evse = 1\namps"))
    assert [(p.key, p.what) for p in twice] == [
        ("outlet[2].connector", "stands twice"),
        ("reader[1].evse", "there is no EVSE 2"),
    ]
    gap = only(GOOD.replace("evse = 2", "evse = 3"))
    assert (gap.line, gap.what) == (9, "EVSE numbers are [1, 3]")


def test_sections_of_the_wrong_shape() -> None:
    assert only(GOOD.replace("[guard]", "[[guard]]")).remedy == "write [guard] on a line of its own"
    no_outlet = GOOD[: GOOD.index("[[outlet]]")] + GOOD[GOOD.index("[guard]") :]
    assert only(no_outlet).key == "outlet"
    assert only(no_outlet + "[outlet]\nevse = 1\namps = 6\n").remedy == "write [[outlet]] 1 to 16 times"
    inline = no_outlet.replace("[station]", "outlet = [{evse = 1, amps = 99}]\n[station]").replace("evse = 2", "")
    assert (only(inline).line, only(inline).key) == (1, "outlet[1].amps")


def test_lines_inside_a_text_of_many_lines_are_no_keys() -> None:
    text = GOOD.replace("max_amps = 32", 'vendor = """\nmodel = 3\n"""\nmodel = 4\nmax_amps = 32')
    assert {(p.key, p.line) for p in problems(text)} == {("station.vendor", 3), ("station.model", 6)}


def test_what_is_no_toml_names_its_line() -> None:
    found = only("[station]\nid = CS-7\n")
    assert found.line == 2
    assert "not TOML" in found.what
    assert "not TOML" in only("a = " + "[" * 5000).what
    assert "not TOML" in only("a = " + "9" * 5000).what


@given(st.text(max_size=200))
def test_no_text_does_anything_but_name_problems(text: str) -> None:
    assert problems(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "url", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    st.sampled_from(["station", "csms", "outlet", "reader", "guard", "log", "authorization", "ocpp16", "ocpp2"]),
)
def test_no_value_in_any_section_is_taken_unseen(value: object, section: str) -> None:
    if value is None or value in ([], {}):
        return
    rest = "".join(f"[{name}]\n" for name in ("station", "csms", "guard") if name != section)
    assert problems(f"{section} = {_toml(value)}\n{rest}")


def _toml(value: object) -> str:
    match value:
        case None:
            return '"none"'
        case bool():
            return str(value).lower()
        case str():
            return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in value) + '"'
        case list():
            return "[" + ",".join(map(_toml, value)) + "]"
        case dict():
            return "{" + ",".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return str(value)


# ---------------------------------------------------------------- files


def test_load_reads_a_file_and_its_password_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("the one of the file\nnot this\n", encoding="utf-8")
    file = tmp_path / "c.toml"
    file.write_text(GOOD.replace('password = "a secret of the owner"', f'password_file = "{secret}"'), encoding="utf-8")
    assert config.load(file).csms.password == "the one of the file"
    secret.write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigInvalid, match="16 to 64 printable characters"):
        config.load(file)
    secret.unlink()
    with pytest.raises(ConfigInvalid, match=r"c\.toml:7: csms\.password_file: cannot be read \(FileNotFoundError\)"):
        config.load(file)


def test_load_refuses_what_cannot_be_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    with pytest.raises(ConfigInvalid, match="No such file"):
        config.load(file)
    file.write_bytes(b"# fine\n\xff\n")
    with pytest.raises(ConfigInvalid, match=r"c\.toml:2: not UTF-8"):
        config.load(file)
    file.write_bytes(b"#" * (config.MOST_BYTES + 1))
    with pytest.raises(ConfigInvalid, match="more than 262144 bytes"):
        config.load(file)


# ---------------------------------------------------------------- what the core gets


def test_initial_values_by_both_names_reach_the_registry() -> None:
    text = GOOD + (
        '[ocpp16]\nheartbeatinterval = 77\nMeterValuesSampledData = ["Voltage", "current.import"]\n'
        'LocalPreAuthorize = true\n[ocpp2]\n"OCPPCommCtrlr.MessageAttempts[TransactionEvent]" = 9\n'
        "TxCtrlr.EVConnectionTimeOut = 33\n"
    )
    variables = parse(text).variables()
    assert variables.get_int("heartbeat_interval") == 77
    assert variables.get_list("sampled_measurands") == ("Voltage", "Current.Import")
    assert variables.get_bool("local_pre_authorize")
    assert variables.get_int("transaction_attempts") == 9
    assert variables.get_int("connection_timeout") == 33
    assert not variables.overrides, "the file is no override: what it says is not persisted"


def test_phase_rotation_is_unknown_or_not_applicable_until_told() -> None:
    assert parse(GOOD).variables().get_text("phase_rotation") == "1.Unknown,2.NotApplicable"
    told = parse(GOOD + '[ocpp16]\nConnectorPhaseRotation = "1.RST,2.NotApplicable"\n')
    assert told.variables().get_text("phase_rotation") == "1.RST,2.NotApplicable"


def test_no_two_outlets_have_one_meter() -> None:
    wrong = only(GOOD.replace("tethered = true", 'tethered = true\nmeter = "sim:/run/w?outlet=1"'))
    assert (wrong.key, wrong.what) == ("outlet[2].meter", "is that of outlet 1")
    none = GOOD.replace('meter = "sim:/run/w?outlet=1"', "")
    assert [outlet.meter for outlet in parse(none).outlets] == ["none", "none"]


def test_a_parking_bay_is_a_transaction_point_only_where_every_bay_has_a_detector() -> None:
    said = '[ocpp2]\nTxCtrlr.TxStopPoint = ["ParkingBayOccupancy"]\n'
    with pytest.raises(ConfigInvalid) as failed:
        parse(GOOD + said)
    assert "ocpp2.TxCtrlr.TxStopPoint" in str(failed.value) and "give every outlet a detector" in str(failed.value)
    every = GOOD.replace("[[outlet]]", '[[outlet]]\nbay = "sim:/run/chargerd/world.sock?outlet=1"')
    assert parse(every + said).variables().get_list("tx_stop_points") == ("ParkingBayOccupancy",)
    assert parse(every).facts()["bays"] == "1.1,2.1"


def test_facts_of_the_installation() -> None:
    facts = parse(GOOD).facts()
    assert facts["outlets"] == "1.1,2.1"
    assert facts["connectors"] == "2"
    assert facts["tethered"] == "2.1"
    assert (facts["connector_type.1.1"], facts["connector_type.2.1"]) == ("sType2", "cType2")
    assert (facts["evse_power_max.1"], facts["evse_power_max.2"]) == ("22080", "3795")
    assert facts["security_profile"] == "2"
    assert parse(GOOD.replace("wss:", "ws:")).facts()["security_profile"] == "1"
    assert parse(GOOD.replace('password = "a secret of the owner"', "")).facts()["security_profile"] == "0"


# ---------------------------------------------------------------- the backend and its security


SECRET = 'password = "a secret of the owner"'


@pytest.mark.req("A00.FR.205", "A00.FR.304", "1.6 security A00.FR.205")
@pytest.mark.parametrize("password", ["x" * 16, "x" * 64, "sixteen ümläuts!"])
def test_passwords_that_may_be(password: str) -> None:
    assert parse(GOOD.replace(SECRET, f'password = "{password}"')).csms.password == password


@pytest.mark.req("1.6 security A00.FR.205")
@pytest.mark.parametrize("key", ["hex:" + "0" * 32, "hex:" + "aF" * 20])
def test_binary_keys_are_for_1_6_alone(key: str) -> None:
    text = GOOD.replace(SECRET, f'password = "{key}"')
    assert only(text).what == "is a binary key, which only OCPP 1.6 has"
    assert parse(text.replace("[csms]", '[csms]\nversion = ["1.6"]')).csms.password == key


@pytest.mark.req("A00.FR.205", "A00.FR.304", "1.6 security A00.FR.205")
@pytest.mark.parametrize(
    ("password", "what"),
    [
        ("x" * 15, "has 15 characters"),
        ("hex:" + "0" * 30, "is no key in hexadecimal"),
        ("hex:" + "0" * 33, "is no key in hexadecimal"),
        ("hex:" + "0" * 42, "is no key in hexadecimal"),
        ("hex:" + "g" * 32, "is no key in hexadecimal"),
    ],
)
def test_passwords_that_may_not_be(tmp_path: Path, password: str, what: str) -> None:
    assert only(GOOD.replace(SECRET, f'password = "{password}"')).what == what
    file = tmp_path / "secret"
    file.write_text(password + "\n")
    problem = only(GOOD.replace(SECRET, f'password_file = "{file}"'))
    assert (problem.key, problem.what) == ("csms.password_file", what)


@pytest.mark.req("A00.FR.312", "A00.FR.202", "A00.FR.301")
@pytest.mark.parametrize(
    ("scheme", "secret", "profile", "what"),
    [
        ("ws", True, "2", 'is "2", but csms.url has no TLS (ws://)'),
        ("wss", True, "1", 'is "1", but csms.url has TLS (wss://)'),
        ("wss", False, "2", 'is "2", but of a password there is none'),
        ("ws", False, "1", 'is "1", but of a password there is none'),
        ("ws", True, "0", 'is "0", but of a password there is one'),
        ("wss", True, "2", None),
        ("ws", True, "1", None),
        ("ws", False, "0", None),
        ("wss", False, "0", None),
    ],
)
def test_a_security_profile_is_what_url_and_password_are(
    scheme: str, secret: bool, profile: str, what: str | None
) -> None:
    text = GOOD.replace("wss:", f"{scheme}:").replace(SECRET, SECRET if secret else "")
    text = text.replace("[csms]", f'[csms]\nsecurity_profile = "{profile}"')
    if what is None:
        assert parse(text).csms.security_profile == profile
    else:
        problem = only(text)
        assert (problem.key, problem.what) == ("csms.security_profile", what)


def test_a_file_of_roots_is_looked_at(tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    text = GOOD.replace("[csms]", f'[csms]\nca_file = "{roots}"')
    assert only(text).what == "cannot be read (No such file or directory)"
    roots.write_text("anything")
    assert only(text).what == "holds no certificate"
    roots.write_text("-----BEGIN CERTIFICATE-----\n")  # whether it is a good one shows when it is used
    assert parse(text).csms.ca_file == str(roots)
    assert only(text.replace("wss:", "ws:")).what == "is given, but csms.url has no TLS"


def test_the_guard_opens_no_file_of_the_backend_s(tmp_path: Path) -> None:
    text = GOOD.replace(SECRET, f'password_file = "{tmp_path}/none"\nca_file = "{tmp_path}/none"')
    assert parse(text, secrets=False).csms.password == ""
    assert [problem.key for problem in problems(text)] == ["csms.ca_file", "csms.password_file"]


@pytest.mark.parametrize("proxy", ["proxy.example:3128", "socks5://proxy:1080", "http://proxy", "http://u:p@proxy:1"])
def test_a_proxy_is_an_http_address_with_a_port(proxy: str) -> None:
    problem = only(GOOD.replace("[csms]", f'[csms]\nproxy = "{proxy}"'))
    assert (problem.key, problem.remedy) == ("csms.proxy", 'write it like "http://proxy.example:3128"')
    assert parse(GOOD.replace("[csms]", '[csms]\nproxy = "http://[::1]:3128"')).csms.proxy == "http://[::1]:3128"
