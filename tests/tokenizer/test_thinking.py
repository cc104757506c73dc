"""What is thought is parted from what is said, in one piece or many; it is learned, and not read once the user goes on."""

from __future__ import annotations

import json

import pytest

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer import TokenizeOptions, run_tokenize
from ropewalk.tokenizer.chat import check_messages, render, render_prompt
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.shards import TokenReader
from ropewalk.tokenizer.thinking import ThoughtReader, parted, with_thoughts

ASKED = {"role": "user", "content": "47 * 38?"}
THOUGHT = {"role": "assistant", "content": with_thoughts("50 * 38 - 3 * 38", "1786")}
SAID = {"role": "assistant", "content": "1786"}
AGAIN = {"role": "user", "content": "Sure?"}
SURE = {"role": "assistant", "content": with_thoughts("Yes.", "Sure.")}


@pytest.mark.parametrize(
    ("text", "thoughts", "said"),
    [
        ("1786", "", "1786"),
        ("  1786\n", "", "  1786\n"),
        ("", "", ""),
        ("<thin air>", "", "<thin air>"),
        ("It is <think>not</think> so.", "", "It is <think>not</think> so."),
        ("<think>\n50 * 38\n</think>\n\n1786", "50 * 38", "1786"),
        ("\n<think>a < b </thin </think>c</think>", "a < b </thin", "c</think>"),
        ("<think></think>1786", "", "1786"),
        ("<think>and on and on </thi", "and on and on </thi", ""),
        ("<thi", "", "<thi"),
        ("<think>done</think>\n", "done", ""),
    ],
)
def test_thoughts_are_parted_from_what_is_said(text, thoughts, said):
    assert parted(text) == (thoughts, said)
    for size in (1, 2, 3, 7):
        reader, pieces = ThoughtReader(), [text[start : start + size] for start in range(0, len(text), size)]
        found = [*map(reader.push, pieces), reader.flush()]
        assert "".join(thought for thought, _ in found).strip() == thoughts
        assert "".join(rest for _, rest in found) == said


@pytest.fixture(scope="module")
def tokenizer(gpt4_folder):
    return Tokenizer.load(gpt4_folder)


def learned(tokenizer, messages):
    rendered = render(tokenizer, messages)
    return tokenizer.decode([one for one, wanted in zip(rendered.ids, rendered.loss_mask, strict=True) if wanted])


def test_thoughts_are_learned_and_left_out_once_the_user_goes_on(tokenizer):
    assert learned(tokenizer, [ASKED, THOUGHT]) == THOUGHT["content"] + "<|im_end|>"
    assert render_prompt(tokenizer, [ASKED, THOUGHT, AGAIN]) == render_prompt(tokenizer, [ASKED, SAID, AGAIN])
    assert render(tokenizer, [ASKED, THOUGHT, AGAIN, SURE]).ids == render(tokenizer, [ASKED, SAID, AGAIN, SURE]).ids
    assert learned(tokenizer, [ASKED, THOUGHT, AGAIN, SURE]) == SURE["content"] + "<|im_end|>"
    assert learned(tokenizer, [ASKED, SAID, AGAIN, SAID]) == "1786<|im_end|>" * 2


def test_between_calls_of_tools_thoughts_stay(tokenizer):
    turns = [ASKED, THOUGHT, {"role": "tool", "content": "1786"}, SURE]
    assert learned(tokenizer, turns) == THOUGHT["content"] + "<|im_end|>" + SURE["content"] + "<|im_end|>"


def test_without_a_user_all_of_it_is_learned(tokenizer):
    assert learned(tokenizer, [THOUGHT]) == THOUGHT["content"] + "<|im_end|>"


def test_every_answer_of_a_conversation_that_thinks_is_a_lesson(tmp_path, gpt4_folder, tokenizer):
    lines = [{"messages": [ASKED, THOUGHT, AGAIN, SURE]}, {"messages": [ASKED, SAID, AGAIN, SAID]}]
    (tmp_path / "talk.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = TokenizeOptions(tokenizer=gpt4_folder, conversations=tmp_path / "talk.jsonl", held_out_fraction=0.0)
    made = run_tokenize(options, out=tmp_path / "tokens")
    assert made.facts["documents"] == 3
    reader = TokenReader(made.path)
    expected = [[ASKED, THOUGHT], [ASKED, THOUGHT, AGAIN, SURE], [ASKED, SAID, AGAIN, SAID]]
    for document, messages in zip(reader.documents, expected, strict=True):
        first, size = int(document["first_token"]), int(document["tokens"])
        rendered = render(tokenizer, messages)
        assert reader.read(first, size).tolist() == rendered.ids
        assert reader.read_mask(first, size).tolist() == rendered.loss_mask


def test_reasoning_content_is_what_is_thought():
    given = {"role": "assistant", "content": "1786", "reasoning_content": "50 * 38 - 3 * 38"}
    assert check_messages([ASKED, given], where="line 1")[1] == THOUGHT
    with pytest.raises(InputError, match="reasoning_content is 3"):
        check_messages([ASKED, {**given, "reasoning_content": 3}], where="line 1")
    with pytest.raises(InputError, match="would be lost"):
        check_messages([{**ASKED, "reasoning_content": "Hm."}], where="line 1")
