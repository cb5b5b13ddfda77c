import math
import sys
from types import SimpleNamespace

import pytest
import torch

from minigpt.config import TransformerConfig
from minigpt.errors import ConfigError, InputError, SamplingError
from minigpt.generation import batch, reading
from minigpt.generation.constraints import AllowedTokens
from minigpt.generation.generator import TextGenerator, generate_naive
from minigpt.generation.penalties import DRYPenalty, FrequencyPenalty
from minigpt.generation.samplers import Sampler, SamplerChain, TemperatureSampler
from minigpt.generation.settings import GenerationSettings
from minigpt.generation.truncation import MirostatSampler, TopKSampler
from minigpt.model import compilation, kv_cache
from minigpt.model.transformer import Transformer
from minigpt.tokenizers.base import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from minigpt.tokenizers.byte import ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer

NEVER = (PAD_ID, UNK_ID, BOS_ID)


class ScriptedModel(torch.nn.Module):
    """Writes a given text, one token per call, for any input; records the width of each input."""

    can_cache = True

    def __init__(self, ids, vocab_size, context=64):
        super().__init__()
        self.config, self.vocab_size, self.device = (
            TransformerConfig(sequence_length=context, norm_position="none"),  # no decoder covers it
            vocab_size,
            torch.device("cpu"),
        )
        self.script, self.widths = list(ids), []

    def make_caches(self, num_texts):
        return [SimpleNamespace(reset=lambda: None) for _ in range(num_texts)]

    def forward(self, ids, *, cache=None, probe=None):
        assert not self.training
        assert torch.is_inference_mode_enabled()
        logits = torch.zeros(*ids.shape, self.vocab_size)
        logits[0, -1, self.script[len(self.widths)]] = 50.0
        self.widths.append(ids.shape[1])
        return logits


class Byteish(CharacterTokenizer):
    """Tokens of two characters, for stop texts across token borders."""

    def token_text(self, token_id):
        text = super().token_text(token_id)
        return text + text.upper() if len(text) == 1 else text


class WithoutEos(Sampler):
    """Never chooses EOS, so that a long text is compared; also checks the arguments that a custom rule gets."""

    def process(self, logits, ids=None, state=None):
        assert state is None or ids.shape == (1, state + 1)  # all tokens so far, one more at each call
        return logits.index_fill(-1, torch.tensor([EOS_ID]), -torch.inf), ids.shape[1]

    def describe(self):
        return "without end"


def tokenizer_of(alphabet="abcdefgh \n", kind=CharacterTokenizer):
    return kind().train(alphabet)


@pytest.fixture
def endless(monkeypatch):
    """No token ends a text, so that no test depends on which token random weights make likely."""
    monkeypatch.setattr(CharacterTokenizer, "eos_id", None)


def real_run(context=8, positions="rotary", **config):
    tokenizer = tokenizer_of()
    config = TransformerConfig(
        **{"num_layers": 2, "num_heads": 2, "d_model": 16, "sequence_length": context, "positions": positions} | config
    )
    model = Transformer(config, tokenizer.vocab_size, seed=1)
    with torch.no_grad():  # far from uniform, so that a wrong position or a wrong mask shows
        for parameter in model.parameters():
            parameter.mul_(4)
    return SimpleNamespace(model=model, tokenizer=tokenizer)


def scripted(text, kind=CharacterTokenizer, end=(), **options):
    tokenizer = tokenizer_of(kind=kind)
    model = ScriptedModel([*tokenizer.encode(text), *end], tokenizer.vocab_size, **options)
    return TextGenerator(SimpleNamespace(model=model, tokenizer=tokenizer)), model


# --- the same tokens as the naive loop, past the context too ---


@pytest.mark.no_cover
@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("context", [2, 3, 8, 9])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 30])
def test_generation_equals_the_naive_loop(positions, use_cache, context, length):
    run = real_run(context, positions)
    sampler = SamplerChain([WithoutEos(), TemperatureSampler(1.5), TopKSampler(9)])
    prompt = ("abc def" * 5)[:length]
    result = TextGenerator(run).generate(prompt, max_new_tokens=40, sampler=sampler, seed=5, row=2, use_cache=use_cache)
    expected = generate_naive(run.model, run.tokenizer.encode(prompt), 40, sampler, 5, 2, never=NEVER)
    assert [token.token_id for token in result.tokens] == expected
    assert len(set(expected)) > 3


def test_the_oracle_drops_the_oldest_half_when_the_context_is_full():
    seen = []
    model = ScriptedModel([5] * 20, 14, context=4)
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].tolist()[0]))
    generate_naive(model, [6, 7, 8], 4, TopKSampler(1))
    assert seen == [[6, 7, 8], [6, 7, 8, 5], [8, 5, 5], [8, 5, 5, 5]]


