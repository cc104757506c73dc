"""Conversations: kept as trees, found again, exported, deleted for good; nobody else's are seen."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
from contextlib import closing

import pytest
from tests.engine.small import write_folder
from tests.serve.asking import ask
from tests.serve.test_completions import small_model
from tests.serve.test_server import process_of
from tests.serve.world import running

from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.serve.app import Service
from ropewalk.serve.conversations import MOST_CONVERSATIONS, MOST_KEPT_MESSAGES, Conversations, FullError
from ropewalk.serve.feedback import Store
from ropewalk.tokenizer.chat import check_messages, render_prompt
from ropewalk.tokenizer.thinking import parted


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("chats") / "chats.sqlite"


@pytest.fixture(scope="module")
def address(path):
    with (
        closing(Conversations(path)) as conversations,
        running(
            Service({"small": small_model("small")}, most_waiting=4, starters=(), conversations=conversations)
        ) as address,
    ):
        yield address


def begun(address, **fields):
    return ask(address, "/v1/conversations", fields)[1]["id"]


def say(address, name, content, *, parent=None, role="user", **about):
    body = {"parent": parent, "message": {"role": role, "content": content}, "about": about}
    status, told = ask(address, f"/v1/conversations/{name}/messages", body)
    assert status == 200, told
    return told["id"]


def shown(address, name):
    return ask(address, f"/v1/conversations/{name}")[1]


def listed(address, search=""):
    return [one["title"] for one in ask(address, f"/v1/conversations?search={search}")[1]["data"]]


def test_messages_make_a_tree_whose_newest_branch_is_shown(address):
    name = begun(address)
    asked = say(address, name, "What is\n hemp?")
    first = say(address, name, "Brown.", parent=asked, role="assistant", model="small", tokens=[["Brown", 0.5]])
    second = say(address, name, "Green.", parent=asked, role="assistant")
    kept = shown(address, name)
    assert kept["title"] == "What is hemp?"
    assert kept["shown"] == second
    assert [(one["id"], one["parent"]) for one in kept["messages"]] == [(asked, None), (first, asked), (second, asked)]
    assert kept["messages"][1]["message"] == {"role": "assistant", "content": "Brown."}
    assert kept["messages"][1]["about"] == {"model": "small", "tokens": [["Brown", 0.5]]}
    assert ask(address, f"/v1/conversations/{name}", {"shown": first}, method="PATCH")[0] == 200
    assert shown(address, name)["shown"] == first


def test_conversations_are_searched_in_titles_and_words_of_any_script(address):
    oak, rope = begun(address, title="ÖLBAUM 100%"), begun(address, title="Ropes")
    say(address, rope, "Σχοινί of jute")
    assert {"ÖLBAUM 100%", "Ropes"} <= set(listed(address))
    assert listed(address, "%C3%B6lbaum") == ["ÖLBAUM 100%"]
    assert listed(address, "%CF%83%CF%87%CE%BF%CE%B9%CE%BD%CE%AF") == ["Ropes"]  # in small letters
    assert listed(address, "100%25") == ["ÖLBAUM 100%"]
    assert listed(address, "_") == []
    say(address, oak, "again")
    assert listed(address)[0] == "ÖLBAUM 100%"  # the latest first
    ask(address, f"/v1/conversations/{rope}", {"title": "Twine"}, method="PATCH")
    assert "Twine" in listed(address)


def test_what_is_deleted_is_in_the_file_no_more(path, address):
    name = begun(address)
    say(address, name, "a secret about tarred hemp")
    holding = [file for file in path.parent.iterdir() if b"tarred hemp" in file.read_bytes()]
    assert holding
    assert ask(address, f"/v1/conversations/{name}", method="DELETE")[0] == 200
    assert not any(b"tarred hemp" in file.read_bytes() for file in path.parent.iterdir())
    assert [ask(address, f"/v1/conversations/{name}", method=method)[0] for method in ("GET", "DELETE")] == [404, 404]


def test_a_key_sees_its_own_conversations_alone(address):
    mine = {"Authorization": "Bearer mine"}
    name = ask(address, "/v1/conversations", {"title": "private"}, **mine)[1]["id"]
    assert "private" not in listed(address)
    assert ask(address, f"/v1/conversations/{name}")[0] == 404
    assert ask(address, f"/v1/conversations/{name}", Authorization="Bearer other", method="DELETE")[0] == 404
    body = {"message": {"role": "user", "content": "x"}}
    assert ask(address, f"/v1/conversations/{name}/messages", body)[0] == 404
    assert ask(address, f"/v1/conversations/{name}", **mine)[0] == 200


def test_exports_hold_all_branches_as_messages_and_the_one_shown_as_markdown(address):
    name = begun(address, title="Fibres")
    asked = say(address, name, "What is hemp?")
    say(address, name, "Brown.", parent=asked, role="assistant", model="small")
    green = say(address, name, "Green.", parent=asked, role="assistant", model="small", system="Be brief.")
    lines = ask(address, f"/v1/conversations/{name}/export")[1].splitlines()
    branches = [check_messages(json.loads(line)["messages"], where="export") for line in lines]
    assert [branch[-1]["content"] for branch in branches] == ["Green.", "Brown."]
    assert branches[0][0] == {"role": "system", "content": "Be brief."}
    text = ask(address, f"/v1/conversations/{name}/export?form=markdown")[1]
    assert text == "# Fibres\n\n## You\n\nWhat is hemp?\n\n## small\n\nGreen.\n"
    call = {"id": "call_1", "type": "function", "function": {"name": "calculator", "arguments": '{"expression": "6*7"}'}}
    body = {"parent": green, "message": {"role": "assistant", "content": None, "tool_calls": [call]}}
    called = ask(address, f"/v1/conversations/{name}/messages", body)[1]["id"]
    body = {"parent": called, "message": {"role": "tool", "content": "42", "tool_call_id": "call_1"}}
    assert ask(address, f"/v1/conversations/{name}/messages", body)[0] == 200
    first = json.loads(ask(address, f"/v1/conversations/{name}/export")[1].splitlines()[0])["messages"]
    assert check_messages(first, where="export")[-1] == {"role": "tool", "content": "42"}
    assert "calculator" in ask(address, f"/v1/conversations/{name}/export?form=markdown")[1]


def test_thoughts_are_kept_beside_what_was_said(address):
    name = begun(address)
    asked = say(address, name, "What is hemp?")
    said = {"role": "assistant", "content": "Brown.", "reasoning_content": "Hemp is a fibre."}
    body = {"parent": asked, "message": said, "about": {"thought_tokens": 16}}
    assert ask(address, f"/v1/conversations/{name}/messages", body)[0] == 200
    assert shown(address, name)["messages"][1]["message"] == said
    (line,) = ask(address, f"/v1/conversations/{name}/export")[1].splitlines()
    exported = check_messages(json.loads(line)["messages"], where="export")[-1]
    assert parted(exported["content"]) == ("Hemp is a fibre.", "Brown.")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"message": {"role": "user", "content": "x"}, "parent": "msg-" + "0" * 32}, 404),
        ({"message": {"role": "system", "content": "x"}}, 400),
        ({"message": {"role": "user", "content": "x" * 40_000}}, 400),
        ({"message": {"role": "user", "content": "x"}, "about": {"deep": json.loads("[" * 40 + "]" * 40)}}, 400),
        ({"message": {"role": "user", "content": "x"}, "about": {"much": "y" * 300_000}}, 413),
        (b'{"message": {"role": "user", "content": "x"}, "about": {"n": NaN}}', 400),
        ({"message": {"role": "user", "content": "\ud800"}, "about": {"half": "\udfff"}}, 200),
    ],
)
def test_messages_that_cannot_be_kept_are_refused(address, body, status):
    name = begun(address)
    assert ask(address, f"/v1/conversations/{name}/messages", body)[0] == status
    kept = shown(address, name)["messages"]
    assert len(kept) == (status == 200)
    if kept:
        assert (kept[0]["message"]["content"], kept[0]["about"]["half"]) == ("�", "�")


def test_conversations_outlive_a_killed_server(tmp_path):
    folder, path = write_folder(tmp_path / "small"), tmp_path / "chats.sqlite"
    with process_of("--models", folder, "--chats", path) as (process, address):
        assert ask(address, "/v1/conversations")[1]["kept"] is True
        name = begun(address)
        asked = say(address, name, "What is hemp?")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with process_of("--models", folder, "--chats", path) as (_, address):
        assert shown(address, name)["shown"] == asked
    with process_of("--models", folder) as (_, address):
        assert ask(address, "/v1/conversations")[1] == {"object": "list", "kept": False, "data": []}


def test_other_files_and_folders_that_are_not_there_are_one_sentence(tmp_path):
    with closing(Store(tmp_path / "feedback.sqlite", create=True)):
        pass
    with pytest.raises(InputError, match="is no store of conversations: give the file that ropewalk serve --chats writes"):
        Conversations(tmp_path / "feedback.sqlite")
    with pytest.raises(MachineError, match="give a file in a folder that is there"):
        Conversations(tmp_path / "none" / "chats.sqlite")


def test_there_is_an_end_to_how_much_is_kept(tmp_path):
    with closing(Conversations(tmp_path / "chats.sqlite")) as kept:
        name = kept.create("", "long").id
        with closing(sqlite3.connect(tmp_path / "chats.sqlite")) as other, other:
            rows = [(f"m{number}", name) for number in range(MOST_KEPT_MESSAGES)]
            other.executemany(
                "INSERT INTO messages (id, created, content, message, about, conversation) VALUES (?, 0, '', '{}', '{}', ?)",
                rows,
            )
            rows = [(f"c{number}",) for number in range(MOST_CONVERSATIONS - 1)]
            other.executemany("INSERT INTO conversations VALUES (?, '', '', 0, 0, NULL)", rows)
        with pytest.raises(FullError):
            kept.add("", name, parent=None, message={"role": "user", "content": "more"}, about={})
        with pytest.raises(FullError):
            kept.create("", "another")
        assert kept.create("somebody else", "another")


def test_the_context_is_told_as_the_model_will_read_it(address):
    engine = small_model("small").engine
    messages = [
        turn
        for _ in range(4)
        for turn in ({"role": "user", "content": "rope " * 20}, {"role": "assistant", "content": "yarn"})
    ] + [{"role": "user", "content": "tar?"}]
    status, told = ask(address, "/v1/context", {"model": "small", "messages": messages, "max_tokens": 100})
    assert status == 200
    assert told["context_tokens"] == 512
    assert told["tokens"] == len(render_prompt(engine.tokenizer, messages))
    assert told["read_tokens"] == len(render_prompt(engine.tokenizer, messages[told["left_out"] :])) <= 412
    assert told["left_out"] in (2, 4)
    answer = ask(address, "/v1/chat/completions", {"model": "small", "messages": messages, "max_tokens": 100})[1]
    assert f"{told['left_out']} messages are left out" in answer["notice"]
    assert answer["usage"]["prompt_tokens"] == told["read_tokens"]
