"""The terms of the field: name, symbol in this code base, one sentence of meaning, other names, and a source.

One table provides the tooltips of the app, the documentation and the tests, so that a word has one meaning everywhere.
The order follows a text on its way through the model; `terms()` returns it alphabetically.
"""

from __future__ import annotations

from dataclasses import dataclass

from minigpt.errors import InputError

VASWANI = "Vaswani et al. 2017, Attention Is All You Need"
RADFORD = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners"
SHANNON = "Shannon 1948, A Mathematical Theory of Communication"
ELHAGE = "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits"
MICHEL = "Michel et al. 2019, Are Sixteen Heads Really Better than One?"
WANG = "Wang et al. 2022, Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small"


@dataclass(frozen=True)
class Term:
    """One term of the field.

    Attributes:
        name: The term as pages write it.
        symbol: Its name in this code base: a setting, a point of the model, a key of a result; "" if it has none.
        meaning: One sentence that a fifteen-year-old can understand.
        also: Names in papers and other code bases.
        source: Its origin, or where to read more.
    """

    name: str
    symbol: str
    meaning: str
    also: tuple[str, ...] = ()
    source: str = ""


TERMS: tuple[Term, ...] = (
    # -- the text
    Term("corpus", "data.corpus",
         "The text that a model learns from.", ("training data", "data set")),
    Term("token", "ids",
         "The piece of text that a model reads or writes in one step; here mostly a single character.",
         ("symbol",), "Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units"),
    Term("tokenizer", "tokenizer", "Cuts a text into tokens, gives each one its number, and puts them together again."),
    Term("vocabulary", "vocab_size",
         "All tokens that a model knows; the V in shapes.", ("d_vocab", "V")),
    Term("special token", "SPECIAL_TOKENS",
         "A token that stands for no text: it marks a beginning, an end, a filler or an unknown character."),
    Term("BOS", "bos_id",
         "The token that begins a document, so that even the first character has something before it.",
         ("beginning of sequence", "start token")),
    Term("EOS", "eos_id",
         "The token that ends a text.", ("end of sequence", "end token")),
    Term("PAD", "pad_id",
         "The token that fills up short rows of a batch; it is never learned or scored.", ("padding",)),
    Term("UNK", "unk_id",
         "The token that stands for every character that was not in the corpus.",
         ("unknown token", "out-of-vocabulary token")),
    Term("training part", "train",
         "The tokens that the model learns from.", ("training set", "training split")),
    Term("validation part", "validation_fraction",
         "The tokens at the end of the corpus that the model never learns from, kept to test it honestly.",
         ("validation set", "held-out data", "development set")),
    Term("window", "stride",
         "A stretch of the corpus as long as the context; training draws windows, not sentences.",
         ("sequence", "example", "chunk")),
    Term("batch", "batch_size",
         "The windows that one step learns from together; the B in shapes.", ("mini-batch", "B")),
    # -- the shape of the model
    Term("context", "sequence_length",
         "How many tokens the model can see at once; what came earlier is forgotten.",
         ("context window", "context_length", "block_size", "n_ctx", "T")),
    Term("parameter", "num_parameters",
         "One of the numbers that training adjusts; together they are all the model knows.", ("weight",)),
    Term("block", "num_layers",
         "One of the model's equal stages: attention, then feed-forward, each adding to the residual stream.",
         ("layer", "n_layer", "n_layers", "N", "L"), VASWANI),
    Term("width", "d_model",
         "How many numbers describe one position inside the model; the D in shapes.",
         ("hidden size", "n_embd", "dim", "hidden_size", "D"), VASWANI),
    Term("embedding", "embed",
         "The list of numbers that a token becomes when it enters the model.",
         ("token embedding", "wte"), "Bengio et al. 2003, A Neural Probabilistic Language Model"),
    Term("position", "positions",
         "The place of a token in the text; the model needs it as input, since attention alone ignores the order.",
         ("positional encoding", "positional embedding"), VASWANI),
    Term("learned position", "pos_embed",
         "A list of numbers for each place in the context, added to the embedding.",
         ("wpe", "absolute position embedding"), RADFORD),
    Term("rotary position", "rotary",
         "Turns queries and keys by an angle that grows with the place, so that only distance counts.",
         ("RoPE", "rotary embedding"), "Su et al. 2021, RoFormer: Enhanced Transformer with Rotary Position Embedding"),
    Term("sinusoidal position", "sinusoidal",
         "Sines and cosines of the place, added to the embedding; a formula, so nothing of it is learned.",
         ("sinusoidal encoding",), VASWANI),
    Term("ALiBi", "alibi",
         "Lowers attention scores by an amount that grows with the distance, in each head at its own rate.",
         ("attention with linear biases",), "Press et al. 2022, Train Short, Test Long"),
    Term("residual connection", "residual",
         "Carries what a layer was given past the layer, so that its output is added instead of replacing it.",
         (), "He et al. 2016, Deep Residual Learning for Image Recognition"),
    Term("residual stream", "resid_post",
         "The running sum at each position that every block reads and adds to.",
         ("resid_pre", "resid_mid", "x", "hidden state", "skip connection"), ELHAGE),
    Term("normalisation", "norm",
         "Scales the numbers of a position to a common size, which keeps training steady.",
         ("layer norm", "RMSNorm", "LayerNorm", "ln", "attn_in", "ff_in"),
         "Zhang and Sennrich 2019, Root Mean Square Layer Normalization"),
    Term("pre-norm", "norm_position",
         "Normalising before attention and feed-forward, not after; so deep models train more easily.",
         (), "Xiong et al. 2020, On Layer Normalization in the Transformer Architecture"),
    Term("post-norm", "norm_position: post",
         "Normalising the sum after attention and after feed-forward, as in 2017; needs a slower start.",
         (), VASWANI),
    # -- attention
    Term("attention window", "attention_window",
         "How many of the latest positions a position can see, itself included.",
         ("sliding window", "local attention"), "Beltagy et al. 2020, Longformer"),
    Term("logit cap", "logit_cap",
         "A bound that attention scores approach smoothly, so that no head becomes completely certain.",
         ("soft-capping",), "Gemma Team 2024, Gemma 2"),
    Term("attention", "attn_out",
         "How a position gathers what it needs from the positions before it.", ("self-attention", "att"), VASWANI),
    Term("head", "num_heads",
         "One of several attentions side by side in a block; each can look for something else.",
         ("attention head", "n_head", "n_heads", "h", "H"), VASWANI),
    Term("query", "q",
         "What a position is looking for: the vector that is compared with every key.", ("Q",), VASWANI),
    Term("key", "k",
         "What a position can be found by: the vector that queries are compared with.", ("K",), VASWANI),
    Term("value", "v",
         "What a position hands over once it has been found.", ("V vector",), VASWANI),
    Term("key/value head", "num_kv_heads",
         "Keys and values that several query heads share, to save memory.",
         ("grouped-query attention", "GQA", "n_kv_head", "n_kv_heads"),
         "Ainslie et al. 2023, GQA: Training Generalized Multi-Query Transformer Models"),
    Term("head width", "d_head",
         "How many numbers make up one query, key or value.", ("head_size", "head_dim", "d_k")),
    Term("attention score", "attn_scores",
         "How well a query fits a key: their product over the root of the head width.",
         ("attn_scores_raw", "attention logit", "similarity"), VASWANI),
    Term("causal mask", "attn_scores_masked",
         "Blocks every look ahead, so that a token is predicted from what came before it only.",
         ("mask", "look-ahead mask", "autoregressive mask"), VASWANI),
    Term("attention pattern", "attn_pattern",
         "Which position looks at which, and how much; each row sums to 1.",
         ("attention weights", "attention map", "att", "pattern"), VASWANI),
    Term("head output", "z",
         "The values of the positions looked at, mixed by the attention pattern.", ("context vector",), ELHAGE),
    Term("softmax", "softmax",
         "Turns any scores into positive numbers that sum to 1; a higher score gets a larger share.",
         ("normalised exponential",), "Bridle 1990, Probabilistic Interpretation of Feedforward Network Outputs"),
    # -- the rest of the way
    Term("feed-forward", "ff_out",
         "The part of a block in which each position works by itself on what it has gathered.",
         ("MLP", "FFN", "mlp", "ff_pre", "ff_act"), VASWANI),
    Term("feed-forward width", "d_ff",
         "How many numbers the feed-forward part works with inside; mostly four times the width.",
         ("intermediate_size", "d_mlp", "F")),
    Term("activation function", "activation",
         "The curved function between two linear layers; without it the two would act like one.",
         ("non-linearity", "GELU"), "Hendrycks and Gimpel 2016, Gaussian Error Linear Units"),
    Term("final norm", "final_norm",
         "The last normalisation before the logits.", ("ln_f",), RADFORD),
    Term("logit", "logits",
         "The score of each token as the next one, before the softmax turns scores into probabilities.",
         ("unnormalised log-probability",)),
    Term("weight tying", "tie_embeddings",
         "Using the same matrix to read tokens in and to score the next token.",
         ("tied embeddings", "shared embeddings"),
         "Press and Wolf 2017, Using the Output Embedding to Improve Language Models"),
    Term("dropout", "dropout",
         "Setting a random share of numbers to zero while training, so that the model memorises less.",
         (), "Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting"),
    # -- learning
    Term("step", "max_steps",
         "One change of all the weights, after looking at one batch.", ("iteration", "update", "iter")),
    Term("epoch", "epoch",
         "One pass over all training windows.", ("pass",)),
    Term("gradient", "grad_norm",
         "For each weight, in which direction and how steeply the loss rises.", ("slope",)),
    Term("optimizer", "optimizer",
         "The rule that turns gradients into changes of the weights.",
         ("AdamW",), "Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization"),
    Term("learning rate", "learning_rate",
         "How large a change each step makes.", ("lr", "step size")),
    Term("warm-up", "warmup_steps",
         "The first steps, in which the learning rate rises from zero.", ("warmup_iters",)),
    Term("schedule", "schedule",
         "How the learning rate changes from step to step.",
         ("learning-rate decay",), "Loshchilov and Hutter 2017, SGDR: Stochastic Gradient Descent with Warm Restarts"),
    Term("weight decay", "weight_decay",
         "A steady pull of the weights towards zero.",
         ("L2 penalty",), "Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization"),
    Term("gradient clipping", "max_grad_norm",
         "Shortening gradients that are too long, so that no single step is too large.",
         ("norm clipping",), "Pascanu et al. 2013, On the Difficulty of Training Recurrent Neural Networks"),
    Term("gradient accumulation", "accumulation_steps",
         "Computing a batch in parts that fit in memory.", ("micro-batching", "gradient_accumulation_steps")),
    Term("checkpoint", "checkpoint_steps",
         "Everything needed to continue training from one step, saved on disk.", ("snapshot",)),
    Term("run", "run",
         "One training with its settings, text, weights and measurements, kept in one folder.", ("experiment",)),
    Term("seed", "seed",
         "The number that all random numbers are made from; the same seed gives the same run.", ("random seed",)),
    # -- how good it is
    Term("loss", "loss",
         "How surprised the model is by the right next token, on average, in nats; lower is better.",
         ("cross-entropy", "negative log-likelihood", "NLL"), SHANNON),
    Term("nat", "nats",
         "A unit of surprise: 1 nat is the surprise at something with probability 1/e, about 37 %.",
         ("natural unit",), SHANNON),
    Term("bit", "bits",
         "A unit of surprise: 1 bit is the surprise at a fair coin; 1 nat is 1.44 bits.", ("shannon",), SHANNON),
    Term("surprise", "nats",
         "Minus the logarithm of the probability that the model gave to the token that came.", ("surprisal",), SHANNON),
    Term("perplexity", "perplexity",
         "The number of equally likely tokens that the model seems to choose from; e to the power of the loss.",
         ("ppl", "PPL"), "Jelinek et al. 1977, Perplexity: A Measure of the Difficulty of Speech Recognition Tasks"),
    Term("bits per character", "bits_per_char",
         "Surprise in bits per character; compares models with different tokens.",
         ("bpc", "BPC"), SHANNON),
    Term("bits per byte", "bits_per_byte",
         "Surprise in bits per byte of the text in UTF-8; compares any two models.",
         ("bpb", "BPB"), "Gao et al. 2020, The Pile: An 800GB Dataset of Diverse Text for Language Modeling"),
    Term("bigram", "bigram",
         "A table of which token follows which: a very simple model, which a trained one should soon beat.",
         ("2-gram", "Markov chain"), SHANNON),
    Term("unigram", "unigram",
         "A table of how common each token is, whatever came before it.", ("1-gram",), SHANNON),
    # -- writing
    Term("generation", "TextGenerator",
         "Writing: choosing a token, appending it, and asking the model again.", ("decoding", "inference")),
    Term("prompt", "prompt",
         "The text that generation continues.", ("prefix", "context")),
    Term("sampler", "sampler",
         "The rule that chooses the next token from the model's probabilities.",
         ("sampling strategy", "decoding strategy")),
    Term("greedy", "GreedySampler",
         "Always taking the most likely token.", ("argmax decoding",)),
    Term("temperature", "temperature",
         "Divides the logits: below 1 likely tokens get more likely, above 1 unlikely ones get a chance.",
         (), "Ackley, Hinton and Sejnowski 1985, A Learning Algorithm for Boltzmann Machines"),
    Term("top-k", "top_k",
         "Keeps the k most likely tokens and drops the others.",
         (), "Fan et al. 2018, Hierarchical Neural Story Generation"),
    Term("top-p", "top_p",
         "Keeps the fewest tokens that together have at least the probability p.",
         ("nucleus sampling",), "Holtzman et al. 2020, The Curious Case of Neural Text Degeneration"),
    Term("min-p", "min_p",
         "Keeps the tokens that are at least p times as likely as the most likely one.",
         (), "Nguyen et al. 2024, Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs"),
    Term("draw", "u",
         "The random number between 0 and 1 that decides which token comes; all samplers get the same one.",
         ("dice", "uniform draw")),
    Term("stop text", "stop",
         "A text that ends the writing when it appears.", ("stop sequence",)),
    Term("KV cache", "cache",
         "Keys and values of earlier tokens, kept so that each new token costs the work of one position.",
         ("past_key_values",), "Pope et al. 2022, Efficiently Scaling Transformer Inference"),
    Term("prefill", "prefill",
         "Reading the whole prompt at once, before the first token is written.", ("prompt processing",)),
    # -- looking inside
    Term("probe", "probe",
         "A function that sees, and may change, what the model computes at each point.", ("hook",), ELHAGE),
    Term("trace", "trace_forward",
         "A record of everything that the model computed on the way from tokens to logits.",
         ("activation cache",), ELHAGE),
    Term("ablation", "Ablation",
         "Switching a part of the model off to see what it does.",
         ("knock-out", "lesion"), MICHEL),
    Term("importance", "importance",
         "How much worse the model predicts a text when one of its parts is switched off.", (), MICHEL),
    Term("previous-token head", "previous",
         "A head that looks at the token just before.", (), ELHAGE),
    Term("same-token head", "same_token",
         "A head that looks for earlier occurrences of the same token.", ("duplicate-token head",), WANG),
    Term("attention sink", "first",
         "The first token, where a head puts its attention when it has nothing to do.",
         ("resting position",), "Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks"),
    Term("induction head", "induction",
         "A head that looks up what came after the same token earlier, and so can copy.",
         ("prefix matching",), "Olsson et al. 2022, In-context Learning and Induction Heads"),
    Term("circuit", "circuit",
         "Several parts of a model that do one thing together.", (), ELHAGE),
    Term("logit lens", "logit_lens",
         "Reading the residual stream after each block as if it were the last, to see the prediction take shape.",
         (), "nostalgebraist 2020, interpreting GPT: the logit lens"),
    Term("logit attribution", "logit_attribution",
         "Splitting a logit into what each head and each feed-forward layer added to it.",
         ("direct logit attribution", "DLA"), ELHAGE),
    Term("activation patching", "patch_residual",
         "Copying what the model computed on one text into a run on another, to see where the difference arises.",
         ("causal tracing", "interchange intervention"), WANG),
    Term("erasure", "erasure_effects",
         "Removing a token's vector to see how much a prediction depended on it.",
         ("occlusion", "leave-one-out"),
         "Li et al. 2016, Understanding Neural Networks through Representation Erasure"),
    Term("unit", "ff_act",
         "One number in the wide layer of a feed-forward layer; some units respond to something in the text.",
         ("neuron",), "Geva et al. 2021, Transformer Feed-Forward Layers Are Key-Value Memories"),
    Term("principal components", "principal_components",
         "The few directions in which many vectors differ most, from which a picture of them is drawn.",
         ("PCA",), "Pearson 1901, On Lines and Planes of Closest Fit to Systems of Points in Space"),
    Term("cosine similarity", "cosine_similarity",
         "How similar the directions of two vectors are: 1 the same, 0 at right angles, -1 opposite.", ("cosine",)),
)  # fmt: skip
"""All terms, in the order of a text's way through the model."""

