"""What a browser still has of the messages that it was sent, so that none is asked of it that it has thrown away.

A browser lists in each request which large messages it has, and Streamlit sends it their hashes in place of them. But
the list is as old as the request. When a run ends that was under way meanwhile, the browser throws away what it has not
used for some runs. In Streamlit 1.67 a hash that it does not find stops it for good: it takes in no further message,
until the visitor loads the page anew. That happens to whoever changes something and leaves the page before the answer
has come.

All messages of a connection come in order, so the server can count along and know what the browser will have.
"""

from __future__ import annotations

from collections.abc import Iterable

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

PENDING = 4
"""How many more runs may end between a request and its answer; `global.maxCachedMessageAge` is larger."""


class BrowserCache:
    """The large messages in the memory of one browser, by hash."""

    def __init__(self) -> None:
        self._last_used: dict[str, int] = {}  # the number of runs that had ended
        self._fragments: dict[str, str] = {}  # that the messages belong to; empty: to none
        self._runs = 0
        self._max_age = 0

    def sent(self, message: ForwardMsg) -> None:
        """Note a message to the browser, which keeps it, uses one, or ends a run and throws some away."""
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            if message.ref_hash in self._last_used:
                self._last_used[message.ref_hash] = self._runs
        elif message.metadata.cacheable:
            self._fragments.setdefault(message.hash, message.delta.fragment_id)
            self._last_used[message.hash] = self._runs
        elif kind == "new_session":
            self._max_age = message.new_session.config.max_cached_message_age
        elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            self._end_run(set(message.metadata.run.fragment_ids))

    def _end_run(self, fragments: set[str]) -> None:
        """Throw away what is too old; the run of a fragment ends only the messages of that fragment."""
        self._runs += 1
        for key, last_used in list(self._last_used.items()):
            if self._runs - last_used > self._max_age and (not fragments or self._fragments[key] in fragments):
                del self._last_used[key], self._fragments[key]

    def lasting(self, hashes: Iterable[str]) -> list[str]:
        """Return which of the messages that a browser says it has will be there when the answer comes."""
        ages = {key: self._runs - last_used for key, last_used in self._last_used.items()}
        return [key for key in hashes if key in ages and ages[key] + PENDING <= self._max_age]
