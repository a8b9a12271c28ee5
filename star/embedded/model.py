"""The embedded base models: a ladder of small Llamas, and the tokenizer they share."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Literal

from star.embedded.corpus import END, PAD, SUMS, Mixture, documents

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

Size = Literal["0.03m", "0.1m", "0.2m", "0.5m", "1m", "4m", "16m", "100m"]

# hidden, layers, heads, intermediate
SIZES: dict[Size, tuple[int, int, int, int]] = {
    "0.03m": (24, 2, 2, 64),
    "0.1m": (48, 2, 4, 128),
    "0.2m": (64, 3, 4, 176),
    "0.5m": (96, 4, 4, 256),
    "1m": (128, 5, 4, 352),
    "4m": (224, 7, 7, 608),
    "16m": (384, 9, 6, 1024),
    "100m": (768, 14, 12, 2048),
}


def build_tokenizer(mixture: Mixture = SUMS) -> PreTrainedTokenizerFast:
    """Byte-level BPE: every byte, every digit with and without its space, the words of the format, an end and a pad token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(r" ?\d| ?[^\s\d]+|\s"), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384 if mixture.index_hints else 320,  # letters with and without their blank
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sample = islice(documents(0, mixture), 2000)
    tokenizer.train_from_iterator(("".join(p + c for p, c in doc.parts) for doc in sample), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )


def build_model(
    size: Size, vocab_size: int, seed: int, eos: int | None, pad: int | None, *, theta: float = 10_000.0, head: int | None = None
) -> LlamaForCausalLM:
    """A random Llama of the ladder. `theta`: base of its rotary encoding; `head`: size of a head, else hidden / heads."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, layers, heads, intermediate = SIZES[size]
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head or hidden // heads,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        tie_word_embeddings=False,  # some engines keep the old head of a tied model after a weight swap
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
        initializer_range=0.02 if hidden > 256 else 1 / math.sqrt(hidden) / 2,
    )
    return LlamaForCausalLM(config)


HEAD_SIZE = 32
"""Smallest head size of vLLM's CPU attention."""


def widened(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The same function with heads of HEAD_SIZE dimensions, so that vLLM loads it on a CPU too; unchanged if not possible.

    A head of 16 or 8 gets further dimensions that are zero. Rotary pair j of d dimensions turns by base^(-2j/d), which is pair
    j * HEAD_SIZE / d of HEAD_SIZE, so that is where it goes; queries grow by the root of the ratio, since scores are divided
    by the root of the head size. Zero queries meet zero keys and zero values zero outputs: training leaves them zero.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = model.config
    heads, old = config.num_attention_heads, config.head_dim
    if old >= HEAD_SIZE or HEAD_SIZE % old:
        return model
    wide = LlamaForCausalLM(LlamaConfig(**{**config.to_diff_dict(), "head_dim": HEAD_SIZE}))
    ratio = HEAD_SIZE // old
    places = [half * HEAD_SIZE // 2 + ratio * pair for half in (0, 1) for pair in range(old // 2)]
    weights = wide.state_dict()
    for name, weight in model.state_dict().items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            grown = torch.zeros(heads, HEAD_SIZE, config.hidden_size)
            grown[:, places] = weight.reshape(heads, old, config.hidden_size)
            weight = grown.reshape(-1, config.hidden_size) * (math.sqrt(ratio) if "q_proj" in name else 1.0)
        elif name.endswith("o_proj.weight"):
            grown = torch.zeros(config.hidden_size, heads, HEAD_SIZE)
            grown[:, :, places] = weight.reshape(config.hidden_size, heads, old)
            weight = grown.reshape(config.hidden_size, -1)
        weights[name] = weight
    wide.load_state_dict(weights)
    return wide.eval()
