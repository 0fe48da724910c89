"""Long lines stay within the terminal, and lose nothing."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st

from chargerd.cli.fold import fold, for_stream
from chargerd.cli.show import Ink, faults
from chargerd.faults import FAULTS


def test_what_is_folded_stands_under_its_beginning() -> None:
    words = " ".join(["word"] * 22)
    assert fold(f"Guard     {words}", 100) == f"Guard     {words[:89]}\n          {words[90:]}"
    assert fold(f"  {words}", 100) == f"  {words[:94]}\n    {words[95:]}"
    assert fold(f"  short\nlines  stay\n{'x' * 200}", 100) == f"  short\nlines  stay\n{'x' * 200}"


def test_every_remedy_fits_in_colour_too() -> None:
    for fault in FAULTS:
        text = fold(faults([{"outlet": 1, "fault": fault}], Ink(True)), 100)
        assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= 100 for line in text.splitlines())


@given(st.lists(st.text("ab ", min_size=1, max_size=30), max_size=30).map(" ".join))
def test_no_word_is_lost(text: str) -> None:
    folded = fold(text, 60)
    assert folded.split() == text.split()
    assert all(len(line.rstrip()) <= 60 for line in folded.splitlines())


def test_a_file_keeps_its_lines() -> None:
    assert for_stream("a " * 200, io.StringIO()) == "a " * 200
