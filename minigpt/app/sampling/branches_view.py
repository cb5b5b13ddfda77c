"""The texts of the branch explorer, as the model writes or searches them, and what the page says about the tree.

torch is imported inside the functions that the compute gate calls, so that opening the page does not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minigpt.app.components.branch_tree import END, TextRow
from minigpt.app.sampling.branches_tree import NUM_CANDIDATES, Candidate, Step, Tree, most_open
from minigpt.app.session.reading import Reading, read_prompt
from minigpt.app.texts import compact, number, probability, quoted, t
from minigpt.errors import InputError, SamplingError

if TYPE_CHECKING:
    from minigpt.generation.beam import BeamSearch
    from minigpt.model.protocols import LanguageModel


LENGTHS = (12, 24, 48, 96)
"""Choices for the number of tokens of a text."""

BEAMS = (2, 3, 4, 6, 8)
"""Choices for the number of beams."""

MOST_PENALTY = 3.0

MOST_TREES = 4
"""So many trees are kept for one visitor; then the one not used for longest goes."""

FACTOR_LIMIT = 1e6
"""From here on a factor is written as a power of ten."""

WORDS = (
    "legend",
    "end",
    "token",
    "others",
    "unknown",
    "written",
    "there",
    "grow",
    "texts",
    "step",
    "slider",
    "play",
    "pause",
)
"""The words that the drawing needs, as they are named in the catalogue."""


def starts(most: int) -> dict[str, object]:
    """Return the controls of the view by name, each with the value it has until the visitor chooses another one.

    Args:
        most: As in `lengths`.
    """
    choices = lengths(most)
    return {"length": 24 if 24 in choices else choices[0], "is_search": False, "beams": 4, "penalty": 1.0}


def lengths(most: int) -> list[int]:
    """Return the choices for the number of tokens of a text.

    Args:
        most: The server's limit.
    """
    return [length for length in LENGTHS if length <= most] or [max(most, 1)]


@dataclass(frozen=True)
class Written:
    """A text that the model continued.

    Attributes:
        reading: The prompt.
        steps: The tokens of the text.
    """

    reading: Reading
    steps: tuple[Step, ...]


def write(run: LanguageModel, prompt: str, path: Sequence[int], length: int, cancelled: Callable[[], bool]) -> Written:
    """Follow a path from the prompt, then take the likeliest token each time.

    Args:
        run: Model and tokenizer.
        prompt: The visitor's text.
        path: Ids of the first tokens.
        length: Tokens of the whole text; the token that ends a text ends it sooner.
        cancelled: Called before each token; the work stops when it returns True.

    Raises:
        InputError: The path has an id that cannot be written.
        SamplingError: The model's scores are not numbers.
    """
    import torch

    from minigpt.generation.inference import evaluation_mode
    from minigpt.generation.reading import GrowingText, TextReader

    context = run.model.config.sequence_length
    reading = read_prompt(run, prompt, context, context)
    eos = run.tokenizer.eos_id
    never = [i for i in run.tokenizer.special_ids if i != eos]
    if wrong := [i for i in path if not 0 <= i < run.model.vocab_size or i in never]:
        raise InputError(f"Token {wrong[0]} cannot be written.", mend="Choose one that the page offers.")
    text, reader, steps = GrowingText(reading.ids), TextReader(run.model), []
    for n in range(length):
        if cancelled():
            break
        with evaluation_mode(run.model):
            log_probs = torch.log_softmax(reader.read([text])[0].to("cpu", torch.float64), -1)
        if bool(log_probs.isnan().any()):
            raise SamplingError("The model's scores are not numbers.", mend="Check that its weights are finite.")
        allowed = log_probs.clone()
        allowed[never] = -math.inf
        best = allowed.sort(descending=True, stable=True).indices[:NUM_CANDIDATES].tolist()  # of equals the lowest id
        token = path[n] if n < len(path) else best[0]
        candidates = tuple(Candidate(i, token_name(run, i), math.exp(log_probs[i])) for i in best)
        steps.append(Step(token, token_name(run, token), float(log_probs[token]), candidates))
        if token == eos:
            break
        text.ids.append(token)
    return Written(reading, tuple(steps))


def token_name(run: LanguageModel, token_id: int) -> str:
    """Return a token's text, `END` for the token that ends a text."""
    return END if token_id == run.tokenizer.eos_id else run.tokenizer.token_text(token_id)


@dataclass(frozen=True)
class Search:
    """What a beam search found.

    Attributes:
        found: The search, with as many results as it has beams.
        texts: The text of each token in its tree.
        best: The best text, with the candidates at each place.
    """

    found: BeamSearch
    texts: dict[int, str]
    best: Written

    @property
    def has_end(self) -> bool:
        """Whether the model itself ended a text that was found, so that lengths differ."""
        return any(beam.ended for beam in self.found.beams)


