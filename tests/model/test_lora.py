"""Adapters: the gradient of W + s B A, nothing of W's own, and PEFT's folder in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.model.test_transformer import ALL, CONFIGS, KNOWN, random_model

from ropewalk.model.adapter_file import save_adapter
from ropewalk.model.checkpoint import load_model, save_model, stored_tensors
from ropewalk.model.lora import LoraShape, adapt, adapters, adapters_off, low_rank, merged_weight
from ropewalk.model.transformer import Transformer
from ropewalk.pretrain.averages import named
from ropewalk.pretrain.optimizer import LearningRates, Optimizer
from ropewalk.runtime.errors import InputError

PLAIN = LoraShape(rank=4, alpha=8.0, rank_stabilised=False, targets="all")
SHAPES = {
    "plain": PLAIN,
    "stabilised": LoraShape(rank=4, alpha=6.0, rank_stabilised=True, targets="all"),
    "attention": LoraShape(rank=2, alpha=8.0, rank_stabilised=False, targets="attention"),
}
IDS_BT = torch.arange(30).view(2, 15)


def adapted(kind: str = "qwen3", shape: LoraShape = PLAIN, **changes: object) -> Transformer:
    """A model with adapters that have learned something."""
    model = adapt(random_model(kind, **changes), shape, seed=1)
    generator = torch.Generator().manual_seed(2)
    for layer in adapters(model).values():
        layer.lora_B.weight.data.normal_(0, 0.2, generator=generator)
    return model


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(IDS_BT)) if isinstance(model, Transformer) else model(IDS_BT).logits


def write(model: Transformer, folder: Path) -> Path:
    folder.mkdir()
    save_model(model, folder, stop_ids=[1, 2], pad_id=3, start_id=1)
    return folder


def write_adapter(model: Transformer, folder: Path) -> Path:
    save_adapter(model, stored_tensors(model.config)[0], folder)
    return folder


def mean_loss(model: Transformer) -> torch.Tensor:
    """Of two documents in each row, the loss as every stage has it."""
    documents_BT, positions_BT = torch.tensor([[0] * 8 + [1] * 7]), torch.tensor([[*range(8), *range(7)]])
    hidden_ND = model(IDS_BT, documents_BT=documents_BT, positions_BT=positions_BT).flatten(0, 1)
    return model.loss(hidden_ND, (IDS_BT + 1).flatten(), torch.full((30,), 1 / 30))[0]


@ALL
def test_an_adapted_model_begins_as_the_model_that_it_was(kind):
    assert torch.equal(logits(adapt(random_model(kind), PLAIN, seed=1)), logits(random_model(kind)))
    learned = adapted(kind)
    assert (logits(learned) - logits(random_model(kind))).abs().max() > 0.1
    with adapters_off(learned):
        assert torch.equal(logits(learned), logits(random_model(kind)))


@pytest.mark.parametrize(("tied", "recompute"), [(False, False), (True, True)])
@ALL
def test_the_gradient_is_autograds_of_the_merged_weights(kind, tied, recompute):
    model, plain = adapted(kind, tied_head=tied), random_model(kind, tied_head=tied)
    model.recompute = recompute
    mean_loss(model).backward()
    factors = {
        name: [layer.lora_B.weight.detach().requires_grad_(), layer.lora_A.weight.detach().requires_grad_()]
        for name, layer in adapters(model).items()
    }
    merged = {
        f"{name}.weight": plain.get_parameter(f"{name}.weight") + low_rank(*pair, PLAIN.scale)
        for name, pair in factors.items()
    }
    whole = {name: merged.get(name, weight) for name, weight in plain.named_parameters(remove_duplicate=False)}
    parallel = _Loss(plain)
    loss = torch.func.functional_call(parallel, {f"model.{name}": weight for name, weight in whole.items()}, ())
    loss.backward()
    for name, layer in adapters(model).items():
        for ours, theirs in zip((layer.lora_B, layer.lora_A), factors[name], strict=True):
            torch.testing.assert_close(ours.weight.grad, theirs.grad, atol=1e-5, rtol=1e-3)
    assert {name.split(".")[-2] for name, weight in model.named_parameters() if weight.grad is not None} == {
        "lora_A",
        "lora_B",
    }


class _Loss(torch.nn.Module):
    """The loss as a module's forward, for torch to call it with other weights."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self) -> torch.Tensor:
        return mean_loss(self.model)


