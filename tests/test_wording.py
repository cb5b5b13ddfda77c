"""Names cannot hide anything in a sentence, and errors of the operating system are told by their cause."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import unicodedata
import urllib.error
from email.message import Message

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt.wording import cause_of, cause_of_download, harmless, visible

TRICKS = ["\u202e", "\u2066", "\u200b", "\u200f", "\ufeff", "\u00ad", "\x1b[2J", "\n", "\x9b", "\ud800", "\U000e0041"]


@pytest.mark.parametrize("trick", TRICKS)
def test_what_hides_or_turns_round_is_seen(trick: str) -> None:
    assert visible(f"gpj{trick}txt.exe") != "gpjtxt.exe"
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in visible(f"a{trick}b"))


@given(st.text())
@example("\u2069\u202eשלום\u2068")
def test_a_name_cannot_reach_beyond_itself(name: str) -> None:
    shown = visible(name)
    depth = 0
    for character in shown:
        depth += {"\u2066": 1, "\u2067": 1, "\u2068": 1, "\u2069": -1}.get(character, 0)
        assert depth in (0, 1)
        assert character not in "\u202a\u202b\u202c\u202d\u202e"
    assert depth == 0
    assert "\n" not in shown
    shown.encode("utf-8")  # no half of a surrogate pair is left, so any browser and any terminal can be sent it
    assert harmless(shown) == shown


@pytest.mark.parametrize("name", ["tales", "café 猫", "👩\u200d🔬", "می\u200cخواهم", "a’s – “b” (1).txt"])
def test_ordinary_names_stay(name: str) -> None:
    assert visible(name).strip("\u2068\u2069") == name


NUMBERS = sorted({getattr(errno, name) for name in dir(errno) if name.startswith("E")})


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: errno.errorcode[number])
def test_every_number_of_the_system_is_told_without_its_number(number: int) -> None:
    cause = cause_of(OSError(number, "Said by the System", "/secret/folder/file"))
    for part in (cause.why, cause.mend, cause.on_page):
        assert part
        assert "Errno" not in part
        assert "/secret" not in part
    assert not cause.why.endswith(".")
    assert cause.mend.endswith(".")
    assert cause.on_page.endswith(".")


@pytest.mark.parametrize("name", ["ENOSPC", "EACCES", "EROFS", "EMFILE", "ENAMETOOLONG", "EDQUOT", "EIO", "ELOOP"])
def test_the_usual_ones_are_in_our_own_words(name: str) -> None:
    assert "Said by" not in cause_of(OSError(getattr(errno, name), "Said by the System")).why


def test_the_writer_of_weights_says_it_in_its_own_way() -> None:
    for said in ('IoError(Os { code: 28, kind: StorageFull, message: "x" })', "I/O error: x (os error 28)"):
        assert cause_of(RuntimeError(said)).why == "the disk is full"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "no connection to the internet"),
        (urllib.error.URLError(ConnectionRefusedError(111, "x")), "refused the connection"),
        (urllib.error.URLError(ssl.SSLCertVerificationError("x")), "could not be secured"),
        (urllib.error.URLError("unknown url type"), "unknown url type"),
        (urllib.error.HTTPError("https://example.org", 404, "Not Found", Message(), None), "answered 404 Not Found"),
        (TimeoutError("timed out"), "did not answer in time"),
        (http.client.IncompleteRead(b""), "broke off"),
        (ConnectionResetError(104, "x"), "broke off"),
    ],
)
def test_a_download_fails_for_a_reason(error: BaseException, why: str) -> None:
    cause = cause_of_download(error)
    assert why in cause.why
    assert "Errno" not in cause.why
    assert "put it" not in cause.on_page