def test_decoding_reads_one_token_and_prefills_again_when_full():
    generator, model = scripted("a" * 10, context=4)
    generator.generate("bcd", max_new_tokens=7)
    assert model.widths == [3, 1, 3, 1, 3, 1, 3]


def test_rows_have_their_own_random_numbers_and_seeds_repeat(endless):
    generator = TextGenerator(real_run())
    texts = [
        generator.generate("a", temperature=2, seed=seed, row=row).text
        for seed, row in [(1, 0), (1, 1), (2, 0), (1, 0)]
    ]
    assert texts[0] == texts[3]
    assert len(set(texts)) == 3


# --- what each token reports ---


def test_tokens_report_probabilities_before_and_after_the_rules(endless):
    run = real_run(context=16)
    token = next(TextGenerator(run).stream("abc", top_k=2, num_runners_up=3))
    with torch.no_grad():
        probs = torch.softmax(run.model(torch.tensor([run.tokenizer.encode("abc")]))[0, -1].double(), -1)
    allowed = probs.clone()
    allowed[list(NEVER)] = 0
    best = allowed.topk(2)
    assert token.token_id in best.indices.tolist()
    assert token.model_probability == pytest.approx(probs[token.token_id].item())
    assert token.probability == pytest.approx((allowed[token.token_id] / best.values.sum()).item())
    assert len(token.runners_up) == 3
    expected = [i for i in probs.argsort(descending=True).tolist() if i != token.token_id][:3]
    assert [candidate.token_id for candidate in token.runners_up] == expected
    assert 0 <= token.u < 1


def test_no_runners_up_unless_asked(endless):
    assert next(TextGenerator(real_run()).stream("abc", num_runners_up=0)).runners_up == ()


def test_pad_unk_and_bos_are_never_written():
    tokenizer = tokenizer_of()
    model = ScriptedModel([PAD_ID, UNK_ID, BOS_ID] * 4, tokenizer.vocab_size)
    result = TextGenerator(SimpleNamespace(model=model, tokenizer=tokenizer)).generate(
        "a", max_new_tokens=12, temperature=1
    )
    assert not {token.token_id for token in result.tokens} & set(NEVER)


def test_eos_ends_the_text_and_is_not_part_of_it():
    generator, _ = scripted("ab", end=[EOS_ID])
    result = generator.generate("c")
    assert (result.completion, result.stop_reason, result.num_new_tokens) == ("ab", "eos", 2)


# --- prompts ---


def test_an_empty_prompt_starts_from_bos(endless):
    run = real_run(context=16)
    result = TextGenerator(run).generate("", max_new_tokens=5)
    assert [t.token_id for t in result.tokens] == generate_naive(run.model, [BOS_ID], 5, TopKSampler(1), never=NEVER)
    assert result.notes == ()


def test_an_empty_prompt_without_bos_is_refused(monkeypatch):
    run = real_run()
    monkeypatch.setattr(CharacterTokenizer, "bos_id", None)
    with pytest.raises(InputError, match="prompt is empty"):
        TextGenerator(run).stream("")


def test_unseen_characters_are_replaced_and_named():
    result = TextGenerator(real_run()).generate("aé日é", max_new_tokens=2)
    assert result.text.startswith("aé日é")
    assert result.notes == (
        "The prompt has characters that this model has never seen, read as <unk>: “é” ×2, “日” ×1.",
    )


def test_a_long_prompt_keeps_its_newest_part_and_says_so(endless):
    run = real_run(context=8)
    long, short = "abcdefgh" * 3 + "cab", "defghcab"
    generator = TextGenerator(run)
    result = generator.generate(long, max_new_tokens=6)
    assert result.completion == generator.generate(short, max_new_tokens=6).completion
    assert result.notes == ("The prompt has 27 tokens; the model sees the newest 8, as many as it can.",)


# --- stop texts ---


@pytest.mark.parametrize(
    ("stop", "completion", "reason"),
    [
        ("d", "abc", "stop"),
        ("cde", "ab", "stop"),
        (["h", "bc"], "a", "stop"),
        (["cdx", "e"], "abcd", "stop"),
        ("a", "", "stop"),
        ("xyz", "abcdefgh", "length"),
        ("gha", "abcdefgh", "length"),
        ((), "abcdefgh", "length"),
    ],
)
def test_stop_texts_end_the_writing_and_are_left_out(stop, completion, reason):
    generator, _ = scripted("abcdefgh")
    result = generator.generate("h", max_new_tokens=8, stop=stop)
    assert (result.completion, result.stop_reason) == (completion, reason)
    assert result.num_new_tokens == len(completion)


