"""Process reward models of a few thousand weights in the formats of public ones: random, or planted to find "~" in a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny_models import tiny_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
SPECIAL = {
    "qwen": ["<|im_start|>", "<|im_end|>", "<extra_0>"],
    "fover": ["<|im_start|>", "<|im_end|>"],
    "rlhflow": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
}
MERGED = {
    "openr": [" \n\n\n\n\n", " +", " -"],
    "versa": [" \n\n\n\n"],
    "trl-paragraphs": ["\n\n"],
    "fover": ["correct", "incorrect"],
}
"""Tokens of the real vocabularies, for which the tiny one has no merges."""
WRONG = "~"
HIDDEN = 64


def sentencepiece() -> Any:
    """Letters, with a space put in front of every text, as Mistral's tokenizer has it; " ки", " +" and " -" are tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    letters = ["<s>", "</s>", "<unk>", "▁", *map(chr, range(33, 127)), "\n", "к", "и", "▁к", "▁ки", "▁+", "▁-"]
    merges = [("▁", "к"), ("▁к", "и"), ("▁", "+"), ("▁", "-")]
    raw = Tokenizer(models.BPE({text: at for at, text in enumerate(letters)}, merges, unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Metaspace()
    from tokenizers.processors import TemplateProcessing

    raw.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>")


def tokenizer_of(kind: str) -> Any:
    """The real special tokens, template and separator of a format over a tiny vocabulary."""
    if kind == "math-shepherd":
        return sentencepiece()
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(SPECIAL.get(kind, []), special_tokens=True)
    tokenizer.add_tokens(MERGED.get(kind, []))
    if kind in ("qwen", "fover"):
        tokenizer.chat_template = CHATML
    if kind == "rlhflow":
        tokenizer.bos_token = "<|begin_of_text|>"
        tokenizer.chat_template = LLAMA3
    return tokenizer


def tiny_prm(path: Path, kind: str, *, planted: bool = False, labels: int = 2, context: int = 1024, seed: int = 0) -> Path:
    """Save a model of a format into `path` and return it. `planted`: P(right) falls from .9997 to .0003 where "~" stands before."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForTokenClassification,
        LlamaConfig,
        MistralConfig,
        Qwen2Config,
    )

    tokenizer = tokenizer_of(kind)
    config_class = {"qwen": Qwen2Config, "math-shepherd": MistralConfig}.get(kind, LlamaConfig)
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN,
        num_hidden_layers=1 if planted else 2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        num_labels=labels,
        tie_word_embeddings=False,
        sliding_window=None,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "qwen":
            from analysis.soundness.prm import qwen_prm_class

            model = qwen_prm_class()(config)
        elif kind.startswith("trl"):
            model = AutoModelForTokenClassification.from_config(config)
        else:
            model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim == 2 or name.startswith("score"):
                    torch.nn.init.normal_(weight, std=0.5 if "embed" in name else 0.2)
            if planted:
                plant(model, tokenizer, kind)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    if kind == "qwen":  # as published: code of its own, which must not be needed
        content = json.loads((path / "config.json").read_text())
        content |= {"architectures": ["Qwen2ForProcessRewardModel"], "auto_map": {"AutoModel": "modeling_qwen2_rm.Nothing"}}
        (path / "config.json").write_text(json.dumps(content))
    return path


def plant(model: Any, tokenizer: Any, kind: str) -> None:
    """Attention without preference sums up dimension 0, which "~" alone has, into dimension 2; the head compares 2 with 1."""
    import torch

    for name, weight in model.named_parameters():
        torch.nn.init.constant_(weight, 1.0 if name.endswith("norm.weight") else 0.0)
    layer = model.model.layers[0].self_attn
    model.model.embed_tokens.weight[:, 1] = 1.0
    model.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids(WRONG), :2] = torch.tensor([1.0, 0.0])
    layer.v_proj.weight[0, 0] = 1.0
    layer.o_proj.weight[2, 0] = 1e4
    if kind == "qwen":
        torch.nn.init.eye_(model.score[0].weight)
    if kind == "qwen" or kind.startswith("trl"):
        head, wrong, right = model.score[2] if kind == "qwen" else model.score, 0, 1
    else:
        from analysis.soundness.prm_formats import FORMATS, Reader

        head = model.lm_head
        wrong, right = Reader(FORMATS[kind], tokenizer).looked_at
    head.weight[wrong, 2] = head.weight[right, 1] = 1.0
