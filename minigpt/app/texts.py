"""All texts of the app, in one catalogue for each page, so that a second language can be added.

`assets/texts/<language>/<page>.yaml` maps names to texts with `{placeholders}`; `t("train.start")` looks one up.
A placeholder can also choose a word by a number: `{count} {count:token|tokens}` becomes "1 token" or "2 tokens".
"""

from __future__ import annotations

import functools
import math
import re
import string
from typing import TYPE_CHECKING, Any

import yaml

from minigpt import resources
from minigpt.viz.labels import visible_token
from minigpt.wording import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minigpt.tokenizers.base import BaseTokenizer

LANGUAGE = "en"


@functools.cache
def catalogue(page: str) -> dict[str, str]:
    """Return all texts of one page: name to text.

    Raises:
        FileNotFoundError: There is no such catalogue.
    """
    path = resources.asset_path("texts", LANGUAGE, f"{page}.yaml")
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader  # 20 times as fast; a title waits for it
    texts = loader(path.read_text("utf-8")).get_single_data()
    return {str(name): str(text).strip() for name, text in texts.items()}


def t(key: str, /, **values: Any) -> str:
    """Return the text of `<page>.<name>` with its placeholders filled.

    If the result is shown as Markdown, pass texts of a user through `escape` first.

    Raises:
        KeyError: There is no such text.
    """
    return _FORMATTER.vformat(template(key), (), values)


class _Formatter(string.Formatter):
    """Formats like `str.format`, and chooses between words: `{count:token|tokens}` is "token" only for 1."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        one, bar, many = format_spec.partition("|")
        if bar:
            return one if str(value).strip("*") == "1" else many
        return super().format_field(value, format_spec)


_FORMATTER = _Formatter()


def template(key: str) -> str:
    """Return the text of `<page>.<name>` with its placeholders left in, for a figure that fills them.

    Raises:
        KeyError: There is no such text.
    """
    page, _, name = key.partition(".")
    return catalogue(page)[name]


def has(key: str) -> bool:
    """Return whether the catalogue has a text for `<page>.<name>`."""
    page, _, name = key.partition(".")
    return name in catalogue(page)


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")
_ICON = re.compile(r":(?=(?:material[/_]|streamlit:))")


def escape(text: str) -> str:
    r"""Make a user's text safe inside a sentence in Markdown: it is shown on one line, and all of it can be seen.

    >>> escape("a*b"), escape("gpj\u202etxt.exe")
    ('a\\*b', 'gpj\ufffdtxt\\.exe')
    """
    return markdown(visible(" ".join(text.split())))


def markdown(sentences: str) -> str:
    r"""Make a message safe inside Markdown; the names in it are visible already, see `minigpt.wording`.

    >>> markdown("2 * 3")
    '2 \\* 3'
    """
    # Streamlit replaces icon names after Markdown has removed the backslashes; an invisible word joiner prevents that.
    return _MARKDOWN.sub(r"\\\1", _ICON.sub(":\u2060", " ".join(sentences.split())))


def quoted(token: str) -> str:
    """Return a token for a sentence in Markdown: visible, quoted, escaped, and with its text direction isolated."""
    return f"\u2068“{markdown(visible_token(token))}”\u2069"


def plain(sentence: str) -> str:
    r"""Return a sentence without its Markdown, for screen readers.

    >>> plain(r"After **81 %** comes “\<”.")
    'After 81 % comes “<”.'
    """
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)\*", "", sentence))


def unit(tokenizer: BaseTokenizer) -> str:
    """Return the word for one token: "character" if every token is one, else "token"."""
    return t(f"inside.unit_{tokenizer.unit}")


def number(value: float) -> str:
    """Write a count with thousands separated.

    >>> number(1234567)
    '1,234,567'
    """
    return f"{value:,.0f}"


def equally_likely(loss: float) -> str:
    """Return exp(loss), the number of equally likely tokens that a loss corresponds to; a huge one as a power of ten.

    >>> equally_likely(0.2), equally_likely(4.1), equally_likely(275.7), equally_likely(1000.0)
    ('1.2', '60', '10^120', '10^434')
    """
    if loss > math.log(1e6):
        return f"10^{loss / math.log(10):.0f}"
    choices = math.exp(loss)
    return f"{choices:.0f}" if choices >= 20 else f"{choices:.1f}"


def percent(share: float) -> str:
    r"""Write a share as a percentage that no line break splits; only an exact 0 reads 0 %, and only a full share 100 %.

    >>> [percent(share).replace("\xa0", " ") for share in (0.814, 0.0004, 0.0, 0.997, 0.9999999)]
    ['81 %', '< 1 %', '0 %', '> 99 %', '100 %']
    """
    if 0 < share < 0.005:
        text = "< 1 %"
    elif 0.995 <= share < 0.99995:  # larger values are 1 with the rounding error of a sum
        text = "> 99 %"
    else:
        text = f"{share * 100:.0f} %"
    return text.replace(" ", "\xa0")


def distinct(names: Sequence[str]) -> list[str]:
    """Return names with a number behind those that are equal: a list in the browser knows its lines by their names.

    >>> distinct(["cats", "dogs", "cats", "cats (1)"])
    ['cats (2)', 'dogs', 'cats (3)', 'cats (1)']
    """
    taken, result = set(names), []
    for name in names:
        number = 1
        if names.count(name) > 1:
            while f"{name} ({number})" in taken:
                number += 1
            name = f"{name} ({number})"
        taken.add(name)
        result.append(name)
    return result


def probability(share: float) -> str:
    """Write the probability of one token, with one more digit than `percent` if it is small.

    >>> probability(0.814), probability(0.034), probability(0.0004), probability(1.0), probability(0.9996)
    ('81 %', '3.4 %', '< 0.1 %', '100 %', '> 99.9 %')
    """
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def compact(value: float) -> str:
    """Write a large count with three significant digits.

    >>> compact(834), compact(12_345), compact(804_096), compact(12_300_000)
    ('834', '12.3 k', '804 k', '12.3 M')
    """
    for limit, divisor, unit in ((999.5, 1, ""), (999_500, 1e3, " k"), (999.5e6, 1e6, " M"), (float("inf"), 1e9, " G")):
        if value < limit:
            scaled = value / divisor
            return f"{scaled:.0f}{unit}" if divisor == 1 or scaled >= 99.95 else f"{scaled:.3g}{unit}"
    raise AssertionError(value)


def duration(seconds: float) -> str:
    """Write a duration in the largest units that fit.

    >>> duration(8.4), duration(95), duration(4000)
    ('8 s', '1 min 35 s', '1 h 6 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(num_bytes: float) -> str:
    """Write a number of bytes.

    >>> size(900), size(14_300), size(999_970), size(2_500_000)
    ('900 B', '14 kB', '1.0 MB', '2.5 MB')
    """
    if num_bytes < 999.5:
        return f"{num_bytes:.0f} B"
    if num_bytes < 999.5e3:
        return f"{num_bytes / 1e3:.0f} kB"
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes < 999.95e6 else f"{num_bytes / 1e9:.1f} GB"