def test_a_stop_text_across_and_within_token_borders():
    generator, _ = scripted("abcd", kind=Byteish)  # tokens aA bB cC dD
    result = generator.generate("h", max_new_tokens=4, stop="BcC")
    assert (result.completion, result.num_new_tokens) == ("aAb", 2)
    generator, _ = scripted("abcd", kind=Byteish)
    assert generator.generate("h", max_new_tokens=4, stop="D").completion == "aAbBcCd"


def test_streaming_holds_back_what_may_become_a_stop():
    generator, model = scripted("abcabd")
    seen = [(token.text, len(model.widths)) for token in generator.stream("h", max_new_tokens=6, stop="abd")]
    assert seen == [
        ("a", 3),
        ("b", 3),
        ("c", 3),
    ]  # "ab" is held until "c" shows that it is not a stop text; the second "ab" begins one
    generator, _ = scripted("aab")
    assert generator.generate("h", max_new_tokens=3, stop="aac").completion == "aab"


@pytest.mark.parametrize("seed", range(3))
def test_what_random_bytes_add_to_the_text_is_what_they_decode_to(seed):
    """Whole, cut, wrong and unfinished characters; with stop texts that never come, so that tokens are held back."""
    ids = torch.randint(4, 260, (60,), generator=torch.Generator().manual_seed(seed)).tolist()
    ids += ByteTokenizer().encode("aé日\U0001f600z" * 3)[: -1 - seed]
    for stop in ((), ("zz", "日日", "\ufffd" * 99)):
        tokenizer = ByteTokenizer()
        model = ScriptedModel([*ids, EOS_ID], tokenizer.vocab_size, context=200)
        result = TextGenerator(SimpleNamespace(model=model, tokenizer=tokenizer)).generate(
            "é", max_new_tokens=200, stop=stop, use_cache=False
        )
        reader = tokenizer.reader()
        assert result.completion == "".join(map(reader.push, ids))
        assert [token.token_id for token in result.tokens] == ids
        assert result.stop_reason == "eos"
        result.completion.encode()


@pytest.mark.parametrize(
    ("stop", "completion", "tokens"),
    [("日", "aé", 3), ("é", "a", 1), ("\u0301", "aé日", 6), ("日x", "aé日\u0301b", 9), ("e", "aé日\u0301b", 9)],
)
def test_a_stop_text_of_characters_that_tokens_cut(stop, completion, tokens):
    tokenizer = ByteTokenizer()
    model = ScriptedModel([*tokenizer.encode("aé日\u0301b"), EOS_ID], tokenizer.vocab_size)
    run = SimpleNamespace(model=model, tokenizer=tokenizer, config=SimpleNamespace(data=SimpleNamespace(clean=False)))
    result = TextGenerator(run).generate("h", max_new_tokens=20, stop=stop)
    assert (result.completion, result.num_new_tokens) == (completion, tokens)


def test_an_empty_stop_text_is_refused():
    with pytest.raises(SamplingError, match="stop text is empty"):
        TextGenerator(real_run()).stream("a", stop="")


# --- running ---


def test_the_model_keeps_its_mode_and_gradients_stay_on(endless):
    run = real_run(dropout=0.5)
    for mode in (True, False):
        run.model.train(mode)
        stream = TextGenerator(run).stream("a", max_new_tokens=3)
        for _ in stream:
            assert run.model.training is mode
            assert not torch.is_inference_mode_enabled()
    run.model.eval()
    quiet = TextGenerator(run).generate("a", max_new_tokens=8).text
    run.model.train()
    assert TextGenerator(run).generate("a", max_new_tokens=8).text == quiet  # dropout is off while writing


def test_cancelling_ends_the_writing():
    generator, model = scripted("abcdefgh")
    result = generator.generate("a", cancelled=lambda: len(model.widths) >= 3)
    assert (result.completion, result.stop_reason) == ("abc", "cancelled")


def test_a_seed_too_large_for_the_dice_is_refused():
    with pytest.raises(InputError, match="seed is 1180591620717411303424"):
        TextGenerator(real_run()).generate("a", temperature=1, seed=2**70)


def test_settings_without_effect_are_in_the_notes():
    stream = TextGenerator(real_run()).stream("a", temperature=0, top_k=5)
    assert stream.notes == ("top_k=5 has no effect: temperature 0 is greedy.",)
    assert stream.stop_reason is None


