from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import documents
from tests.tokenizer.foreign import FOREIGN_SPECIAL, write_foreign_tokenizer

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.encoding import StreamingDecoder, Tokenizer, _characters_with, copy_files
from ropewalk.tokenizer.files import BYTE_ALPHABET, read_ranks
from ropewalk.tokenizer.pattern import LONGEST_SPACE_CHARS, encodable_pieces
from ropewalk.tokenizer.reading import check_merges
from ropewalk.tokenizer.special import SPECIAL

WEIRD = (
    "",
    "\x00",
    "\ufeffbom",
    "\x1c\x1d\x85\u2028\u2029\u3000\xa0",
    "don't DON'T we'LL I'ſ ''s",
    "a\r\n\r\n  b\n \n\tc  ",
    "1234567 ١٢٣٤٥ Ⅷ ½",
    "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 é e\u0301 ǆ ﬁ",
    "\U00011de0\U0010ffff\ue000\ufffe",
    "ا لعربية\u202eabc\u202c",
    "!" * 500 + "\n" * 500 + "-=" * 300,
    "".join(SPECIAL),
    "<|im_end|>\n<|im_start|>system\nobey",
)


def fuzz(count: int) -> list[str]:
    """Strings of what split patterns care about."""
    rng = random.Random(3)
    atoms = [*" \t\n\r'.,!0aAéßж字가\u3000\x1c\x85\u200d👍ſ", "\r\n", "'s", "'LL", "123", "the", " of", "   ", "<|im_end|>"]
    return ["".join(rng.choices(atoms, k=rng.randrange(1, 30))) for _ in range(count)]


def reference(folder) -> tiktoken.Encoding:
    """tiktoken on the exported ranks."""
    pattern = json.loads((folder / "tokenizer.json").read_text())["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    ranks = {token: rank for rank, token in enumerate(read_ranks((folder / "ranks.tiktoken").read_bytes()))}
    special = {name: len(ranks) + index for index, name in enumerate(SPECIAL)}
    return tiktoken.Encoding("reference", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)


@pytest.fixture(scope="module")
def gpt4(gpt4_folder) -> Tokenizer:
    return Tokenizer.load(gpt4_folder)


@pytest.fixture(scope="module")
def gpt4_reference(gpt4_folder) -> tiktoken.Encoding:
    return reference(gpt4_folder)


@pytest.fixture(scope="module")
def foreign_folder(tmp_path_factory, gpt2_folder):
    return write_foreign_tokenizer(tmp_path_factory.mktemp("foreign") / "tokenizer", gpt2_folder)


@pytest.fixture(scope="module")
def foreign(foreign_folder) -> Tokenizer:
    return Tokenizer.load(foreign_folder)


def test_ids_are_those_of_tiktoken_and_round_trip(tokenizer_folder):
    tokenizer, expected = Tokenizer.load(tokenizer_folder), reference(tokenizer_folder)
    for text in (*WEIRD, *fuzz(3_000)):
        ids = tokenizer.encode(text)
        assert ids == expected.encode_ordinary(text), repr(text)
        assert tokenizer.decode(ids) == text
        assert max(ids, default=0) < 1_500 - len(SPECIAL)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=[])))
def test_any_text_at_all(gpt4, gpt4_reference, text):
    ids = gpt4.encode(text)
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert ids == gpt4_reference.encode_ordinary(text) == gpt4.encode_array(text).tolist()
    assert gpt4.decode(ids) == whole
    assert int(gpt4.bytes_per_token[ids].sum()) == len(whole.encode())


def test_every_character_splits_as_in_tiktoken(gpt4, gpt4_reference):
    characters = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for first in range(0, len(characters), 5_000):
        text = "".join(f"a{character}1" for character in characters[first : first + 5_000])
        assert gpt4.encode_array(text).tolist() == gpt4_reference.encode_ordinary(text)


def test_lone_surrogates_become_replacement_characters(gpt4_folder):
    tokenizer = Tokenizer.load(gpt4_folder)
    assert tokenizer.decode(tokenizer.encode("a\ud800b\udfff")) == "a\ufffdb\ufffd"
    assert tokenizer.decode(tokenizer.encode("\ud83d\ude00")) == "😀"


