"""The decoder agrees with Hugging Face's Qwen3 and Llama, and with itself when it reads through the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file

from ropewalk.model.cache import FIRST_TOKENS, KeyValueCache
from ropewalk.model.checkpoint import load_model, save_model, stream_weights, weight_shapes
from ropewalk.model.config import ModelConfig, portable
from ropewalk.model.transformer import Transformer, attend, rotary_angles, rotate
from ropewalk.runtime.errors import InputError, OptionError

KINDS = pytest.mark.parametrize("qk_norm", [True, False], ids=["qwen3", "llama"])


def random_model(*, tied: bool = False, seed: int = 0, qk_norm: bool = True, head_width: int = 16) -> Transformer:
    config = ModelConfig(
        vocabulary=97,
        width=48,
        layers=3,
        query_heads=6,
        key_value_heads=2,
        head_width=head_width,
        feed_forward_width=80,
        context_tokens=40,
        tied_head=tied,
        qk_norm=qk_norm,
    )
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.ndim == 1 else 0.0, 0.1, generator=generator)
    return model.eval()


def test_each_position_sees_only_the_past():
    model = random_model()
    ids_BT = torch.arange(20)[None] % 97
    changed_BT = ids_BT.clone()
    changed_BT[0, 12] += 1
    with torch.no_grad():
        difference_T = (model(ids_BT) - model(changed_BT)).abs().amax(dim=(0, 2))
    assert difference_T[:12].max() == 0
    assert difference_T[12:].min() > 0


def test_documents_of_a_row_do_not_see_each_other():
    model = random_model()
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

    def score(q_position: int, k_position: int) -> float:
        q = rotate(q_BHTK, *rotary_angles(torch.tensor([[q_position]]), head_width=16, theta=10_000.0))
        k = rotate(k_BHTK, *rotary_angles(torch.tensor([[k_position]]), head_width=16, theta=10_000.0))
        return float((q * k).sum())

    assert score(9, 4) == pytest.approx(score(105, 100), abs=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-2)


def test_reading_through_the_cache_equals_reading_at_once():
    model = random_model()
    lengths = [30, 17, 24]
    sequences = [torch.randint(0, 97, (length,), generator=torch.Generator().manual_seed(length)) for length in lengths]
    cache = KeyValueCache(model.config, slots=4, capacity_tokens=40)
    slots = [3, 0, 2]
    for layer in range(model.config.layers):
        cache.k_LBGSK[layer].fill_(7.0)  # what an earlier sequence left behind must not be seen
        cache.v_LBGSK[layer].fill_(7.0)
    with torch.no_grad():
        for slot, ids_T in zip(slots, sequences, strict=True):
            head = len(ids_T) - 5
            model(ids_T[None, :head], cache=cache, slots_B=torch.tensor([slot]), positions_BT=torch.arange(head)[None])
        for step in range(5):
            ids_BT = torch.stack([ids_T[len(ids_T) - 5 + step] for ids_T in sequences])[:, None]
            positions_BT = torch.tensor([[length - 5 + step] for length in lengths])
            hidden_BTD = model(ids_BT, cache=cache, slots_B=torch.tensor(slots), positions_BT=positions_BT)
            for row, ids_T in enumerate(sequences):
                whole_BTD = model(ids_T[None])
                torch.testing.assert_close(hidden_BTD[row, 0], whole_BTD[0, lengths[row] - 5 + step], atol=1e-5, rtol=1e-4)


def test_the_cache_takes_memory_as_sequences_grow():
    config = dataclasses.replace(random_model().config, context_tokens=3 * FIRST_TOKENS)
    model = Transformer(config)
    model.initialize(0)
    ids_BT = torch.randint(0, 97, (1, config.context_tokens), generator=torch.Generator().manual_seed(0))
    cache = KeyValueCache(config, slots=2, capacity_tokens=config.context_tokens)
    slots_B = torch.tensor([1])
    held = []
    with torch.no_grad():
        whole_BTD = model(ids_BT)
        for start in range(0, config.context_tokens, FIRST_TOKENS // 2):
            piece = slice(start, start + FIRST_TOKENS // 2)
            positions_BT = torch.arange(config.context_tokens)[None, piece]
            hidden_BTD = model(ids_BT[:, piece], cache=cache, slots_B=slots_B, positions_BT=positions_BT)
            torch.testing.assert_close(hidden_BTD, whole_BTD[:, piece], atol=1e-5, rtol=1e-4)
            held.append(cache.k_LBGSK[-1].shape[2])
        with pytest.raises(AssertionError, match="beyond the cache"):
            model(ids_BT[:, :1], cache=cache, slots_B=slots_B, positions_BT=torch.tensor([[config.context_tokens]]))
    assert held == [FIRST_TOKENS, FIRST_TOKENS, 2 * FIRST_TOKENS, 2 * FIRST_TOKENS, 3 * FIRST_TOKENS, 3 * FIRST_TOKENS]


@KINDS
@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_model_loads_with_equal_logits(tmp_path, tied, qk_norm):
    model = random_model(tied=tied, qk_norm=qk_norm)
    save_model(model, tmp_path, stop_ids=[1, 2], pad_id=3, start_id=1)
    ids_BT = torch.arange(30).view(2, 15)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path).logits(model(ids_BT)), model.logits(model(ids_BT)))


def test_streamed_weights_are_those_that_safetensors_writes(tmp_path):
    model = random_model(tied=True, qk_norm=False)
    weights = {name: weight for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    stream_weights(tmp_path / "streamed.safetensors", weight_shapes(model.config), weights.__getitem__)
    read = load_file(tmp_path / "streamed.safetensors")
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weight) for name, weight in weights.items())


def test_the_config_of_our_own_models_has_the_keys_it_always_had():
    """Its bytes are in the digest of every model."""
    described = json.dumps(portable(depth=2, vocabulary=1000, context_tokens=64).to_hugging_face())
    assert hashlib.sha256(described.encode()).hexdigest()[:16] == "ae078aa3930c4559"


@pytest.mark.peer
@KINDS
@pytest.mark.parametrize(("tied", "head_width"), [(False, 16), (True, 24)])
def test_transformers_loads_the_folder_with_equal_logits(tmp_path, tied, head_width, qk_norm):
    from transformers import AutoModelForCausalLM

    model = random_model(tied=tied, qk_norm=qk_norm, head_width=head_width)
    save_model(model, tmp_path, stop_ids=[1, 2], pad_id=3, start_id=1)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs).__name__ == ("Qwen3ForCausalLM" if qk_norm else "LlamaForCausalLM")
    ids_BT = torch.randint(0, 97, (3, 40))
    with torch.no_grad():
        torch.testing.assert_close(model.logits(model(ids_BT)), theirs(ids_BT).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.peer
@KINDS
def test_a_folder_saved_by_transformers_loads_here(tmp_path, qk_norm):
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    described = random_model(qk_norm=qk_norm).config.to_hugging_face()
    theirs = (Qwen3ForCausalLM(Qwen3Config(**described)) if qk_norm else LlamaForCausalLM(LlamaConfig(**described))).eval()
    theirs.save_pretrained(tmp_path)
    ids_BT = torch.randint(0, 97, (2, 40))
    model = load_model(tmp_path)
    assert model.config.qk_norm == qk_norm
    with torch.no_grad():
        torch.testing.assert_close(model.logits(model(ids_BT)), theirs(ids_BT).logits, atol=1e-5, rtol=1e-4)


def test_a_llama_says_less_in_its_config(tmp_path):
    """SmolLM2's own config.json names no head width, and older ones no key/value heads."""
    described = random_model(qk_norm=False).config.to_hugging_face()
    for key in ("head_dim", "num_key_value_heads", "tie_word_embeddings", "rope_parameters"):
        del described[key]
    config = ModelConfig.from_hugging_face({**described, "hidden_size": 60}, where="config.json")
    assert (config.head_width, config.key_value_heads, config.tied_head, config.rope_theta) == (10, 6, False, 10_000.0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"mlp_bias": True}, "biases"),
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "scaled rotary"),
        ({"model_type": "gpt2"}, "reads 'llama' and 'qwen3'"),
    ],
)
def test_what_the_decoder_lacks_is_refused(change, complaint):
    described = random_model(qk_norm=False).config.to_hugging_face()
    with pytest.raises(InputError, match=complaint):
        ModelConfig.from_hugging_face({**described, **change}, where="config.json")


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


def test_the_dial_gives_shapes_that_add_up():
    for depth in range(1, 25):
        config = portable(depth=depth, vocabulary=1000, context_tokens=64)
        assert config.query_heads * config.head_width == config.width == 64 * depth
    config = portable(depth=2, vocabulary=1000, context_tokens=64)
    with torch.device("meta"):
        weights = dict(Transformer(config).named_parameters())
    multiplied = sum(weight.numel() for name, weight in weights.items() if weight.ndim == 2 and "embed" not in name)
    assert config.matrix_parameters == multiplied
    with pytest.raises(OptionError, match="take 128"):
        portable(depth=2, vocabulary=1000, context_tokens=64, width=100)


def test_the_first_guess_is_uniform():
    model = Transformer(portable(depth=2, vocabulary=500, context_tokens=16))
    model.initialize(3)
    with torch.no_grad():
        logprobs_BTV = model.logits(model(torch.arange(16)[None])).log_softmax(-1)
    assert logprobs_BTV.mean().item() == pytest.approx(-torch.log(torch.tensor(500.0)).item(), abs=0.01)
