"""Every field survives every value: what is shown is what is used, and what cannot be used is refused in a sentence.

The fields are discovered: those of a run's settings in the configuration, all others on the pages of the menu.
"""

from __future__ import annotations

import math
import random
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt import config as settings
from minigpt import resources
from minigpt.app.session import corpora, state
from minigpt.app.texts import markdown, t
from minigpt.app.train.expert_view import FIELDS
from minigpt.app.ui.forms import read_number, read_setting, refused, written
from minigpt.app.ui.messages import label_of
from minigpt.app.ui.navigation import PAGES
from minigpt.data.corpora import corpus_from_text
from minigpt.errors import DownloadError
from minigpt.runs import manager

HOSTILE = (
    "-1", "0", "1", "0.5", "-0", "1e5", "1e-5", "2.5", "1.000", "1,000", "0,5", "١٢", "１６", "٠٫٥", "1e308", "-1e308",
    str(2**53 + 1), str(2**63 - 1), str(2**70), "9" * 309, "9" * 5000, "1e400", "1e999999999", "1e-999999999", "nan",
    "-nan", "snan", "inf", "-Infinity", "", "   ", "abc", "0x10", "1_000", "1__0", "--1", "1e", "e5", "+7", " 8 ", "½", "Ⅷ",
    "−5", "1 000", "true", "None", "NaN123", "\u202e1", "**9**", "`1`", "<b>1</b>", "$1$", "a" * 3000, "😀",
)  # fmt: skip
NUMBERS = [
    dotted
    for dotted in settings.dotted_fields()
    if settings.fields.plain_types(settings.field_info(dotted).annotation) & {int, float}
]
ANY_TEXT = st.one_of(
    st.sampled_from(HOSTILE),
    st.integers(-(2**80), 2**80).map(str),
    st.floats().map(repr),
    st.decimals().map(str),
    st.text(max_size=20),
)


def exactly(text):
    """Return the number that a text is in Python's own reading, None if it is none."""
    try:
        number = Decimal(text)
        return Fraction(number) if number.is_finite() and abs(number.adjusted()) < 1000 else None
    except (InvalidOperation, ValueError):
        return None


@given(ANY_TEXT, st.sampled_from([int, float]))
def test_a_text_is_read_exactly_or_not_at_all(text, kind):
    number = read_number(text, kind)
    if isinstance(number, str):
        assert number == text
    elif kind is int:
        assert number == exactly(text)
    else:
        assert math.isfinite(number)
        assert number == float(exactly(text))
        assert (number == 0) == (exactly(text) == 0)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e5", 100_000), ("١٢", 12), (" 8 ", 8), (str(2**70), 2**70), (str(2**53 + 1), 2**53 + 1), ("-1", -1)],
)
def test_a_whole_number_is_read_as_it_is_written(text, number):
    assert read_number(text, int) == number


@given(st.sampled_from(NUMBERS), ANY_TEXT)
def test_a_setting_takes_a_number_or_refuses_the_text_in_one_sentence(dotted, text):
    value = read_setting(dotted, text)
    if value is None:
        assert not text.strip()
    elif isinstance(value, str):
        assert value == text
        (sentence,) = refused({dotted: value}).values()
        assert label_of(dotted) in sentence
        assert settings.allowed_values(dotted) in sentence
        assert len(sentence) < 250
        assert "\n" not in sentence
        return
    assert not refused({dotted: value})
    assert read_setting(dotted, written(value)) == value


@given(st.sampled_from(NUMBERS), st.integers(0, 2**63 - 1) | st.floats(0, 1e12))
def test_what_a_field_shows_is_read_back_as_the_same_number(dotted, value):
    if not settings.wrong_fields({dotted: value}):
        (kind,) = settings.fields.plain_types(settings.field_info(dotted).annotation) & {int, float}
        assert read_setting(dotted, written(kind(value))) == kind(value)


def test_every_setting_that_is_a_number_survives_every_hostile_text():
    for dotted in NUMBERS:
        for text in HOSTILE:
            value = read_setting(dotted, text)
            assert isinstance(value, str) == (dotted in refused({dotted: value})), (dotted, text)


# --- on the pages


