"""The vocabulary and its packets: what was said is heard, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargerd.guard import lease
from chargerd.guard.lease import MAX_PACKET, BadPacket, Kind, Mode, Permit, Truth, Word, decode, encode

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers(0, 2**53)
SHORT = st.text(max_size=12)

WORDS: list[st.SearchStrategy[Any]] = [
    st.builds(lease.Hello, INTS, SHORT),
    st.builds(Permit, INTS, INTS, FLOATS, INTS, st.sampled_from(Mode), FLOATS),
    st.builds(lease.Lock, INTS, st.booleans()),
    st.builds(
        lease.Measured,
        INTS,
        st.none() | st.tuples(FLOATS, FLOATS, FLOATS),
        st.none() | st.tuples(FLOATS, FLOATS, FLOATS),
        st.none() | FLOATS,
        FLOATS,
    ),
    st.builds(lease.Indicate, INTS, SHORT),
    st.builds(lease.ClearFault, INTS, SHORT, SHORT),
    st.builds(lease.Service, INTS, SHORT, st.booleans()),
    st.builds(lease.Replay, INTS, INTS),
    st.builds(lease.Welcome, INTS, SHORT, INTS, INTS, INTS),
    st.builds(lease.Event, INTS, FLOATS, INTS, st.sampled_from(Kind), INTS, SHORT),
    st.builds(lease.Gap, INTS),
    st.builds(lease.Refused, SHORT, SHORT),
]


@given(st.one_of(WORDS))
def test_what_was_said_is_heard(word: Word) -> None:
    assert decode(encode(word)) == word


def test_a_full_truth_fits() -> None:
    truth = Truth(64, 1e9 + 0.123456, "C", 2**48 - 1, True, 63.0, 31.987654, True, True, ("x" * 20,) * 8, "x" * 11,
                  299.999999999, -40.123456789, True)  # fmt: skip
    assert len(encode(truth)) <= MAX_PACKET
    assert decode(encode(truth)) == truth


def test_unknown_members_are_ignored() -> None:
    assert decode(b'{"t":"lock","outlet":1,"locked":true,"colour":"red"}') == lease.Lock(1, True)


def test_too_long_to_say() -> None:
    with pytest.raises(BadPacket, match="bytes"):
        encode(lease.Indicate(1, "x" * MAX_PACKET))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"t":[]}',
        b'{"t":"sudo"}',
        b'{"t":"lock"}',
        b'{"t":"lock","outlet":1,"locked":1}',
        b'{"t":"lock","outlet":true,"locked":true}',
        b'{"t":"lock","outlet":1.0,"locked":true}',
        b'{"t":"permit","outlet":1,"plug":1,"amps":NaN}',
        b'{"t":"permit","outlet":1,"plug":1,"amps":Infinity}',
        b'{"t":"permit","outlet":1,"plug":1,"amps":1e999}',
        b'{"t":"permit","outlet":1,"plug":1,"amps":1' + b"0" * 400 + b"}",
        b'{"t":"permit","outlet":1,"plug":1,"amps":"16"}',
        b'{"t":"permit","outlet":1,"plug":1,"amps":16,"mode":"turbo"}',
        b'{"t":"measured","outlet":1,"amps":[1,2],"volts":null,"watts":null,"age":0}',
        b'{"t":"measured","outlet":1,"amps":[1,2,null],"volts":null,"watts":null,"age":0}',
        b"[" * MAX_PACKET,
        b'{"t":"gap","until":1}' + b" " * MAX_PACKET,
    ],
)
def test_hostile_packets(raw: bytes) -> None:
    with pytest.raises(BadPacket) as caught:
        decode(raw)
    assert len(str(caught.value)) <= 120


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = sorted({"t", *(name for word in lease._WORDS.values() for name in word.__dataclass_fields__)})


@given(
    st.sampled_from(sorted(lease._WORDS)),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6),
    st.binary(max_size=4),
)
def test_almost_words_are_words_or_bad_packets(tag: str, body: dict[str, Any], tail: bytes) -> None:
    try:
        word = decode(json.dumps({**body, "t": tag}).encode() + tail)
    except BadPacket:
        return
    assert word.tag == tag
    for name, value in body.items():
        if name in word.__dataclass_fields__ and value is not None and not isinstance(value, list):
            assert getattr(word, name) == value


@given(st.binary(max_size=MAX_PACKET + 10))
def test_noise_is_a_bad_packet(raw: bytes) -> None:
    with pytest.raises(BadPacket):
        decode(raw)


RECORDED = Path(__file__).parents[1] / "fixtures" / "lease"
ADDED = {2: {"vitals", "notes"}}


def recorded(version: int) -> list[bytes]:
    return (RECORDED / f"v{version}.packets").read_bytes().splitlines()


def test_what_link_version_1_says_is_understood_and_said_for_ever() -> None:
    """A changed packet needs a new link version: the guard in the field is older than the daemon, or newer."""
    words = [decode(packet) for packet in recorded(1)]
    assert {word.tag for word in words} == set(lease._WORDS) - set().union(*ADDED.values())
    assert {word.kind for word in words if isinstance(word, lease.Event)} == set(Kind)
    assert [encode(word) for word in words] == recorded(1)


@pytest.mark.parametrize("version", range(2, lease.LINK_VERSION + 1))
def test_what_later_link_versions_add_is_understood_and_said_for_ever(version: int) -> None:
    words = [decode(packet) for packet in recorded(version)]
    assert {word.tag for word in words} == ADDED[version]
    assert [encode(word) for word in words] == recorded(version)


@pytest.mark.parametrize(
    ("ours", "theirs", "spoken"), [(1, 1, 1), (2, 1, 1), (1, 2, 1), (3, 1, None), (1, 3, None), (1, 0, None)]
)
def test_of_neighbouring_versions_the_older_is_spoken(ours: int, theirs: int, spoken: int | None) -> None:
    assert lease.common(ours, theirs) == spoken
