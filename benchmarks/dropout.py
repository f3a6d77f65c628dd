"""What dropout costs in a training step of a BERT-shaped encoder.

    python -m benchmarks.dropout

Prints a JSON list: tokens a second (best of 4 steps: 20 windows of 307 tokens, bf16 autocast, random weights
of the embedded model's shape) for each pair of dropout rates.
"""

from __future__ import annotations

import json
import time

import torch
from transformers import BertConfig, BertForQuestionAnswering

WINDOWS, TOKENS = 20, 307


def tokens_a_second(attention: float, hidden: float) -> int:
    """Real tokens a second of forward, backward and a fused AdamW step."""
    config = BertConfig(
        vocab_size=24_000,
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=1536,
        attention_probs_dropout_prob=attention,
        hidden_dropout_prob=hidden,
    )
    model = BertForQuestionAnswering(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    ids = torch.randint(5, 20_000, (WINDOWS, TOKENS))
    mask = torch.ones_like(ids)
    mask[:, -3:] = 0  # some padding, as real batches have
    at = torch.randint(0, TOKENS, (WINDOWS,))
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=mask, start_positions=at, end_positions=at).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - begin)
    return round(WINDOWS * TOKENS / min(seconds))


def main() -> None:
    rows = [
        {"attention_dropout": a, "hidden_dropout": h, "tokens_a_second": tokens_a_second(a, h)}
        for a, h in ((0.1, 0.1), (0.0, 0.1), (0.0, 0.0))
    ]
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
