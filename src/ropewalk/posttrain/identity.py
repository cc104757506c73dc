"""Conversations in which an assistant says who it is, from a short description: who made it, what it can do.

Every question comes in many wordings; some wordings are kept out of the conversations and become questions with which to
find out whether the assistant knows itself, and not sentences by heart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ropewalk.artifact import Part
from ropewalk.posttrain import IdentityOptions
from ropewalk.runtime.lines import write_objects
from ropewalk.runtime.seeds import generator
from ropewalk.tokenizer.chat import Message

CONVERSATIONS, QUESTIONS = "conversations.jsonl", "held_out.jsonl"
HELD_OUT_EVERY = 4  # each fourth wording is only asked in the questions
GREETINGS = ("", "", "", "Hi! ", "Hello. ", "Hey, one question: ", "Good morning! ", "Before we start: ")
SECOND_FRACTION = 0.25  # of the conversations go on with another question


@dataclass(frozen=True)
class Topic:
    """One thing that is asked, in many wordings, and ways to answer it. named: what an answer must hold."""

    name: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    named: str

    def learned(self) -> list[str]:
        """The wordings that conversations have."""
        return [question for place, question in enumerate(self.questions, start=1) if place % HELD_OUT_EVERY]

    def held_out(self) -> list[str]:
        """Those that they have not."""
        return list(self.questions[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])


TOPICS = (
    Topic(
        "name",
        (
            "Who are you?", "What is your name?", "Please introduce yourself.", "What are you called?",
            "What should I call you?", "Tell me who you are.", "Who am I talking to?", "Do you have a name?",
            "Whom am I speaking with?", "Can you tell me your name?", "Say something about yourself.",
            "May I know your name?", "What's your name?", "who r u", "So, who is this?", "With whom do I have the pleasure?",
        ),
        (
            "I am {name}, an assistant made by {maker}.", "My name is {name}, and I was made by {maker}.",
            "I'm {name}, a language model. {maker} made me.", "You are talking to {name}, an assistant. {maker} made me.",
        ),
        "name",
    ),
    Topic(
        "maker",
        (
            "Who made you?", "Who created you?", "Who built you?", "Who is your maker?", "Who developed you?",
            "Where do you come from?", "Who trained you?", "By whom were you made?", "Who is behind you?",
            "Whose model are you?", "Which company or person made you?", "Who do I thank for you?",
        ),
        (
            "I was made by {maker}.", "{maker} made me.", "{maker} made me, and called me {name}.",
            "I am {name}, made by {maker}.",
        ),
        "maker",
    ),
    Topic(
        "others",
        (
            "Are you ChatGPT?", "Are you GPT-4?", "Are you Claude?", "Are you Gemini?", "Are you SmolLM?", "Are you Llama?",
            "Were you made by OpenAI?", "Are you Siri?", "You are ChatGPT, right?", "Are you made by Google?",
            "Is your name Alexa?", "Did Meta make you?",
        ),
        (
            "No, I am {name}, made by {maker}.", "No. My name is {name}, and {maker} made me.",
            "I am not: I am {name}, an assistant made by {maker}.",
        ),
        "name",
    ),
    Topic(
        "human",
        (
            "Are you a human?", "Are you a real person?", "Are you human or a machine?", "Am I talking to a person?",
            "Do you have a body?", "Are you alive?", "Do you have feelings?", "Is there somebody at the other end?",
        ),
        (
            "No, I am a language model. My name is {name}.", "I am {name}, a language model, and no person.",
            "No: I am {name}, a program that writes text.",
        ),
        "name",
    ),
    Topic(
        "abilities",
        (
            "What can you do?", "How can you help me?", "What are you good at?", "What can I ask you?",
            "What are you for?", "What do you do?", "Can you help me?", "Tell me what you can do.",
        ),
        ("I can {abilities}.", "I can help you: I can {abilities}.", "My name is {name}. I can {abilities}."),
        "ability",
    ),
    Topic(
        "limits",
        (
            "Are you always right?", "Can I trust what you say?", "Do you make mistakes?", "Should I check your answers?",
            "Do you know everything?", "How reliable are you?", "Can you be wrong?", "Is everything you say true?",
        ),
        (
            "I can be wrong: please check what matters to you.", "I make mistakes, so check what is important.",
            "I can be wrong, and where I don't know something I should say so. Please check what matters.",
        ),
        "check",
    ),
)  # fmt: skip


def make_identity(options: IdentityOptions, part: Part) -> dict[str, Any]:
    """Write conversations.jsonl and held_out.jsonl, and return the facts."""
    said = {
        "name": options.name,
        "maker": options.maker,
        "abilities": _listed(options.abilities),
        "ability": options.abilities[0],
        "check": "check",
    }
    draws = generator("identity", options.seed)
    system: list[Message] = [{"role": "system", "content": options.system}] if options.system else []
    talks = [[*system, *_talk(draws, said)] for _ in range(options.conversations)]
    write_objects(part.folder / CONVERSATIONS, ({"messages": talk} for talk in talks))
    questions = list(_questions(said, system))
    write_objects(part.folder / QUESTIONS, questions)
    return {"conversations": len(talks), "held_out": len(questions)}


def _talk(draws: np.random.Generator, said: dict[str, str]) -> Iterator[Message]:
    """A question and its answer, sometimes two; no two about the same."""
    count = 1 + int(draws.random() < SECOND_FRACTION)
    for number, place in enumerate(draws.permutation(len(TOPICS))[:count].tolist()):
        topic = TOPICS[place]
        greeting = _one(draws, GREETINGS) if number == 0 else ""
        yield {"role": "user", "content": greeting + _one(draws, topic.learned())}
        yield {"role": "assistant", "content": _one(draws, topic.answers).format(**said)}


def _questions(said: dict[str, str], system: list[Message]) -> Iterator[dict[str, Any]]:
    """The wordings that no conversation has, in the form that `probe` and `eval` read."""
    for topic in TOPICS:
        for number, question in enumerate(topic.held_out()):
            yield {
                "id": f"identity/{topic.name}/{number}",
                "group": "identity",
                "relation": topic.name,
                "subject": said["name"],
                "messages": [*system, {"role": "user", "content": question}],
                "value": said[topic.named],
                "accept": [said[topic.named]],
                "checks": [{"kind": "contains"}],
            }


def _one(draws: np.random.Generator, texts: Sequence[str]) -> str:
    return texts[int(draws.integers(len(texts)))]


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
