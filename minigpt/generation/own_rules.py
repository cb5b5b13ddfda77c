"""Sampling rules of one's own, read from a Python file.

A file defines classes that derive from `minigpt.Sampler`, or from `minigpt.TextRule` for a rule on the text. Each is a
rule whose name is that of the class in lower case with underscores, and takes what stands behind its name:

    import minigpt

    class NoLetter(minigpt.TextRule):
        def __init__(self, letter):
            self.letter = letter

        def situation(self, text):
            return None  # nothing of the text so far matters

        def allows(self, situation, piece):
            return self.letter not in piece.lower()

        def describe(self):
            return f"without {self.letter}"

    minigpt generate tales --sampler-file my_rules.py --sampler temperature=0.8,no_letter=e

The file is run, so only a person at their own machine may name it. A run stores the text `temperature=0.8,no_letter=e`;
loading a run reads no file.

Reads after: samplers.py, settings.py.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from minigpt.errors import MinigptError, SamplingError
from minigpt.generation.samplers import Sampler
from minigpt.generation.settings import RULES
from minigpt.model.own_files import failed, read_python, run_python, snake_case
from minigpt.paths import user_path
from minigpt.wording import visible

if TYPE_CHECKING:
    from minigpt.model.protocols import LanguageModel


def read_rules(path: str | Path) -> bytes:
    """Return the content of a Python file of rules, which is not run.

    Raises:
        SamplingError: The file cannot be read, or is too large.
        InputError: No file can have this path.
    """
    return read_python(path, SamplingError)


def load_rules(path: str | Path, source: bytes | None = None) -> dict[str, Callable[..., Sampler]]:
    """Run a Python file and return the rules that it defines, by name, for `parse_sampler`.

    Args:
        path: The file. It is run with all rights of this program.
        source: Its content, if `read_rules` has read it already.

    Raises:
        SamplingError: The file cannot be read or run, or defines no rule, or one with the name of a rule of minigpt.
        InputError: No file can have this path.
    """
    file = user_path(path)
    name = visible(file.name)
    module = run_python(file, SamplingError, source)
    rules = {
        snake_case(cls.__name__): _Made(cls, file)
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, Sampler) and cls.__module__ == module.__name__
        and not inspect.isabstract(cls) and not cls.__name__.startswith("_")
    }  # fmt: skip
    if not rules:
        abstract = [
            cls for cls in vars(module).values() if inspect.isabstract(cls) and cls.__module__ == module.__name__
        ]
        lacks = f": {abstract[0].__name__} lacks {min(abstract[0].__abstractmethods__)}" if abstract else ""
        raise SamplingError(
            f"The file {name} defines no rule{lacks}.",
            mend="A rule is a class that derives from minigpt.TextRule or minigpt.Sampler, with all their methods.",
        )
    taken = sorted(rules.keys() & {*RULES, "greedy"})
    if taken:
        raise SamplingError(
            f"The file {name} defines {taken[0]}, which is a rule of minigpt.", mend="Give the class another name."
        )
    return dict(rules)


class _Made:
    """Makes a rule of a file; what goes wrong in it is said in words."""

    def __init__(self, cls: type[Sampler], file: Path) -> None:
        self._cls, self._file = cls, file

    def __call__(self, *values: Any) -> Sampler:
        name = snake_case(self._cls.__name__)
        try:
            inspect.signature(self._cls).bind(*values)
        except TypeError as error:
            raise SamplingError(
                f"The rule {name} takes other values: {error}.", mend=f"Write them behind its name: {name}=1:2."
            ) from None
        try:
            return OwnRule(self._cls(*values), self._file)
        except MinigptError:
            raise
        except Exception as error:
            raise failed(f"The rule {name}", str(self._file), error, SamplingError) from None


class OwnRule(Sampler):
    """A rule of a file, whose errors become sentences and whose results are checked.

    Args:
        rule: The rule.
        file: The file that defines it.
    """

    def __init__(self, rule: Sampler, file: Path) -> None:
        self._rule, self._file = rule, file
        self._name = snake_case(type(rule).__name__)
        self.has_state = bool(rule.has_state)

    def _call(self, method: Callable[..., Any], *values: Any) -> Any:
        try:
            return method(*values)
        except MinigptError:
            raise
        except Exception as error:
            raise failed(f"The rule {self._name}", str(self._file), error, SamplingError) from None

    def process(
        self, logits: torch.Tensor, ids: torch.Tensor | None = None, state: Any = None
    ) -> tuple[torch.Tensor, Any]:
        """Apply the rule to a copy, and check what it returns; see `Sampler.process`.

        Raises:
            SamplingError: The rule failed, returned something else than logits, or removed every token.
        """
        result = self._call(self._rule.process, logits.clone(), ids, state)
        after = result[0] if isinstance(result, tuple) and len(result) == 2 else None
        if not isinstance(after, torch.Tensor) or after.shape != logits.shape or after.dtype.is_complex:
            raise SamplingError(
                f"The rule {self._name} must return logits of shape {tuple(logits.shape)} and a state.",
                mend="End process with: return logits, state.",
            )
        after = after.to("cpu", torch.float64)
        if bool((after.isnan() | (after == math.inf)).any()) or not bool((after > -math.inf).any(-1).all()):
            raise SamplingError(
                f"The rule {self._name} left no token, or a logit that is no number or infinite.",
                mend="Let it keep at least one token, and mark removed ones with -inf.",
            )
        return after, result[1]

    def bound(self, run: LanguageModel) -> Sampler:
        """Return the rule for a run."""
        bound = self._call(self._rule.bound, run)
        if not isinstance(bound, Sampler):
            raise SamplingError(f"The rule {self._name} must return a rule from bound.", mend="Return self there.")
        return OwnRule(bound, self._file)

    @property
    def is_inactive(self) -> bool:
        """Whether the rule says that it changes nothing."""
        return bool(self._call(lambda: self._rule.is_inactive))

    @property
    def is_greedy(self) -> bool:
        """Whether the rule says that it leaves one token."""
        return bool(self._call(lambda: self._rule.is_greedy))

    def describe(self) -> str:
        """Return the rule in its own words."""
        return visible(str(self._call(self._rule.describe)))[:200]
