"""Read conversations: JSONL or Parquet, a `{"messages": [{"role", "content"}, ...]}` in each row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ropewalk.runtime.errors import InputError
from ropewalk.runtime.lines import read_objects
from ropewalk.tokenizer.chat import Message, check_messages


def read_conversations(path: Path) -> Iterator[list[Message]]:
    """The messages of each row, checked; empty lines are passed over, and keys beside `messages` do not matter.

    Raises:
        InputError: a line is not UTF-8, not JSON, or no conversation with an answer to learn; names file and line.
    """
    for where, line in read_objects(path):
        if "messages" not in line:
            raise InputError(f'{where} has no "messages": write {{"messages": [{{"role": "user", "content": "..."}}, ...]}}')
        messages = check_messages(line["messages"], where=where)
        if all(message["role"] != "assistant" for message in messages):
            raise InputError(f"{where} has no assistant message, so there is nothing to learn: add one, or drop the line")
        yield messages
