"""Measures how far the estimate of tokens is from three tokenizers, and its CPU time, beside four characters a token.

Run by `make bench`. The counts of the tokenizers are stored in tests/fixtures/token_counts. Below 20 % for each kind
of text is good: the tokenizers themselves differ by more for some kinds.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from converse_stream.protocol.tokens import estimate_tokens

FOLDER = Path("tests/fixtures/token_counts")
TOKENIZERS = ("o200k", "claude", "llama3")
LENGTH = 100_000  # bytes
ROUNDS = 15


def four_characters(text: str) -> int:
    """The estimate to compare with: four ASCII characters are a token, and each other character is one."""
    return -(-(4 * len(text) - 3 * len(text.encode("ascii", "ignore"))) // 4)


def milliseconds(estimate: Callable[[str], int], text: str) -> float:
    """Return the CPU time of an estimate, the least of the rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        estimate(text)
        times.append(1000 * (time.thread_time() - start))
    return min(times)


def error(estimates: list[int], counts: list[float]) -> str:
    """Return the mean error over the samples, and the mean of its absolute values."""
    errors = [estimate / count - 1 for estimate, count in zip(estimates, counts, strict=True)]
    return f"{mean(errors):+6.0%} {mean(map(abs, errors)):5.0%}"


def main() -> None:
    counts: dict[str, dict[str, int]] = json.loads((FOLDER / "counts.json").read_text(encoding="utf-8"))
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in counts:
        kinds[name.partition("-")[0]].append(name)
    print("tokens: the mean of the tokenizers. Errors: mean, mean absolute. CPU: ms for 100 KB, and the ratio")
    heads = "".join(f"{'to ' + name:>13}" for name in TOKENIZERS)
    print(f"{'kind':>11} {'tokens':>6} {'four':>12} {'estimate':>12}{heads} {'four':>7} {'estimate':>9} {'ratio':>6}")
    for kind, names in kinds.items():
        texts = [(FOLDER / name).read_text(encoding="utf-8") for name in names]
        means = [mean(counts[name].values()) for name in names]
        old, new = list(map(four_characters, texts)), list(map(estimate_tokens, texts))
        by_tokenizer = " ".join(error(new, [counts[name][tokenizer] for name in names]) for tokenizer in TOKENIZERS)
        joined = "".join(texts)
        long = joined * (1 + LENGTH // len(joined.encode()))
        old_ms, new_ms = milliseconds(four_characters, long), milliseconds(estimate_tokens, long)
        errors = f"{error(old, means)} {error(new, means)} {by_tokenizer}"
        print(f"{kind:>11} {sum(means):6.0f} {errors} {old_ms:7.3f} {new_ms:9.3f} {new_ms / old_ms:6.1f}")


if __name__ == "__main__":
    main()
