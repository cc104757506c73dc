"""The decoder agrees with Hugging Face's models of each family, and with itself when it reads through the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from ropewalk.model.attention import attend
from ropewalk.model.cache import FIRST_PAGES, PAGE_TOKENS, KeyValueCache
from ropewalk.model.checkpoint import load_model, save_model, stored_tensors, stream_weights
from ropewalk.model.config import PRESETS, ModelConfig, RopeScaling, gpt2, portable, speed
from ropewalk.model.families import from_hugging_face, to_hugging_face
from ropewalk.model.transformer import Transformer, rotary_angles, rotary_frequencies, rotate
from ropewalk.runtime.errors import InputError, OptionError

LLAMA3 = RopeScaling("llama3", 8.0, 1.0, 4.0, original_context_tokens=16)
SHAPE = {"vocabulary": 97, "width": 48, "layers": 3, "head_width": 16, "feed_forward_width": 80, "context_tokens": 40}
GROUPED = {**SHAPE, "query_heads": 6, "key_value_heads": 2}
CONFIGS = {
    "qwen3": ModelConfig(**GROUPED),
    "llama": ModelConfig(**GROUPED, qk_norm=False),
    "llama-biases": ModelConfig(**GROUPED, qk_norm=False, attention_bias="all", feed_forward_bias=True),
    "llama3-rope": ModelConfig(**GROUPED, qk_norm=False, rope_theta=100.0, rope_scaling=LLAMA3),
    "linear-rope": ModelConfig(**GROUPED, qk_norm=False, rope_scaling=RopeScaling("linear", 4.0)),
    "qwen2": ModelConfig(**GROUPED, qk_norm=False, attention_bias="qkv"),
    "gpt2": dataclasses.replace(
        gpt2(depth=3, vocabulary=97, context_tokens=40, width=48, head_width=16), feed_forward_width=80
    ),
    "speed": speed(depth=3, vocabulary=97, context_tokens=40, width=48, head_width=16),
}
KNOWN = [name for name in CONFIGS if name != "speed"]
ALL = pytest.mark.parametrize("kind", list(CONFIGS))


def random_model(kind: str = "qwen3", *, seed: int = 0, **changes: object) -> Transformer:
    model = Transformer(dataclasses.replace(CONFIGS[kind], **changes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(1.0 if weight.ndim == 1 and name.endswith("weight") else 0.0, 0.1, generator=generator)
            if name.endswith("_scale"):
                weight.add_(0.5)
    return model.eval()


@ALL
def test_each_position_sees_only_the_past(kind):
    model = random_model(kind)
    ids_BT = torch.arange(20)[None] % 97
    changed_BT = ids_BT.clone()
    changed_BT[0, 12] += 1
    with torch.no_grad():
        difference_T = (model(ids_BT) - model(changed_BT)).abs().amax(dim=(0, 2))
    assert difference_T[:12].max() == 0
    assert difference_T[12:].min() > 0


@ALL
def test_documents_of_a_row_do_not_see_each_other(kind):
    model = random_model(kind)
    ids_BT = torch.arange(20)[None] % 97
    documents_BT = torch.tensor([[0] * 8 + [1] * 7 + [-1] * 5])
    positions_BT = torch.tensor([[*range(8), *range(7), *range(5)]])
    with torch.no_grad():
        packed_TD = model(ids_BT, positions_BT=positions_BT, documents_BT=documents_BT)[0]
        for start, end in ((0, 8), (8, 15), (15, 20)):
            torch.testing.assert_close(packed_TD[start:end], model(ids_BT[:, start:end])[0], atol=1e-5, rtol=1e-4)


def test_attention_is_the_textbook_formula():
    torch.manual_seed(0)
    q_BHTK, k_BGSK, v_BGSK = torch.randn(2, 4, 7, 8), torch.randn(2, 2, 7, 8), torch.randn(2, 2, 7, 8)
    mixed_BHTK = attend(q_BHTK, k_BGSK, v_BGSK)
    for head in range(4):
        scores_BTS = q_BHTK[:, head] @ k_BGSK[:, head // 2].mT / 8**0.5
        scores_BTS = scores_BTS.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
        torch.testing.assert_close(mixed_BHTK[:, head], scores_BTS.softmax(-1) @ v_BGSK[:, head // 2])


def test_rotary_scores_depend_on_distance_only():
    torch.manual_seed(0)
    q_BHTK, k_BHTK = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    frequencies = rotary_frequencies(CONFIGS["qwen3"])

    def score(q_position: int, k_position: int) -> float:
        q = rotate(q_BHTK, *rotary_angles(torch.tensor([[q_position]]), frequencies))
        k = rotate(k_BHTK, *rotary_angles(torch.tensor([[k_position]]), frequencies))
        return float((q * k).sum())

    assert score(9, 4) == pytest.approx(score(105, 100), abs=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-2)


@ALL
def test_reading_through_the_cache_equals_reading_at_once(kind):
    """Sequences of other lengths, in pages that lie anywhere, two of them in pages that both begin with."""
    model = random_model(kind)
    draw = torch.Generator().manual_seed(0)
    beginning_T = torch.randint(0, 97, (PAGE_TOKENS,), generator=draw)
    rest = [torch.randint(0, 97, (length,), generator=draw) for length in (22, 17, 18)]
    sequences = [torch.cat((beginning_T, rest[0])), rest[1], torch.cat((beginning_T, rest[2]))]
    table_BP = torch.tensor([[3, 7, 1], [5, 2, 0], [3, 4, 6]])  # 0 where a row ends
    cache = KeyValueCache(model.config, pages=7)
    for layers in (cache.k_LGNK, cache.v_LGNK, [cache.x_1ND]):
        for layer in layers:
            layer.fill_(7.0)  # what an earlier sequence left behind must not be seen
    with torch.no_grad():
        for row, (ids_T, found) in enumerate(zip(sequences, (0, 0, PAGE_TOKENS), strict=True)):
            head_1T, positions_1T = ids_T[None, found:-5], torch.arange(found, len(ids_T) - 5)[None]
            model(head_1T, cache=cache, table_BP=table_BP[row : row + 1], positions_BT=positions_1T)
        for left in range(5, 0, -1):
            ids_BT = torch.stack([ids_T[-left] for ids_T in sequences])[:, None]
            positions_BT = torch.tensor([[len(ids_T) - left] for ids_T in sequences])
            hidden_BTD = model(ids_BT, cache=cache, table_BP=table_BP, positions_BT=positions_BT)
            for row, ids_T in enumerate(sequences):
                torch.testing.assert_close(hidden_BTD[row, 0], model(ids_T[None])[0, -left], atol=1e-5, rtol=1e-4)


@ALL
def test_a_copied_page_is_read_as_its_source(kind):
    model = random_model(kind)
    ids_1T = torch.randint(0, 97, (1, 9), generator=torch.Generator().manual_seed(0))
    cache, there = KeyValueCache(model.config, pages=2), {"positions_BT": torch.arange(8)[None]}
    with torch.no_grad():
        whole_BTD = model(ids_1T)
        model(ids_1T[:, :8], cache=cache, table_BP=torch.tensor([[2]]), **there)
        cache.copy([2], [1])
        last = {"table_BP": torch.tensor([[1]]), "positions_BT": torch.tensor([[8]])}
        torch.testing.assert_close(model(ids_1T[:, 8:], cache=cache, **last)[0, 0], whole_BTD[0, 8], atol=1e-5, rtol=1e-4)


def test_the_cache_takes_memory_as_pages_are_written():
    pages = 3 * FIRST_PAGES
    config = dataclasses.replace(random_model().config, context_tokens=pages * PAGE_TOKENS)
    model = Transformer(config)
    model.initialize(0)
    ids_BT = torch.randint(0, 97, (1, config.context_tokens), generator=torch.Generator().manual_seed(0))
    cache, table_BP = KeyValueCache(config, pages=pages), torch.arange(1, pages + 1)[None]
    held = []
    with torch.no_grad():
        whole_BTD = model(ids_BT)
        for start in range(0, pages, FIRST_PAGES):
            piece = slice(start * PAGE_TOKENS, (start + FIRST_PAGES) * PAGE_TOKENS)
            positions_BT = torch.arange(config.context_tokens)[None, piece]
            read = table_BP[:, : start + FIRST_PAGES]
            hidden_BTD = model(ids_BT[:, piece], cache=cache, table_BP=read, positions_BT=positions_BT)
            torch.testing.assert_close(hidden_BTD, whole_BTD[:, piece], atol=1e-5, rtol=1e-4)
            held.append(cache.k_LGNK[-1].shape[1] // PAGE_TOKENS)
        with pytest.raises(AssertionError, match="beyond the cache"):
            beyond = {"table_BP": torch.tensor([[pages + 1]]), "positions_BT": torch.tensor([[0]])}
            model(ids_BT[:, :1], cache=cache, **beyond)
    assert held == [2 * FIRST_PAGES, 1 + 3 * FIRST_PAGES, 1 + 3 * FIRST_PAGES]


@ALL
@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_model_loads_with_equal_logits(tmp_path, tied, kind):
    model = random_model(kind, tied_head=tied)
    save_model(model, tmp_path, stop_ids=[1, 2], pad_id=3, start_id=1)
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    ids_BT = torch.arange(30).view(2, 15)
    with torch.no_grad():
        # Weights read by memory map begin at any multiple of 4 bytes; on some processors that changes a product's last bits.
        torch.testing.assert_close(loaded.logits(loaded(ids_BT)), model.logits(model(ids_BT)), atol=1e-5, rtol=0)
    weights = model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in loaded.state_dict().items())


def test_streamed_weights_are_those_that_safetensors_writes(tmp_path):
    model = random_model("llama", tied_head=True)
    weights = {name: weight for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    stream_weights(tmp_path / "streamed.safetensors", stored_tensors(model.config)[1], weights.__getitem__)
    read = load_file(tmp_path / "streamed.safetensors")
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weight) for name, weight in weights.items())


def test_a_kill_leaves_no_file_of_another_name(tmp_path):
    """What lies in an artifact's folder is part of it: safetensors' writer left a .tmp file there, when it was killed."""
    program = (
        "import sys, torch\nfrom pathlib import Path\nfrom ropewalk.model.checkpoint import save_model\n"
        "from ropewalk.model.config import portable\nfrom ropewalk.model.transformer import Transformer\n"
        "model = Transformer(portable(depth=8, vocabulary=20_000, context_tokens=8))\nprint('ready', flush=True)\n"
        "while True: save_model(model, Path(sys.argv[1]), stop_ids=[1], pad_id=3, start_id=1)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(40):
            time.sleep(0.02)
            names = {path.name for path in tmp_path.iterdir()}
            assert names <= {"config.json", "generation_config.json", "model.safetensors"}
        process.kill()


def test_the_config_of_our_own_models_has_the_keys_it_always_had():
    """Its bytes are in the digest of every model."""
    described = json.dumps(to_hugging_face(portable(depth=2, vocabulary=1000, context_tokens=64)))
    assert hashlib.sha256(described.encode()).hexdigest()[:16] == "ae078aa3930c4559"


@pytest.mark.peer
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KNOWN)
def test_transformers_loads_the_folder_with_equal_logits(tmp_path, kind, tied):
    from transformers import AutoModelForCausalLM

    model = random_model(kind, tied_head=tied)
    save_model(model, tmp_path, stop_ids=[1, 2], pad_id=3, start_id=1)
    theirs, said = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(said.values())  # no weight missing, none too many
    ids_BT = torch.randint(0, 97, (3, 40))
    with torch.no_grad():
        torch.testing.assert_close(model.logits(model(ids_BT)), theirs(ids_BT).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.peer
@pytest.mark.parametrize("kind", KNOWN)
def test_a_folder_saved_by_transformers_loads_here(tmp_path, kind):
    from transformers import AutoConfig, AutoModelForCausalLM

    ours = random_model(kind)
    (tmp_path / "ours").mkdir()
    save_model(ours, tmp_path / "ours", stop_ids=[1], pad_id=3, start_id=1)
    torch.manual_seed(1)
    theirs = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path / "ours")).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    theirs.save_pretrained(tmp_path / "theirs")
    model = load_model(tmp_path / "theirs")
    assert model.config == ours.config
    ids_BT = torch.randint(0, 97, (2, 40))
    with torch.no_grad():
        torch.testing.assert_close(model.logits(model(ids_BT)), theirs(ids_BT).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.peer
def test_a_gpt2_as_published_loads(tmp_path):
    """OpenAI's files have no prefix before the names, and hold the causal mask."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    save_model(random_model("gpt2"), tmp_path, stop_ids=[1, 2], pad_id=3, start_id=1)
    weights = load_file(tmp_path / "model.safetensors")
    published = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    published |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 40, 40).tril() for layer in range(3)}
    save_file(published, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, theirs = load_model(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    ids_BT = torch.randint(0, 97, (3, 40))
    with torch.no_grad():
        torch.testing.assert_close(model.logits(model(ids_BT)), theirs(ids_BT).logits, atol=1e-5, rtol=1e-4)


def test_a_llama_says_less_in_its_config(tmp_path):
    """SmolLM2's own config.json names no head width, and older ones no key/value heads."""
    described = to_hugging_face(CONFIGS["llama"])
    for key in ("head_dim", "num_key_value_heads", "tie_word_embeddings", "rope_parameters"):
        del described[key]
    config = from_hugging_face({**described, "hidden_size": 60}, where="config.json")
    assert (config.head_width, config.key_value_heads, config.tied_head, config.rope_theta) == (10, 6, False, 10_000.0)


@pytest.mark.parametrize(
    ("kind", "change", "complaint"),
    [
        ("llama", {"hidden_act": "gelu"}, "activation 'gelu'"),
        ("llama", {"rope_scaling": None, "rope_parameters": {"rope_type": "yarn", "factor": 8.0}}, "scaled by 'yarn'"),
        ("llama", {"model_type": "mamba"}, "reads 'gpt2', 'llama'"),
        ("qwen2", {"use_sliding_window": True}, "sliding windows"),
        ("gpt2", {"activation_function": "relu"}, "activation 'relu'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "inverse_layer"),
        ("speed", {"extras": ["telepathy"]}, "newer ropewalk"),
    ],
)
def test_what_the_decoder_lacks_is_refused(kind, change, complaint):
    with pytest.raises(InputError, match=complaint):
        from_hugging_face({**to_hugging_face(CONFIGS[kind]), **change}, where="config.json")


def test_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no config\.json"):
        load_model(tmp_path)
    save_model(random_model(), tmp_path, stop_ids=[1], pad_id=3, start_id=1)
    described = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**described, "hidden_size": 64}))
    with pytest.raises(InputError, match=r"does not fit its config\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**described, "model_type": "mamba"}))
    with pytest.raises(InputError, match="'mamba'"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(described))
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        load_model(tmp_path)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_dial_gives_shapes_that_add_up(preset):
    for depth in range(1, 25):
        config = PRESETS[preset](depth=depth, vocabulary=1000, context_tokens=64)
        assert config.query_heads * config.head_width == config.width
    config = PRESETS[preset](depth=2, vocabulary=1000, context_tokens=64)
    with torch.device("meta"):
        weights = dict(Transformer(config).named_parameters(remove_duplicate=False))
    multiplied = sum(
        weight.numel()
        for name, weight in weights.items()
        if weight.ndim == 2 and "embed" not in name and not name.endswith("_gate.weight")
    )
    assert config.matrix_parameters == multiplied
    with pytest.raises(OptionError, match="take 128"):
        PRESETS[preset](depth=2, vocabulary=1000, context_tokens=64, width=100)


def test_gpt2_has_the_published_sizes():
    """Radford et al. 2019, table 2, as counted by the weights they published."""
    published = {12: 124_439_808, 24: 354_823_168, 36: 774_030_080, 48: 1_557_611_200}
    for depth, parameters in published.items():
        with torch.device("meta"):
            model = Transformer(gpt2(depth=depth, vocabulary=50257, context_tokens=1024))
        assert sum(weight.numel() for weight in model.parameters()) == parameters


@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_first_guess_is_uniform(preset):
    model = Transformer(PRESETS[preset](depth=2, vocabulary=500, context_tokens=16))
    model.initialize(3)
    with torch.no_grad():
        logprobs_BTV = model.logits(model(torch.arange(16)[None])).log_softmax(-1)
    tolerance = 0.1 if preset == "gpt2" else 0.01
    assert logprobs_BTV.mean().item() == pytest.approx(-torch.log(torch.tensor(500.0)).item(), abs=tolerance)


@ALL
def test_activations_computed_again_give_the_same_gradients(kind):
    model, ids_BT = random_model(kind), torch.arange(30).view(2, 15)
    gradients = []
    for model.recompute in (False, True):
        model.zero_grad()
        model(ids_BT).square().mean().backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5)


@ALL
def test_half_precision_stays_near(kind):
    model, ids_BT = random_model(kind), torch.arange(30).view(2, 15)
    with torch.no_grad():
        exact_BTV = model.logits(model(ids_BT))
        model.precision = torch.bfloat16
        near_BTV = model.logits(model(ids_BT))
    assert near_BTV.dtype == torch.float32 and not torch.equal(near_BTV, exact_BTV)
    torch.testing.assert_close(near_BTV, exact_BTV, atol=0.1 * float(exact_BTV.std()), rtol=0.1)
