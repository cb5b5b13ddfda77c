"""What one server allows: sizes, counts and times, read from a profile.

A profile is a YAML file in `configs/profiles/`: `local` for one person on their own machine, `classroom` for thirty on
one, `hosted` for visitors of a small public server. `MINIGPT_PROFILE` names the one to use. The error
messages of pages and engine are here: what was given, what is allowed, and what to do instead.
"""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minigpt import resources
from minigpt.errors import ConfigError, LimitError
from minigpt.model.size import count_parameters
from minigpt.runs.cost import check_memory, disk_megabytes, memory_megabytes
from minigpt.wording import quoted, visible

if TYPE_CHECKING:
    from minigpt.config import RunConfig
    from minigpt.data.corpora import Corpus

PROFILE_VARIABLE = "MINIGPT_PROFILE"
DEFAULT_PROFILE = "local"
SAMPLER_FILE_VARIABLE = "MINIGPT_SAMPLER_FILE"
OWN_FILES = {
    SAMPLER_FILE_VARIABLE: ("sampling rules", "--sampler-file"),
    resources.MODULE_FILE_VARIABLE: ("position schemes or blocks", "--module-file"),
}
"""Python files of one's own: the variable that names one, what it defines, and the option that sets the variable."""
_Count = Annotated[int, Field(ge=1)]


class Limits(BaseModel):
    """The limits of one server. Each field's docstring is its only description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    profile: str
    """Name of the profile, taken from the name of its file."""
    max_upload_bytes: _Count
    """Largest file that a page takes."""
    max_corpus_chars: _Count
    """Longest corpus, in characters."""
    max_parameters: _Count
    """Largest model, in parameters."""
    max_training_megabytes: _Count | None
    """Largest estimated memory of one training, in MB; empty: as much as the machine has."""
    max_steps: _Count
    """Most weight updates of one run."""
    max_seconds: Annotated[float, Field(gt=0)] | None
    """Longest training time of one run, in seconds; then it is stopped and kept; empty: unlimited."""
    max_running_per_owner: _Count
    """Most runs of one person that are queued, running or paused at a time."""
    max_concurrent: _Count
    """Most runs that train in turns at a time; more wait in the queue."""
    max_new_tokens: _Count
    """Most tokens generated in one request."""
    max_score_chars: _Count
    """Longest text scored in one request."""
    max_prompt_chars: _Count
    """Longest prompt."""
    max_run_megabytes: _Count | None
    """Largest run on disk, in MB; empty: as much as there is room for, and 4,000 for a run from elsewhere."""
    max_runs: _Count
    """Runs kept on disk."""
    max_runs_per_owner: _Count
    """Runs of one person kept on disk."""
    run_ttl_hours: Annotated[float, Field(gt=0)] | None
    """Hours after which a run is deleted, and, from their last visit, what a visitor has brought; empty: never."""
    max_kept_megabytes: _Count
    """Most that is kept of what all visitors have brought, in MB; then the oldest goes."""
    allow_download: bool
    """Whether the server may download corpora."""
    owner_tokens: bool
    """Whether only the person who started a run may pause, stop and delete it."""
    source_url: str | None
    """Address of this server's source code, which its licence requires; empty: the page offers it as a download."""

    def check_upload(self, name: str, num_bytes: int, *, before: int = 0) -> None:
        """Refuse a file that is too large.

        Args:
            name: Its name.
            num_bytes: Its size.
            before: Size of the files that belong to the same text and come before it.

        Raises:
            LimitError: Together they have more than `max_upload_bytes` bytes.
        """
        if before + num_bytes > self.max_upload_bytes:
            beside = f", and the files before it {before:,}" if before else ""
            raise LimitError(
                f"{visible(name)} has {num_bytes:,} bytes{beside}; this server takes up to {self.max_upload_bytes:,}.",
                mend="Upload a part of it, or give its path to `minigpt train --data` on your own machine.",
                on_page="Upload a part of it, or install minigpt on your own machine.",
            )

    def check_prompt(self, text: str) -> None:
        """Refuse a prompt that is too long.

        Raises:
            LimitError: It has more than `max_prompt_chars` characters.
        """
        self._at_most("The prompt", len(text), self.max_prompt_chars, "characters", "Shorten it.")

    def check_score_text(self, text: str) -> None:
        """Refuse a text that is too long to be scored in one request.

        Raises:
            LimitError: It has more than `max_score_chars` characters.
        """
        mend = "Score a part of it, or install minigpt on your own machine."
        self._at_most("The text to score", len(text), self.max_score_chars, "characters", mend)

    def check_own_file(self, variable: str) -> None:
        """Refuse a Python file of one's own on a server that others use: it is run, and their input reaches it.

        Args:
            variable: The environment variable that names it, one of OWN_FILES.

        Raises:
            LimitError: The profile is not `local`.
        """
        what, option = OWN_FILES[variable]
        if self.profile != DEFAULT_PROFILE:
            raise LimitError(
                f"A Python file of {what} is only for the profile {DEFAULT_PROFILE}; this server has the "
                f"profile {self.profile}.",
                mend=f"Leave out {option} and {variable}.",
                on_page="The page goes on without it.",
            )

    def check_corpus(self, corpus: Corpus) -> None:
        """Refuse a corpus that is too long.

        Raises:
            LimitError: It has more than `max_corpus_chars` characters.
        """
        mend = "Take a part of it, or install minigpt on your own machine."
        self._at_most(f"The corpus {visible(corpus.name)}", corpus.num_chars, self.max_corpus_chars, "characters", mend)

    def check_run(self, config: RunConfig, corpus: Corpus, vocab_size: int) -> None:
        """Refuse a run that is too long, too large, or on too much text.

        Args:
            config: Its settings.
            corpus: Its text.
            vocab_size: Number of different tokens, or an estimate of it.

        Raises:
            LimitError: It exceeds one of the limits; the message names the setting.
        """
        self.check_corpus(corpus)
        self.check_training(config, corpus.num_chars, vocab_size)

    def check_training(self, config: RunConfig, num_chars: int, vocab_size: int) -> None:
        """Refuse a training that is too long or too large, whether it begins or goes on.

        Args:
            config: Its settings.
            num_chars: Length of its text.
            vocab_size: Number of different tokens, or an estimate of it.

        Raises:
            LimitError: It exceeds one of the limits; the message names the setting.
        """
        self.check_length(num_chars)
        mend = f"Set training.max_steps to {self.max_steps:,} or fewer."
        self._at_most("The training", config.training.max_steps, self.max_steps, "steps", mend)
        if self.max_seconds is not None and (config.training.max_seconds or 0) > self.max_seconds:
            raise LimitError(
                f"The training would take {config.training.max_seconds:g} seconds; "
                f"this server allows {self.max_seconds:g}.",
                mend="Set training.max_seconds to no more than that.",
            )
        if config.training.track and self.owner_tokens:
            raise LimitError(
                f"The training would be tracked with {' and '.join(config.training.track)}, in this server's name.",
                mend="Leave training.track empty, or train on your own machine.",
            )
        if config.training.compile and self.owner_tokens:
            raise LimitError(
                "The model would be compiled first, and everybody else's training would stand still for a minute.",
                mend="Set training.compile to false, or train on your own machine.",
                on_page="Switch training.compile off, or train on your own machine.",
            )
        self._check_parameters(config, vocab_size, "Lower model.d_model or model.num_layers.")
        check_memory(config, vocab_size, self.max_training_megabytes)
        parts = disk_megabytes(config, num_chars, vocab_size)
        if self.max_run_megabytes is not None and sum(parts.values()) > self.max_run_megabytes:
            largest = max(parts, key=lambda part: parts[part])
            raise LimitError(
                f"The run could take {sum(parts.values()):,.0f} MB of disk, most of it for {largest}; this server "
                f"allows {self.max_run_megabytes:,} MB.",
                mend="Lower training.keep_checkpoints, training.history_megabytes or the size of the model.",
            )

    def check_length(self, num_chars: int) -> None:
        """Refuse a corpus that is too long.

        Raises:
            LimitError: It has more than `max_corpus_chars` characters.
        """
        mend = "Take a part of it, or install minigpt on your own machine."
        self._at_most("The corpus", num_chars, self.max_corpus_chars, "characters", mend)

    def check_import(self, config: RunConfig, vocab_size: int) -> None:
        """Refuse a run from elsewhere whose model is too large, or has a context too long, to be used here.

        Args:
            config: Its settings.
            vocab_size: Number of its tokens.

        Raises:
            LimitError: It exceeds one of the limits.
        """
        mend = "Open it with minigpt on your own machine."
        self._check_parameters(config, vocab_size, mend)
        if self.max_training_megabytes is None:
            return
        needed = memory_megabytes(
            config.updated({"training.batch_size": 1, "training.accumulation_steps": 1}), vocab_size
        )
        if needed > self.max_training_megabytes:
            raise LimitError(
                f"The model reads up to {config.model.sequence_length:,} tokens at once, which can take "
                f"{needed:,.0f} MB of memory; this server allows {self.max_training_megabytes:,} MB.",
                mend=mend,
            )

    def _check_parameters(self, config: RunConfig, vocab_size: int, mend: str) -> None:
        parameters = count_parameters(config.model, vocab_size).total
        self._at_most("The model", parameters, self.max_parameters, "parameters", mend)

    def expiry(self) -> datetime | None:
        """Return when a run that is made now is deleted; None: never."""
        return None if self.run_ttl_hours is None else datetime.now(UTC) + timedelta(hours=self.run_ttl_hours)

    def _at_most(self, subject: str, given: int, allowed: int, unit: str, mend: str) -> None:
        if given > allowed:
            raise LimitError(f"{subject} has {given:,} {unit}; this server allows {allowed:,}.", mend=mend)


