"""Every architecture of AutoModelForQuestionAnswering gives transformers' logits, from configs as published.

The configurations have the keys that the hub's files have (also those that transformers reads without
declaring them), with tiny sizes.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForQuestionAnswering
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES as KNOWN

from komrc.errors import ModelError
from komrc.modeling import SpanReader
from komrc.modeling.weights import UNDECLARED

# By their names in any configuration; a model takes those that it has.
TINY: dict[str, Any] = {
    "vocab_size": 90, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": 0,
    "eos_token_id": 2, "num_key_value_heads": 2, "embedding_size": 16, "d_inner": 32, "n_inner": 32,
    "decoder_layers": 2, "encoder_layers": 2, "decoder_attention_heads": 2, "encoder_attention_heads": 2,
    "decoder_ffn_dim": 32, "encoder_ffn_dim": 32, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2,
    "d_kv": 8, "d_ff": 32, "word_embed_proj_dim": 16, "ffn_dim": 32, "emb_dim": 16, "dim": 16, "d_model": 16,
    "n_layers": 2, "n_heads": 2, "n_layer": 2, "n_head": 2, "n_embd": 16, "entity_emb_size": 8,
    "entity_vocab_size": 10, "attention_window": [4, 4], "rotary_dim": 4, "num_experts": 2,
    "num_local_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8, "true_hidden_size": 16, "intra_bottleneck_size": 16,
    "attention_types": [[["global", "local"], 1]], "max_2d_position_embeddings": 64, "num_hash_functions": 2,
    "hidden_dim": 32, "num_hash_buckets": 64, "pronunciation_vocab_size": 8, "shape_vocab_size": 8,
}  # fmt: skip
# What the published files say beside the sizes.
PUBLISHED: dict[str, dict[str, Any]] = {
    "big_bird": {  # monologg/kobigbird-bert-base
        "attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1, "sep_token_id": 3,
        "max_position_embeddings": 128, "rescale_embeddings": False, "use_bias": True,
    },
    "deberta": {  # microsoft/deberta-base
        "relative_attention": True, "pos_att_type": "c2p|p2c", "max_relative_positions": -1,
        "position_biased_input": False, "padding_idx": 0, "pooler_dropout": 0, "talking_head": True,
        "type_vocab_size": 0,
    },
    "deberta-v2": {  # microsoft/mdeberta-v3-base
        "relative_attention": True, "pos_att_type": "p2c|c2p", "max_relative_positions": -1,
        "position_biased_input": False, "position_buckets": 8, "norm_rel_ebd": "layer_norm",
        "share_att_key": True, "type_vocab_size": 0, "attention_head_size": 8, "conv_kernel_size": 3,
        "conv_act": "gelu",
    },
    "layoutlmv3": {"coordinate_size": 2, "shape_size": 4},
    "funnel": {"block_sizes": [1, 1], "d_head": 8},
    "gpt_neo": {"hidden_size": 16},
    "lilt": {"channel_shrink_ratio": 2, "hidden_size": 24, "max_position_embeddings": 66},
    "ministral": {"head_dim": 16},
    "mistral": {"head_dim": 16},
    "qwen2": {"head_dim": 16},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
    "reformer": {
        "axial_pos_embds": False, "attn_layers": ["local", "local"], "attention_head_size": 8,
        "is_decoder": False,
    },
    "roberta": {"type_vocab_size": 1, "max_position_embeddings": 66},  # klue/roberta-base
    "squeezebert": {
        "q_groups": 1, "k_groups": 1, "v_groups": 1, "post_attention_groups": 1, "intermediate_groups": 1,
        "output_groups": 1,
    },
    "t5": {"decoder_start_token_id": 0},
    "mt5": {"decoder_start_token_id": 0},
    "umt5": {"decoder_start_token_id": 0},
    "xmod": {"default_language": "en_XX", "languages": ["en_XX"]},
}  # fmt: skip
PICTURES = ("layoutlmv2", "lxmert")  # read pictures beside the text


def published(folder: Path, kind: str) -> Path:
    """A folder as on the hub: config.json with exactly these keys, and random weights."""
    names = CONFIG_MAPPING[kind]().to_dict().keys() | CONFIG_MAPPING[kind].attribute_map.keys()
    values = {name: value for name, value in TINY.items() if name in names} | PUBLISHED.get(kind, {})
    text = json.dumps({"model_type": kind, "architectures": [KNOWN[kind]], **values})
    (folder / "config.json").write_text(text)
    torch.manual_seed(0)
    model = AutoModelForQuestionAnswering.from_config(AutoConfig.from_pretrained(folder))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    tensors = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def windows(length: int = 40) -> tuple[Any, Any, Any]:
    """Two windows, one of them padded: <s> question </s></s> context </s>, as RoBERTa writes pairs."""
    ids = torch.arange(length)[None].repeat(2, 1) % 80 + 5
    ids[:, 0], ids[:, 6], ids[:, 7], ids[0, -1], ids[1, 29] = 0, 2, 2, 2, 2
    mask = torch.ones_like(ids)
    mask[1, 30:] = 0
    types = torch.zeros_like(ids)
    types[:, 8:] = 1
    return torch.where(mask == 1, ids, 1), mask, types


@pytest.mark.parametrize("kind", [kind for kind in KNOWN if kind not in PICTURES])
def test_every_architecture_gives_transformers_logits(kind: str, tmp_path: Path) -> None:
    folder = published(tmp_path, kind)
    theirs = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    mine = SpanReader.trained(folder)
    ids, mask, types = windows()
    more = {"token_type_ids": types} if mine.uses_token_types else {}
    with torch.inference_mode():
        wanted = theirs(input_ids=ids, attention_mask=mask, **more)
        start, end, *_ = mine(ids, mask, types)
    real = mask.bool()
    assert torch.allclose(start[real], wanted.start_logits[real], atol=1e-5)
    assert torch.allclose(end[real], wanted.end_logits[real], atol=1e-5)


@pytest.mark.parametrize("kind", PICTURES)
def test_models_that_read_pictures_are_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="pictures"):
        SpanReader.from_pretrained(tmp_path)


def test_what_transformers_reads_undeclared_is_kept() -> None:
    """Keys that a model's code reads with ``getattr(config, …)`` although its class doesn't declare them."""
    # Dropout that is off in evaluation, and heads of other tasks.
    no_matter = re.compile(
        r"dropout|summary_|_cutoffs|_div_value|onnx_export|gradient_checkpointing|chunk_length|num_chunks"
    )
    for kind in KNOWN:
        class_ = CONFIG_MAPPING[kind]
        known = class_().to_dict().keys() | class_.attribute_map.keys()
        text = inspect.getsource(inspect.getmodule(getattr(transformers, KNOWN[kind])))
        read = set(re.findall(r'getattr\((?:self\.)?config, "(\w+)",', text))
        lost = {key for key in read - known - UNDECLARED if not hasattr(class_, key)}
        assert not {key for key in lost if not no_matter.search(key)}, kind
