"""BERT's encoder, token by token (Devlin et al. 2019), and the mean of Sentence-BERT."""

import math

import numpy as np


def norm(x, weight, bias):
    mean = sum(x) / len(x)
    variance = sum((v - mean) ** 2 for v in x) / len(x)
    return (x - mean) / math.sqrt(variance + 1e-12) * weight + bias


def gelu(x):
    return np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])


def embed(arrays, ids, depth, num_heads):
    """The embedding of one sentence without padding, from arrays with the names of Hugging Face's BertModel."""
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def dense(name, x):
        return arrays[f"{name}.weight"] @ x + arrays[f"{name}.bias"]

    def normed(name, x):
        return norm(x, arrays[f"{name}.LayerNorm.weight"], arrays[f"{name}.LayerNorm.bias"])

    x = [
        normed(
            "embeddings",
            arrays["embeddings.word_embeddings.weight"][i]
            + arrays["embeddings.position_embeddings.weight"][place]
            + arrays["embeddings.token_type_embeddings.weight"][0],
        )
        for place, i in enumerate(ids)
    ]
    for layer in range(depth):
        at = f"encoder.layer.{layer}"
        q, k, v = (
            [dense(f"{at}.attention.self.{part}", y) for y in x]
            for part in ("query", "key", "value")
        )
        size = len(x[0]) // num_heads
        heads = [slice(h * size, (h + 1) * size) for h in range(num_heads)]
        attended = []
        for i in range(len(x)):
            y = np.zeros(len(x[0]))
            for head in heads:
                score = [math.exp(q[i][head] @ k[j][head] / math.sqrt(size)) for j in range(len(x))]
                y[head] = sum(s * v[j][head] for j, s in enumerate(score)) / sum(score)
            attended.append(y)
        x = [
            normed(f"{at}.attention.output", a + dense(f"{at}.attention.output.dense", b))
            for a, b in zip(x, attended, strict=True)
        ]
        inner = [gelu(dense(f"{at}.intermediate.dense", y)) for y in x]
        x = [
            normed(f"{at}.output", a + dense(f"{at}.output.dense", b))
            for a, b in zip(x, inner, strict=True)
        ]
    mean = sum(x) / len(x)
    return mean / math.sqrt(sum(mean**2))
