"""Whatever comes over a line: only the answer that is waited for passes, and always where it is whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hal.modbus.model import Span
from hal.modbus.port import Sieve
from tests.hal.modbus.peer import crc

SPAN = Span(4, 0, 3)
NUMBER = b"\x01\x07"
WORDS = st.binary(min_size=6, max_size=6)
UNITS = st.integers(1, 247)
NOISE = st.binary(max_size=40)


def sieve(rtu: bool, unit: int) -> Sieve:
    made = Sieve(rtu)
    made.expect(unit, SPAN)
    assert made(True, NUMBER + b"question") == NUMBER + b"question"
    return made


def serial(unit: int, words: bytes) -> bytes:
    frame = bytes((unit, 4, 6)) + words
    return frame + crc(frame)


def tcp(unit: int, words: bytes) -> bytes:
    return NUMBER + b"\0\0" + b"\0\x09" + bytes((unit, 4, 6)) + words


@given(UNITS, WORDS, NOISE, NOISE)
def test_a_sound_answer_passes_whatever_is_around_it(unit: int, words: bytes, before: bytes, after: bytes) -> None:
    assert sieve(True, unit)(False, before + serial(unit, words) + after) == serial(unit, words)
    assert sieve(False, unit)(False, before + tcp(unit, words) + after) == tcp(unit, words)


@given(UNITS, WORDS, st.integers(0, 10))
def test_half_an_answer_is_waited_for(unit: int, words: bytes, length: int) -> None:
    for rtu, frame in ((True, serial(unit, words)), (False, tcp(unit, words))):
        made = sieve(rtu, unit)
        assert made(False, frame[:length]) == b""
        assert made.heard == length
        assert made(False, frame) == frame


@given(UNITS, UNITS, WORDS, st.binary(max_size=300))
def test_nothing_else_passes(unit: int, other: int, words: bytes, noise: bytes) -> None:
    for rtu, form in ((True, serial), (False, tcp)):
        passed = sieve(rtu, unit)(False, noise)
        assert passed == b"" or passed in noise
        if other != unit:
            assert sieve(rtu, unit)(False, form(other, words)) == b""


@given(UNITS, WORDS, st.integers(0, 87))
def test_a_flipped_bit_does_not_pass(unit: int, words: bytes, bit: int) -> None:
    frame = bytearray(serial(unit, words))
    frame[bit // 8] ^= 1 << bit % 8
    assert sieve(True, unit)(False, bytes(frame)) == b""


@given(UNITS, st.integers(1, 11), NOISE)
def test_a_refusal_passes_too(unit: int, code: int, noise: bytes) -> None:
    frame = bytes((unit, 0x84, code))
    assert sieve(True, unit)(False, noise + frame + crc(frame)) == frame + crc(frame)
