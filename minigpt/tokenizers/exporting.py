"""Writing the `tokenizer.json` of Hugging Face's `tokenizers`, which splits a text into the same ids.

Bytes and byte-pair encoding become `BPE` behind `ByteLevel`; characters become `WordLevel` behind a pattern that cuts
everywhere. One thing differs: there, the name of a special token in a text, such as `<bos>`, becomes this token.

Reads after: base.py, huggingface.py.
"""

from __future__ import annotations

from typing import Any

from minigpt.errors import TokenizerError
from minigpt.tokenizers.base import BaseTokenizer
from minigpt.tokenizers.byte import ByteLevelTokenizer
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.tokenizers.huggingface import ANY_CHARACTER, spell


def to_huggingface(tokenizer: BaseTokenizer) -> dict[str, Any]:
    """Return the contents of a `tokenizer.json` that does what a tokenizer does, as plain JSON data.

    Raises:
        TokenizerError: It is untrained, of a kind of one's own, or has a character that JSON in UTF-8 cannot hold.
    """
    tokenizer.require_trained()
    special = sorted(tokenizer.special_ids)
    values: dict[str, Any] = {"version": "1.0", "truncation": None, "padding": None, "post_processor": None}
    values["added_tokens"] = [
        {
            "id": token_id, "content": tokenizer.token_text(token_id), "special": True, "normalized": False,
            "single_word": False, "lstrip": False, "rstrip": False,
        }
        for token_id in special
    ]  # fmt: skip
    if isinstance(tokenizer, CharacterTokenizer):
        texts = tokenizer.token_texts()
        if wrong := [text for text in texts if len(text) == 1 and 0xD800 <= ord(text) < 0xE000]:
            raise TokenizerError(
                f"The tokenizer has the character U+{ord(wrong[0]):04X}, half of a pair, which a tokenizer.json cannot "
                "hold.",
                mend="Export the run as a zip file.",
            )
        return values | {
            "normalizer": None,
            "pre_tokenizer": _cut(ANY_CHARACTER),
            "decoder": {"type": "Fuse"},
            "model": {
                "type": "WordLevel",
                "vocab": {text: token_id for token_id, text in enumerate(texts)},
                "unk_token": tokenizer.token_text(tokenizer.unk_id or 0),
            },
        }
    if not isinstance(tokenizer, ByteLevelTokenizer):
        raise TokenizerError(
            f"A tokenizer of the kind {tokenizer.kind} has no equal in Hugging Face's tokenizers.",
            mend="Export the run as a zip file.",
        )
    own = tokenizer.to_dict()
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    vocabulary = {
        tokenizer.special_text(n) if n in tokenizer.special_ids else spell(tokenizer.token_bytes(n)): n
        for n in range(tokenizer.vocab_size)
    }
    return values | {
        "normalizer": {"type": "NFC"} if own.get("normalization") else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*map(_cut, own.get("patterns", [])), level]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": bool(own.get("whole_words")),
            "vocab": vocabulary,
            "merges": [merge.split(" ") for merge in own.get("merges", [])],
        },
    }


def _cut(pattern: str) -> dict[str, Any]:
    """Return the step that cuts a text with a pattern and keeps all of it."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
