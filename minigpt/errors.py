"""Every error that minigpt raises on purpose, in one tree.

```
MinigptError
├── InputError             the user's input cannot be used              (exit code 2)
│   ├── ConfigError        a setting: unknown, out of range, or in conflict with another
│   ├── CorpusError        a text: empty, binary, too short, in an unknown encoding
│   ├── TokenizerError     a tokenizer: untrained, damaged, or given ids outside its vocabulary
│   ├── ShapeError         a tensor of the wrong rank, size or dtype
│   ├── ContextLengthError more tokens than the model's context holds
│   ├── SamplingError      an impossible sampling setting
│   ├── DeviceError        a device that this machine does not have
│   ├── RunNotFoundError   no run of that name, id or path
│   ├── RunExistsError     a run that would be overwritten or contradicted
│   ├── ArchiveError       a file that is not an exported run
│   ├── OwnerError         a command that needs the owner's token
│   └── LimitError         more than this server or machine allows
└── RunFault               something that worked has broken             (exit code 1)
    ├── CheckpointError    a checkpoint or run folder is damaged
    ├── NonFiniteLossError the loss became infinite or not a number
    ├── ProcessLostError   another process of the same training has ended
    ├── StorageError       the disk is full or cannot be written
    └── DownloadError      a download failed or has the wrong checksum
```

A message says what was given, what is allowed, and how to fix it. The last part is a separate argument, so that it
cannot be forgotten and a page can show it separately. It is written for a person at a terminal; where it names what the
visitor of a page does not have, a second one says what that visitor can do. Settings are named by their dotted keys and
files by their paths: the terminal and the library show both, and a page replaces them, see `app/ui/messages.py`.
"""

from __future__ import annotations

import functools


class MinigptError(Exception):
    """Base of every error that minigpt raises on purpose.

    Args:
        problem: What was given and what is allowed, as one or two full sentences.
        mend: How to fix it, as one full sentence.
        on_page: How the visitor of a page can fix it, who has no terminal and may be at another machine; None: in the
            same way.

    >>> error = InputError("batch_size is 0; it must be at least 1.", mend="Set training.batch_size to 1 or more.")
    >>> str(error)
    'batch_size is 0; it must be at least 1. Set training.batch_size to 1 or more.'
    """

    def __init__(self, problem: str, *, mend: str, on_page: str | None = None) -> None:
        super().__init__(f"{problem} {mend}".strip())
        self.problem = problem
        self.mend = mend
        self.on_page = mend if on_page is None else on_page

    def __reduce__(self) -> tuple[object, ...]:
        """Cross to another process with all three sentences; an exception alone would send its arguments only."""
        return functools.partial(type(self), mend=self.mend, on_page=self.on_page), (self.problem,)


class InputError(MinigptError):
    """The user's input cannot be used."""


class ConfigError(InputError):
    """A setting is unknown, out of range, or in conflict with another."""


class CorpusError(InputError):
    """A text cannot be read or is too short."""


class TokenizerError(InputError):
    """A tokenizer is untrained, damaged, or was given ids outside its vocabulary."""


class ShapeError(InputError):
    """A tensor has the wrong rank, size or dtype; the message names both shapes."""


class ContextLengthError(InputError):
    """More tokens than the model's context holds."""


class SamplingError(InputError):
    """A sampling setting is impossible."""


class DeviceError(InputError):
    """This machine does not have the requested device."""


class RunNotFoundError(InputError):
    """There is no run of that name, id or path."""


class RunExistsError(InputError):
    """A run would be overwritten or contradicted."""


class ArchiveError(InputError):
    """A file is not an exported run."""


class OwnerError(InputError):
    """A command needs the token of the run's owner."""


class LimitError(InputError):
    """More was asked for than this server or machine allows."""


class RunFault(MinigptError):
    """Something that worked has broken."""


class CheckpointError(RunFault):
    """A checkpoint or a run folder is damaged."""


class NonFiniteLossError(RunFault):
    """The loss became infinite or not a number."""


class ProcessLostError(RunFault):
    """Another process of the same training has ended or does not answer."""


class StorageError(RunFault):
    """The disk is full or cannot be written."""


class DownloadError(RunFault):
    """A download failed or has the wrong checksum."""
