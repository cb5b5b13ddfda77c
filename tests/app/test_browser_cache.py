"""A browser is never asked for a message that it has thrown away, however late its requests come."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from minigpt.app.shell.browser_cache import PENDING, BrowserCache

MAX_AGE = 8
FIGURES = "ABCD"
EARLY = ForwardMsg.FINISHED_EARLY_FOR_RERUN


def session(max_age=MAX_AGE):
    message = ForwardMsg()
    message.new_session.config.max_cached_message_age = max_age
    return message


def figure(name, fragment=""):
    message = ForwardMsg(hash=name)
    message.metadata.cacheable = True
    message.delta.fragment_id = fragment
    return message


def reference(name):
    return ForwardMsg(ref_hash=name)


def end(*fragments, status=ForwardMsg.FINISHED_SUCCESSFULLY):
    message = ForwardMsg(script_finished=status)
    message.metadata.run.fragment_ids.extend(fragments)
    return message


class Browser:
    """What Streamlit's browser side does with its messages, told step by step."""

    def __init__(self, max_age):
        self.max_age, self.runs, self.kept = max_age, 0, {}

    def read(self, message):
        if message.HasField("ref_hash"):
            assert message.ref_hash in self.kept, "the browser would stop for good"
            self.kept[message.ref_hash][0] = self.runs
        elif message.metadata.cacheable:
            self.kept.setdefault(message.hash, [self.runs, message.delta.fragment_id])[0] = self.runs
        elif message.HasField("script_finished") and message.script_finished != EARLY:
            self.runs += 1
            fragments = message.metadata.run.fragment_ids
            for name, (used, fragment) in list(self.kept.items()):
                if (not fragments or fragment in fragments) and self.runs - used > self.max_age:
                    del self.kept[name]


RUNS = st.tuples(
    st.sets(st.sampled_from(FIGURES)),
    st.sampled_from(["", "", "f", "g"]),  # of a fragment, or the whole page
    st.booleans(),  # whether it was ended by the next one
    st.integers(0, PENDING),  # runs that end between the request and its answer
    st.integers(0, 6),  # messages that the browser had not read when it wrote the request
)


@given(runs=st.lists(RUNS, max_size=40), max_age=st.sampled_from([2, 5, MAX_AGE]))
@example(runs=[({"A"}, "", False, 0, 0), *[(set(), "", False, 0, 0)] * 8, ({"A"}, "", False, 1, 1)], max_age=MAX_AGE)
def test_no_message_is_referred_to_that_the_browser_has_thrown_away(runs, max_age):
    cache, lists, browser = BrowserCache(), [[]], Browser(max_age)

    def send(message):
        cache.sent(message)
        browser.read(message)
        lists.append(list(browser.kept))

    send(session(max_age))
    for figures, fragment, is_early, pending, unread in runs:
        fragments = [fragment] if fragment else []
        listed = lists[max(0, len(lists) - 1 - unread)]
        lasting = cache.lasting(listed)
        for _ in range(pending):
            send(end())
        send(session(max_age))
        for name in sorted(figures):
            send(reference(name) if name in lasting else figure(name, fragment))
        send(end(*fragments, status=EARLY if is_early else ForwardMsg.FINISHED_SUCCESSFULLY))


def test_what_was_shown_lately_is_not_sent_again():
    cache = BrowserCache()
    for message in (session(), figure("A"), end()):
        cache.sent(message)
    assert cache.lasting(["A", "B"]) == ["A"]
    for _ in range(MAX_AGE - PENDING - 1):
        cache.sent(end())
    assert cache.lasting(["A"]) == ["A"]
    cache.sent(end())
    assert cache.lasting(["A"]) == []


def test_a_browser_that_keeps_little_is_sent_everything():
    cache = BrowserCache()
    for message in (session(max_age=2), figure("A"), end()):
        cache.sent(message)
    assert cache.lasting(["A"]) == []
