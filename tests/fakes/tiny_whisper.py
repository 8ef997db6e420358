"""A tiny random Whisper in CTranslate2's own format, so that tests drive the real faster-whisper code without a hub.

It hears nothing: its text is noise, the same each time for the same seed. Loading, tokenising, decoding, word times and
language detection are the real ones.
"""

import json
from pathlib import Path

import numpy as np

WIDTH, HEADS, LAYERS, MELS = 16, 2, 2, 80


def build(folder: Path, seed: int = 0) -> Path:
    """Write model.bin, config.json, vocabulary.json, tokenizer.json and preprocessor_config.json. Under 1 s, 2 MB."""
    from ctranslate2.specs import whisper_spec
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    tokenizer = _tokenizer(list(_LANGUAGE_CODES))
    size = tokenizer.get_vocab_size()
    spec = whisper_spec.WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    random = np.random.default_rng(seed)
    _fill(spec, random, size)
    spec.register_vocabulary([tokenizer.id_to_token(index) for index in range(size)])
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.alignment_heads = [(1, 0)]
    spec.config.lang_ids = [tokenizer.token_to_id(f"<|{code}|>") for code in _LANGUAGE_CODES]
    spec.validate()
    spec.optimize()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": MELS}))
    return folder


def _tokenizer(languages: list[str]):
    """Byte-level BPE of the 256 bytes, then Whisper's special tokens in Whisper's order and 1,501 times."""
    import tokenizers
    from tokenizers import AddedToken, decoders, models, pre_tokenizers

    # Without the empty token CTranslate2 takes the model for an English-only one.
    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), ""]
    tokenizer = tokenizers.Tokenizer(models.BPE({token: index for index, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in languages)]
    special += [
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]
    special += [f"<|{index * 0.02:.2f}|>" for index in range(1501)]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _fill(spec, random: np.random.Generator, vocabulary: int) -> None:
    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 0.3, shape).astype(np.float32)

    def norm(layer) -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def linear(layer, outputs: int, inputs: int) -> None:
        layer.weight, layer.bias = weights(outputs, inputs), weights(outputs)

    for name, channels in (("conv1", MELS), ("conv2", WIDTH)):
        convolution = getattr(spec.encoder, name)
        convolution.weight, convolution.bias = weights(WIDTH, channels, 3), weights(WIDTH)
    for part, positions in ((spec.encoder, 1500), (spec.decoder, 448)):
        part.position_encodings.encodings = weights(positions, WIDTH)
        norm(part.layer_norm)
        for layer in part.layer:
            norm(layer.self_attention.layer_norm)
            linear(layer.self_attention.linear[0], 3 * WIDTH, WIDTH)
            linear(layer.self_attention.linear[1], WIDTH, WIDTH)
            if hasattr(layer, "attention"):
                norm(layer.attention.layer_norm)
                linear(layer.attention.linear[0], WIDTH, WIDTH)
                linear(layer.attention.linear[1], 2 * WIDTH, WIDTH)
                linear(layer.attention.linear[2], WIDTH, WIDTH)
            norm(layer.ffn.layer_norm)
            linear(layer.ffn.linear_0, 4 * WIDTH, WIDTH)
            linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH)
    spec.decoder.embeddings.weight = weights(vocabulary, WIDTH)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    spec.decoder.scale_embeddings = False
