"""Be the sampler and the Shannon game: the rules are those of the library, the scores honest, the state safe."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import torch

from minigpt.app.components.draw_bar import picked_token
from minigpt.app.sampling import play_draw_view, play_shannon_view
from minigpt.app.sampling.play_draw_view import Game
from minigpt.app.session import models, runs
from minigpt.app.texts import t
from minigpt.config import RunConfig, TransformerConfig
from minigpt.generation.inference import evaluation_mode
from minigpt.generation.truncation import TopKSampler
from minigpt.model.transformer import Transformer
from minigpt.randomness import uniform
from minigpt.runs.loading import Run, load_run
from minigpt.tokenizers.bpe import BPETokenizer
from tests.app.conftest import TEXT

PAGE = "use/sampling"


@pytest.fixture
def run_id(pages):
    models.reset()
    return pages.trained()


@pytest.fixture
def run(run_id):
    return load_run(run_id)


@pytest.fixture
def play(pages, run_id):
    """The page with the games on a tiny run."""
    at = pages.open(PAGE, run=run_id)
    at.segmented_control(key="sampling:view").set_value("play").run()
    assert not at.exception
    return at


def run_of(at):
    """Return the id of the run, by which its games are kept."""
    return at.session_state["app:place"].run_id


# --- be the sampler


@pytest.mark.parametrize("count", play_draw_view.CHOICES)
@pytest.mark.parametrize("seed", [0, 5])
def test_the_text_grows_as_top_k_sampling_writes_it_with_draws_in_hundredths(run, count, seed):
    game = Game(("q",), seed)
    for _ in range(4):
        turn = play_draw_view.turn_of(run, "the ", tuple(one.token_id for one in game.written), count, seed)
        game.decide(turn, 0)
        game.go_on()
    ids = run.tokenizer.encode("the ")
    never = sorted(run.tokenizer.special_ids)
    for number, written in enumerate(game.written):
        with evaluation_mode(run.model):
            logits = run.model(torch.tensor([ids[-16:]]))[0, -1].double()
        logits = logits.clone()
        logits[never] = -math.inf
        probs = torch.softmax(TopKSampler(count).process(logits)[0], -1)
        u = math.floor(100 * uniform(seed, 0, number)) / 100
        token = int((probs.cumsum(-1) > u).nonzero()[0])
        assert (written.token_id, written.u) == (token, u)
        assert written.share == pytest.approx(float(probs[token]))
        ids.append(token)


def test_the_bar_is_whole_and_every_pick_is_judged_with_the_border_that_decides(run):
    for seed in range(8):
        turn = play_draw_view.turn_of(run, "the cat", (), 6, seed)
        assert turn.chances[0].low == 0
        assert turn.chances[-1].high == pytest.approx(1)
        assert turn.chances[turn.right].low <= turn.u < turn.chances[turn.right].high
        for pick, chance in enumerate(turn.chances):
            words = play_draw_view.verdict(turn, pick)
            assert ("**Right.**" in words) == (pick == turn.right)
            if pick != turn.right:
                assert (chance.low > turn.u) == ("begins only at" in words)
                assert (chance.high <= turn.u) == ("ends at" in words)


@pytest.mark.parametrize(
    "pick",
    [None, "x", 7, [], {}, {"turn": "a"}, {"turn": "a", "token": -1}, {"turn": "a", "token": 3}, {"turn": "b", "token": 1},
     {"turn": "a", "token": True}, {"turn": "a", "token": 1.0}, {"turn": "a", "token": "1"}, {"turn": None, "token": 1}],
)  # fmt: skip
def test_a_pick_that_is_none_is_ignored(pick):
    assert picked_token(pick, "a", 3) is None


def game_of(at):
    return at.session_state[f"sampling:draw_game_{run_of(at)}"]


def test_a_game_survives_hostile_picks_a_change_of_view_and_of_page(pages, play):
    at = play
    for pick in ({"turn": "no", "token": 0}, {"turn": game_of(at).name, "token": 99}, "<b>", None):
        at.session_state["sampling:draw_pick"] = pick
        at.run()
        assert not at.exception
        assert game_of(at).turn is None
    assert at.button(key="sampling:draw_next").disabled
    at.session_state["sampling:draw_pick"] = {"turn": game_of(at).name, "token": 0}
    at.run()
    assert "has the bar from" in pages.words(at)
    decided = game_of(at).turn
    at.session_state["sampling:draw_pick"] = {"turn": game_of(at).name, "token": 1}  # a second press changes nothing
    at.run()
    assert (game_of(at).turn, game_of(at).picked) == (decided, 0)
    at.button(key="sampling:draw_next").click().run()
    written = game_of(at).written
    assert written[-1].text == decided.chances[decided.right].text
    at.segmented_control(key="sampling:view").set_value("inspector").run()
    at.switch_page("pages/inside/attention.py").run()
    at.switch_page(f"pages/{PAGE}.py").run()
    at.segmented_control(key="sampling:view").set_value("play").run()
    assert game_of(at).written == written
    assert "of **1** right" in pages.words(at)
    at.select_slider(key="sampling:draw_count").set_value(24).run()
    assert game_of(at).written == written
    at.button(key="sampling:try_draw_0").click().run()  # other draws
    assert game_of(at).written == []
    assert not at.exception


def test_another_prompt_begins_a_new_game(play):
    for prompt in ("", "t", "שלום", "a" * 90, "**b** <b>x</b> $x$ :red[x]"):
        before = game_of(play)
        field = next(one for one in play.text_input if str(one.key).startswith("sampling:prompt"))
        field.set_value(prompt).run()
        assert not play.exception
        assert not play.error
        assert game_of(play) is not before


# --- the Shannon game


@pytest.mark.parametrize("alphabet", [2, 30, 256])
def test_a_stated_confidence_is_a_distribution_and_honesty_pays(alphabet):
    """The rule is proper: the expected bits are least if one states how often one is right."""
    for sure in play_shannon_view.SURE:
        wrong = play_shannon_view.stated(sure, alphabet, is_right=False)
        assert sure + (alphabet - 1) * wrong == pytest.approx(1)

        def expected(stated, truth=sure):
            right, wrong = (play_shannon_view.stated(stated, alphabet, is_right=is_right) for is_right in (True, False))
            return -truth * math.log2(right) - (1 - truth) * math.log2(wrong)

        assert min(play_shannon_view.SURE, key=expected) == sure


def test_for_characters_the_models_chance_is_its_softmax_without_special_tokens(run):
    text = play_shannon_view.text_of(run, "the cat sat on the mat and the dog")
    assert text.alphabet == tuple(sorted(set(TEXT)))
    place = text.next_place(text.first)
    with evaluation_mode(run.model):
        logits = run.model(torch.tensor([text.ids[:place][-16:]]))[0, -1].double()
    probs = torch.softmax(logits[run.tokenizer.text_ids], -1)
    shares = dict(zip(map(run.tokenizer.token_text, run.tokenizer.text_ids), probs.tolist(), strict=True))
    actual = text.character(place)
    guess = play_shannon_view.judge(run, text, place, "q", 0.9)
    assert guess.model == pytest.approx(shares[actual])
    assert guess.rank == 1 + sum(share > shares[actual] for share in shares.values())
    assert guess.best_chance == pytest.approx(max(shares.values()))
    assert guess.bits == pytest.approx(-math.log2(0.1 / (len(shares) - 1)))
    assert play_shannon_view.judge(run, text, place, actual, 0.5).bits == 1


def test_a_longer_token_is_guessed_by_its_first_character():
    tokenizer = BPETokenizer(num_merges=20).train(TEXT)
    model = Transformer(TransformerConfig(num_layers=1, num_heads=2, d_model=16, sequence_length=16),
                        tokenizer.vocab_size, seed=3)  # fmt: skip
    run = Run(model, tokenizer, RunConfig(), None, 0, "x", "x")
    text = play_shannon_view.text_of(run, "the cat sat on thé mat ✓ and the dog")
    shares = play_shannon_view.chances(run, text, text.first)
    assert shares.sum() == pytest.approx(1)
    with evaluation_mode(model):
        logits = model(torch.tensor([text.ids[: text.first][-16:]]))[0, -1].double()
    probs = torch.softmax(logits, -1).numpy()
    begins = [tokenizer.decode([i])[:1] for i in range(tokenizer.vocab_size)]
    wanted = {
        character: sum(p for p, begin in zip(probs, begins, strict=True) if begin == character) for character in "t "
    }
    total = sum(p for i, p in enumerate(probs) if i not in tokenizer.special_ids)
    for character, share in wanted.items():
        assert shares[text.alphabet.index(character)] == pytest.approx(share / total)
    places, place = [], text.next_place(text.first)
    while place is not None:
        places.append(place)
        place = text.next_place(place + 1)
    assert "\ufffd" not in [text.character(place) for place in places]  # no one has to type half a character
    assert len(places) < len(text.ids) - text.first
    game = play_shannon_view.Game(())
    for place in places:
        game.guesses.append(play_shannon_view.judge(run, text, place, "t", 0.25))
    assert game.place(text) is None
    assert len(play_shannon_view.strip_tokens(game, text)) == len(text.ids) - text.first


@pytest.fixture
def shannon(play):
    play.segmented_control(key="sampling:game").set_value("shannon").run()
    assert not play.exception
    return play


def guesses_of(at):
    return at.session_state[f"sampling:shannon_game_{run_of(at)}"].guesses


def guess(at, text):
    at.text_input(key="sampling:shannon_guess").set_value(text)
    at.button(key="sampling:shannon_submit").click().run()
    assert not at.exception
    assert not at.error


def test_guesses_are_counted_once_and_what_is_no_guess_is_refused(pages, shannon):
    at = shannon
    counted = 0
    for text in ("t", "é", "", " ", "the", "😀", "<b>", "␣", "$1$", "\u202e", "⏎", "*"):
        guess(at, text)
        is_known = text[:1] in {*TEXT, "␣", "⏎"} - {""}
        counted += is_known
        assert len(guesses_of(at)) == counted, text
        assert ("was not counted" in pages.words(at)) == (not is_known and text != ""), text
    assert {one.sure for one in guesses_of(at)} == {play_shannon_view.USUAL}
    at.select_slider(key="sampling:shannon_sure").set_value(0.99).run()
    at.button(key="sampling:shannon_space").click().run()
    assert (guesses_of(at)[-1].guessed, guesses_of(at)[-1].sure) == (" ", 0.99)
    yours, models, blind = [metric.value for metric in at.metric]
    bits = [one.bits for one in guesses_of(at)]
    assert yours == f"{np.mean(bits):.2f} bits"
    assert blind == f"{math.log2(len(set(TEXT))):.2f} bits"
    at.segmented_control(key="sampling:view").set_value("side").run()
    at.segmented_control(key="sampling:view").set_value("play").run()
    assert [metric.value for metric in at.metric] == [yours, models, blind]
    at.button(key="sampling:shannon_another").click().run()
    assert not guesses_of(at)
    assert not at.exception


def test_a_run_without_its_text_says_so_and_a_text_of_ones_own_is_guessed(pages, run_id):
    shutil.rmtree(runs.find_run(run_id).path / "data")
    at = pages.open(PAGE, run=run_id)
    at.segmented_control(key="sampling:view").set_value("play").run()
    at.segmented_control(key="sampling:game").set_value("shannon").run()
    assert t("frame.opening_no_text") in pages.words(at)
    assert not at.exception
    for text in ("the cat sat on the log", "x", "é" * 30, "  \n ", "<script>", "a" * 400):
        at.text_area(key="sampling:shannon_own").set_value(text).run()
        assert not at.exception
        assert not at.error
        assert (t("sampling.shannon_typed") in pages.words(at)) == bool(text.strip())
        if text in ("x", "é" * 30):
            assert t("sampling.shannon_short") in pages.words(at)


def test_the_end_of_a_text_is_said_and_the_score_stays(pages, shannon):
    shannon.text_area(key="sampling:shannon_own").set_value("the").run()
    for _ in range(2):
        guess(shannon, "e")
    assert t("sampling.shannon_end") in pages.words(shannon)
    assert not [field for field in shannon.text_input if field.key == "sampling:shannon_guess"]
    assert len(guesses_of(shannon)) == 2
