"""Generators of texts, one module each. A new one is added to `GENERATORS`; all other code finds it there."""

from minigpt.data.generators.generator import TextGenerator as TextGenerator
from minigpt.data.generators.repeats import REPEATS
from minigpt.data.generators.tales import TALES

GENERATORS: dict[str, TextGenerator] = {generator.name: generator for generator in (TALES, REPEATS)}
"""All generators by name, in the order of their cards."""
