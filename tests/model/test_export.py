"""A model as a GGUF file comes back equal, here and in transformers' own reader."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from tests.model.test_transformer import CONFIGS
from tests.tokenizer.foreign import write_foreign_tokenizer

from ropewalk.artifact import Artifact
from ropewalk.model import ImportOptions, run_import
from ropewalk.model.adapter_file import save_adapter
from ropewalk.model.checkpoint import load_model, save_model, stored_tensors
from ropewalk.model.gguf_out import ExportOptions, run_export
from ropewalk.model.lora import LoraShape, adapt, adapters
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError, OptionError
from ropewalk.tokenizer.encoding import Tokenizer


@pytest.fixture
def made(tmp_path, gpt2_folder):
    """Make a model artifact of a kind, widths in multiples of the 32 that GGUF quantises at once."""

    def make(kind: str, *, tokenizer: Path | None = None) -> Artifact:
        tokenizer = tokenizer or write_foreign_tokenizer(tmp_path / "tokenizer", gpt2_folder)
        vocabulary = Tokenizer.load(tokenizer).vocabulary
        changes = {"vocabulary": vocabulary, "width": 64, "feed_forward_width": 96, "context_tokens": 64}
        config = dataclasses.replace(CONFIGS[kind], **changes, query_heads=4, key_value_heads=4 if kind == "gpt2" else 2)
        model = Transformer(config)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.1, generator=generator)
        shutil.copytree(tokenizer, tmp_path / "theirs", ignore=shutil.ignore_patterns("manifest.json"))
        save_model(model.eval(), tmp_path / "theirs", stop_ids=[2], pad_id=2, start_id=1)
        return run_import(ImportOptions(source=tmp_path / "theirs"), out=tmp_path / "model")

    return make


@pytest.mark.peer
@pytest.mark.parametrize(("stored", "off"), [("f32", 1e-5), ("f16", 2e-3), ("q8_0", 0.1)])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt2"])
def test_transformers_reads_the_file_with_equal_logits(tmp_path, made, kind, stored, off):
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = made(kind).path
    run_export(ExportOptions(model=folder, out=tmp_path / "model.gguf", stored=stored))
    config = AutoConfig.from_pretrained(folder)  # its reader knows no head width of Qwen3's
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", config=config).eval()
    model, ids_BT = load_model(folder), torch.arange(40).view(2, 20)
    with torch.no_grad():
        ours_BTV, theirs_BTV = model.logits(model(ids_BT)), theirs(ids_BT).logits
    assert (ours_BTV - theirs_BTV).abs().max() < off * max(1.0, float(ours_BTV.abs().max()))


@pytest.mark.peer
def test_a_llama_comes_back_whole(tmp_path, made):
    folder = made("llama").path
    run_export(ExportOptions(model=folder, out=tmp_path / "model.gguf", stored="f32"))
    again = run_import(ImportOptions(source=tmp_path / "model.gguf"), out=tmp_path / "again").path
    weights, back = load_model(folder).state_dict(), load_model(again).state_dict()
    assert all(torch.equal(back[name], weight) for name, weight in weights.items())
    ours, theirs = Tokenizer.load(folder), Tokenizer.load(again)
    assert ours.special == theirs.special
    assert ours.encode("Rope of 12 strands, isn't it?") == theirs.encode("Rope of 12 strands, isn't it?")


@pytest.mark.peer
def test_what_llama_cpp_has_no_name_for_is_refused(tmp_path, made):
    folder = made("speed").path
    with pytest.raises(InputError, match=r"llama\.cpp does not"):
        run_export(ExportOptions(model=folder, out=tmp_path / "model.gguf"))
    (tmp_path / "there.gguf").write_bytes(b"x")
    with pytest.raises(OptionError, match="there already"):
        run_export(ExportOptions(model=folder, out=tmp_path / "there.gguf"))


@pytest.mark.peer
def test_a_tokenizer_of_ours_goes_out_under_a_name_that_splits_alike(tmp_path, made, gpt4_folder):
    from gguf import GGUFReader

    folder = made("qwen3", tokenizer=gpt4_folder).path
    run_export(ExportOptions(model=folder, out=tmp_path / "model.gguf"))
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "model.gguf").fields.items()}
    tokenizer = Tokenizer.load(folder)
    assert fields["tokenizer.ggml.pre"] == "dbrx"
    assert len(fields["tokenizer.ggml.tokens"]) == tokenizer.vocabulary
    ends = [fields["tokenizer.ggml.tokens"][index] for index in tokenizer.special.values()]
    assert ends == list(tokenizer.special)
    assert "<|im_start|>" in fields["tokenizer.chat_template"]


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_an_adapter_is_merged_on_the_way_out(tmp_path, made, kind):
    from gguf import GGUFReader

    base = made(kind).path
    model = adapt(load_model(base), LoraShape(4, 8.0, rank_stabilised=False, targets="all"), seed=0)
    for layer in adapters(model).values():
        torch.nn.init.normal_(layer.lora_B.weight, std=0.1)
    save_adapter(model, stored_tensors(model.config)[0], tmp_path / "adapter")
    merged = run_import(ImportOptions(source=base, adapter=tmp_path / "adapter"), out=tmp_path / "merged").path
    run_export(ExportOptions(model=base, adapter=tmp_path / "adapter", out=tmp_path / "one.gguf", stored="f32"))
    run_export(ExportOptions(model=merged, out=tmp_path / "other.gguf", stored="f32"))
    run_export(ExportOptions(model=base, out=tmp_path / "base.gguf", stored="f32"))
    one, other, plain = (
        {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / f"{name}.gguf").tensors}
        for name in ("one", "other", "base")
    )
    assert all((one[name] == other[name]).all() for name in plain)
    changed = {name.split(".")[2] for name in plain if not (one[name] == plain[name]).all()}
    assert (
        changed
        == {
            "llama": {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"},
            "gpt2": {"attn_qkv", "attn_output", "ffn_up", "ffn_down"},
        }[kind]
    )