class Browser:
    """What a browser does with a page: it sends the state of all its widgets. It need not keep to what they offer."""

    def __init__(self, at, seed):
        self.at, self.random = at, random.Random(seed)

    def send(self, change):
        """Change the state of widgets and send all of it; `change` gets the key and the state of each."""
        states = self.at._tree.get_widget_states()
        for widget in states.widgets:
            change(widget.id.split("-", 2)[2], widget)
        self.at._run(states)
        assert not self.at.exception, [error.stack_trace for error in self.at.exception]

    def choose(self, key, option):
        """Choose one of the options of a row of buttons, by the words on it."""
        self.send(
            lambda at, state: state.string_array_value.data.__setitem__(slice(None), [option]) if at == key else None
        )

    def attack(self):
        """Send something hostile for every field, slider and list at once."""

        kinds = (self.at.text_input, self.at.text_area, self.at.selectbox, self.at.slider, self.at.select_slider)
        fields = {field.key for kind in kinds for field in kind}

        def change(key, state):
            if key not in fields:  # a component, which has no field
                return
            if state.HasField("string_value"):
                state.string_value = self.random.choice(HOSTILE)
            elif state.HasField("double_array_value"):
                state.double_array_value.data[:] = [
                    self.random.choice((-1.0, 0.0, 1.5, 2.0**70, 1e308, math.nan, math.inf))
                ]

        self.send(change)

    def views(self):
        """Go through the views of a page: everything hidden is shown, and each row of buttons pressed along its length."""
        for key in [toggle.key for toggle in self.at.toggle]:
            self.at.toggle(key=key).set_value(True).run()
        groups = {group.key: list(group.options) for group in self.at.button_group}
        for key, options in groups.items():
            for option in options:
                if any(group.key == key for group in self.at.button_group):
                    self.choose(key, option)
                    yield option
        if not groups:
            yield ""

    def numbers(self):
        """Return the fields for numbers: unlike those for texts, they have no longest text."""
        return [field for field in self.at.text_input if not field.proto.max_chars]


@pytest.mark.parametrize("page", [entry.file.removesuffix(".py") for entry in PAGES])
def test_every_field_of_a_page_survives_what_a_browser_can_send(pages, page):
    browser = Browser(pages.open(page, run=pages.trained()), page)
    for _ in browser.views():
        assert all(
            field.placeholder or not isinstance(read_number(field.value, float), str) for field in browser.numbers()
        )
        assert not browser.at.number_input, "the browser would read the number: take a field of ui/forms.py"
        browser.attack()
        words = pages.words(browser.at)
        for field in browser.numbers():
            is_automatic = field.placeholder == t("frame.automatic") and not field.value.strip()
            if isinstance(read_number(field.value, float), str) and not is_automatic:
                assert f"“{markdown(field.label)}” is" in words, (field.key, field.value)


