"""Generators of texts, one module each. A new one is added to `GENERATORS`; all other code finds it there."""

from minigpt.data.generators.brackets import BRACKETS
from minigpt.data.generators.dates import DATES
from minigpt.data.generators.duplicates import DUPLICATES
from minigpt.data.generators.generator import CorpusGenerator as CorpusGenerator
from minigpt.data.generators.generator import Count as Count
from minigpt.data.generators.generator import Question as Question
from minigpt.data.generators.generator import Referee as Referee
from minigpt.data.generators.generator import Verdict as Verdict
from minigpt.data.generators.generator import added as added
from minigpt.data.generators.letters import COPY, REVERSE, SORT
from minigpt.data.generators.names import NAMES
from minigpt.data.generators.repeats import REPEATS
from minigpt.data.generators.sums import ADDITION, MULTIPLICATION
from minigpt.data.generators.tales import TALES
from minigpt.data.generators.tictactoe import TICTACTOE
from minigpt.data.generators.tunes import TUNES

GENERATORS: dict[str, CorpusGenerator] = {
    generator.name: generator
    for generator in (
        DUPLICATES, COPY, REVERSE, REPEATS, SORT, NAMES, BRACKETS, ADDITION, MULTIPLICATION, TICTACTOE, DATES, TUNES,
        TALES,
    )
}  # fmt: skip
"""All generators by name, from simple to complex."""


def generator_of(name: object, origin: object) -> CorpusGenerator | None:
    """Return the generator that wrote a corpus, None if it is another text.

    Args:
        name: Name of the corpus.
        origin: Its origin in words; a text of the user's own may have any name.
    """
    generator = GENERATORS.get(name) if isinstance(name, str) else None
    is_ours = generator is not None and isinstance(origin, str) and origin.startswith(f"{generator.origin}, seed ")
    return generator if is_ours else None
