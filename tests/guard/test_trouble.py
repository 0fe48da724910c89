"""What ails the board is in the log, and the log does not drown in it."""

from __future__ import annotations

import io
import os

import pytest

from chargerd.guard.trouble import OVER, SILENCE, TroubleLog, takes

TURN = 0.02


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []
        self.ready = True
        self.now = 0.0
        self.log = TroubleLog(lambda line: self.lines.append((self.now, line)), lambda: self.ready)

    def run(self, seconds: float, *troubles: str) -> None:
        """Turns, in which the troubles take turns."""
        for n in range(round(seconds / TURN)):
            self.now += TURN
            self.log.hear(troubles[n % len(troubles)], self.now)

    @property
    def said(self) -> list[str]:
        return [line for _, line in self.lines]


def test_it_is_said_once_when_it_begins_and_once_when_it_is_over() -> None:
    log = Log()
    log.run(60, "")
    log.run(60, "ADC: gone")
    assert log.said == ["ADC: gone"] and log.lines[0][0] == pytest.approx(60 + TURN)
    log.run(60, "")
    assert log.said == ["ADC: gone", "the board answers again"]
    assert log.lines[1][0] == pytest.approx(120 + OVER, abs=2 * TURN)


def test_another_trouble_is_said_too_but_not_each_of_many() -> None:
    log = Log()
    log.run(30, "ADC: gone", "PWM: gone")
    assert len(log.said) in (3, 4) and set(log.said) == {"ADC: gone", "PWM: gone"}
    gaps = [after - before for (before, _), (after, _) in zip(log.lines, log.lines[1:], strict=False)]
    assert min(gaps) >= SILENCE - TURN


def test_one_that_comes_and_goes_is_no_flood() -> None:
    log = Log()
    log.run(3600, *["the pilot shows one plateau only"] * 3, *[""] * 100)
    assert len(log.said) <= 2 * 3600 / SILENCE + 1


def test_a_log_that_takes_nothing_is_not_waited_for() -> None:
    log = Log()
    log.ready = False
    log.run(5, "ADC: gone")
    assert log.said == []
    log.ready = True
    log.run(TURN, "ADC: gone")
    assert log.said == ["ADC: gone"]


def test_a_pipe_that_nobody_reads_takes_nothing() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "w") as stream:
        ready = takes(stream)
        assert ready()
        os.set_blocking(write, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(write, b"x" * 4096)
        assert not ready()
    assert takes(io.StringIO())()
