"""The sequence diagram: aligned, bounded, plain where nobody sees colours."""

from __future__ import annotations

from chargerd.lab.screen import WIDTH, Lane, Screen, cut


def drawn(*, colour: bool = False) -> tuple[Screen, list[str]]:
    lines: list[str] = []
    return Screen(lines.append, lambda: 75.25, colour), lines


def test_lines_are_aligned_and_never_too_wide() -> None:
    screen, lines = drawn()
    screen.head()
    screen.title("An act")
    for source in Lane:
        for to in Lane:
            if source is not to:
                screen.arrow(source, to, "a word that is much longer than there is room for it between the two" * 2)
    for lane in (Lane.DRIVER, Lane.VEHICLE, Lane.EVSE):
        screen.note(lane, "a note that is much longer than there is room for it " * 3)
    assert max(map(len, lines)) <= WIDTH
    for line in lines[2:]:
        assert line.startswith("01:15.2  ")
        assert line[Lane.DRIVER] in "│├◀" and line[Lane.CSMS] in "│┤▶"


def test_an_arrow_points_from_one_to_the_other() -> None:
    screen, lines = drawn()
    screen.arrow(Lane.EVSE, Lane.CSMS, "Heartbeat")
    screen.arrow(Lane.CSMS, Lane.EVSE, "Reset")
    there, back = (line[Lane.EVSE :] for line in lines)
    assert there[0] == "├" and there[-2:] == "▶│" and " Heartbeat " in there
    assert back[:2] == "│◀" and back[-1] == "┤" and " Reset " in back


def test_colour_only_when_asked_for_and_no_control_characters() -> None:
    plain, lines = drawn()
    plain.note(Lane.EVSE, "evil \x1b[2J text")
    assert "\x1b" not in lines[0] and "evil ?[2J text" in lines[0]
    painted, lines = drawn(colour=True)
    painted.note(Lane.EVSE, "Charging")
    assert "\x1b[32m" in lines[0]


def test_cut() -> None:
    assert cut("short", 5) == "short"
    assert cut("longer", 5) == "long…"
