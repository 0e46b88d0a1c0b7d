"""Text in cells: made safe, measured, cut and padded.

A name of a function or a traceback may hold whatever its author wanted, escape sequences for this terminal included.
So what cannot be printed is written as Python writes it in a literal (`\\x1b`). A character of East Asia or a picture
takes two cells, a combining one none.

Rule 1: whatever reaches the screen has passed `clean`, and `cut` or `fit` afterwards.
"""

from wcwidth import wcswidth, wcwidth

MORE = "…"
MOST_CHARACTERS = 2000  # of one text that is looked at to fill a line
_OWN = str.maketrans("…▁▂▃▄▅▆▇█─│▲▼·→", "~_.-:=+*#-|^v.>")


def clean(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text in one line and without what a terminal would obey; no more than `most` characters are looked at."""
    text = text[:most]
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def width(text: str) -> int:
    """How many cells a clean text takes."""
    return len(text) if text.isascii() else max(0, wcswidth(text))


def cut(text: str, cells: int) -> str:
    """As much of a clean text as fits; what was cut shows by its last character."""
    if width(text) <= cells:
        return text
    if cells <= 0:
        return ""
    if text.isascii():
        return text[: cells - 1] + MORE
    taken, used = [], 0
    for each in text:
        used += max(0, wcwidth(each))
        if used > cells - 1:
            break
        taken.append(each)
    return "".join(taken) + MORE


def cut_inside(text: str, cells: int) -> str:
    """As much of a clean text as fits, its end included: names of workers and functions differ there."""
    if width(text) <= cells or cells < 4 or not text.isascii():
        return cut(text, cells)
    end = cells * 2 // 3
    return text[: cells - end - 1] + MORE + text[-end:]


def fit(text: str, cells: int, to_right: bool = False, is_name: bool = False) -> str:
    """A clean text cut or padded to exactly so many cells; a name is cut inside."""
    text = cut_inside(text, cells) if is_name else cut(text, cells)
    space = " " * (cells - width(text))
    return space + text if to_right else text + space


def fold(text: str, cells: int) -> list[str]:
    """A clean text in lines of at most so many cells; at least one line."""
    lines, begin, used = [], 0, 0
    for at, each in enumerate(text):
        size = max(0, wcwidth(each))
        if used + size > cells and at > begin:
            lines.append(text[begin:at])
            begin, used = at, 0
        used += size
    return [*lines, text[begin:]]


def in_ascii(text: str) -> str:
    """The text for a terminal that has no other characters: as many cells, with a `?` for each unknown one."""
    if text.isascii():
        return text
    text = text.translate(_OWN)
    return "".join(each if each.isascii() else "?" * max(0, wcwidth(each)) for each in text)
