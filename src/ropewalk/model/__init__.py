"""The Transformer, its loss, and its folder on disk.

    config        ModelConfig: the shape, and the depth dial that derives it
    transformer   the decoder, the readable way
    cache         keys and values of the positions already read
    loss          cross-entropy without ever holding the logits; bits per byte
    checkpoint    a Hugging Face folder in and out

A model artifact is a Hugging Face folder: `config.json`, `model.safetensors`, the tokenizer's files and
`generation_config.json`. The `portable` shape is Qwen3's, so transformers, vLLM and llama.cpp load it as it is.
"""
