"""Random models of a few thousand weights with a byte-level BPE tokenizer, saved as from_pretrained directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

Architecture = Literal["llama", "qwen2", "gpt2"]
CORPUS = [
    "Input:\n6 2 4 + 2 5 9\nTarget:\n<scratch>\n6 2 4 + 2 5 9 , C: 0\n2 + 5 , 3 C: 1\n</scratch>\n8 8 3\n",
    "Question: A box holds 12 pens. How many pens do 7 boxes hold? Answer: 12 * 7 = 84. The answer is 84.\n",
    "0 1 2 3 4 5 6 7 8 9 + - * / = ( ) , . ? !",
]


def tiny_tokenizer(*, chat_template: bool = False, special: bool = True) -> Any:
    """A byte-level BPE tokenizer of about 300 tokens; `special=False` leaves out pad and end tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<eos>"] if special else [],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(CORPUS, trainer)
    names = {"pad_token": "<pad>", "eos_token": "<eos>"} if special else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, clean_up_tokenization_spaces=False, **names)
    if chat_template:
        tokenizer.chat_template = (
            "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}"
        )
    return tokenizer


def tiny_model(
    path: Path,
    architecture: Architecture = "llama",
    tied: bool = False,
    seed: int = 0,
    chat_template: bool = False,
    hidden: int = 32,
    layers: int = 2,
    special: bool = True,
    context: int = 512,
) -> Path:
    """Save a random model and its tokenizer into `path` and return it. The weights depend on `seed` alone."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer(chat_template=chat_template, special=special)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(_config(architecture, tokenizer, tied, hidden, layers, context))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                # Wide weights: a random model's choices must differ clearly, or greedy decoding hangs on rounding.
                if weight.ndim == 2:
                    torch.nn.init.normal_(weight, std=0.5 if "embed" in name or "wte" in name else 0.2)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def _config(architecture: Architecture, tokenizer: Any, tied: bool, hidden: int, layers: int, context: int) -> Any:
    from transformers import GPT2Config, LlamaConfig, Qwen2Config

    shared = {
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if architecture == "gpt2":
        return GPT2Config(n_embd=hidden, n_layer=layers, n_head=2, n_positions=context, **shared)
    config_class = LlamaConfig if architecture == "llama" else Qwen2Config
    return config_class(
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1 if architecture == "qwen2" else 2,
        max_position_embeddings=context,
        **shared,
    )