def test_only_adapters_are_moved_and_remembered():
    model, before = adapted(), random_model().state_dict()
    rates = LearningRates(matrix=0.01, embedding=0.01, head=0.01, norm=0.01)
    optimizer = Optimizer(model, rates, weight_decay=0.1, matrices="adamw")
    losses = []
    for _ in range(20):
        loss = mean_loss(model)
        loss.backward()
        optimizer.step(rate_fraction=1.0, momentum=0.9)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(weight, model.get_parameter(name)) for name, weight in before.items())
    thin = sum(layer.lora_A.weight.numel() + layer.lora_B.weight.numel() for layer in adapters(model).values())
    assert sum(weight.numel() for weight in named(model).values()) == thin
    state = {name: tensor for name, tensor in optimizer.state().items() if not name.endswith(".step")}
    assert all(".lora_" in name for name in state)
    assert sum(tensor.numel() for tensor in state.values()) == 2 * thin < 0.5 * 2 * model.config.parameters


@pytest.mark.parametrize("name", list(SHAPES))
@ALL
def test_a_merged_folder_is_the_base_with_the_adapters_folder(tmp_path, kind, name):
    model = adapted(kind, SHAPES[name])
    base, merged = write(random_model(kind), tmp_path / "base"), write(model, tmp_path / "merged")
    read = load_model(base, adapter=write_adapter(model, tmp_path / "adapter"))
    for weight_name, weight in load_model(merged).named_parameters():
        assert torch.equal(weight, merged_weight(model, weight_name))
        torch.testing.assert_close(weight, read.get_parameter(weight_name), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(logits(read), logits(model), atol=1e-4, rtol=1e-4)
    assert len(adapters(model)) == (4 if name == "attention" else 7 if CONFIGS[kind].feed_forward == "swiglu" else 6) * 3


@pytest.mark.peer
@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("kind", KNOWN)
def test_peft_loads_it_with_equal_logits(tmp_path, kind, name):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = adapted(kind, SHAPES[name])
    base, folder = write(random_model(kind), tmp_path / "base"), write_adapter(model, tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()
    torch.testing.assert_close(logits(theirs), logits(model), atol=1e-4, rtol=1e-4)
    mine = set(load_file(folder / "adapter_model.safetensors"))
    theirs.save_pretrained(tmp_path / "theirs")
    assert set(load_file(tmp_path / "theirs" / "adapter_model.safetensors")) == mine


@pytest.mark.peer
@pytest.mark.parametrize("kind", KNOWN)
def test_an_adapter_of_pefts_loads_here(tmp_path, kind):
    """Ranks and alphas by name, an own head, biases: all that one may say of a LoRA."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = write(random_model(kind, tied_head=False), tmp_path / "base")
    last = "mlp.c_proj" if kind == "gpt2" else "mlp.down_proj"
    config = LoraConfig(
        r=3, lora_alpha=5, target_modules="all-linear", rank_pattern={last: 2}, alpha_pattern={f"1.{last}": 7},
        modules_to_save=["lm_head"], use_rslora=kind == "llama", fan_in_fan_out=kind == "gpt2", task_type="CAUSAL_LM",
        bias="none" if CONFIGS[kind].attention_bias == "none" else "all",
    )  # fmt: skip
    theirs = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in theirs.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))
    theirs.save_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(logits(load_model(base, adapter=tmp_path / "adapter")), logits(theirs), atol=1e-4, rtol=1e-4)


def test_what_is_no_adapter_of_the_model_is_refused(tmp_path):
    base, folder = write(random_model(), tmp_path / "base"), write_adapter(adapted(), tmp_path / "adapter")
    described = json.loads((folder / "adapter_config.json").read_text())

    def refused(match: str, **change: object) -> None:
        (folder / "adapter_config.json").write_text(json.dumps({**described, **change}))
        with pytest.raises(InputError, match=match):
            load_model(base, adapter=folder)

    refused("adapter of type 'IA3'", peft_type="IA3")
    refused("asks for use_dora", use_dora=True)
    refused("began by 'pissa'", init_lora_weights="pissa")
    refused("does not tell the alpha of", alpha_pattern={"(": 3})
    wider = write_adapter(adapted(width=96), tmp_path / "wider")
    with pytest.raises(InputError, match=r"down_proj\.weight is \(96, 80\) there, not \(48, 80\)"):
        load_model(base, adapter=wider)
    with pytest.raises(InputError, match="is no adapter that can be read"):
        load_model(base, adapter=tmp_path)
    (folder / "adapter_config.json").write_text(json.dumps(described))
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors.pop("base_model.model.model.layers.1.mlp.up_proj.lora_B.weight")
    save_file(tensors, folder / "adapter_model.safetensors")
    refused(r"layers\.1\.mlp\.up_proj lacks one of its two matrices")
