"""What one server allows: sizes, counts and times, read from a profile.

A profile is a YAML file in `configs/profiles/`: `local` for one person on their own machine, `classroom` for thirty on
one, `hosted` for visitors of a small public server. `MINIGPT_PROFILE` names the one to use. Everything that a page or
the engine refuses because of size is refused here, in words: what was given, what is allowed, how to go on.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from minigpt import resources
from minigpt.errors import ConfigError, LimitError, StorageError
from minigpt.tokenizers.base import make_tokenizer, smallest_id_type

if TYPE_CHECKING:
    from minigpt.config import RunConfig
    from minigpt.data.corpora import Corpus

PROFILE_VARIABLE = "MINIGPT_PROFILE"
DEFAULT_PROFILE = "local"
LESS_MEMORY = (
    "Lower training.batch_size or model.sequence_length, or raise training.accumulation_steps; where the model itself "
    "is too large, lower model.d_model or model.num_layers."
)
"""What helps a training that needs too much memory."""

_Count = Annotated[int, Field(ge=1)]


class Limits(BaseModel):
    """The limits of one server. Each field's docstring is its only description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    profile: str
    """Name of the profile these limits come from; it is the file's name and does not stand in the file."""
    max_upload_bytes: _Count
    """Largest file that a page takes."""
    max_corpus_chars: _Count
    """Longest corpus, in characters."""
    max_parameters: _Count
    """Largest model, in parameters."""
    max_training_megabytes: _Count | None
    """Most memory that one training may need, as estimated; empty: as much as the machine has."""
    max_steps: _Count
    """Most weight updates of one run."""
    max_seconds: Annotated[float, Field(gt=0)] | None
    """Longest training time of one run; then it is stopped and kept; empty: no end."""
    max_running_per_owner: _Count
    """Runs that one person may have waiting, training or paused at a time."""
    max_concurrent: _Count
    """Runs that take turns at a time; more wait in a queue."""
    max_new_tokens: _Count
    """Most tokens written in one request."""
    max_score_chars: _Count
    """Longest text scored in one request."""
    max_prompt_chars: _Count
    """Longest prompt."""
    max_runs: _Count
    """Runs kept on disk."""
    run_ttl_hours: Annotated[float, Field(gt=0)] | None
    """Hours after which a run is deleted; empty: never."""
    allow_download: bool
    """Whether corpora may be downloaded by the server."""
    owner_tokens: bool
    """Whether pausing, stopping and deleting a run takes the token of the person who started it."""
    source_url: str | None
    """Where visitors find the source of this server, as its licence asks; empty: the project's own page."""

    def check_upload(self, name: str, num_bytes: int) -> None:
        """Refuse a file that is too large.

        Raises:
            LimitError: It has more than `max_upload_bytes` bytes.
        """
        if num_bytes > self.max_upload_bytes:
            raise LimitError(
                f"{name} has {num_bytes:,} bytes; this server takes files of up to {self.max_upload_bytes:,}.",
                mend="Upload a part of it, or give its path to `minigpt train --data` on your own machine.",
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
        mend = "Score a part of it, or use `minigpt evaluate` on your own machine."
        self._at_most("The text to score", len(text), self.max_score_chars, "characters", mend)

    def check_corpus(self, corpus: Corpus) -> None:
        """Refuse a corpus that is too long.

        Raises:
            LimitError: It has more than `max_corpus_chars` characters.
        """
        mend = "Take a part of it, or train with `minigpt train` on your own machine."
        self._at_most(f"The corpus {corpus.name}", corpus.num_chars, self.max_corpus_chars, "characters", mend)

    def check_run(self, config: RunConfig, corpus: Corpus, vocab_size: int) -> None:
        """Refuse a run that is too long, too large, or on too much text.

        Args:
            config: Its settings.
            corpus: Its text.
            vocab_size: How many different tokens it has, or an estimate of that.

        Raises:
            LimitError: One of the limits is passed; the message names the setting.
        """
        from minigpt.model.size import count_parameters

        self.check_corpus(corpus)
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
            )
        parameters = count_parameters(config.model, vocab_size).total
        mend = "Lower model.d_model or model.num_layers."
        self._at_most("The model", parameters, self.max_parameters, "parameters", mend)
        needed, allowed = memory_needed(config, vocab_size), self.max_training_megabytes or machine_megabytes()
        if allowed is not None and needed > allowed:
            raise LimitError(
                f"The training would need about {needed:,.0f} MB of memory; {allowed:,} MB are allowed.",
                mend=LESS_MEMORY,
            )

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
            f"There is no profile {name!r}.",
            mend=f"Profiles are {', '.join(resources.profile_names())}; set {PROFILE_VARIABLE} to one of them.",
        )
    path = resources.profile_path(name)
    try:
        return Limits.model_validate({**yaml.safe_load(path.read_text("utf-8")), "profile": name})
    except ValidationError as error:
        detail = min(
            error.errors(), key=lambda detail: detail["type"] == "missing"
        )  # a wrong line before a missing one
        field = ".".join(map(str, detail["loc"]))
        raise ConfigError(f"{path}: {field}: {detail['msg']}.", mend=f"Mend {field} in that file.") from None
    except (yaml.YAMLError, TypeError):
        raise ConfigError(f"{path} holds no settings.", mend="Write lines such as max_steps: 1000.") from None


