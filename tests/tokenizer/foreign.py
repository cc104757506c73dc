"""A tokenizer of the kind that other people's models bring: special tokens first, digits apart, bytes that are missing."""

from __future__ import annotations

import json
from pathlib import Path

FOREIGN_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>")
LACKING = ("\x04", "\x13")  # as SmolLM2's vocabulary does
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a rope.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_foreign_tokenizer(folder: Path, learned: Path, *, template: str = TEMPLATE) -> Path:
    """The tokens learned by `ropewalk tokenizer` at `learned`, in SmolLM2's order and with its kind of files."""
    spec = json.loads((learned / "tokenizer.json").read_text())
    shown = [token for token in spec["model"]["vocab"] if token not in {chr(0x100 + ord(char)) for char in LACKING}]
    first = len(FOREIGN_SPECIAL)
    spec["model"]["vocab"] = {name: index for index, name in enumerate((*FOREIGN_SPECIAL, *shown))}
    spec["model"]["merges"] = [" ".join(pair) for pair in spec["model"]["merges"]]  # as older files have them
    flags = {key: value for key, value in spec["added_tokens"][0].items() if key not in ("id", "content")}
    spec["added_tokens"] = [{"id": index, "content": name, **flags} for index, name in enumerate(FOREIGN_SPECIAL)]
    spec["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ],
    }
    assert spec["model"]["vocab"][shown[0]] == first
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": {"__type": "AddedToken", "content": "<|im_end|>", "special": True},
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
