"""What a conversation consists of: its state, and what the answer to a line can hold. Plain data, without a model.

Reads after: settings.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from minigpt.errors import InputError
from minigpt.generation.results import GeneratedToken
from minigpt.generation.settings import GenerationSettings, OwnRules


@dataclass(frozen=True)
class RunFacts:
    """What a conversation knows about its run.

    Attributes:
        name: What the person calls it.
        step: Weight updates behind the weights.
        num_parameters: Number of weights.
        context: Tokens that the model sees at once.
        vocab_size: Size of the vocabulary.
        settings: The run's own settings of generation.
    """

    name: str
    step: int
    num_parameters: int
    context: int
    vocab_size: int
    settings: GenerationSettings


@dataclass(frozen=True)
class Written:
    """A text that was written.

    Attributes:
        run: Name of the run.
        prompt: The prompt as the model read it.
        completion: What was written.
        settings: How it was written.
        stop_reason: As in `Generation`.
        tokens: The written tokens; kept for the latest text only.
    """

    run: str
    prompt: str
    completion: str
    settings: GenerationSettings
    stop_reason: str
    tokens: tuple[GeneratedToken, ...] = ()

    @property
    def text(self) -> str:
        """Prompt and completion."""
        return self.prompt + self.completion


@dataclass(frozen=True)
class Chat:
    """The state of a conversation.

    Attributes:
        run: The run that writes.
        settings: How the next text is written.
        shows_probabilities: Whether texts are shown token by token, each with its probability.
        last: The latest text, for `/why`, `/more`, `/again` and `/compare`.
        texts: All texts of the conversation without their tokens, for `/save`.
        history: Lines that can be replayed, oldest first.
        rules: Sampling rules of one's own by name, from a file.
    """

    run: RunFacts
    settings: GenerationSettings
    shows_probabilities: bool = False
    last: Written | None = None
    texts: tuple[Written, ...] = ()
    history: tuple[str, ...] = ()
    rules: OwnRules = field(default_factory=dict, compare=False, repr=False)

    def with_text(self, written: Written) -> Chat:
        """Return the state after a text was written."""
        return replace(self, last=written, texts=(*self.texts, replace(written, tokens=())))

    def with_compared(self, written: tuple[Written, ...]) -> Chat:
        """Return the state after several texts were written for a comparison; the latest text stays what it was."""
        return replace(self, texts=(*self.texts, *(replace(one, tokens=()) for one in written)))


@dataclass(frozen=True)
class Line:
    """A line to print: a result, or a note about it."""

    text: str
    kind: Literal["result", "note"] = "result"


@dataclass(frozen=True)
class Grid:
    """A table to print.

    Attributes:
        titles: One for each column.
        rows: Cells as text.
        right: Columns whose cells stand on the right, counted from 0.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Write:
    """Continue a prompt."""

    prompt: str
    settings: GenerationSettings


@dataclass(frozen=True)
class Compare:
    """Continue a prompt with each of several settings."""

    prompt: str
    each: tuple[GenerationSettings, ...]


@dataclass(frozen=True)
class Score:
    """Measure how well the model predicts a text."""

    text: str


@dataclass(frozen=True)
class Load:
    """Go on with another run."""

    run: str


@dataclass(frozen=True)
class Save:
    """Write a new file."""

    path: Path
    content: str


@dataclass(frozen=True)
class Leave:
    """End the conversation."""


Action = Write | Compare | Score | Load | Save | Leave
"""What the model or the machine has to do for a line."""


@dataclass(frozen=True)
class Reply:
    """The answer to a line.

    Attributes:
        chat: The state after it.
        output: What to print, in order; an error says what could not be used.
        action: What to do then.
    """

    chat: Chat
    output: tuple[Line | Grid | InputError, ...] = ()
    action: Action | None = None
