"""Defects of a text that a program can find and mend.

They are repeated lines, boilerplate, rare characters, broken encodings, signs that are written in several ways, and
leftover markup. For each there is a function that finds it, which health.py uses, and one in `MENDS` that mends it. A
mend takes the documents of a corpus and returns them mended; documents without any text left are gone. All are pure, so
the same text always becomes the same mended text.

Reads after: statistics.py.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from minigpt.data.corpora import Corpus
from minigpt.data.statistics import RARE_COUNT, is_long_line
from minigpt.errors import CorpusError
from minigpt.wording import visible

Documents = Sequence[str]

BOILERPLATE_CHARS, BOILERPLATE_COUNT, BOILERPLATE_TENTHS = 16, 20, 8
"""A line of boilerplate has so many characters, occurs so often, and stands in so many tenths of the text: headers and
footers go through all of it, while a phrase of one chapter does not."""

_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_DIGITS = re.compile(r"\d+")


def boilerplate(text: str) -> dict[str, int]:
    r"""Return the lines of boilerplate with their counts; numbers in them, such as those of pages, count as equal.

    >>> pages = "".join(f"The Collected Works, page {n}\n" + f"some text {n} of this page\n" * 2 for n in range(30))
    >>> boilerplate(pages)
    {'The Collected Works, page 0': 30, 'some text 0 of this page': 60}
    """
    lines = [_without_numbers(line) for line in text.split("\n")]
    counts = Counter(line for line in lines if len(line) >= BOILERPLATE_CHARS)
    often = {line for line, count in counts.items() if count >= BOILERPLATE_COUNT and any(map(str.isalpha, line))}
    places: dict[str, set[int]] = {line: set() for line in often}
    for index, line in enumerate(lines):
        if line in often:
            places[line].add(10 * index // len(lines))
    return {line: counts[line] for line in counts if len(places.get(line, ())) >= BOILERPLATE_TENTHS}


def _without_numbers(line: str) -> str:
    return _DIGITS.sub("0", line.strip())


def drop_repeated_lines(documents: Documents) -> list[str]:
    r"""Drop each longer line that has occurred before, in this document or an earlier one.

    >>> drop_repeated_lines(["It was a dark and stormy night.\nYes.\nIt was a dark and stormy night.\nYes."])
    ['It was a dark and stormy night.\nYes.\nYes.']
    """
    seen: set[str] = set()

    def is_new(line: str) -> bool:
        stripped = line.strip()
        if not is_long_line(stripped):
            return True
        known = stripped in seen
        seen.add(stripped)
        return not known

    return _filled(_kept_lines(document, is_new) for document in documents)


def drop_boilerplate(documents: Documents) -> list[str]:
    """Drop all lines that `boilerplate` finds in all documents together."""
    lines = boilerplate("\n".join(documents))
    return _filled(_kept_lines(document, lambda line: _without_numbers(line) not in lines) for document in documents)


def _kept_lines(document: str, is_kept: Callable[[str], bool]) -> str:
    """Return a document without some of its lines, and without the blank lines that they leave."""
    lines = document.split("\n")
    kept = [line for line in lines if is_kept(line)]
    return document if len(kept) == len(lines) else _BLANK_LINES.sub("\n\n", "\n".join(kept))


def drop_rare_characters(documents: Documents) -> list[str]:
    """Drop each character that occurs fewer than `RARE_COUNT` times in all documents together.

    >>> drop_rare_characters(["abababab", "ab€"])
    ['abababab', 'ab']
    """
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(document)
    table = {ord(character): None for character, count in counts.items() if count < RARE_COUNT}
    return _filled(document.translate(table) for document in documents)


SIGNS: Mapping[str, str] = {
    **dict.fromkeys("‘’‚‛", "'"),
    **dict.fromkeys("“”„‟", '"'),
    **dict.fromkeys("\u00a0\u2007\u202f", " "),
    **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
    **{"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ft", "ﬆ": "st"},
    **{"\u2010": "-", "\u2011": "-", "…": "..."},
}
"""Other forms of a sign with the plain form. The two joiners are not here: Persian, Hindi and emoji need them. Nor are
dashes and guillemets, which are signs of their own."""


def mixed_signs(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the other forms of signs in a text, most common first, whose plain form the text has too.

    Args:
        counts: Each character of the text with its number.

    >>> mixed_signs({"'": 3, "’": 2, "“": 4})
    {'’': 2}
    """
    found = {sign: counts[sign] for sign, plain in SIGNS.items() if sign in counts and plain[:1] in ({"", *counts})}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def unify_signs(documents: Documents) -> list[str]:
    r"""Write each sign in its plain form, see `SIGNS`.

    >>> unify_signs(["“It’s”\u00a0ﬁne"])
    ['"It\'s" fine']
    """
    table = {ord(sign): plain for sign, plain in SIGNS.items()}
    return _filled(document.translate(table) for document in documents)


