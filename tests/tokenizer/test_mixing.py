"""Files of conversations are mixed by their weights, each a recorded input, and interrupted or not to the same tokens."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from ropewalk.runtime.errors import ArtifactError, OptionError
from ropewalk.tokenizer import TokenizeOptions, run_tokenize
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.shards import TokenReader


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talk")
    for name in ("a", "b", "c"):
        lines = [
            {"messages": [{"role": "user", "content": f"{name}{number}"}, {"role": "assistant", "content": "Yes."}]}
            for number in range(100)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [folder / f"{name}.jsonl" for name in ("a", "b", "c")]


def mixed(files, gpt4_folder, weights):
    return TokenizeOptions(tokenizer=gpt4_folder, conversations=files[0], also=tuple(files[1:]), weights=weights)


def asked(path, gpt4_folder):
    """How often each conversation is there."""
    reader, tokenizer = TokenReader(path), Tokenizer.load(gpt4_folder)
    texts = [tokenizer.decode(reader.read(int(one["first_token"]), int(one["tokens"])).tolist()) for one in reader.documents]
    return Counter(text.split("user\n")[1].split("<|im_end|>")[0] for text in texts)


def test_weights_say_how_often(tmp_path, files, gpt4_folder):
    made = run_tokenize(mixed(files, gpt4_folder, (2.0, 0.25)), out=tmp_path / "tokens")
    counted = asked(made.path, gpt4_folder)
    assert all(counted[f"a{number}"] == 2 and counted[f"c{number}"] == 1 for number in range(100))
    some = [counted[f"b{number}"] for number in range(100)]
    assert set(some) == {0, 1} and 12 <= sum(some) <= 38
    assert [name for name in made.inputs if name != "tokenizer"] == ["conversations", "also.1", "also.2"]


def test_another_file_is_another_recipe(tmp_path, files, gpt4_folder):
    run_tokenize(mixed(files, gpt4_folder, ()), out=tmp_path / "tokens")
    with pytest.raises(ArtifactError, match=r"also\.2"):
        run_tokenize(mixed(files[:2], gpt4_folder, ()), out=tmp_path / "tokens")


def test_what_cannot_be_mixed_is_one_sentence(tmp_path, files, gpt4_folder, corpus):
    with pytest.raises(OptionError, match="4 weights for 3 files"):
        run_tokenize(mixed(files, gpt4_folder, (1.0,) * 4), out=tmp_path / "tokens")
    with pytest.raises(OptionError, match="mix conversations"):
        run_tokenize(TokenizeOptions(tokenizer=gpt4_folder, corpus=corpus, also=(files[0],)), out=tmp_path / "tokens")
