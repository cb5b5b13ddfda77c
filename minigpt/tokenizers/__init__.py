"""Tokenizers: text to token ids and back."""

from minigpt.tokenizers.base import BOS_ID as BOS_ID
from minigpt.tokenizers.base import EOS_ID as EOS_ID
from minigpt.tokenizers.base import PAD_ID as PAD_ID
from minigpt.tokenizers.base import SPECIAL_TOKENS as SPECIAL_TOKENS
from minigpt.tokenizers.base import UNK_ID as UNK_ID
from minigpt.tokenizers.base import BaseTokenizer as BaseTokenizer
from minigpt.tokenizers.base import load_tokenizer as load_tokenizer
from minigpt.tokenizers.base import make_tokenizer as make_tokenizer
from minigpt.tokenizers.bpe import BPETokenizer as BPETokenizer
from minigpt.tokenizers.byte import ByteTokenizer as ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer as CharacterTokenizer
