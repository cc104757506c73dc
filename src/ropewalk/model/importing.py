"""`ropewalk import`: a model made elsewhere, written as one of our artifacts."""

from __future__ import annotations

import math
from typing import Any

from ropewalk.artifact import Part
from ropewalk.model import ImportOptions
from ropewalk.model.checkpoint import WEIGHTS, check_fit, stored_tensors, stream_weights, write_configs
from ropewalk.model.gguf_file import open_gguf
from ropewalk.model.hugging_face import open_folder
from ropewalk.runtime.errors import InputError
from ropewalk.runtime.progress import say
from ropewalk.tokenizer.encoding import Tokenizer
from ropewalk.tokenizer.files import TOKENIZER_JSON
from ropewalk.tokenizer.reading import check_merges


def make_import(part: Part, options: ImportOptions) -> dict[str, Any]:
    """Write the folder and return the facts. What an interruption left is written anew."""
    source = options.source
    foreign = open_folder(source) if source.is_dir() else open_gguf(source)
    config = foreign.config
    _, shapes = stored_tensors(config)
    check_fit(shapes, foreign.shapes, where=str(source))
    foreign.write_tokenizer(part.folder)
    tokenizer = Tokenizer.load(part.folder)
    check_merges(part.folder / TOKENIZER_JSON)
    if tokenizer.vocabulary > config.vocabulary:
        raise InputError(
            f"{source}: its tokenizer has {tokenizer.vocabulary} tokens, its model {config.vocabulary}: "
            "they do not belong together, take them from where they were made"
        )
    write_configs(part.folder, config, foreign.ends, generation=foreign.generation)
    stream_weights(part.folder / WEIGHTS, shapes, foreign.read)
    say(f"{foreign.about['name']}: a third party's model, licence {foreign.about['licence']}")
    return {
        "third_party": True,
        **foreign.about,
        "parameters": sum(map(math.prod, shapes.values())),
        "steps": 0,
        "conversations": tokenizer.chat_template is not None,
        "shape": {"layers": config.layers, "width": config.width, "context_tokens": config.context_tokens},
    }