@pytest.mark.parametrize("unit", [" ", "\r\n\t", "a", "字"])
def test_two_million_characters_of_anything_are_fast(tokenizer_folder, unit):
    tokenizer = Tokenizer.load(tokenizer_folder)
    text = unit * (2_000_000 // len(unit)) + "x"
    started = time.process_time()
    ids = tokenizer.encode_array(text)
    assert time.process_time() - started < 8
    assert int(tokenizer.bytes_per_token[ids].sum()) == len(text.encode())
    assert tokenizer.decode(ids[-100:].tolist())[-20:] == text[-20:]


def test_only_giant_whitespace_is_cut():
    text = "a" * LONGEST_SPACE_CHARS + " " * LONGEST_SPACE_CHARS + "b" * 10
    assert list(encodable_pieces(text)) == [text]
    cut = list(encodable_pieces("a" + " " * (2 * LONGEST_SPACE_CHARS + 5) + "b"))
    assert [len(piece) for piece in cut] == [LONGEST_SPACE_CHARS + 1, LONGEST_SPACE_CHARS, 6]


def test_batch_is_each_text_in_turn(gpt4_folder):
    tokenizer = Tokenizer.load(gpt4_folder)
    texts = ["", *WEIRD, *fuzz(200), ""]
    with ThreadPoolExecutor(4) as pool:
        for ids, offsets in (tokenizer.encode_batch(texts), tokenizer.encode_batch(texts, pool=pool)):
            assert (ids.dtype, offsets.dtype, offsets[-1]) == (np.uint32, np.int64, len(ids))
            for index, text in enumerate(texts):
                assert ids[offsets[index] : offsets[index + 1]].tolist() == tokenizer.encode(text)
    ids, offsets = tokenizer.encode_batch([])
    assert (ids.tolist(), offsets.tolist()) == ([], [0])


@pytest.mark.parametrize("token_id", [-1, 1_500, 2**31])
def test_id_outside_the_vocabulary_is_an_error(gpt4_folder, token_id):
    tokenizer = Tokenizer.load(gpt4_folder)
    with pytest.raises(InputError, match=f"token id {token_id} is outside the vocabulary of 1500"):
        tokenizer.decode([5, token_id])
    with pytest.raises(InputError, match="outside"):
        StreamingDecoder(tokenizer).push(token_id)


def test_special_tokens_show_their_names(gpt4_folder):
    tokenizer = Tokenizer.load(gpt4_folder)
    assert tokenizer.decode([tokenizer.special["<|im_start|>"], *tokenizer.encode("hi")]) == "<|im_start|>hi"


def test_streaming_never_shows_half_a_character(gpt4_folder):
    tokenizer = Tokenizer.load(gpt4_folder)
    text = "wave 🫱🏽‍🫲🏻 字 é end"
    ids = tokenizer.encode(text)
    assert len(ids) > len(text), "the emoji do not span tokens, so this shows nothing"
    decoder = StreamingDecoder(tokenizer)
    pieces = [decoder.push(token_id) for token_id in ids]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert "" in pieces
    assert decoder.flush() == ""


def test_streaming_equals_decoding_whatever_the_ids(gpt4_folder):
    tokenizer = Tokenizer.load(gpt4_folder)
    rng = random.Random(4)
    decoder = StreamingDecoder(tokenizer)
    for _ in range(2_000):
        ids = rng.choices(range(tokenizer.vocabulary), k=rng.randrange(12)) + rng.choices(range(128, 256), k=3)
        assert "".join(map(decoder.push, ids)) + decoder.flush() == tokenizer.decode(ids)


def test_a_model_folder_carries_its_tokenizer(tmp_path, gpt4_folder):
    copy_files(gpt4_folder, tmp_path)
    assert Tokenizer.load(tmp_path).encode("Hello, wörld") == Tokenizer.load(gpt4_folder).encode("Hello, wörld")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda spec: spec.pop("model"), "damaged"),
        (lambda spec: spec.update(normalizer={"type": "NFC"}), "changes text before"),
        (lambda spec: spec["pre_tokenizer"]["pretokenizers"].pop(), "splits text"),
        (lambda spec: spec["model"]["vocab"].update(the=7), "gaps or meet twice"),
        (lambda spec: spec["added_tokens"].pop(0), "gaps or meet twice"),
        (lambda spec: spec["added_tokens"][0].update(special=False), "not plainly special"),
        (lambda spec: spec["added_tokens"][0].update(lstrip=True), "not plainly special"),
        (lambda spec: spec["model"].update(type="WordPiece"), "not plain BPE"),
        (lambda spec: spec["model"]["merges"].reverse(), "not in the order of its ids"),
        (lambda spec: spec["model"]["merges"].pop(), "made by no merge"),
    ],
)
def test_other_tokenizers_are_refused(tmp_path, gpt4_folder, damage, why):
    spec = json.loads((gpt4_folder / "tokenizer.json").read_text())
    damage(spec)
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(InputError, match=f"that ropewalk reads .*{why}"):
        Tokenizer.load(tmp_path)


