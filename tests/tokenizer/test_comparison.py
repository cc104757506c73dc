from __future__ import annotations

import pyarrow as pa
import pytest

from ropewalk.runtime.errors import OptionError
from ropewalk.tokenizer import TokenizerOptions, run_tokenizer
from ropewalk.tokenizer.comparison import OURS, _groups, compare
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.training import Draw


@pytest.fixture(scope="module")
def two_languages(tmp_path_factory, write_corpus):
    texts = [text for number in range(300) for text in (f"The rope is {number} feet long. " * 9, f"你好世界{number}。" * 9)]
    return write_corpus(tmp_path_factory.mktemp("two") / "corpus", texts, held_out_every=3, languages=("en", "zh"))


def test_figures_by_language_are_those_of_the_texts(two_languages, tmp_path):
    made = run_tokenizer(TokenizerOptions(corpus=two_languages, vocabulary=300), out=tmp_path / "tokenizer")
    tokenizer = Tokenizer.load(made.path)
    found = compare(tokenizer, two_languages)
    rows = {row["name"]: row for row in found["groups"]["language"]}
    everything = found["groups"]["all"][0]
    assert everything["bytes"] == made.facts["held_out_bytes"] == sum(row["bytes"] for row in rows.values())
    assert everything["bytes_per_token"][OURS] == pytest.approx(made.facts["held_out_bytes_per_token"], abs=1e-3)
    numbers = [number for number in range(300) if (2 * number + 1) % 3 == 0]  # held out: every third text
    texts = [f"The rope is {number} feet long. " * 9 for number in numbers]
    tokens = sum(len(tokenizer.encode(text)) for text in texts)
    assert rows["en"]["documents"] == len(texts)
    assert rows["en"]["bytes_per_token"][OURS] == pytest.approx(sum(map(len, texts)) / tokens, abs=1e-3)
    assert rows["en"]["tokens_per_word"][OURS] == pytest.approx(tokens / (6 * 9 * len(texts)), abs=1e-3)
    assert rows["zh"]["tokens_per_word"][OURS] is None
    assert [row["name"] for row in found["groups"]["site"]] == ["127.0.0.1"]


def test_tokens_that_are_no_use_are_named(two_languages, tmp_path, gpt4_folder):
    own = run_tokenizer(TokenizerOptions(corpus=two_languages, vocabulary=300), out=tmp_path / "tokenizer")
    used = compare(Tokenizer.load(own.path), two_languages)["use"]
    foreign = compare(Tokenizer.load(gpt4_folder), two_languages)["use"]
    assert used["never"]["tokens"] < 30  # made on the way to longer ones
    assert foreign["never"]["tokens"] > 1_000


def test_weights_move_what_is_learned(two_languages, tmp_path):
    def learned(weights):
        options = TokenizerOptions(corpus=two_languages, vocabulary=272, weights=weights)
        return Tokenizer.load(run_tokenizer(options, out=tmp_path / str(weights)).path)

    english, chinese, both = learned({"en": 20.0}), learned({"en": 0.0}), learned({"127.0.0.1": 1.0})
    text, other = "The rope is 7 feet long.", "你好世界"
    assert len(english.encode(text)) < len(both.encode(text)) < len(chinese.encode(text)) == len(text)
    assert len(chinese.encode(other)) < len(english.encode(other))
    assert not any(b"rope" in chinese.token(index) for index in range(272))


def test_a_table_for_people(two_languages, tmp_path, capsys):
    options = TokenizerOptions(corpus=two_languages, vocabulary=300, compare=True)
    for _ in range(2):  # also where it stands already
        run_tokenizer(options, out=tmp_path / "tokenizer")
        shown = capsys.readouterr().out
        assert "language zh" in shown
        assert "bytes per token" in shown
    with pytest.raises(OptionError, match="--compare needs a --corpus"):
        run_tokenizer(TokenizerOptions(take=tmp_path / "tokenizer", compare=True), out=tmp_path / "taken")


def test_weights_may_take_counts_beyond_32_bits(write_corpus, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", ["xy xy", "ab ab ab"], held_out_every=3, languages=("en", "de"))
    weights = {"en": 1e9, "de": 1e9}  # 2 and 3 billion: as 32-bit numbers both would be negative
    options = TokenizerOptions(corpus=corpus, vocabulary=264, weights=weights)
    tokenizer = Tokenizer.load(run_tokenizer(options, out=tmp_path / "tokenizer").path)
    assert [tokenizer.token(256), tokenizer.token(257)] == [b"ab", b" ab"]


def test_addresses_that_are_none_have_a_site_too():
    batch = pa.RecordBatch.from_pydict({"url": ["http://[bad/x", "http://a.example/"], "language": ["en", "de"]})
    assert Draw({"[bad": 2.0, "de": 3.0}).weight(batch).tolist() == [2.0, 3.0]
    assert ("site", "[bad") in [key for key, _ in _groups(batch)]
