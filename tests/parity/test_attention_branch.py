"""The Attention Branch Network against PyTorch, written from the paper, on the same weights."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xaijax
from xaijax import models

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity


class TorchBlock(torch.nn.Module):
    def __init__(self, features_in, features, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(features_in, features, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(features)
        self.conv2 = torch.nn.Conv2d(features, features, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(features)
        self.downsample = None
        if stride != 1 or features_in != features:
            self.downsample = torch.nn.Sequential(
                torch.nn.Conv2d(features_in, features, 1, stride, bias=False),
                torch.nn.BatchNorm2d(features),
            )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class TorchAttentionBranch(torch.nn.Module):
    """ResNet-18 whose third stage ends the feature extractor; K tasks with a map each, or one map for all classes."""

    def __init__(self, num_outputs, num_maps):
        super().__init__()
        conv, norm = torch.nn.Conv2d, torch.nn.BatchNorm2d
        self.stem = conv(3, 64, 7, 2, 3, bias=False)
        self.stem_norm = norm(64)
        stages, width = [], 64
        for channels, stride in ((64, 1), (128, 2), (256, 2)):
            stages += [TorchBlock(width, channels, stride), TorchBlock(channels, channels, 1)]
            width = channels
        self.stages = torch.nn.Sequential(*stages)
        self.attention = torch.nn.Sequential(TorchBlock(256, 512, 1), TorchBlock(512, 512, 1))
        self.attention_norm = norm(512)
        self.to_classes, self.classes_norm = (
            conv(512, num_outputs, 1, bias=False),
            norm(num_outputs),
        )
        self.to_scores = conv(num_outputs, num_outputs, 1, bias=False)
        self.to_maps = conv(num_outputs, num_maps, 3, 1, 1, bias=False)
        self.maps_norm = norm(num_maps)
        self.perception = torch.nn.Sequential(TorchBlock(256, 512, 2), TorchBlock(512, 512, 1))
        self.fc = torch.nn.Linear(512, num_outputs)

    def forward(self, x):
        g = torch.relu(self.stem_norm(self.stem(x)))
        g = self.stages(torch.nn.functional.max_pool2d(g, 3, 2, 1))
        h = torch.relu(self.classes_norm(self.to_classes(self.attention_norm(self.attention(g)))))
        scores = self.to_scores(h).mean((2, 3))
        maps = torch.sigmoid(self.maps_norm(self.to_maps(h)))
        logits = [
            self.fc(self.perception(g * maps[:, t : t + 1] + g).mean((2, 3)))
            for t in range(maps.shape[1])
        ]
        if len(logits) == 1:
            return scores, logits[0], maps
        return scores, torch.stack([z[:, t] for t, z in enumerate(logits)], 1), maps


def copy(model, peer):
    """Set the parameters of a Flax module from those of a PyTorch one."""
    numbers = [p.detach().numpy() for p in (*peer.parameters(), *peer.buffers()) if p.ndim]
    if isinstance(model, nnx.Conv):
        model.kernel[...] = jnp.asarray(numbers[0].transpose(2, 3, 1, 0))
    elif isinstance(model, nnx.Linear):
        model.kernel[...], model.bias[...] = jnp.asarray(numbers[0].T), jnp.asarray(numbers[1])
    elif isinstance(model, nnx.BatchNorm):
        model.scale[...], model.bias[...], model.mean[...], model.var[...] = map(
            jnp.asarray, numbers
        )


def copy_block(block, peer):
    for name in ("conv1", "bn1", "conv2", "bn2"):
        copy(getattr(block, name), getattr(peer, name))
    for layer, theirs in zip(block.downsample or (), peer.downsample or (), strict=True):
        copy(layer, theirs)


def copy_all(model, peer):
    trunk, head = model.features, model.perception
    ours = [*trunk.layer1, *trunk.layer2, *trunk.layer3, *model.attention.blocks, *head.layer4]
    theirs = [*peer.stages, *peer.attention, *peer.perception]
    for block, like in zip(ours, theirs, strict=True):
        copy_block(block, like)
    for layer, like in (
        (trunk.conv1, peer.stem),
        (trunk.bn1, peer.stem_norm),
        (model.norm, peer.attention_norm),
        (model.classes, peer.to_classes),
        (model.classes_norm, peer.classes_norm),
        (model.scores, peer.to_scores),
        (model.maps, peer.to_maps),
        (model.maps_norm, peer.maps_norm),
        (head.fc, peer.fc),
    ):
        copy(layer, like)


@pytest.mark.parametrize("multi_task", [False, True])
def test_both_branches_and_the_map(multi_task):
    torch.manual_seed(0)
    peer = TorchAttentionBranch(3, 3 if multi_task else 1)
    with torch.no_grad():
        for key, value in (*peer.named_parameters(), *peer.named_buffers()):
            if key.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.ndim == 1:  # scales, biases, running means
                value.normal_(1.0, 0.5)
    base = models.resnet18(num_classes=3, rngs=nnx.Rngs(0))
    model = models.attention_branch_resnet(base, multi_task=multi_task, rngs=nnx.Rngs(1))
    copy_all(model, peer)
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = peer.eval()(torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
    found = model.branches(jnp.asarray(x))
    for ours, theirs in zip(found, expected, strict=True):
        theirs = np.moveaxis(theirs.numpy(), 1, -1)
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())
    for t in range(3):
        one = xaijax.attention_map(xaijax.as_model(model), jnp.asarray(x[0]), t)
        theirs = expected[2][0, t if multi_task else 0].numpy()
        np.testing.assert_allclose(one, theirs, atol=1e-5)
