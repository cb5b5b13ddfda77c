import dataclasses
import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from minigpt.config import DataConfig
from minigpt.data import corpora
from minigpt.data.corpora import (
    DOWNLOADS,
    Corpus,
    corpus_from_documents,
    corpus_from_text,
    corpus_infos,
    load_corpus,
    read_corpus,
)
from minigpt.data.generators import GENERATORS
from minigpt.data.generators.repeats import generate_repeats
from minigpt.data.generators.tales import generate_tales
from minigpt.data.readers import read_text
from minigpt.errors import CorpusError, DownloadError

PLAY = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"
OFFLINE = "http://127.0.0.1:9/"  # the discard port: no server listens there


def change_download(monkeypatch, **changes):
    """Give Tiny Shakespeare another address or checksum."""
    monkeypatch.setitem(DOWNLOADS, "shakespeare", dataclasses.replace(DOWNLOADS["shakespeare"], **changes))


@pytest.fixture(autouse=True)
def small_cache(tmp_path, monkeypatch):
    """A separate cache, a play of one line instead of the real one, and no network."""
    monkeypatch.setenv("MINIGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    change_download(monkeypatch, url=OFFLINE, sha256=hashlib.sha256(PLAY).hexdigest())


@pytest.fixture
def server(monkeypatch):
    """A server that sends `.content` and counts how often it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked += 1
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(self.server.content)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.status, server.asked = PLAY, 200, 0
        change_download(monkeypatch, url=f"http://127.0.0.1:{server.server_port}/input.txt")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# --- what a corpus is


def test_a_corpus_counts_and_joins_its_documents():
    corpus = Corpus("two", ("ab", "cde"), "here")
    assert corpus.text == "ab\n\ncde"
    assert corpus.num_chars == 5
    assert corpus.sha256 == hashlib.sha256(b"ab\0cde").hexdigest()
    assert corpus.sha256 != Corpus("two", ("abc", "de"), "here").sha256, "where a document ends is part of the corpus"


def test_the_hash_of_one_document_is_that_of_its_file():
    assert Corpus("one", ("né",), "here").sha256 == hashlib.sha256("né".encode()).hexdigest()
    Corpus("odd", ("\ud800",), "here").sha256  # noqa: B018  # a lone surrogate does not crash


@pytest.mark.parametrize(
    ("num_chars", "documents"), [(0, ()), (1, ("a",)), (2, ("ab",)), (3, ("ab", "c")), (9, ("ab", "cde"))]
)
def test_the_head_of_a_corpus(num_chars, documents):
    assert Corpus("two", ("ab", "cde"), "here").head(num_chars).documents == documents


# --- the user's own


def test_pasted_text_is_cleaned_unless_asked_otherwise():
    assert corpus_from_text("a\r\nb", name="paste").documents == ("a\nb",)
    assert corpus_from_text("a\r\nb", name="paste", clean=False).documents == ("a\r\nb",)


@pytest.mark.parametrize("text", ["", " \n", "\x07\x08"])
def test_a_text_without_words_is_refused(text):
    with pytest.raises(CorpusError, match="paste holds nothing to learn from"):
        corpus_from_text(text, name="paste")


def test_files_become_documents():
    corpus = corpus_from_documents([read_text(b"one", name="a.txt"), read_text(b"two\r\n", name="b.txt")])
    assert corpus.documents == ("one", "two\n")
    assert corpus.name == "a.txt and 1 more"
    assert corpus.origin == "files: a.txt, b.txt"
    with pytest.raises(CorpusError, match="No file"):
        corpus_from_documents([])


def test_settings_name_files_before_a_built_in_corpus(tmp_path):
    path = tmp_path / "own.txt"
    path.write_bytes("\ufeffmine\r\n".encode())
    corpus = read_corpus(DataConfig(paths=path, corpus="tales"))
    assert (corpus.name, corpus.documents) == ("own.txt", ("mine\n",))
    assert str(tmp_path) not in corpus.origin, "an exported run does not tell where its owner keeps files"
    assert read_corpus(DataConfig(paths=path, clean=False)).documents == ("mine\r\n",)
    assert read_corpus(DataConfig(paths=path, num_chars=2)).documents == ("mi",)


def test_settings_name_a_built_in_corpus():
    corpus = read_corpus(DataConfig(corpus="tales", num_chars=1000))
    assert corpus.text == generate_tales(1000)


def test_no_corpus_at_all_says_what_there_is():
    with pytest.raises(
        CorpusError,
        match=r"nothing to learn from.*duplicates, copy, .* tales, python-manual, python-source, .* shakespeare",
    ):
        read_corpus(DataConfig())


# --- the built-in ones


def test_an_unknown_corpus_lists_the_known():
    with pytest.raises(
        CorpusError, match=r"no built-in corpus 'poems'.*The built-in corpora are duplicates, .* tales, python-manual"
    ):
        load_corpus("poems")
    with pytest.raises(CorpusError, match="at least 1 character"):
        load_corpus("tales", num_chars=0)


def test_tales_are_documents_that_join_to_the_generators_text():
    corpus = load_corpus("tales", num_chars=30_000, seed=4)
    assert corpus.text == generate_tales(30_000, seed=4)
    assert [len(book.split("\n\n")) for book in corpus.documents[:-1]] == [8] * (len(corpus.documents) - 1)
    assert corpus.sha256 == load_corpus("tales", num_chars=30_000, seed=4).sha256
    assert corpus.sha256 != load_corpus("tales", num_chars=30_000).sha256


@pytest.mark.parametrize("num_chars", [1, 7, 750, 751, 752, 753, 754])
def test_tales_of_any_length(num_chars):
    corpus = load_corpus("tales", num_chars=num_chars)
    assert corpus.text == generate_tales(num_chars)


def test_repeats_are_one_document_per_line():
    corpus = load_corpus("repeat", num_chars=500, seed=3)
    assert list(corpus.documents) == generate_repeats(500, seed=3).splitlines()
    assert load_corpus("repeat", num_chars=1).num_chars == 1
    assert len(load_corpus("repeat").documents) == -(-500_000 // 49)


@pytest.mark.parametrize("name", ["tales", "python-manual", "python-source"])
def test_three_corpora_need_no_download_and_are_of_use(name):
    corpus = load_corpus(name)
    assert 200_000 < corpus.num_chars <= 1_000_000
    assert len(corpus.documents) > 10
    assert all(document.strip() for document in corpus.documents)
    assert load_corpus(name).sha256 == corpus.sha256
    assert load_corpus(name, num_chars=1000).text == corpus.head(1000).text
    assert corpus.origin


def test_a_python_without_its_manual_or_source_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(CorpusError, match=r"without its manual.*python-source or tales"):
        load_corpus("python-manual")
    monkeypatch.setattr(corpora.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(CorpusError, match=r"no source.*python-manual or tales"):
        load_corpus("python-source")


def test_infos_and_loading_know_the_same_names():
    infos = corpus_infos()
    assert [info.name for info in infos] == [*GENERATORS, "python-manual", "python-source", *DOWNLOADS]
    assert [info.name for info in infos if info.needs_download] == [*DOWNLOADS]
    assert all(info.title and info.description and info.licence for info in infos)


# --- the download


def test_shakespeare_is_downloaded_once(server):
    assert load_corpus("shakespeare").documents == (PLAY.decode(),)
    assert load_corpus("shakespeare", num_chars=5).documents == ("First",)
    assert server.asked == 1
    assert [path.name for path in DOWNLOADS["shakespeare"].path.parent.iterdir()] == ["tinyshakespeare.txt"]
    assert not corpus_infos()[-1].needs_download


def test_offline_says_what_to_do_and_where_to_put_it():
    with pytest.raises(DownloadError) as caught:
        load_corpus("shakespeare")
    assert "could not be downloaded" in caught.value.problem
    assert OFFLINE in caught.value.mend
    assert str(DOWNLOADS["shakespeare"].path) in caught.value.mend


def test_a_file_put_there_by_hand_is_used():
    DOWNLOADS["shakespeare"].path.parent.mkdir(parents=True)
    DOWNLOADS["shakespeare"].path.write_bytes(PLAY)
    assert load_corpus("shakespeare").num_chars == len(PLAY)


def test_a_damaged_copy_is_downloaded_again(server):
    DOWNLOADS["shakespeare"].path.parent.mkdir(parents=True)
    DOWNLOADS["shakespeare"].path.write_bytes(PLAY[:10])
    assert load_corpus("shakespeare").num_chars == len(PLAY)
    assert DOWNLOADS["shakespeare"].path.read_bytes() == PLAY


def test_wrong_content_is_refused_and_not_kept(server):
    server.content = b"<html>Log in to the hotel's network</html>"
    with pytest.raises(DownloadError, match="is not Tiny Shakespeare"):
        load_corpus("shakespeare")
    assert not DOWNLOADS["shakespeare"].path.exists()


def test_an_error_of_the_server_is_reported(server):
    server.status = 404
    with pytest.raises(DownloadError, match="Not Found"):
        load_corpus("shakespeare")


def test_a_cache_that_cannot_be_written_costs_only_the_next_download(server, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINIGPT_CACHE", str(tmp_path / "file"))
    assert load_corpus("shakespeare").num_chars == len(PLAY)
    assert "was not kept" in caplog.text


def test_an_unfinished_copy_is_never_in_the_cache(server, monkeypatch):
    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    load_corpus("shakespeare")
    assert list(DOWNLOADS["shakespeare"].path.parent.iterdir()) == []