def search(
    run: LanguageModel, prompt: str, length: int, beams: int, penalty: float, cancelled: Callable[[], bool]
) -> Search:
    """Search the likeliest text with beams.

    Args:
        run: Model and tokenizer.
        prompt: The visitor's text.
        length: Tokens of a text.
        beams: Beginnings that are kept at each step.
        penalty: The length penalty.
        cancelled: Called before each step; the work stops when it returns True.
    """
    from minigpt.generation.beam import beam_search

    context = run.model.config.sequence_length
    reading = read_prompt(run, prompt, context, context)
    found = beam_search(
        run,
        list(reading.ids),
        num_beams=beams,
        max_new_tokens=length,
        length_penalty=penalty,
        num_results=beams,
        cancelled=cancelled,
    )
    texts = {node.token_id: token_name(run, node.token_id) for node in found.tree}
    ids = list(found.beams[0].ids) if found.beams else []
    if found.beams and found.beams[0].ended and run.tokenizer.eos_id is not None:
        ids.append(run.tokenizer.eos_id)
    return Search(found, texts, write(run, prompt, ids, len(ids), cancelled))


def odds(log_prob: float) -> str:
    """Write a probability as "1 in so many".

    >>> odds(math.log(0.25)), odds(math.log(1 / 123_456)), odds(-50.0), odds(0.0)
    ('1 in 4', '1 in 123 k', '1 in 10^22', '1 in 1')
    """
    if -log_prob > math.log(1e9):
        return t("sampling.branch_odds", count=f"10^{-log_prob / math.log(10):.0f}")
    return t("sampling.branch_odds", count=compact(math.exp(-log_prob)))


def factor(difference: float) -> str:
    """Write how many times as likely one text is as another one.

    >>> factor(math.log(3)), factor(math.log(250)), factor(30.0)
    ('3.0', '250', '10^13')
    """
    if difference > math.log(FACTOR_LIMIT):
        return f"10^{difference / math.log(10):.0f}"
    value = math.exp(difference)
    return f"{value:.1f}" if value < 10 else number(value)


def rows(tree: Tree, greedy: Sequence[int], best: Sequence[int] = ()) -> list[TextRow]:
    """Return the texts that are listed, likeliest first.

    Args:
        tree: The visitor's tree, with the text that a search found.
        greedy: The tokens of the greedy text.
        best: The tokens of the text that the search found; empty: there was no search.
    """
    ends: dict[int, list[str]] = {place: [] for place in tree.leaves()}
    for way, tag in ((greedy, "greedy"), (best, "search")):
        if way:
            ends.setdefault(way[-1], []).append(t(f"sampling.branch_tag_{tag}"))
    order = sorted(ends, key=lambda place: (-tree.nodes[place].log_prob, place))
    return [
        TextRow(place, " · ".join(ends[place]), f"{tree.nodes[place].log_prob:.2f}", odds(tree.nodes[place].log_prob))
        for place in order
    ]


def sentences(tree: Tree, greedy: Sequence[int], unit: str) -> list[str]:
    """Return the sentences of "What you see" while the visitor grows branches.

    Args:
        tree: The visitor's tree.
        greedy: The tokens of the greedy text.
        unit: The word for one token.
    """
    if not greedy:
        return [t("sampling.branch_see_nothing")]
    last = tree.nodes[greedy[-1]]
    result = [
        t(
            "sampling.branch_see_greedy",
            count=len(greedy),
            unit=unit,
            log_prob=f"**{_minus(last.log_prob)}**",
            odds=f"**{odds(last.log_prob)}**",
        )
    ]
    place = most_open(tree, greedy)
    if place is not None and len(candidates := tree.nodes[place].step.candidates) > 1:
        first, second = candidates[:2]
        result.append(
            t(
                "sampling.branch_see_open",
                number=tree.nodes[place].column + 1,
                unit=unit,
                first=_named(first.text),
                share=f"**{probability(first.probability)}**",
                second=_named(second.text),
                other=f"**{probability(second.probability)}**",
            )
        )
    own = [place for place in tree.leaves() if place != greedy[-1] and tree.nodes[place].column == last.column]
    if own:
        best = max(own, key=lambda place: tree.nodes[place].log_prob)
        result.append(_compared("branch_see_own", tree.nodes[best].log_prob - last.log_prob))
    return result


def search_sentences(tree: Tree, greedy: Sequence[int], found: Search, best: Sequence[int]) -> list[str]:
    """Return the sentences of "What you see" after a beam search.

    Args:
        tree: The tree with the search's best text.
        greedy: The tokens of the greedy text.
        found: The search.
        best: The tokens of its best text.
    """
    if not greedy or not best:
        return [t("sampling.branch_see_nothing")]
    ours, its = tree.nodes[greedy[-1]].log_prob, tree.nodes[best[-1]].log_prob
    result = [
        t("sampling.branch_see_two", greedy=f"**{_minus(ours)}**", search=f"**{_minus(its)}**"),
    ]
    result.append(
        t("sampling.branch_see_same") if list(greedy) == list(best) else _compared("branch_see_search", its - ours)
    )
    if not found.has_end:
        result.append(t("sampling.branch_see_penalty", count=len(best)))
    return result


def _compared(name: str, difference: float) -> str:
    """Return the sentence on a text that is more or less likely than the greedy one."""
    direction = "more" if difference > 0 else "less"
    return t(f"sampling.{name}_{direction}", times=f"**{factor(abs(difference))}**")


def _minus(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _named(text: str) -> str:
    return t("sampling.branch_end") if text == END else quoted(text)
