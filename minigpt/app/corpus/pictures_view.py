"""What the pictures of a text show, and the sentences beside them; and the search inside the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigpt.app.texts import escape, number, percent, t, template
from minigpt.config import DataConfig
from minigpt.data.corpora import Corpus
from minigpt.data.parts import read_parts
from minigpt.data.scripts import has_spaces
from minigpt.data.statistics import PartStatistics, part_statistics
from minigpt.viz.corpus import PartsWords
from minigpt.viz.labels import visible_token

PICTURES = ("characters", "words", "frequency", "coverage", "lines")
SHOWN = 16
"""Characters or words in one picture."""
POINTS, CLASSES = 160, 24
"""Points of a curve, and classes of line lengths."""
SHOWN_HITS, AROUND = 8, 32
"""Places that a search shows, and characters on each side of one."""


@dataclass(frozen=True)
class Pictures:
    """Frequencies in both parts of a text.

    Attributes:
        training: Those of the training part.
        validation: Those of the validation part.
        is_sampled: Whether only a sample of the text was counted.
    """

    training: PartStatistics
    validation: PartStatistics
    is_sampled: bool

    @property
    def has_words(self) -> bool:
        """Whether spaces separate the words of the text."""
        return self.training.words is not None

    @property
    def parts(self) -> tuple[PartStatistics, PartStatistics]:
        """Both parts."""
        return self.training, self.validation


def pictures_of(corpus: Corpus, data: DataConfig, num_tokens: int) -> Pictures:
    """Count what the pictures show; ten million characters take about a second."""
    parts = read_parts(corpus, data, num_tokens)
    spaced = has_spaces(parts.counts)
    training, validation = (part_statistics(text, with_words=spaced) for text in (parts.train, parts.validation))
    return Pictures(training, validation, parts.is_sampled)


def names(pictures: Pictures) -> list[str]:
    """Return the pictures of a text; a script without spaces has none of words."""
    return [name for name in PICTURES if name != "words" or pictures.has_words]


def common(pictures: Pictures, what: str) -> tuple[list[str], list[float], list[float]]:
    """Return the most common characters or words of the whole text, and the share of each in both parts.

    Args:
        pictures: The frequencies.
        what: `characters` or `words`.
    """
    most = [item for item, _ in _counts(pictures.training, what)[:SHOWN]]
    shares = []
    for part in pictures.parts:
        counts = dict(_counts(part, what))
        total = sum(counts.values())
        shares.append([counts.get(item, 0) / total for item in most] if total else [])
    return most, shares[0], shares[1]


def ranked(part: PartStatistics, *, is_frequency: bool) -> tuple[list[float], list[float]]:
    """Return a curve over the ranks, equally spaced in the logarithm: the share of each rank, or of all up to it.

    Args:
        part: One part of a text; its words are ranked, or its characters if it has no words.
        is_frequency: Whether the share is that of one rank.
    """
    counts = np.array([count for _, count in _counts(part, unit_of(part))], dtype=np.float64)
    if not counts.size:
        return [], []
    shares = counts / counts.sum()
    values = shares if is_frequency else np.cumsum(shares)
    ranks = np.unique(np.geomspace(1, counts.size, POINTS).round().astype(int))
    return ranks.tolist(), values[ranks - 1].tolist()


def unit_of(part: PartStatistics) -> str:
    """Return what is ranked: `words`, or `characters` where spaces do not separate words."""
    return "characters" if part.words is None else "words"


def _counts(part: PartStatistics, what: str) -> Sequence[tuple[str, int]]:
    return part.characters if what == "characters" else part.words or ()


def lengths(pictures: Pictures) -> tuple[list[int], list[float], list[float]]:
    """Return classes of line lengths and the share of each part's lines in them; the last class holds all longer ones.

    Lines without text are left out.
    """
    everything = np.concatenate([part.line_lengths for part in pictures.parts])
    most = int(np.quantile(everything, 0.99)) if everything.size else 1
    width = -(-(most + 1) // CLASSES)
    edges = list(range(0, most + width + 1, width))
    shares = []
    for part in pictures.parts:
        found, _ = np.histogram(np.minimum(part.line_lengths, edges[-1] - 1), bins=edges)
        shares.append((found / found.sum()).tolist() if found.sum() else [])
    return edges, shares[0], shares[1]


def words_of(name: str, pictures: Pictures) -> PartsWords:
    """Return the words of one of the figures."""
    unit = unit_of(pictures.training)
    axes: Mapping[str, Any] = {
        "characters": ("axis_share_characters", None),
        "words": ("axis_share_words", None),
        "frequency": (f"axis_rank_{unit}", f"axis_share_{unit}"),
        "coverage": (f"axis_number_{unit}", "axis_covered"),
        "lines": ("axis_length", "axis_share_lines"),
    }
    x, y = axes[name]
    return PartsWords(
        training=t("corpus.split_training"),
        validation=t("corpus.split_validation"),
        x=t(f"corpus.{x}"),
        y=t(f"corpus.{y}") if y else "",
        hover=template(f"corpus.hover_{name}"),
        reference=t("corpus.zipf"),
    )


def sentence(name: str, pictures: Pictures) -> str:
    """Return the sentence below a figure, with numbers on it, as Markdown; "" for a text with nothing to count."""
    unit = unit_of(pictures.training)
    if name in ("characters", "words"):
        most, shares, _ = common(pictures, name)
        if not most:
            return ""
        first = escape(visible_token(most[0]))
        return t(f"corpus.picture_{name}", first=first, share=f"{100 * shares[0]:.1f}")
    counts = _counts(pictures.training, unit)
    if name == "lines":
        found = pictures.training.line_lengths
        if not found.size:
            return ""
        return t("corpus.picture_lines", median=number(float(np.median(found))), longest=number(int(found.max())))
    if not counts:
        return ""
    total = sum(count for _, count in counts)
    if name == "frequency":
        once = sum(count == 1 for _, count in counts)
        return t(f"corpus.picture_frequency_{unit}", distinct=number(len(counts)), once=percent(once / len(counts)))
    few = min(100 if unit == "words" else 10, len(counts))
    share = percent(sum(count for _, count in counts[:few]) / total)
    return t(f"corpus.picture_coverage_{unit}", few=few, share=share, distinct=number(len(counts)))


def search(text: str, wanted: str) -> tuple[int, str]:
    """Return how often a text contains what is wanted, and some of the places with what stands around them.

    Args:
        text: The text.
        wanted: What to look for, exactly as it is written; "" is found nowhere.
    """
    count = text.count(wanted) if wanted else 0
    places, start = [], 0
    for _ in range(min(count, SHOWN_HITS)):
        start = text.index(wanted, start)
        places.append(start)
        start += len(wanted)
    lines = []
    for place in places:
        end = place + len(wanted)
        before = visible_token(text[max(0, place - AROUND) : place] or " ").replace("␣", " ")
        after = visible_token(text[end : end + AROUND] or " ").replace("␣", " ")
        lines.append(f"{before:>{AROUND}}[{visible_token(wanted).replace('␣', ' ')}]{after}")
    return count, "\n".join(lines)
