"""Items of the three forms, of sentences that a language model has an opinion of, in CORE's fields."""

from __future__ import annotations

import random

KINDS = {
    "rose": "flower", "oak": "tree", "dog": "animal", "hammer": "tool", "violin": "instrument", "copper": "metal",
    "France": "country", "Paris": "city", "chess": "game", "January": "month", "Monday": "day", "bread": "food",
    "tea": "drink", "chair": "piece of furniture", "shirt": "piece of clothing", "ship": "vehicle",
}  # fmt: skip
FRAMES = (
    "Everybody in the village knew what a {} was, but few could say that it is a kind of",
    "In the dictionary, {} is explained in one line: a",
    "Q: What is {}?\nA: It is a",
    "She wrote the word {} on the board – « naïve » as it was – and under it",
)


def items(form: str, count: int, *, seed: int = 0) -> list[dict]:
    draws = random.Random(f"{form} {seed}")
    words, kinds = list(KINDS), sorted(set(KINDS.values()))
    rows = []
    for _ in range(count):
        word, other = draws.sample(words, 2)
        frame = draws.choice(FRAMES)
        if form == "choices":
            choices = draws.sample(kinds, 3)
            choices = choices if KINDS[word] in choices else [KINDS[word], *choices]
            rows.append({"query": frame.format(word), "choices": choices, "gold": choices.index(KINDS[word])})
        elif form == "schema":
            contexts = [frame.format(word), frame.format(other)]
            rows.append({"context_options": contexts, "continuation": f"{KINDS[word]}, as we all know.", "gold": 0})
        else:
            text = ", ".join(f"{one} is a {KINDS[one]}" for one in draws.sample(words, 3))
            rows.append({"context": f"{text}, {word} is a", "continuation": KINDS[word]})
    return rows
