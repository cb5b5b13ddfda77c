"""Character encodings: which of them are read, and which of them a file is probably in.

A byte-order mark decides, and after it valid UTF-8: text in another encoding is hardly ever valid UTF-8 by chance. Only
then the encoding is guessed. Everything before the first byte beyond ASCII is the same in all encodings that are
guessed, so the guess needs no more than the bytes from that one on.

charset-normalizer decodes the sample in every candidate encoding and measures how messy each result is. That leaves
several results for most texts. So the characters decide: each encoding was made for some languages, and in the right
one most characters beyond ASCII are letters and punctuation of those languages.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16-le": "UTF-16 (little-endian)",
    "utf-16-be": "UTF-16 (big-endian)",
    "utf-32-le": "UTF-32 (little-endian)",
    "utf-32-be": "UTF-32 (big-endian)",
    "cp1252": "Windows-1252 (Western European, Latin-1)",
    "cp1250": "Windows-1250 (Central European)",
    "iso8859-2": "ISO 8859-2 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "koi8-r": "KOI8-R (Russian)",
    "koi8-u": "KOI8-U (Ukrainian)",
    "cp866": "DOS 866 (Cyrillic)",
    "iso8859-5": "ISO 8859-5 (Cyrillic)",
    "mac-cyrillic": "Mac Cyrillic",
    "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)",
    "cp1255": "Windows-1255 (Hebrew)",
    "cp1256": "Windows-1256 (Arabic)",
    "cp1257": "Windows-1257 (Baltic)",
    "cp874": "Windows-874 (Thai)",
    "mac-roman": "Mac Roman",
    "cp850": "DOS 850 (Western European)",
    "cp437": "DOS 437",
    "shift-jis": "Shift JIS (Japanese)",
    "euc-jp": "EUC-JP (Japanese)",
    "euc-kr": "EUC-KR (Korean)",
    "gb18030": "GB 18030 (Chinese, GBK)",
    "big5": "Big5 (Chinese)",
}
"""Name in the settings to the name in words. Those after the Unicode ones are in the order in which they are preferred
where a text is equally good in several."""

_CODECS = {"shift-jis": "cp932", "big5": "big5hkscs", "euc-kr": "cp949"}
"""The supersets that programs really write under these names; the others are Python's own names."""
UNICODE = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_LEGACY = [name for name in ENCODINGS if name not in UNICODE]
_MARKS = {
    b"\xef\xbb\xbf": "utf-8",
    b"\xff\xfe\x00\x00": "utf-32-le",  # before the mark of UTF-16, with which it begins
    b"\x00\x00\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
SAMPLE_BYTES = 1 << 16
"""Bytes from the first one beyond ASCII on by which the encoding is guessed."""
_FIT_CHARS = 8192
"""Characters of the sample that are counted."""
_UNLIKELY = 0.2
"""What charset-normalizer's silence about an encoding counts."""
PROOF_CHARS = 80
"""Longest line of text that is shown as proof of a guess."""

_SIGNS = "‘’‚“”„«»‹›–—…•°§©®™€£\u00a0"
_WESTERN = f"[àáâãäåæçèéêìíîïñòóôöøùúûüÿßœÀÁÂÄÅÆÇÈÉÍÓÔÖØÚÜ¡¿{_SIGNS}]"
_CENTRAL = f"[ąćęłńóśźżáčďéěíňřšťúůýžőűăâîşţđäëöüßĄĆŁŚŻŹŽČĎŘŠÉÁÖÜÍŐŰÎŞŢ{_SIGNS}]"
_CYRILLIC = f"[а-яёіїєґўђјљњћџ{_SIGNS}]"


def _two_bytes(codec: str, leads: range) -> str:
    """Return the characters of a codec whose first byte is one of `leads`: the common ones come first in it."""
    return bytes(byte for lead in leads for end in range(0xA1, 0xFF) for byte in (lead, end)).decode(codec, "ignore")


_HOME = {
    **dict.fromkeys(("cp1252", "mac-roman", "cp850", "cp437"), _WESTERN),
    **dict.fromkeys(("cp1250", "iso8859-2"), _CENTRAL),
    **dict.fromkeys(("cp1251", "cp866", "iso8859-5", "mac-cyrillic"), _CYRILLIC),
    **dict.fromkeys(("koi8-r", "koi8-u"), f"[а-яёіїєґ{_SIGNS}]"),
    "cp1253": f"[α-ωά-ώ{_SIGNS}]",
    "cp1254": f"[çğıöşüâîûÇĞİÖŞÜ{_SIGNS}]",
    "cp1255": f"[א-ת\u05b0-\u05c7{_SIGNS}]",
    "cp1256": f"[ء-ي\u064b-\u0652پچژگک،؛؟{_SIGNS}]",
    "cp1257": f"[āčēģīķļņšūžąęėįųõäöüĄČĖŠŪŽĀĒĪ{_SIGNS}]",
    "cp874": f"[\u0e01-\u0e5b{_SIGNS}]",
    **dict.fromkeys(("shift-jis", "euc-jp"), "[\u3041-\u30ff、。「」・ー]"),
    "euc-kr": f"[{_two_bytes('euc_kr', range(0xB0, 0xC9))}]",
    "gb18030": f"[{_two_bytes('gb2312', range(0xB0, 0xD8))}，。、：；？！“”‘’《》…—]",
    "big5": f"[{_two_bytes('big5', range(0xA4, 0xC7))}，。、：；？！「」『』…—]",
}
"""The characters beyond ASCII that are common in the languages for which an encoding was made; letters mostly small."""
_PARTLY = re.compile("[A-ZÀ-ÞΑ-ΩΆ-ΏА-ЯЁІЇЄýþðõëÝÞÐ\u4e00-\u9fff]")
"""Characters that count half: capitals, letters of few languages, and ideographs, which Japanese has beside its own."""
_CAPITAL = re.compile("(?<![^\\W\\d_])[Α-ΩΆ-ΏА-ЯЁІЇЄ](?=[а-яёіїєґα-ωά-ώ])")
"""A Greek or Cyrillic capital at the beginning of a word, where it belongs."""
_ODD = re.compile(
    "[a-zß-öø-ÿа-яё][À-ÖØ-ÞŽŠŒŸŹŻĄЁА-Я]"
    "|[^\\W\\d_][^\\w\\s\x00-\x7f’\u00ad·]+(?=[^\\W\\d_])"
    "|[A-Za-z](?=[Ͱ-\u0e7f])|[Ͱ-\u0e7f](?=[A-Za-z])"
)
"""Inside a word: a capital, a sign that is no apostrophe, or a letter of another script."""


@dataclass(frozen=True)
class Guess:
    """The encoding that a text is probably in.

    Attributes:
        encoding: One of `ENCODINGS`.
        proof: A line of the text with characters beyond ASCII, decoded, by which a person can see whether it is right.
    """

    encoding: str
    proof: str


def codec_of(encoding: str) -> str:
    """Return Python's name of the codec for one of `ENCODINGS`."""
    return _CODECS.get(encoding, encoding)


def marked(head: bytes) -> tuple[str, int]:
    r"""Return the encoding that the byte-order mark at the beginning of a file names, and the length of the mark.

    >>> marked(b"\xff\xfea\x00"), marked(b"abc")
    (('utf-16-le', 2), ('', 0))
    """
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding, len(mark)
    return "", 0


def wide(head: bytes) -> str:
    """Return which UTF-16 a file without a mark is in, "" if in none: every other byte of Latin letters is 0.

    >>> wide("plain words".encode("utf-16-be"))
    'utf-16-be'
    """
    head = head[: len(head) // 2 * 2]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    few, many = sorted((even, odd))
    if many <= len(head) / 4 or few >= len(head) / 32:
        return ""
    return "utf-16-be" if even > odd else "utf-16-le"


def guess(sample: bytes) -> Guess | None:
    """Return the encoding of a text by its bytes from the first one beyond ASCII on; None for UTF-8.

    Args:
        sample: Up to `SAMPLE_BYTES` bytes.
    """
    sample = _whole_words(sample)
    text = sample.decode("utf-8", "surrogateescape")
    num_invalid = sum("\udc80" <= character <= "\udcff" for character in text)
    num_valid = sum(character > "\x7f" for character in text) - num_invalid
    if num_invalid <= num_valid:  # a few damaged bytes are replaced
        return None
    from charset_normalizer import from_bytes  # takes 30 ms, and most files are in UTF-8

    names = {codecs.lookup(codec_of(name)).name.replace("-", "_"): name for name in _LEGACY}
    bonus = dict.fromkeys(_LEGACY, -_UNLIKELY)
    for match in from_bytes(sample, cp_isolation=list(names)):
        for name in {match.encoding, *match.could_be_from_charset}:  # all of them decode it to the same text
            key = names.get(codecs.lookup(name).name.replace("-", "_"))
            if key is not None:
                bonus[key] = match.coherence / 10 - match.chaos
    scores = {
        name: _fit(decoded, name) + bonus[name] - place / 1000
        for place, name in enumerate(_LEGACY)
        if (decoded := _decoded(sample, name)) is not None
    }
    found = max(scores, key=lambda name: scores[name], default="cp1252")
    return Guess(found, proof(sample.decode(codec_of(found), "replace")))


def _decoded(sample: bytes, encoding: str) -> str | None:
    """Return the beginning of a sample in an encoding, None if the sample has bytes that the encoding has not."""
    try:
        return sample.decode(codec_of(encoding))[:_FIT_CHARS]
    except UnicodeDecodeError:
        return None


def _fit(text: str, encoding: str) -> float:
    """Return how well the characters of a text fit the languages of an encoding, at most 1."""
    home = re.compile(_HOME[encoding])
    beyond = re.sub("[\x00-\x7f]", "", text)
    others = home.sub("", beyond)
    capitals = home.sub("", "".join(_CAPITAL.findall(text)))
    partly = len(_PARTLY.findall(others)) + len(capitals)
    return (len(beyond) - len(others) + partly / 2 - len(_ODD.findall(text))) / max(1, len(beyond))


def proof(text: str) -> str:
    r"""Return a line of a text with characters beyond ASCII, cut around the first of them; "" if there are none.

    >>> proof("plain words\nand the café\n")
    'and the café'
    """
    at = next((n for n, character in enumerate(text) if character > "\x7f" and character.isalpha()), None)
    if at is None:
        at = next((n for n, character in enumerate(text) if character > "\x7f"), None)
    if at is None:
        return ""
    start = max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1
    start = max(start, at - PROOF_CHARS // 2)
    return re.split("[\r\n]", text[start : start + PROOF_CHARS], maxsplit=1)[0].strip()


def _whole_words(sample: bytes) -> bytes:
    """Leave out what may be half a character at the end: no encoding has a space or a line end inside a character."""
    end = max(sample.rfind(b" "), sample.rfind(b"\n")) + 1
    return sample[:end] if len(sample) >= SAMPLE_BYTES and end > len(sample) // 2 else sample
