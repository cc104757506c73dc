"""A conversation for other tools and for people."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ropewalk.serve.conversations import Conversation, KeptMessage


def as_jsonl(conversation: Conversation) -> str:
    """Each branch a line, `{"messages": [...]}` as `tokenize --conversations` reads it; the one shown comes first."""
    lines = ({"messages": _with_system(branch)} for branch in conversation.branches())
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def as_markdown(conversation: Conversation) -> str:
    """The branch that is shown, a heading each turn, with the model's name where it is known."""
    parts = [f"# {conversation.summary.title}"]
    for kept in conversation.branch(conversation.shown):
        role = str(kept.message["role"])
        speaker = {"user": "You", "tool": "Tool"}.get(role) or str(kept.about.get("model") or "Assistant")
        parts += [f"## {speaker}", kept.message.get("content") or ""]
        parts += [f"```json\n{json.dumps(call, ensure_ascii=False)}\n```" for call in kept.message.get("tool_calls", ())]
    return "\n\n".join(parts) + "\n"


def _with_system(branch: Sequence[KeptMessage]) -> list[object]:
    """The messages, behind the instructions that the last answer followed."""
    systems = [kept.about["system"] for kept in branch if kept.about.get("system")]
    opening: list[object] = [{"role": "system", "content": systems[-1]}] if systems else []
    return opening + [kept.message for kept in branch]