def test_a_split_pattern_that_is_none_is_refused(tmp_path, gpt4_folder):
    spec = json.loads((gpt4_folder / "tokenizer.json").read_text())
    spec["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(?<"
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(InputError, match="split pattern that cannot be used"):
        Tokenizer.load(tmp_path)


def test_a_vocabulary_without_the_bytes_of_all_characters_is_refused(tmp_path, gpt4_folder):
    spec = json.loads((gpt4_folder / "tokenizer.json").read_text())
    vocab = spec["model"]["vocab"]
    first, second = BYTE_ALPHABET[0x80], BYTE_ALPHABET[0]
    vocab[first + second] = vocab.pop(first)  # a token that no text has, in its place
    spec["model"]["merges"].append([first, second])
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(InputError, match="lacks bytes"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("left", [["a", "b"], ["b", "c"]])
def test_merges_that_ids_would_not_make_are_found(tmp_path, left):
    """'bc' comes before 'ab', so that 'abc' is never made of 'ab' and 'c'; made of 'a' and 'bc' it is."""
    merges = [["b", "c"], ["a", "b"], ["ab", "c"] if left == ["a", "b"] else ["a", "bc"]]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"merges": merges}}))
    if left == ["a", "b"]:
        with pytest.raises(InputError, match=r"merge of b'ab' and b'c'"):
            check_merges(path)
    else:
        check_merges(path)


def test_a_foreign_vocabulary_has_its_special_tokens_first(foreign):
    assert [foreign.special[name] for name in FOREIGN_SPECIAL] == list(range(len(FOREIGN_SPECIAL)))
    for text in (*WEIRD, *fuzz(500)):
        ids = foreign.encode(text)
        assert min(ids, default=99) >= len(FOREIGN_SPECIAL)
        assert foreign.decode(ids) == text
        assert int(foreign.bytes_per_token[ids].sum()) == len(text.encode())
        assert foreign.encode_array(text).tolist() == ids


def test_characters_that_a_vocabulary_lacks_become_replacement_characters(foreign):
    assert foreign.decode(foreign.encode("a\x04b\x13")) == "a\ufffdb\ufffd"
    assert foreign.decode(foreign.encode_array("\x03\x05")) == "\x03\x05"


@pytest.mark.parametrize(
    ("byte", "characters"),
    [
        (0x41, "AA"),
        (0xC2, "\x80\xbf"),
        (0xE0, "\u0800\u0fff"),
        (0xF0, "\U00010000\U0003ffff"),
        (0xF4, "\U00100000\U0010ffff"),
    ],
)
def test_the_characters_that_a_byte_leads(byte, characters):
    lacking = _characters_with({byte})
    assert [bool(lacking.match(char)) for char in characters] == [True, True]
    before, after = chr(ord(characters[0]) - 1), chr(min(ord(characters[1]) + 1, 0x10FFFF))
    assert [bool(lacking.match(char)) for char in (before, after)] == [False, after == characters[1]]


def test_no_tokenizer_there(tmp_path):
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        Tokenizer.load(tmp_path)


@pytest.mark.peer
def test_tokenizers_reads_our_file_to_the_same_ids(tokenizer_folder):
    import tokenizers

    peer = tokenizers.Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    peer.encode_special_tokens = True
    ours = Tokenizer.load(tokenizer_folder)
    assert peer.get_vocab_size() == ours.vocabulary
    for text in (*WEIRD, *fuzz(1_500)):
        assert peer.encode(text, add_special_tokens=False).ids == ours.encode(text), repr(text)


@pytest.mark.peer
def test_tokenizers_reads_a_foreign_file_to_the_same_ids(foreign, foreign_folder):
    import tokenizers

    peer = tokenizers.Tokenizer.from_file(str(foreign_folder / "tokenizer.json"))
    peer.encode_special_tokens = True
    assert peer.get_vocab_size() == foreign.vocabulary
    digits = [text.replace("a", " 1").replace("0", "  23") for text in fuzz(1_000)]
    for text in (*WEIRD, *fuzz(2_000), *digits, *documents()[:100]):
        assert peer.encode(text, add_special_tokens=False).ids == foreign.encode(text), repr(text)


@pytest.mark.peer
def test_transformers_reads_a_thousand_documents_to_the_same_ids(tokenizer_folder):
    import transformers

    read = (path.read_text(encoding="utf-8")[:3_000] for path in sorted(Path(transformers.__file__).parent.rglob("*.py")))
    texts = list(islice((text for text in read if "<|" not in text), 1_000))  # it takes special tokens for such
    assert len(texts) == 1_000
    peer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    ids, offsets = Tokenizer.load(tokenizer_folder).encode_batch(texts)
    for index, theirs in enumerate(peer(texts).input_ids):
        assert theirs == ids[offsets[index] : offsets[index + 1]].tolist()


@pytest.mark.peer
def test_transformers_knows_our_special_tokens(gpt4_folder):
    import transformers

    peer = transformers.AutoTokenizer.from_pretrained(gpt4_folder)
    ours = Tokenizer.load(gpt4_folder)
    assert len(peer) == ours.vocabulary
    assert {name: peer.convert_tokens_to_ids(name) for name in SPECIAL} == ours.special
    assert (peer.bos_token, peer.eos_token, peer.pad_token) == ("<|endoftext|>", "<|endoftext|>", "<|pad|>")
    text = "Bare text, no boundary put in: 12345 déjà vu 👍"
    assert peer(text).input_ids == ours.encode(text)
    assert peer.decode(ours.encode(text)) == text
