"""A tiny random NLLB in CTranslate2's own format: its text is noise, the code around it is the real one."""

from pathlib import Path

import numpy as np

WIDTH = 16


def build(folder: Path, languages=("eng_Latn", "spa_Latn", "fra_Latn"), seed: int = 0) -> Path:
    """Write model.bin, config.json, shared_vocabulary.json and tokenizer.json."""
    import tokenizers
    from ctranslate2.specs import TransformerSpec
    from tokenizers import AddedToken, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(models.BPE({token: index for index, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(one, special=True) for one in ("<unk>", "<s>", "</s>", *languages)])
    vocabulary = [tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size())]
    spec = TransformerSpec.from_config((2, 2), 2)
    _fill(spec, np.random.default_rng(seed), len(vocabulary))
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.config.decoder_start_token = "</s>"
    spec.validate()
    spec.optimize()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _fill(spec, random: np.random.Generator, size: int) -> None:
    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 0.3, shape).astype(np.float32)

    def norm(layer) -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def linear(layer, outputs: int, inputs: int) -> None:
        layer.weight, layer.bias = weights(outputs, inputs), weights(outputs)

    for part in (spec.encoder, spec.decoder):
        part.position_encodings.encodings = weights(1024, WIDTH)
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
    table = weights(size, WIDTH)
    spec.encoder.embeddings[0].weight = spec.decoder.embeddings.weight = spec.decoder.projection.weight = table