def memory_needed(config: RunConfig, vocab_size: int) -> float:
    """Estimate the memory that a training takes, in MB; see `model.size.training_megabytes`."""
    from minigpt.model.size import training_megabytes

    return training_megabytes(config.model, vocab_size, config.training)


RECORD_BYTES = 300
"""What one step writes into `metrics.jsonl`, at most."""


def disk_needed(config: RunConfig, num_tokens: int, vocab_size: int) -> dict[str, float]:
    """Estimate what a run comes to take on the disk, part by part, in MB (10^6 bytes).

    It errs on the safe side: of the checkpoints it counts those that are kept, the best one and the one that is being
    written, each with the weights, AdamW's two numbers for each of them and their running mean if there is one; of the
    history its budget or, if that is less, every step that is due; of the records one for each step.
    """
    from minigpt.model.size import BYTES_PER_NUMBER, count_parameters

    training = config.training
    parameters = count_parameters(config.model, vocab_size).total
    numbers = 4 if training.weights_ema else 3
    snapshots = 1 + training.history_per_octave * max(1, training.max_steps.bit_length())
    sizes = {
        "the corpus": num_tokens * smallest_id_type(vocab_size).itemsize,
        "checkpoints": (training.keep_checkpoints + 2) * numbers * BYTES_PER_NUMBER * parameters,
        "the history": min(training.history_megabytes * 1e6, snapshots * 2 * parameters),
        "records": RECORD_BYTES * training.max_steps if training.max_seconds is None else 0,
    }
    return {part: size / 1e6 for part, size in sizes.items()}


def check_disk(config: RunConfig, corpus: Corpus, vocab_size: int, path: Path) -> None:
    """Refuse a run that its disk cannot hold, before anything is made.

    Args:
        config: Its settings.
        corpus: Its text; if it lies in files they have been read before, or are read now.
        vocab_size: How many different tokens it has.
        path: Where it goes; it need not exist.

    Raises:
        StorageError: It needs more than is free; the message has both numbers.
    """
    num_tokens = make_tokenizer(config.tokenizer).expected_num_tokens(corpus.num_chars, len(corpus.sources))
    parts = disk_needed(config, num_tokens, vocab_size)
    needed = sum(parts.values())
    place = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        free = shutil.disk_usage(place).free / 1e6
    except OSError:  # a disk that does not say
        return
    if needed > free:
        largest = max(parts, key=lambda part: parts[part])
        raise StorageError(
            f"The run would need up to {needed:,.0f} MB on the disk of {path}, most of it for {largest} "
            f"({parts[largest]:,.0f} MB); {free:,.0f} MB are free.",
            mend="Free some space, put the run on another disk (--out, MINIGPT_HOME), or lower data.num_chars, "
            "model.d_model, training.keep_checkpoints or training.history_megabytes.",
        )


def machine_megabytes() -> int | None:
    """Return the machine's memory in MB, None where it does not say (Windows)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1_000_000
    except (AttributeError, ValueError, OSError):
        return None
