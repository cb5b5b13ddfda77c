"""What a sentence quotes: names that a person gave, and errors of the operating system in words.

A name may hold characters that cannot be seen, that turn the writing direction round, or that move a terminal's cursor.
`visible` makes them visible, so that the sentence around the name reads as it was written.
"""

from __future__ import annotations

import errno
import re
import unicodedata
from dataclasses import dataclass

_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "␡"}
_UNSEEN = "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2067\u206a-\u206f\ufeff\ufff9-\ufffb"
_ISOLATES = "\u2068\u2069"
_HIDDEN = re.compile(
    f"[\x80-\x9f{_UNSEEN}\ud800-\udfff\U000e0000-\U000e007f]"
    # the two joiners belong into emoji and into scripts such as Persian; next to ASCII they only hide
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
_RIGHT_TO_LEFT = {"R", "AL", "AN"}


def visible(name: str) -> str:
    r"""Return a name for a sentence: every character of it can be seen, and it cannot turn the sentence round.

    Control characters become their pictures; other characters without a shape (zero-width characters, marks and
    overrides of the writing direction, halves of surrogate pairs) become `\ufffd`. A name with letters that are written
    from right to left is isolated, so that the words after it stay where they are.

    >>> visible("gpj\u202etxt.exe"), visible("a\nb"), visible("zero\u200bwidth")
    ('gpj\ufffdtxt.exe', 'a␊b', 'zero\ufffdwidth')
    >>> visible("שלום") == "\u2068שלום\u2069", visible("café 猫 👩\u200d🔬") == "café 猫 👩\u200d🔬"
    (True, True)
    """
    shown = re.sub(f"[{_ISOLATES}]", "\ufffd", _HIDDEN.sub("\ufffd", name.translate(_PICTURES)))
    if any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in shown):
        return f"\u2068{shown}\u2069"
    return shown


def harmless(text: str) -> str:
    r"""Return a text of several sentences or lines with everything visible, as `visible` does for one name.

    Line ends and tabs stay, and so do the isolates that `visible` has put around names.

    >>> harmless("a\x1b[2Jb\n")
    'a␛[2Jb\n'
    """
    return _HIDDEN.sub("\ufffd", text.translate({**_PICTURES, 0x09: "\t", 0x0A: "\n"}))


