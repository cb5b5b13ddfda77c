"""What a text shares with the training text, as plain data and sentences; `copying` only draws it.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from minigpt.app.components.copied_text import CopiedSpan
from minigpt.app.texts import number, percent, quoted, t
from minigpt.evaluation.copying import SharedSpan, copied_share, shared_spans
from minigpt.runs.folder import RunFolder
from minigpt.runs.text import DOCUMENT_BORDER, learned_text

if TYPE_CHECKING:
    from minigpt.generation.results import Generation
    from minigpt.runs.loading import Run

LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Choices for the characters of the shortest span that counts as copied; shorter ones are words."""
SMALL_SHARE = 0.1
"""The control starts at the first length of which a held-out text has no more than this share."""
RARE = 0.05
"""A share that so few of the held-out texts reach is more than chance explains."""
HELD_OUT_CHARS = 10_000
"""Characters of the held-out text that are compared."""
MOST_TYPED = 5_000
"""Most characters of a text that the visitor types."""
AROUND = 90
"""Characters of the training text shown before and after a span."""
LETTERS_TRIED = 240
"""Characters of the passage that an experiment puts into the field."""

TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
NUM_TEXTS = 8
"""Texts written for each temperature or step."""
MOST_STEPS = 8
"""Most steps in the figure over training: each one is a model to load and texts to write."""
TOKENS = (40, 80, 120, 240, 480)
"""Choices for the number of tokens to write."""
USUAL_TOKENS = 120
WARMEST = 2.0
FIRST_SEED = 9
SOURCES = ("written", "typed")
FIGURES = ("length", "temperature", "step")
_BETWEEN = "\uffff"
"""Stands between texts that are looked up together: no character of a text."""

Cancelled = Callable[[], bool]


def starts(most: int) -> dict[str, Any]:
    """Return the controls of the view by name, each with the value it has until the visitor chooses another one.

    Args:
        most: The most tokens that the server writes.
    """
    return {"temperature": 0.8, "seed": str(FIRST_SEED), "tokens": usual_tokens(most), "source": SOURCES[0]}


def num_tokens(most: int) -> list[int]:
    """Return the choices for the number of tokens to write."""
    return [length for length in TOKENS if length <= most] or [TOKENS[0]]


def usual_tokens(most: int) -> int:
    """Return the number of tokens to write at first."""
    return min(num_tokens(most), key=lambda length: abs(length - USUAL_TOKENS))


class Spans(NamedTuple):
    """What a text shares with the training text."""

    num_chars: int
    """Length of the text."""
    found: tuple[SharedSpan, ...]
    """Its shared spans of `LENGTHS[0]` characters or more."""

    def share(self, shortest: int, window: int | None = None) -> float:
        """Return the copied share; see `copied_share`."""
        return copied_share(self.found, self.num_chars, shortest=shortest, window=window)


