"""The sampling rules of one's own that a server offers, as plain data; `own` says which file it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minigpt.app.sampling import pipeline_view

if TYPE_CHECKING:
    from minigpt.generation.samplers import Sampler


@dataclass(frozen=True)
class RuleFile:
    """The Python file of rules that a server was started with, as it was when a page was drawn.

    Two are equal if their contents are: as a part of a question to the compute gate, a changed file is a new question.

    Attributes:
        path: The file, as whoever started the server wrote it; empty: none.
        version: Hash of its content.
        rules: Its rules by name, for `parse_sampler`.
    """

    path: str = ""
    version: str = ""
    rules: Mapping[str, Callable[..., Sampler]] = field(default_factory=dict, compare=False, repr=False)

    def used_by(self, spec: str) -> RuleFile:
        """Return the file if a pipeline names one of its rules, else none."""
        return self if any(stage.kind in self.rules for stage in pipeline_view.read(spec)) else NO_FILE


NO_FILE = RuleFile()


def content(path: str) -> bytes:
    """Return the content of a file of rules, which is not run here.

    Raises:
        MinigptError: It cannot be read.
    """
    from minigpt.generation.own_rules import read_rules

    return read_rules(path)


def loaded(path: str, source: bytes) -> RuleFile:
    """Run a file of rules.

    Args:
        path: The file.
        source: Its content.

    Raises:
        SamplingError: It cannot be run, or defines no rule.
    """
    from minigpt.generation.own_rules import load_rules

    return RuleFile(path, hashlib.blake2b(source, digest_size=16).hexdigest(), load_rules(path, source))