@pytest.mark.parametrize(
    "settings", [{"max_new_tokens": -1}, {"max_new_tokens": 2.5}, {"top_k": 0}, {"temperature": -1}]
)
def test_impossible_settings_are_refused_before_the_first_token(settings):
    with pytest.raises(InputError):
        TextGenerator(real_run()).stream("a", **settings)


def test_settings_are_given_as_an_object_or_by_name_or_both():
    generator = TextGenerator(real_run())
    given = GenerationSettings(max_new_tokens=9, temperature=2, seed=4)
    by_name = generator.generate("a", max_new_tokens=9, temperature=2, seed=7).text
    assert generator.generate("a", given, seed=7).text == by_name
    assert generator.generate("a", given).text != by_name
    with pytest.raises(TypeError, match="max_tokens"):
        generator.stream("a", max_tokens=9)


def test_no_tokens_wanted_gives_none():
    result = TextGenerator(real_run()).generate("ab", max_new_tokens=0)
    assert (result.text, result.num_new_tokens, result.stop_reason, result.tokens_per_second) == ("ab", 0, "length", 0)


def test_a_model_without_the_causal_mask_writes_without_a_cache(endless):
    run = real_run(causal=False)
    sampler = SamplerChain([WithoutEos(), TemperatureSampler(1.0)])
    result = TextGenerator(run).generate("abc", max_new_tokens=12, sampler=sampler, seed=3)
    expected = generate_naive(run.model, run.tokenizer.encode("abc"), 12, sampler, 3, 0, never=NEVER)
    assert [token.token_id for token in result.tokens] == expected


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_probe_edits_what_is_written(use_cache):
    run = real_run()
    favourite = run.tokenizer.encode("c")[0]

    def probe(name, tensor):
        return tensor.index_fill(-1, torch.tensor([favourite]), 1e3) if name == "logits" else tensor

    assert TextGenerator(run).generate("ab", max_new_tokens=5, probe=probe, use_cache=use_cache).completion == "ccccc"
    untouched = TextGenerator(run).generate("ab", max_new_tokens=5, probe=lambda name, tensor: tensor)
    assert untouched.completion == TextGenerator(run).generate("ab", max_new_tokens=5).completion


# --- several texts side by side ---

PROMPTS = ["a", "abcdefgh", "", "hg", "abcdefghabcdefgh"]
RULES = {
    "plain": {"temperature": 1.3},
    "cut": {"temperature": 0.9, "top_k": 5, "top_p": 0.9},
    "with a state": {"sampler": MirostatSampler(2.0)},
    "looking back": {"sampler": SamplerChain([DRYPenalty(1.0), FrequencyPenalty(0.3, 6), TemperatureSampler(1.2)])},
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_several_texts_are_what_each_would_be_alone(endless, rules, use_cache):
    run = real_run(context=8)  # 20 tokens overflow it again and again, at other steps for other prompts
    run.model.double()  # in float32 a choice at a border between two tokens could differ
    generator = TextGenerator(run)
    lengths = [20, 20, 3, 20, 12]
    each = [
        GenerationSettings(max_new_tokens=n, seed=4, row=i, use_cache=use_cache, **rules) for i, n in enumerate(lengths)
    ]
    together = generator.generate_batch(PROMPTS, each)
    alone = [generator.generate(prompt, one) for prompt, one in zip(PROMPTS, each, strict=True)]
    assert [result.text for result in together] == [result.text for result in alone]
    assert [result.stop_reason for result in together] == ["length"] * 5
    for one, other in zip(together, alone, strict=True):
        assert [t.probability for t in one.tokens] == pytest.approx([t.probability for t in other.tokens])
    two = generator.generate_batch(PROMPTS[:2], each[:2])
    assert [result.text for result in two] == [result.text for result in together[:2]]


@pytest.mark.parametrize("most", [0, 1 << 13])  # torch and NumPy compute the probabilities of several texts
@pytest.mark.parametrize("num_texts", [1, 3])
@pytest.mark.parametrize("value", [-math.inf, math.inf, math.nan])
def test_a_distribution_without_a_token_is_reported_for_any_number_of_texts(monkeypatch, most, num_texts, value):
    class Broken(Sampler):
        def process(self, logits, ids=None, state=None):
            return torch.full_like(logits, value), state

        def describe(self):
            return "broken"

    monkeypatch.setattr(batch, "MOST_FOR_NUMPY", most)
    with pytest.raises(SamplingError, match="No token has a probability left"):
        TextGenerator(real_run()).generate_batch(["a"] * num_texts, max_new_tokens=1, sampler=Broken())


GENERAL = {
    "rotary": {"qk_norm": True},
    "learned": {"positions": "learned"},
    "sinusoidal": {"positions": "sinusoidal", "norm_position": "post"},
    "none": {"positions": "none"},
    "alibi": {"positions": "alibi", "num_kv_heads": 1},
    "window": {"attention_window": 3, "num_kv_heads": 2},
    "cap": {"logit_cap": 0.7, "num_kv_heads": 1},
    "near": {"positions": "alibi", "attention_window": 3, "logit_cap": 0.5},
    "convolution": {"convolution": 3},
    "wide convolution": {"convolution": 12, "positions": "none"},
}


@pytest.mark.parametrize("config", GENERAL.values(), ids=GENERAL)
@pytest.mark.parametrize("use_cache", [True, False])
def test_one_pass_reads_all_texts_as_it_would_read_each(endless, monkeypatch, config, use_cache):
    """Texts of different lengths that overflow the context and end at different steps, by the model's own pass."""
    monkeypatch.setattr(reading, "can_decode", lambda model: False)
    monkeypatch.setattr(kv_cache, "FIRST_ROOM", 2)  # the caches grow on the way
    run = real_run(**{"num_heads": 4} | config)
    run.model.double()
    with torch.no_grad():  # a new model's biases are 0 and its convolution is the identity, which would hide a mistake
        for seed, parameter in enumerate(run.model.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)), alpha=0.3)
    generator = TextGenerator(run)
    lengths = [20, 17, 3, 20, 12]
    each = [
        GenerationSettings(max_new_tokens=n, seed=4, row=i, use_cache=use_cache, temperature=1.3)
        for i, n in enumerate(lengths)
    ]
    alone = [generator.generate(prompt, one) for prompt, one in zip(PROMPTS, each, strict=True)]
    passes = []
    run.model.register_forward_pre_hook(lambda _, arguments: passes.append(arguments[0].shape))
    together = generator.generate_batch(PROMPTS, each)
    assert passes[0] == (5, 8)
    assert len(passes) <= (40 if use_cache else 20)  # at each step one, and one more for those whose context is full
    monkeypatch.setattr(reading, "MOST_UNREAD", 12)
    in_pieces = generator.generate_batch(PROMPTS, each)
    for one, *others in zip(alone, together, in_pieces, strict=True):
        for other in others:
            assert one.text == other.text
            by_other = [token.model_probability for token in other.tokens]
            assert [token.model_probability for token in one.tokens] == pytest.approx(by_other)


