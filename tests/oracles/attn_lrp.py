"""AttnLRP and CP-LRP of a small transformer by the formulas of the papers, in NumPy, one token and head at a time.

The transformer: `depth` blocks of x + attention(norm(x)) and x + mlp(norm(x)), the mean over tokens, a dense head.
Relevance is handed down with LRP-epsilon at dense layers, sums and matrix products; half to each factor of a product
of two activations; through normalisations and activation functions by the identity rule.
"""

import math

import numpy as np

EPS_NORM = 1e-6


def divide(R, z, epsilon):
    return R / (z + np.where(z >= 0, epsilon, -epsilon))


def dense(x, w, b, R, epsilon):
    """R_i = sum_j x_i w_ij R_j / z_j for each token."""
    return x * (divide(R, x @ w + b, epsilon) @ w.T)


def centred(x, R, epsilon):
    """Of x - mean(x): first to x and to the mean, then the mean's share to what it was made of."""
    mean = x.mean(-1, keepdims=True)
    s = divide(R, x - mean, epsilon)
    R_mean = (-mean * s).sum(-1, keepdims=True)
    return x * s + x * divide(R_mean, x.sum(-1, keepdims=True), epsilon * x.shape[-1])


def norm(x, scale):
    c = x - x.mean(-1, keepdims=True)
    return c / np.sqrt((c**2).mean(-1, keepdims=True) + EPS_NORM) * scale


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(w, x, heads):
    """What attention gives before its last dense layer, and what it is made of."""
    n, d = x.shape
    parts = [(x @ w[k] + w[k + "_bias"]).reshape(n, heads, d // heads) for k in "qkv"]
    q, k, v = (p.transpose(1, 0, 2) for p in parts)
    z = q @ k.transpose(0, 2, 1) / math.sqrt(d // heads)
    s = softmax(z)
    return (s @ v).transpose(1, 0, 2).reshape(n, d), (q, k, v, z, s)


def attention_relevance(w, x, R, heads, epsilon, constant):
    n, d = x.shape
    _, (q, k, v, z, s) = attention(w, x, heads)
    out = s @ v
    g = divide(R.reshape(n, heads, d // heads).transpose(1, 0, 2), out, epsilon)
    R_v, R_x = v * (s.transpose(0, 2, 1) @ g), 0.0
    if not constant:
        R_v = R_v / 2
        R_s = s * (g @ v.transpose(0, 2, 1)) / 2
        R_z = z * (R_s - s * R_s.sum(-1, keepdims=True))
        h = divide(
            R_z, q @ k.transpose(0, 2, 1), epsilon
        )  # the factor 1 / sqrt(d) passes relevance
        for name, R_in in (
            ("q", q * (h @ k) / 2),
            ("k", k * (h.transpose(0, 2, 1) @ q) / 2),
        ):
            R_in = R_in.transpose(1, 0, 2).reshape(n, d)
            R_x = R_x + dense(x, w[name], w[name + "_bias"], R_in, epsilon)
    R_v = R_v.transpose(1, 0, 2).reshape(n, d)
    return R_x + dense(x, w["v"], w["v_bias"], R_v, epsilon)


def forward(blocks, head, x, heads):
    """The logits, and the input of every half block."""
    kept = []
    for w in blocks:
        kept.append(x)
        out, _ = attention(w, norm(x, w["scale1"]), heads)
        x = x + out @ w["out"] + w["out_bias"]
        kept.append(x)
        y = norm(x, w["scale2"])
        x = x + gelu(y @ w["up"] + w["up_bias"]) @ w["down"] + w["down_bias"]
    return x.mean(0) @ head, kept, x


def relevance(blocks, head, x, target, heads, epsilon, *, constant=False):
    """The relevance of each element of x for an output."""
    logits, kept, top = forward(blocks, head, x, heads)
    pooled = top.mean(0)
    R = pooled * head[:, target] * divide(logits[target], logits[target], epsilon)
    R = top * divide(R, top.sum(0), epsilon * len(top))
    for w, x_attention, x_mlp in zip(blocks[::-1], kept[-2::-2], kept[::-2], strict=True):
        y = norm(x_mlp, w["scale2"])
        hidden = gelu(y @ w["up"] + w["up_bias"])
        branch = hidden @ w["down"] + w["down_bias"]
        s = divide(R, x_mlp + branch, epsilon)
        R_hidden = dense(hidden, w["down"], w["down_bias"], branch * s, epsilon)
        R_y = dense(y, w["up"], w["up_bias"], R_hidden, epsilon)
        R = x_mlp * s + centred(x_mlp, R_y, epsilon)

        y = norm(x_attention, w["scale1"])
        out, _ = attention(w, y, heads)
        branch = out @ w["out"] + w["out_bias"]
        s = divide(R, x_attention + branch, epsilon)
        R_out = dense(out, w["out"], w["out_bias"], branch * s, epsilon)
        R_y = attention_relevance(w, y, R_out, heads, epsilon, constant)
        R = x_attention * s + centred(x_attention, R_y, epsilon)
    return R