def quoted(value: object) -> str:
    r"""Return what a person gave for a message: a text in quotation marks, anything else as Python writes it.

    >>> quoted("gpj\u202etxt"), quoted("it’s"), quoted(3), quoted(["a", 1.5])
    ("'gpj\ufffdtxt'", "'it’s'", '3', "['a', 1.5]")
    """
    if isinstance(value, str):
        return f"'{visible(value)}'"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(quoted, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{quoted(key)}: {quoted(item)}' for key, item in value.items())}}}"
    return harmless(repr(value))


def one_character(character: str) -> str:
    r"""Return one character for a list of characters; one that cannot be seen by its number and its name.

    >>> one_character("é"), one_character("\u202e"), one_character("\x07")
    ('“é”', 'U+202E (right-to-left override)', 'U+0007')
    """
    if character.isprintable() and (character == " " or not character.isspace()):
        return f"“{visible(character)}”"
    name = unicodedata.name(character, "").lower()
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")


@dataclass(frozen=True)
class Cause:
    """Why the operating system or a network refused something.

    Attributes:
        why: The cause, as the end of a sentence, without a full stop.
        mend: What a person at this machine can do, as a full sentence.
        on_page: What the visitor of a page can do, who may be at another machine.
    """

    why: str
    mend: str
    on_page: str


_WHO = "The person who runs this server"
_FULL = (
    "Free some space and try again.",
    "Delete runs that you no longer need on the page Runs, or have space freed on this machine.",
)
_OPEN = (
    "Close other programs, or raise the number of files that may be open (ulimit -n), and try again.",
    f"Try again in a minute. {_WHO} can raise the number of files that may be open.",
)
_PLACE = ("Check the path.", f"{_WHO} can check the path.")
_OTHER_PLACE = ("Choose another place.", f"{_WHO} can choose another place.")
_NETWORK = (
    "Check this machine's connection to the internet, and try again.",
    "Try again later, or use something that needs no download.",
)

_CAUSES = {
    errno.ENOSPC: Cause("the disk is full", *_FULL),
    errno.EDQUOT: Cause("the space that this account may use is full", *_FULL),
    errno.EFBIG: Cause("no file may grow that large here", *_FULL),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        Cause(
            "this program has no right to it",
            "Change its rights, or choose another place.",
            f"{_WHO} can change its rights.",
        ),
    ),
    errno.EROFS: Cause(
        "the disk can only be read, not written", "Choose a place on another disk.", f"{_WHO} can choose another disk."
    ),
    errno.EMFILE: Cause("this program has too many files open", *_OPEN),
    errno.ENFILE: Cause("this machine has too many files open", *_OPEN),
    errno.ENAMETOOLONG: Cause("the name is too long", "Choose a shorter name.", "Choose a shorter name."),
    errno.ENOENT: Cause("there is no such file or folder", *_PLACE),
    errno.ENOTDIR: Cause("a part of its path is a file, not a folder", *_PLACE),
    errno.EISDIR: Cause("it is a folder, not a file", *_PLACE),
    errno.ELOOP: Cause("the links on its path lead round in a circle", *_PLACE),
    errno.EEXIST: Cause("there is something at this place already", *_OTHER_PLACE),
    errno.ENOTEMPTY: Cause("the folder is not empty", *_OTHER_PLACE),
    errno.EIO: Cause(
        "the disk reports a failure",
        "Copy what you need to another disk, and check this one.",
        f"{_WHO} has to check it.",
    ),
    errno.EBUSY: Cause("another program is using it", "Close that program and try again.", "Try again in a minute."),
    errno.ENOMEM: Cause("the memory is full", "Close other programs and try again.", "Try again in a minute."),
    errno.ECONNREFUSED: Cause("the other side refused the connection", *_NETWORK),
    errno.ECONNRESET: Cause("the connection broke off", *_NETWORK),
    errno.ENETUNREACH: Cause("there is no connection to the internet", *_NETWORK),
    errno.EHOSTUNREACH: Cause("there is no way to the other side", *_NETWORK),
}


_OF_THE_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM),
    *(errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM),
}


def is_of_the_machine(error: OSError) -> bool:
    """Return whether the machine or its settings are the cause, and not a mistake in this program."""
    return error.errno in _OF_THE_MACHINE


def cause_of(error: BaseException) -> Cause:
    """Return the cause of an error of the operating system in words; an unknown one is quoted.

    >>> cause_of(OSError(28, "No space left on device")).why
    'the disk is full'
    """
    number = error.errno if isinstance(error, OSError) else None
    if named := re.search(r"\(os error (\d+)\)|Os \{ code: (\d+)", str(error)):  # the writer of safetensors is Rust
        number = int(named[1] or named[2])
    if number in _CAUSES:
        return _CAUSES[number]
    if isinstance(error, TimeoutError):
        return Cause("the other side did not answer in time", *_NETWORK)
    said = (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
    return Cause(
        visible(said),
        "Try again, and check that the disk and the folder may be written to.",
        f"Try again; if it happens again, tell {_WHO.lower()}.",
    )


def cause_of_download(error: BaseException) -> Cause:
    """Return why a download failed.

    Args:
        error: What `urllib.request` raised, an `OSError` or an `HTTPException`.
    """
    import http.client
    import socket
    import ssl
    import urllib.error

    if isinstance(error, urllib.error.HTTPError):
        return Cause(f"the other side answered {error.code} {error.reason}", *_NETWORK)
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return cause_of_download(error.reason)
    if isinstance(error, socket.gaierror):
        return Cause("its address was not found, probably because there is no connection to the internet", *_NETWORK)
    if isinstance(error, ssl.SSLError):
        return Cause("the connection could not be secured", *_NETWORK)
    if isinstance(error, http.client.HTTPException):
        return Cause("the connection broke off", *_NETWORK)
    return Cause(cause_of(error).why, *_NETWORK)
