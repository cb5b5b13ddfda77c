"""Corpora, how they are split, and how batches are gathered from them.

The parts that need torch (`LanguageModelDataset`, `make_loader`) are in `minigpt.data.dataset` and are not imported
here, so that a page that only shows a corpus starts quickly.
"""

from minigpt.data.corpora import Corpus as Corpus
from minigpt.data.corpora import CorpusInfo as CorpusInfo
from minigpt.data.corpora import corpus_from_documents as corpus_from_documents
from minigpt.data.corpora import corpus_from_files as corpus_from_files
from minigpt.data.corpora import corpus_from_text as corpus_from_text
from minigpt.data.corpora import corpus_infos as corpus_infos
from minigpt.data.corpora import load_corpus as load_corpus
from minigpt.data.corpora import read_corpus as read_corpus
from minigpt.data.files import TextFile as TextFile
from minigpt.data.generators.tales import generate_tales as generate_tales
from minigpt.data.order import BatchOrder as BatchOrder
from minigpt.data.readers import Document as Document
from minigpt.data.readers import clean_text as clean_text
from minigpt.data.readers import read_text as read_text
from minigpt.data.split import count_windows as count_windows
from minigpt.data.split import largest_context as largest_context
from minigpt.data.split import split_ids as split_ids