@pytest.mark.parametrize("name", ["run", "step", "seed"])
@pytest.mark.parametrize("text", HOSTILE[:: len(HOSTILE) // 6])
def test_any_number_in_the_address_is_survived(pages, name, text):
    at = pages.open(**{name: text})
    assert (t("frame.run_not_found") in pages.words(at)) == (name == "run")
    at.switch_page("pages/inside/forward.py").run()
    assert not at.exception
    assert not at.error


@pytest.mark.slow
@pytest.mark.parametrize("dotted", [name for name in NUMBERS if any(name in group for group in FIELDS.values())])
def test_every_hostile_text_in_every_setting_of_the_page_alone(pages, dotted):
    at = pages.open("build/train")
    at.toggle(key="train:expert").set_value(True).run()
    for needed, value in (("training.optimizer", "muon"), ("training.schedule", "wsd")):
        at.selectbox(key=f"train:nano:{needed}").set_value(value).run()
    for text in HOSTILE:
        at.text_input(key=f"train:nano:{dotted}").set_value(text).run()
        assert not at.exception, text
        value = read_setting(dotted, text)
        if refused({dotted: value}):
            assert at.button(key="train:start").disabled
            assert f"“{markdown(label_of(dotted))}” is" in pages.words(at)
        assert at.text_input(key=f"train:nano:{dotted}").value == text


def test_a_closed_expert_that_holds_something_wrong_says_so_beside_start_and_reset_mends_it(pages):
    at = pages.open("build/train")
    at.toggle(key="train:expert").set_value(True).run()
    at.text_input(key="train:nano:training.weight_decay").set_value("-1").run()
    at.text_input(key="train:nano:training.max_steps").set_value("1e3").run()
    for is_open in (False, True, False):
        at.toggle(key="train:expert").set_value(is_open).run()
        assert not at.exception
        (error,) = at.error
        assert "“Weight decay” is \\-1; it must be a number, at least 0 and at most 10" in error.value
        assert "Nano has 0\\.1" in error.value
        assert error.value.startswith("Under Expert") != is_open
        assert at.button(key="train:start").disabled
    at.switch_page("pages/build/corpus.py").run()  # this page reads the settings too
    assert not at.exception
    at.switch_page("pages/build/train.py").run()
    assert at.error
    at.button(key="train:reset").click().run()
    assert not at.error
    assert not at.button(key="train:start").disabled
    assert at.text_input(key="train:nano:training.max_steps").value == "400"
    at.toggle(key="train:expert").set_value(True).run()
    assert at.text_input(key="train:nano:training.weight_decay").value == "0.1"
    at.text_input(key="train:nano:model.d_model").set_value("abc").run()
    at.button(key="train:reset").click().run()
    assert at.text_input(key="train:nano:model.d_model").value == "32"
    assert "train:reset" not in {button.key for button in at.button}  # nothing is left to reset


@pytest.mark.parametrize("text", [str(2**53 + 1), "1e5", "١٢", str(2**63 - 1)])
def test_the_seed_that_is_shown_is_the_seed_of_the_run(pages, text):
    at = pages.open("build/train")
    at.toggle(key="train:expert").set_value(True).run()
    at.text_input(key="train:nano:seed").set_value(text).run()
    at.button(key="train:start").click().run()
    assert manager.get_engine().snapshot(pages.run_of(at)).config.seed == exactly(text)


def test_start_right_after_typing_refuses_with_the_sentence_of_the_page(pages):
    at = pages.open("build/train")
    at.text_input(key="train:nano:training.max_steps").set_value("1,000")  # and no rerun before the click
    at.button(key="train:start").click().run()
    assert pages.run_of(at) is None
    assert len(at.error) == 2
    assert at.error[0].value == at.error[1].value
    assert "“Steps” is “1,000”; it must be a whole number" in at.error[0].value


def test_a_seed_that_is_none_is_refused_below_its_field_and_can_be_put_back(pages):
    at = pages.open("use/sampling", run=pages.trained())
    at.text_input(key="sampling:seed").set_value(str(2**70)).run()
    sentence = f"“{t('sampling.seed')}” is {2**70}; it must be a whole number from 0 to {2**63 - 1}."
    assert markdown(sentence) in pages.words(at)
    at.button(key="sampling:seed:reset").click().run()
    assert at.text_input(key="sampling:seed").value == "9"
    at.text_input(key="sampling:seed").set_value(str(2**63 - 1)).run()
    at.button(key="sampling:try_0").click().run()
    assert at.text_input(key="sampling:seed").value == "0"
    assert not at.exception


# --- buttons that start a run


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock of the presses; it stands still."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(state, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.mark.parametrize("button", ["train:start", "train:try_0", "train:try_1", "train:try_2"])
def test_a_double_click_starts_one_run_and_a_later_press_another(pages, clock, button):
    at = pages.open("build/train")
    at.text_input(key="train:nano:training.max_steps").set_value("1").run()
    at.button(key=button).click().run()
    first = pages.run_of(at)
    assert first
    at.button(key=button).click().run()
    assert [snapshot.id for snapshot in manager.get_engine().list()] == [first]
    assert not at.error
    clock.seconds += state.PRESS_SECONDS
    at.button(key=button).click().run()
    assert len(manager.get_engine().list()) == 2
    assert pages.run_of(at) != first


@pytest.mark.parametrize("button", ["train:start", "train:try_0", "train:try_2"])
def test_the_same_press_after_a_stop_is_no_double_click(pages, clock, button):
    at = pages.open("build/train")
    at.button(key=button).click().run()
    first = pages.run_of(at)
    at.button(key="train:stop").click().run()
    at.button(key=button).click().run()
    assert pages.run_of(at) != first
    assert len(manager.get_engine().list()) == 2


def test_a_press_with_other_settings_is_no_double_click(pages, clock):
    at = pages.open("build/train")
    for count, steps in enumerate(("1", "2"), 1):
        at.text_input(key="train:nano:training.max_steps").set_value(steps).run()
        at.button(key="train:start").click().run()
        assert len(manager.get_engine().list()) == count


def test_a_press_counts_as_the_second_until_the_page_has_been_drawn_to_its_end(clock):
    place = state.Place()
    assert not place.is_pressed_again("settings")
    place.note_press("settings")
    clock.seconds += 100
    assert place.is_pressed_again("settings")
    place.is_shown = True
    assert not place.is_pressed_again("settings")


# --- presets


@pytest.fixture
def any_corpus(monkeypatch):
    """Make every built-in corpus available at once, a short one."""
    monkeypatch.setattr(corpora, "load_corpus", lambda name: corpus_from_text(f"{name} and so on\n" * 300, name=name))


@pytest.mark.parametrize("preset", resources.preset_names())
@pytest.mark.parametrize("is_own", [False, True])
def test_a_preset_trains_the_text_that_it_names_or_the_page_says_so_and_offers_it(pages, any_corpus, preset, is_own):
    at = pages.open("build/corpus")
    if is_own:
        at.segmented_control(key="corpus:source").set_value("upload").run()
        at.file_uploader(key="corpus:files").set_value([("mine.txt", b"my own text\n" * 300, "text/plain")]).run()
    at.switch_page("pages/build/train.py").run()
    at.selectbox(key="train:preset").set_value(preset).run()
    wanted = settings.load_config(preset).data.corpus
    current = "mine.txt" if is_own else "tales"
    assert f"learns from **{markdown(current)}**" in pages.words(at)
    offers = [button for button in at.button if button.key == "train:take_corpus"]
    assert bool(offers) == (wanted != current)
    assert ("this run will learn from" in pages.words(at)) == (wanted != current and not is_own)
    if offers:
        offers[0].click().run()
        assert f"learns from **{wanted}**" in pages.words(at)
        assert "train:take_corpus" not in {button.key for button in at.button}


def test_a_text_that_cannot_be_downloaded_is_explained_beside_start(pages, monkeypatch):
    def fails(name):
        raise DownloadError("It cannot be reached.", mend="Try again.")

    monkeypatch.setattr(corpora, "load_corpus", fails)
    at = pages.open("build/train")
    at.selectbox(key="train:preset").set_value("shakespeare").run()
    at.button(key="train:take_corpus").click().run()
    assert "cannot be reached" in at.error[0].value
    assert "learns from **tales**" in pages.words(at)
