"""Adapters by name: each is the model that it makes of the first one, and what they have in common is held once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.engine.small import new_model, new_tokenizer, write_folder
from tests.serve.asking import ask
from tests.serve.world import running

from ropewalk.model.adapter_file import save_adapter
from ropewalk.model.checkpoint import load_model, stored_tensors
from ropewalk.model.lora import LoraShape, adapt, adapters
from ropewalk.model.placing import settle
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.serve.app import Service
from ropewalk.serve.models import load_models, named_folders

CONTEXT_TOKENS = 96
# In int8 an activation may be rounded otherwise as it passes the cache, adapter or none.
MOST_DIFFERENCE = {"float32": 1e-4, "int8": 1e-3}
PROMPT = list(b"All ropes are laid from yarn.")


def write_adapter(folder: Path, *, targets, seed: int) -> Path:
    """An adapter that has learned something."""
    model = adapt(new_model(new_tokenizer(), context_tokens=CONTEXT_TOKENS), LoraShape(4, 8.0, False, targets), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for layer in adapters(model).values():
        layer.lora_B.weight.data.normal_(0, 0.3, generator=generator)
    save_adapter(model, stored_tensors(model.config)[0], folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("adapters")
    return {
        "base": write_folder(home / "base", context_tokens=CONTEXT_TOKENS),
        "poet": write_adapter(home / "poet", targets="all", seed=1),
        "clerk": write_adapter(home / "clerk", targets="attention", seed=2),
    }


def loaded(folders, **options):
    named = {name: folders[name] for name in ("poet", "clerk")}
    return load_models([folders["base"]], None, slots=2, adapters=named, **options)


def told(address: str, model: str) -> list[float]:
    """The log-probabilities that a server gives to the prompt's tokens but the first."""
    body = {"model": model, "prompt": PROMPT, "max_tokens": 0, "echo": True, "logprobs": 0}
    status, answer = ask(address, "/v1/completions", body)
    assert status == 200, answer
    return answer["choices"][0]["logprobs"]["token_logprobs"][1:]


@torch.inference_mode()
def merged(folders, name: str, banned: torch.Tensor, precision) -> list[float]:
    """The same from the model that adapter and base are together."""
    model = settle(load_model(folders["base"], adapter=folders.get(name) if name != "base" else None), precision)
    logprobs_TV = model.logits(model(torch.tensor([PROMPT])))[0].index_fill(1, banned, -torch.inf).log_softmax(-1)
    return logprobs_TV[:-1].gather(1, torch.tensor(PROMPT[1:])[:, None])[:, 0].tolist()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_each_name_says_what_its_merged_model_says(folders, precision):
    models = loaded(folders, precision=precision)
    with running(Service(models, most_waiting=4, starters=())) as address:
        found = {name: told(address, name) for name in models}
        listed = ask(address, "/v1/models")[1]["data"]
    for name, logprobs in found.items():
        expected = merged(folders, name, models[name].engine.banned, precision)
        assert logprobs == pytest.approx(expected, abs=MOST_DIFFERENCE[precision]), name
    assert abs(found["poet"][0] - found["base"][0]) > 1e-3  # they are not all the same
    assert [(one["id"], one["adapter_of"]) for one in listed] == [("base", None), ("poet", "base"), ("clerk", "base")]
    assert len({one["digest"] for one in listed}) == 3


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_what_an_adapter_does_not_touch_is_held_once(folders, precision):
    models = loaded(folders, precision=precision)

    def own_bytes(name: str) -> int:
        """Of the tensors that the base does not hold."""
        held = {tensor.data_ptr() for tensor in models["base"].engine.model.state_dict().values()}
        tensors = {one.data_ptr(): one for one in models[name].engine.model.state_dict().values()}
        return sum(one.nbytes for place, one in tensors.items() if place not in held)

    model = models["clerk"].engine.model
    assert model.model.embed_tokens.weight is models["base"].engine.model.model.embed_tokens.weight
    assert model.model.layers[0].mlp.down_proj is not models["base"].engine.model.model.layers[0].mlp.down_proj
    attention = sum(one.nbytes for name, one in model.state_dict().items() if "self_attn" in name and one.ndim == 2)
    scales = sum(one.nbytes for name, one in model.state_dict().items() if "self_attn" in name and "scale" in name)
    assert attention <= own_bytes("clerk") <= attention + scales
    assert own_bytes("clerk") < own_bytes("poet")


def test_a_reload_takes_only_the_adapter_that_changed(folders, tmp_path):
    changing = write_adapter(tmp_path / "changing", targets="all", seed=3)
    named = {"poet": folders["poet"], "changing": changing}
    before = load_models([folders["base"]], None, slots=1, adapters=named)
    write_adapter(changing, targets="all", seed=4)
    after = load_models([folders["base"]], None, slots=1, adapters=named, standing=before)
    assert [after[name] is before[name] for name in after] == [True, True, False]


def test_an_adapter_of_another_model_is_one_sentence(folders, tmp_path):
    other = write_folder(tmp_path / "other", context_tokens=CONTEXT_TOKENS)
    wide = adapt(new_model(new_tokenizer()), LoraShape(2, 4.0, False, "all"), seed=1)
    held = {name.replace("layers.1", "layers.7"): one for name, one in stored_tensors(wide.config)[0].items()}
    save_adapter(wide, held, tmp_path / "strange")
    with pytest.raises(InputError, match="does not fit the model"):
        load_models([other], None, slots=1, adapters={"strange": tmp_path / "strange"})


def test_a_name_that_a_model_has_is_refused(folders):
    with pytest.raises(OptionError, match="two models are called 'base'"):
        load_models([folders["base"]], None, slots=1, adapters={"base": folders["poet"]})


@pytest.mark.parametrize(
    ("pairs", "says"), [(["poet"], "write NAME=FOLDER"), (["=x"], "write NAME"), (["a=x", "a=y"], "two")]
)
def test_names_that_cannot_be_read_are_one_sentence(pairs, says):
    with pytest.raises(OptionError, match=says):
        named_folders(pairs)


def test_folders_may_hold_an_equals_sign():
    assert named_folders(["a=x/y=z"]) == {"a": Path("x/y=z")}