@dataclass(frozen=True)
class Baseline:
    """What can be expected: the shared spans of a held-out text, which the model never saw.

    Attributes:
        held_out: Its spans; of no characters if nothing was held out.
        num_chars: Length of the training text.
        is_whole: Whether that is all of it.
        passage: A passage of the training text.
    """

    held_out: Spans
    num_chars: int
    is_whole: bool
    passage: str

    def share(self, shortest: int, window: int) -> float | None:
        """Return the share of held-out texts of a length; None if nothing was held out.

        Args:
            shortest: Characters of the shortest span that counts.
            window: Length of the text that it is compared with.
        """
        return self.held_out.share(shortest, max(window, 1)) if self.held_out.num_chars else None

    def shares(self, shortest: int, window: int) -> list[float]:
        """Return the share of each held-out text of a length, without what is left at the end.

        Args:
            shortest: Characters of the shortest span that counts.
            window: Length of each, in characters.
        """
        is_copied = [False] * self.held_out.num_chars
        for span in self.held_out.found:
            start = span.start
            while start < span.end:
                end = min(span.end, (start // window + 1) * window)
                if end - start >= shortest:
                    is_copied[start:end] = [True] * (end - start)
                start = end
        starts = range(0, self.held_out.num_chars - window + 1, window)
        return [sum(is_copied[start : start + window]) / window for start in starts]

    def first_length(self, window: int) -> int:
        """Return the length from which on a shared span says something: held-out text has few of them."""
        shares = [(length, self.share(length, window)) for length in LENGTHS]
        return next((length for length, share in shares if share is not None and share <= SMALL_SHARE), LENGTHS[-1])


def baseline_of(run: Run, cancelled: Cancelled) -> Baseline:
    """Return what can be expected of a run.

    Raises:
        CorpusError: Its training text is not on this machine.
    """
    text = learned_text(RunFolder(run.path))
    held_out = text.held_out[:HELD_OUT_CHARS]
    middle = text.train[len(text.train) // 2 :]
    passage = middle[middle.find("\n") + 1 :][:LETTERS_TRIED].split(DOCUMENT_BORDER)[0]
    found = shared_spans(held_out, text.train, LENGTHS[0], cancelled=cancelled)
    return Baseline(
        Spans(len(held_out), found), len(text.train), text.is_whole, passage.strip() or middle[:LETTERS_TRIED]
    )


@dataclass(frozen=True)
class Copy:
    """A text with its shared spans.

    Attributes:
        prompt: What the model was given; it does not count.
        text: The text.
        spans: Its shared spans.
        around: For each of them the training text before, inside and after it.
        notes: The generator's notes.
    """

    prompt: str
    text: str
    spans: Spans
    around: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def longest(self) -> SharedSpan | None:
        """The longest span."""
        return max(self.spans.found, key=lambda span: span.length, default=None)


def copy_of(run: Run, text: str, cancelled: Cancelled, prompt: str = "", notes: tuple[str, ...] = ()) -> Copy:
    """Return a text with its shared spans and the passages in which they stand.

    Args:
        run: The run.
        text: Any text; it is cleaned like the training text.
        cancelled: Asked between pieces of the work.
        prompt: What stands before it and does not count.
        notes: Passed on.
    """
    from minigpt.generation.inference import cleaned_for

    source, text = learned_text(RunFolder(run.path)).train, cleaned_for(run, text)
    found = shared_spans(text, source, LENGTHS[0], cancelled=cancelled)

    def shown(start: int, end: int) -> str:
        return source[max(start, 0) : end].replace(DOCUMENT_BORDER, "\n\n")

    around = tuple(
        (
            shown(span.place - AROUND, span.place),
            shown(span.place, span.place + span.length),
            shown(span.place + span.length, span.place + span.length + AROUND),
        )
        for span in found
    )
    return Copy(prompt, text, Spans(len(text), found), around, notes)


def written_copy(run: Run, request: tuple[Any, ...], cancelled: Cancelled) -> Copy:
    """Write a text and return it with its shared spans.

    Args:
        run: The run.
        request: Prompt, temperature, number of tokens, and seed.
        cancelled: Asked between pieces of the work.
    """
    prompt, temperature, tokens, seed = request
    result = _written(run, prompt, [temperature], tokens, seed, cancelled)[0]
    return copy_of(run, result.completion, cancelled, result.prompt, result.notes)


def _written(
    run: Run, prompt: str, temperatures: Sequence[float], tokens: int, seed: int, cancelled: Cancelled
) -> list[Generation]:
    """Write a text for each of the temperatures; equal ones differ in their random numbers, which begin equally."""
    from minigpt.generation.generator import TextGenerator
    from minigpt.generation.settings import GenerationSettings

    rows: dict[float, int] = {}
    settings = []
    for temperature in temperatures:
        row = rows[temperature] = rows.get(temperature, -1) + 1
        settings.append(GenerationSettings(max_new_tokens=tokens, temperature=temperature, seed=seed, row=row))
    generator, results = TextGenerator(run), []
    for first in range(0, len(settings), NUM_TEXTS):  # larger products start threads, which ruin a busy machine
        batch = settings[first : first + NUM_TEXTS]
        results += generator.generate_batch([prompt] * len(batch), batch, cancelled=cancelled)
    return results


def spans_at_temperatures(
    run: Run, prompt: str, temperatures: Sequence[float], tokens: int, seed: int, cancelled: Cancelled
) -> list[list[Spans]]:
    """Write `NUM_TEXTS` texts at each temperature and return what each shares with the training text.

    At temperature 0 all texts are the same, so one is written.
    """
    counts = [1 if temperature == 0 else NUM_TEXTS for temperature in temperatures]
    all_of_them = [value for value, count in zip(temperatures, counts, strict=True) for _ in range(count)]
    texts = [result.completion for result in _written(run, prompt, all_of_them, tokens, seed, cancelled)]
    found = iter(_looked_up(run, texts, cancelled))
    return [[next(found) for _ in range(count)] for count in counts]


def _looked_up(run: Run, texts: Sequence[str], cancelled: Cancelled) -> list[Spans]:
    """Return what each text shares with the training text, which is read once for all of them."""
    spans = shared_spans(_BETWEEN.join(texts), learned_text(RunFolder(run.path)).train, LENGTHS[0], cancelled=cancelled)
    result, start = [], 0
    for text in texts:
        end = start + len(text)
        found = [span._replace(start=span.start - start) for span in spans if start <= span.start and span.end <= end]
        result.append(Spans(len(text), tuple(found)))
        start = end + len(_BETWEEN)
    return result


def thinned(steps: Sequence[tuple[int, int | None]]) -> list[tuple[int, int | None]]:
    """Return at most `MOST_STEPS` of the steps, with the first and the last.

    >>> [step for step, _ in thinned([(n, n) for n in range(15)])]
    [0, 2, 4, 6, 8, 10, 12, 14]
    """
    if len(steps) <= MOST_STEPS:
        return list(steps)
    return [steps[round(index * (len(steps) - 1) / (MOST_STEPS - 1))] for index in range(MOST_STEPS)]


def mean_share(spans: Sequence[Spans], shortest: int) -> float:
    """Return the mean copied share of several texts."""
    return sum(one.share(shortest) for one in spans) / len(spans) if spans else 0.0


def mean_length(spans: Sequence[Spans]) -> int:
    """Return the mean length of several texts, in characters."""
    return max(1, round(sum(one.num_chars for one in spans) / max(len(spans), 1)))


def pieces(copy: Copy, shortest: int) -> tuple[list[tuple[str, int]], list[CopiedSpan]]:
    """Return the text in pieces, each with the index of the longest span that covers it, and these spans.

    Args:
        copy: The text.
        shortest: Characters of the shortest span that is underlined.
    """
    owner = [-1] * len(copy.text)
    counted = [index for index, span in enumerate(copy.spans.found) if span.length >= shortest]
    for index in sorted(counted, key=lambda index: copy.spans.found[index].length):  # longer ones cover shorter ones
        span = copy.spans.found[index]
        owner[span.start : span.end] = [index] * span.length
    order: dict[int, int] = {}
    result: list[tuple[str, int]] = []
    begin = 0
    for place in range(1, len(owner) + 1):
        if place == len(owner) or owner[place] != owner[begin]:
            index = owner[begin]
            result.append((copy.text[begin:place], order.setdefault(index, len(order)) if index >= 0 else -1))
            begin = place
    return result, [_copied_span(copy, index) for index in order]


def _copied_span(copy: Copy, index: int) -> CopiedSpan:
    span, (before, inside, after) = copy.spans.found[index], copy.around[index]
    title = t("sampling.copying_place", length=number(span.length), place=number(span.place + 1))
    return CopiedSpan(span.length, title, before, inside, after)


def length_curve(copy: Copy, baseline: Baseline) -> tuple[list[float], list[float] | None]:
    """Return for each of `LENGTHS` the copied share of a text, and that of held-out texts of its length."""
    shares = [copy.spans.share(length) for length in LENGTHS]
    expected = [baseline.share(length, copy.spans.num_chars) for length in LENGTHS]
    return shares, [share for share in expected if share is not None] or None


def sentences(copy: Copy, baseline: Baseline, shortest: int, *, is_typed: bool) -> list[str]:
    """Return the sentences of "What you see", which quote the numbers on screen."""
    share, expected = copy.spans.share(shortest), baseline.share(shortest, copy.spans.num_chars)
    what = t("sampling.copying_typed" if is_typed else "sampling.copying_written")
    result = [
        t(
            "sampling.copying_see", share=f"**{percent(share)}**", what=what, count=number(copy.spans.num_chars),
            shortest=number(shortest),
        )
    ]  # fmt: skip
    if expected is None:
        result.append(t("sampling.copying_see_alone"))
    else:
        result.append(t("sampling.copying_see_expected", share=f"**{percent(expected)}**"))
        result.append(verdict(share, baseline.shares(shortest, copy.spans.num_chars)))
    if copy.longest is not None:
        span = copy.longest
        text = copy.text[span.start : span.end]
        shown = text if len(text) <= 60 else f"{text[:60]}…"
        result.append(t("sampling.copying_see_longest", length=f"**{number(span.length)}**", text=quoted(shown)))
    if not baseline.is_whole:
        result.append(t("sampling.copying_see_part", count=number(baseline.num_chars)))
    return [sentence for sentence in result if sentence]


def verdict(share: float, others: Sequence[float]) -> str:
    """Return whether a share is unusual among those of held-out texts; "" if there are too few of them to tell.

    Args:
        share: The copied share of a text.
        others: Those of held-out texts of its length.
    """
    if len(others) * RARE < 1:
        return ""
    as_much, as_little = (sum(other >= share for other in others), sum(other <= share for other in others))
    kind = "usual"
    if share > 0 and as_much <= RARE * len(others):
        kind = "more"
    elif as_little <= RARE * len(others):
        kind = "less"
    return t(f"sampling.copying_see_{kind}", found=number(as_much), total=number(len(others)))


def series_sentence(name: str, labels: Sequence[str], shares: Sequence[float]) -> str:
    """Return the finding of a figure over temperatures or steps: where the share is largest, and where smallest."""
    if len(set(shares)) == 1:
        return t("sampling.copying_see_same", share=f"**{percent(shares[0])}**")
    most, least = max(range(len(shares)), key=shares.__getitem__), min(range(len(shares)), key=shares.__getitem__)
    return t(
        f"sampling.copying_see_{name}", most=labels[most], high=f"**{percent(shares[most])}**", least=labels[least],
        low=f"**{percent(shares[least])}**",
    )  # fmt: skip
