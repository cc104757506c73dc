"""Read conversations: JSONL, a `{"messages": [{"role", "content"}, ...]}` on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ropewalk.runtime.errors import InputError
from ropewalk.tokenizer.chat import Message, check_messages


def read_conversations(path: Path) -> Iterator[list[Message]]:
    """The messages of each line, checked; empty lines are passed over, and keys beside `messages` do not matter.

    Raises:
        InputError: a line is not UTF-8, not JSON, or no conversation with an answer to learn; names file and line.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file: give a JSONL file of conversations")
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            where = f"{path}, line {number}"
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if not raw.strip():
                continue
            try:
                line = json.loads(raw.decode("utf-8"))
            except UnicodeDecodeError:
                raise InputError(f"{where} is not UTF-8: save the file as UTF-8") from None
            except (ValueError, RecursionError):
                raise InputError(f"{where} is not JSON: write one conversation a line, as JSON") from None
            if not isinstance(line, dict) or "messages" not in line:
                raise InputError(
                    f'{where} has no "messages": write {{"messages": [{{"role": "user", "content": "..."}}, ...]}}'
                )
            messages = check_messages(line["messages"], where=where)
            if all(message["role"] != "assistant" for message in messages):
                raise InputError(
                    f"{where} has no assistant message, so there is nothing to learn: add one, or drop the line"
                )
            yield messages
