r"""Reading the `tokenizer.json` of Hugging Face's `tokenizers`, as far as it is byte-level byte-pair encoding.

Such a file says how a text is cut (`pre_tokenizer`), which pairs are merged (`model.merges`) and which id each token
has (`model.vocab`, `added_tokens`). Bytes are spelled as printable characters, as in GPT-2: a printable byte as itself,
every other one as a character from U+0100 on. So the space is `Ġ` and the line end `Ċ`. Our own file uses the same
spelling. Everything that would change a text or is another kind of tokenizer is refused by its name.
"""

from __future__ import annotations

from typing import Any, NoReturn

from minigpt.errors import TokenizerError
from minigpt.wording import quoted

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How GPT-2 cuts a text into words; what `ByteLevel` means in these files."""
DIGIT_PATTERN = r"\p{N}"
ANY_CHARACTER = r"[\s\S]"
"""The pattern of a tokenizer whose tokens are characters, as `exporting.py` writes it."""
MAX_TOKENS = 1_000_000
"""Largest vocabulary; Unicode has no more characters."""

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_HIDDEN = [byte for byte in range(256) if byte not in _PRINTABLE]
_CHARACTERS = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + n) for n, byte in enumerate(_HIDDEN)}
_BYTES = {character: byte for byte, character in _CHARACTERS.items()}

_ROLES = {
    "bos": ("<bos>", "<s>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"),
    "eos": ("<eos>", "</s>", "<|end_of_text|>", "<|endoftext|>"),
    "pad": ("<pad>", "<|pad|>", "<|finetune_right_pad_id|>"),
}
"""The usual names of special tokens; the files do not say which token does what."""


def spell(token: bytes) -> str:
    r"""Write bytes as printable characters.

    >>> spell(b" the\n")
    'ĠtheĊ'
    """
    return "".join(_CHARACTERS[byte] for byte in token)


def unspell(text: str) -> bytes:
    """Return the bytes of their spelling.

    Raises:
        ValueError: It has a character that spells no byte.
    """
    try:
        return bytes(_BYTES[character] for character in text)
    except KeyError:
        raise ValueError(text) from None


def is_huggingface(values: dict[str, Any]) -> bool:
    """Return whether the contents of a file look like a Hugging Face tokenizer."""
    return "kind" not in values and isinstance(values.get("model"), dict)


def from_huggingface(values: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of a `tokenizer.json` in the form of `BPETokenizer.to_dict`.

    All `added_tokens` become special tokens: no text turns into them. A tokenizer of characters that `exporting.py`
    wrote comes back in the form of `CharacterTokenizer.to_dict`.

    Raises:
        TokenizerError: It is not byte-level BPE, or changes texts; the message names what it is.
    """
    model = values["model"]
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind == "WordLevel" and values.get("normalizer") is None and _cuts_everywhere(values.get("pre_tokenizer")):
        return _characters(model.get("vocab"))
    if kind != "BPE":
        _refuse(f"is of the kind {quoted(kind)[:40]}")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(setting):
            _refuse(f"uses {setting}")
    patterns, has_bytes = _patterns(values.get("pre_tokenizer"))
    if not has_bytes:
        _refuse("does not split texts into bytes")
    vocabulary, added = model.get("vocab"), values.get("added_tokens") or []
    merges = model.get("merges")
    if not isinstance(vocabulary, dict) or not isinstance(merges, list) or not isinstance(added, list):
        _refuse("lacks its vocabulary or its merges")
    if max(len(vocabulary), len(merges), len(added)) > MAX_TOKENS:
        _refuse(f"has more than {MAX_TOKENS:,} tokens or merges")
    ids = dict(vocabulary)
    special: dict[str, int] = {}
    for token in added:
        name, token_id = (token.get("content"), token.get("id")) if isinstance(token, dict) else (None, None)
        if not isinstance(name, str) or type(token_id) is not int:
            _refuse("has an added token without text or id")
        ids[name] = special[name] = token_id
    tokens: list[str | None] = [None] * len(ids)
    for name, token_id in ids.items():
        if type(token_id) is not int or not 0 <= token_id < len(ids) or tokens[token_id] is not None:
            _refuse(f"does not number its {len(ids):,} tokens from 0 on, each once")
        tokens[token_id] = name
    return {
        "kind": "bpe",
        "format_version": 1,
        "patterns": patterns,
        "normalization": _normalization(values.get("normalizer")),
        "whole_words": bool(model.get("ignore_merges")),
        "special": special,
        "roles": {
            role: next(special[name] for name in names if name in special)
            for role, names in _ROLES.items()
            if any(name in special for name in names)
        },
        "tokens": tokens,
        "merges": [
            " ".join(map(str, merge)) if isinstance(merge, list) and len(merge) == 2 else merge for merge in merges
        ],
    }


def _cuts_everywhere(step: Any) -> bool:
    return isinstance(step, dict) and step.get("pattern") == {"Regex": ANY_CHARACTER}


def _characters(vocabulary: Any) -> dict[str, Any]:
    """Return the contents for a tokenizer of characters, whose first four ids are special."""
    if not isinstance(vocabulary, dict) or not 4 < len(vocabulary) <= MAX_TOKENS:
        _refuse("lacks its vocabulary")
    names = {token_id: text for text, token_id in vocabulary.items() if type(token_id) is int}
    texts = [names.get(n) for n in range(len(vocabulary))]
    if texts[:4] != ["<pad>", "<unk>", "<bos>", "<eos>"]:
        _refuse("is of the kind 'WordLevel'")
    return {"kind": "character", "format_version": 1, "characters": texts[4:]}


def _patterns(step: Any) -> tuple[list[str], bool]:
    """Return the patterns that cut a text one after another, and whether the words are then split into bytes."""
    kind = step.get("type") if isinstance(step, dict) else None
    if kind == "Sequence" and isinstance(step.get("pretokenizers"), list):
        patterns, has_bytes = [], False
        for inner in step["pretokenizers"]:
            if has_bytes:
                _refuse("cuts texts after they are bytes")
            more, has_bytes = _patterns(inner)
            patterns += more
        return patterns, has_bytes
    if kind == "ByteLevel":
        if step.get("add_prefix_space"):
            _refuse("puts a space before each text")
        return [GPT2_PATTERN] if step.get("use_regex", True) else [], True
    if kind == "Digits":
        return [DIGIT_PATTERN if step.get("individual_digits") else DIGIT_PATTERN + "+"], False
    if kind == "Split":
        pattern, behavior = step.get("pattern"), step.get("behavior")
        expression = pattern.get("Regex") if isinstance(pattern, dict) else None
        keeps_all = (behavior, bool(step.get("invert"))) in (("Isolated", False), ("Removed", True))
        if isinstance(expression, str) and keeps_all:
            return [expression], False
    return _refuse(f"cuts texts with {quoted(kind)[:40]}, which is not supported in this form")


def _normalization(step: Any) -> str | None:
    if step is None:
        return None
    kind = step.get("type") if isinstance(step, dict) else None
    if kind == "NFC":
        return "NFC"
    if kind == "Sequence" and step.get("normalizers") in ([], [{"type": "NFC"}]):
        return "NFC" if step["normalizers"] else None
    return _refuse(f"changes texts with the normalizer {quoted(kind)[:40]}")


def _refuse(what: str) -> NoReturn:
    raise TokenizerError(
        f"The tokenizer {what}; byte-level BPE is read, as GPT-2 has it.",
        mend="Take the tokenizer.json of a model with byte-level BPE.",
    )
