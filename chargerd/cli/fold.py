"""Long lines as a terminal shows them best; what goes to a file or a pipe keeps its lines."""

from __future__ import annotations

import re
import shutil
from typing import TextIO


def for_stream(text: str, stream: TextIO) -> str:
    return fold(text, max(40, shutil.get_terminal_size().columns)) if stream.isatty() else text


def fold(text: str, columns: int) -> str:
    """Lines of at most so many columns, as far as there are blanks; what is folded stands under its beginning."""
    return "\n".join(_folded(line, columns) if len(_plain(line)) > columns else line for line in text.split("\n"))


def _folded(line: str, columns: int) -> str:
    lead = re.match(r" *", line)
    row = re.match(r"\S+ {2,}(?=\S)", line)
    indent = row.end() if row else 2 + (lead.end() if lead else 0)
    lines, width = [""], 0
    for word in re.findall(r" *\S+", line):
        if width and width + len(_plain(word)) > columns:
            lines.append(" " * indent)
            word, width = word.lstrip(), indent
        lines[-1] += word
        width += len(_plain(word))
    return "\n".join(lines)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