_BY_NAME = {term.name.casefold(): term for term in TERMS}
_BY_OTHER: dict[str, Term] = {}
for _term in TERMS:
    for _other in (_term.symbol, *_term.also):
        _BY_OTHER.setdefault(_other.casefold(), _term)


def terms() -> list[Term]:
    """Return all terms in alphabetical order.

    >>> terms()[0].name
    'ablation'
    """
    return sorted(TERMS, key=lambda term: term.name.casefold())


def lookup(name: str) -> Term:
    """Return a term by its name, its symbol or another name; case does not matter.

    Raises:
        InputError: There is no such term.

    >>> lookup("nucleus sampling").name
    'top-p'
    >>> lookup("block_size").symbol
    'sequence_length'
    """
    key = name.casefold()
    term = _BY_NAME.get(key) or _BY_OTHER.get(key)
    if term is None:
        raise InputError(f"The glossary has no term {name!r}.", mend="minigpt.glossary.terms() lists all.")
    return term


def tooltip(name: str) -> str:
    """Return the tooltip of a term: its meaning, and its name in the code.

    >>> tooltip("top-k")
    'Keeps the k most likely tokens and drops the others. In the code: top_k.'
    """
    term = lookup(name)
    return f"{term.meaning} In the code: {term.symbol}." if term.symbol else term.meaning