def test_texts_advance_together_and_end_each_for_its_own_reason():
    run = real_run()
    generator = TextGenerator(run)
    letter_h = AllowedTokens(run.tokenizer.encode("h"))
    each = [
        GenerationSettings(max_new_tokens=2, sampler=letter_h), GenerationSettings(max_new_tokens=0, sampler=letter_h),
        GenerationSettings(max_new_tokens=4, sampler=AllowedTokens([EOS_ID])),
        GenerationSettings(max_new_tokens=4, sampler=letter_h, stop="hhh"),
    ]  # fmt: skip
    stream = generator.stream_batch(["a", "b", "c", "d"], each)
    places = [place for place, _ in stream]
    assert stream.stop_reasons == ["length", "length", "eos", "stop"]
    assert places == [0, 0]  # the third ended at once; all of the fourth is the stop text
    cancelled = iter([False, True])
    stream = generator.stream_batch(["a", "b"], sampler=letter_h, cancelled=lambda: next(cancelled))
    assert [place for place, _ in stream] == [0, 1]
    assert stream.stop_reasons == ["cancelled", "cancelled"]


def test_prompts_and_settings_must_be_as_many():
    generator = TextGenerator(real_run())
    for prompts, each in (([], None), (["a"], [GenerationSettings()] * 2)):
        with pytest.raises(InputError, match="prompts and"):
            generator.stream_batch(prompts, each)


# --- the compiled pass ---


@pytest.mark.no_cover
@pytest.mark.parametrize("positions", ["rotary", "alibi"])
def test_the_compiled_pass_writes_the_same(endless, monkeypatch, positions):
    """Past the context too; with the plain operations traced as for a compiler, which saves a minute of compiling."""
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    monkeypatch.setenv("CXX", sys.executable)  # any program that exists
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    run = real_run(context=8, positions=positions)
    run.model.double()
    plain = TextGenerator(run).generate("abc", max_new_tokens=20, temperature=1.5)
    result = TextGenerator(run, compile=True).generate("abc", max_new_tokens=20, temperature=1.5)
    assert result.text == plain.text
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1


def test_without_a_compiler_compiling_is_refused(monkeypatch):
    monkeypatch.setattr("minigpt.model.compilation.shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"compile needs a C\+\+ compiler.*set compile to false"):
        TextGenerator(real_run(), compile=True)