_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_MISREAD = re.compile(f"[\u00c2-\u00f4][\u0080-\u00bf{_CP1252}]{{1,3}}")
"""The first byte of a character in UTF-8 and those that follow, each read as a character of cp1252 or Latin-1."""
REPLACEMENT = "\ufffd"


def misread_characters(text: str) -> int:
    """Return how many characters were written in UTF-8 and read in another encoding.

    >>> misread_characters("CafÃ© and â€œquotesâ€œ"), misread_characters("À bientôt, Ângela")
    (3, 0)
    """
    return sum(_read_again(found[0]) != found[0] for found in _MISREAD.finditer(text))


def repair_encoding(documents: Documents) -> list[str]:
    r"""Read characters again that were read in the wrong encoding, and drop the sign that stands for unreadable ones.

    >>> repair_encoding(["CafÃ© â€“ nice\ufffd"])
    ['Café – nice']
    """

    def repaired(text: str) -> str:
        return _MISREAD.sub(lambda found: _read_again(found[0]), text).replace(REPLACEMENT, "")

    return _filled(map(repaired, documents))


def _read_again(characters: str) -> str:
    """Return what a few characters were before they were misread; unchanged if they were not."""
    codes = bytes(_byte(character) for character in characters)
    for length in range(len(codes), 1, -1):  # the characters behind may have been read rightly
        try:
            first = codes[:length].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return first + characters[length:] if len(first) == 1 else characters
    return characters


def _byte(character: str) -> int:
    return character.encode("cp1252")[0] if character in _CP1252 else ord(character)


_TAGS = (
    "a abbr article b blockquote body br center cite code dd div dl dt em font footer form h1 h2 h3 h4 h5 h6 head "
    "header hr html i img input label li link main meta nav ol option p pre q ref s script section select small span "
    "strong style sub sup table tbody td th thead title tr tt u ul"
).replace(" ", "|")
_MARKUP = re.compile(
    rf"</?(?:{_TAGS})(?:\s[^<>]{{0,300}}=[^<>]{{0,300}})?\s?/?>|<!--.{{0,2000}}?-->|&(?:[a-z]{{2,8}}|#\d{{1,7}}|#x[0-9a-f]{{1,6}});",
    re.IGNORECASE | re.DOTALL,
)


def markup(text: str) -> tuple[int, int]:
    """Return the number of HTML tags and entities in a text, and how many characters they take.

    >>> markup("<p>Fish &amp; chips</p> if a <b and c> d")
    (3, 12)
    """
    lengths = [len(found[0]) for found in _MARKUP.finditer(text)]
    return len(lengths), sum(lengths)


def drop_markup(documents: Documents) -> list[str]:
    """Drop HTML tags, and write the characters that entities stand for.

    >>> drop_markup(["<p>Fish &amp; chips</p>"])
    ['Fish & chips']
    """

    def plain(text: str) -> str:
        return _MARKUP.sub(lambda found: html.unescape(found[0]) if found[0][0] == "&" else "", text)

    return _filled(map(plain, documents))


def mended(corpus: Corpus, names: Sequence[str]) -> Corpus:
    """Return a corpus with some mends made, one after another; its name and origin say so.

    Args:
        corpus: The corpus; a text in files is read into memory.
        names: Names of `MENDS`; the corpus itself is returned if there are none.

    Raises:
        CorpusError: Nothing is left of it.
    """
    if not names:
        return corpus
    documents: Documents = corpus.documents
    for name in names:
        documents = MENDS[name](documents)
    if not documents:
        raise CorpusError(f"Nothing would be left of {visible(corpus.name)}.", mend="Choose another text.")
    return Corpus(f"{corpus.name}, mended", tuple(documents), f"{corpus.origin}; mended: {', '.join(names)}")


def _filled(documents: Iterable[str]) -> list[str]:
    return [document for document in documents if document.strip()]


MENDS: Mapping[str, Callable[[Documents], list[str]]] = {
    "lines": drop_repeated_lines,
    "boilerplate": drop_boilerplate,
    "rare": drop_rare_characters,
    "signs": unify_signs,
    "encoding": repair_encoding,
    "markup": drop_markup,
}
"""All mends of a text by name."""