def load_limits(profile: str | None = None) -> Limits:
    """Read the limits of a profile.

    Args:
        profile: Its name; None: what `MINIGPT_PROFILE` says, else `local`.

    Raises:
        ConfigError: There is no such profile, or its file is damaged.

    >>> load_limits("local").owner_tokens
    False
    """
    name = profile or os.environ.get(PROFILE_VARIABLE) or DEFAULT_PROFILE
    if name not in resources.profile_names():
        raise ConfigError(
            f"There is no profile {quoted(name)}.",
            mend=f"Profiles are {', '.join(resources.profile_names())}; set {PROFILE_VARIABLE} to one of them.",
        )
    path = resources.profile_path(name)
    return _read_limits(name, path, path.read_text("utf-8"))


@functools.lru_cache(maxsize=8)
def _read_limits(name: str, path: Path, text: str) -> Limits:
    """Return the limits in a profile's text. Pages ask for them with every message; parsing takes milliseconds."""
    try:
        return Limits.model_validate({**yaml.safe_load(text), "profile": name})
    except ValidationError as error:
        detail = min(
            error.errors(), key=lambda detail: detail["type"] == "missing"
        )  # a wrong line before a missing one
        field = ".".join(map(str, detail["loc"]))
        raise ConfigError(f"{path}: {field}: {detail['msg']}.", mend=f"Correct {field} in that file.") from None
    except (yaml.YAMLError, TypeError):
        raise ConfigError(f"{path} holds no settings.", mend="Write lines such as max_steps: 1000.") from None
