"""Attention Branch Networks (Fukui et al., CVPR 2019; arXiv:1812.10025v2): a network that shows where it looks.

Notation: g(x) the features, `(h, w, K)`; h the class maps of the attention branch, M its attention map; g'(x) the
features weighed by the map. With several tasks, M_t is the map of task t.

References:
    fukui2019attention
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from xaijax.core._errors import check_positive, complaint
from xaijax.core._score import score
from xaijax.models._layers import batch_norm, check_image, convolution, max_pool
from xaijax.models._resnet import ResNet


class Branches(NamedTuple):
    """What both branches answer.

    Attributes:
        attention: Logits of the attention branch, `(..., num_outputs)`.
        perception: Logits of the perception branch, likewise: the network's answer.
        map: The attention map M, `(..., h, w, 1)`; `(..., h, w, num_outputs)` with one for each task.
    """

    attention: Float[Array, "... outputs"]
    perception: Float[Array, "... outputs"]
    map: Float[Array, "... h w maps"]


class AttentionBranchNetwork(nnx.Module):
    r"""A network in two branches, of which the attention branch tells the other where to look.

    .. math::
        g'(x) = (1 + M(x))\, g(x), \qquad M = \sigma(\mathrm{BN}(w_{3 \times 3} * h)), \qquad
        h = \mathrm{ReLU}(\mathrm{BN}(w_{1 \times 1} * \mathrm{BN}(a)))

    with a what the attention stage makes of g. The attention branch has a classifier of its own, the mean of
    :math:`w'_{1 \times 1} * h` over the positions; the perception branch classifies g'. `attention_branch_loss` adds
    the losses of both. The network's answer is that of the perception branch, its explanation the map: as
    `xaijax.attention_map`, which reads the layer "attention_map".

    Single-task, also of many fine-grained classes, it has one map. Multi-task (`multi_task=True`) each output is an
    attribute of its own with a map of its own: the perception branch, whose weights the tasks share, sees the features
    by the map of each task and gives its logit. In training, batch norm there takes its statistics over images and
    tasks.

    The text of the paper has a 1 x 1 convolution before the map; this is the 3 x 3 one of the authors' code.

    Args:
        features: The feature extractor, from images to g.
        attention: The attention stage, from g to `(..., h, w, attention_channels)`, in the paper the last stage of the
            network without its stride.
        perception: The perception branch, from features like g to logits.
        attention_channels: Channels of what the attention stage gives.
        num_outputs: Number of logits.
        multi_task: Whether each output is a task with a map of its own.
        attend: Whether the map weighs the features. Without it only the attention branch's loss is left of the method:
            the control that shows what the map itself does.
        rngs: Draws the parameters of the attention branch.

    References:
        fukui2019attention
    """

    def __init__(
        self,
        features: nnx.Module,
        attention: nnx.Module,
        perception: nnx.Module,
        *,
        attention_channels: int,
        num_outputs: int,
        multi_task: bool = False,
        attend: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        check_positive(
            "AttentionBranchNetwork", attention_channels=attention_channels, num_outputs=num_outputs
        )
        num_maps = num_outputs if multi_task else 1
        self.features, self.attention, self.perception = features, attention, perception
        self.norm = batch_norm(attention_channels, rngs=rngs)
        self.classes = convolution(attention_channels, num_outputs, 1, bias=False, rngs=rngs)
        self.classes_norm = batch_norm(num_outputs, rngs=rngs)
        self.scores = convolution(num_outputs, num_outputs, 1, bias=False, rngs=rngs)
        self.maps = convolution(num_outputs, num_maps, 3, padding=1, bias=False, rngs=rngs)
        self.maps_norm = batch_norm(num_maps, rngs=rngs)
        self.multi_task, self.attend = multi_task, attend

    def __call__(self, x: Float[Array, "*batch H W C"]) -> Float[Array, "*batch outputs"]:
        """Compute the logits of the perception branch.

        Args:
            x: One image or a batch, as the feature extractor takes it.

        Returns:
            The logits.
        """
        return self.branches(x).perception

    def branches(self, x: Float[Array, "*batch H W C"]) -> Branches:
        """Compute what both branches answer, for the loss.

        Args:
            x: One image or a batch, as the feature extractor takes it.

        Returns:
            The logits of both, and the map.
        """
        g: Any = self.features(x)  # pyright: ignore[reportCallIssue]
        a = self.norm(self.attention(g))  # pyright: ignore[reportCallIssue]
        h = jax.nn.relu(self.classes_norm(self.classes(a)))
        logits = self.scores(h).mean((-3, -2))
        M = self.maps_norm(self.maps(h))
        with jax.named_scope("attention_map"):
            M = jax.nn.sigmoid(M)
        return Branches(logits, self._perceive(g, M), M)

    def _perceive(self, g: Array, M: Array) -> Array:
        perceive: Any = self.perception
        if not self.attend:
            return perceive(g)
        if not self.multi_task:
            return perceive((1 + M) * g)  # Eq. (2)
        *batch, h, w, num_tasks = M.shape
        by_task = jnp.moveaxis(1 + M, -1, 0)[..., None] * g
        logits = perceive(by_task.reshape(-1, h, w, g.shape[-1]))
        # Of what is seen by the map of a task, the logit of this task.
        return jnp.diagonal(logits.reshape(num_tasks, *batch, num_tasks), 0, 0, -1)


def attention_branch_loss(branches: Branches, labels: Any) -> Float[Array, ""]:
    r"""The loss of an Attention Branch Network: of both branches, with equal weight.

    .. math:: L = L_{att} + L_{per}  \tag{4}

    Each is the mean cross entropy; of several tasks the sum over the tasks of their mean binary cross entropies.

    Args:
        branches: `model.branches(xs)` of a batch.
        labels: Classes `(n,)`, integers; or for several tasks whether an image has the attribute, `(n, num_outputs)`,
            0 or 1.

    Returns:
        The loss, 0-d, in nats; NaN if a class is out of range.

    Raises:
        ValueError: The labels do not fit the logits.
        TypeError: Classes are not integers.

    Example:
        >>> zeros = jnp.zeros((3, 4))
        >>> found = attention_branch_loss(Branches(zeros, zeros, jnp.zeros((3, 2, 2, 1))), jnp.array([0, 1, 3]))
        >>> found / jnp.log(2.0)  # 2 bits for each branch
        Array(4., dtype=float32)

    References:
        fukui2019attention
    """
    where = "attention_branch_loss"
    labels, shape = jnp.asarray(labels), branches.perception.shape
    if len(shape) != 2 or labels.shape not in (shape, shape[:1]):
        rule = f"have the shape {shape[:1]}, or {shape} of several tasks"
        raise ValueError(complaint(where, "labels", rule, f"shape {labels.shape}"))
    if labels.ndim == 2:
        one = _binary_cross_entropy
    elif jnp.issubdtype(labels.dtype, jnp.integer):
        one = _cross_entropy
    else:
        raise TypeError(complaint(where, "labels", "be integers", str(labels.dtype)))
    return one(branches.attention, labels) + one(branches.perception, labels)


def _cross_entropy(logits: Array, labels: Array) -> Array:
    return -jax.vmap(score)(jax.nn.log_softmax(logits), labels).mean()


def _binary_cross_entropy(logits: Array, labels: Array) -> Array:
    found = jax.nn.softplus(logits) - labels * logits
    return found.mean(0).sum()


# --- Over residual networks


def attention_branch_resnet(
    base: ResNet, *, multi_task: bool = False, attend: bool = True, rngs: nnx.Rngs
) -> AttentionBranchNetwork:
    """Make an Attention Branch Network of a residual network, as the paper does for ImageNet.

    All up to the third stage is the feature extractor, the fourth stage with the classifier the perception branch;
    both keep their parameters, trained or not. The attention stage is another fourth stage without stride, with random
    parameters.

    Args:
        base: The network, such as `resnet18`, whose modules the new network takes over.
        multi_task: Whether each output is a task with a map of its own.
        attend: Whether the map weighs the features.
        rngs: Draws the parameters of the attention branch.

    Returns:
        The model, from `(..., H, W, 3)` to `(..., num_classes)` logits, in evaluation mode; its map has a sixteenth of
        the image's height and width.

    Raises:
        TypeError: base is no `ResNet`.

    Example:
        >>> from xaijax.models import resnet18
        >>> make = lambda: attention_branch_resnet(resnet18(num_classes=5, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))
        >>> nnx.eval_shape(make).maps.kernel.shape
        (3, 3, 5, 1)

    References:
        fukui2019attention
    """
    if not isinstance(base, ResNet):
        got = type(base).__name__
        raise TypeError(complaint("attention_branch_resnet", "base", "be a ResNet", got))
    blocks: Any = base.layer4
    block, channels = type(blocks[0]), blocks[0].conv1.out_features
    width, widths = blocks[0].conv1.in_features, channels * block.expansion
    copied = [
        block(width if i == 0 else widths, channels, stride=1, rngs=rngs)
        for i in range(len(blocks))
    ]
    model = AttentionBranchNetwork(
        _Trunk(base),
        _Stage(copied),
        _Head(base),
        attention_channels=widths,
        num_outputs=base.fc.out_features,
        multi_task=multi_task,
        attend=attend,
        rngs=rngs,
    )
    model.eval()
    return model


class _Stage(nnx.Module):
    """Blocks one after the other."""

    def __init__(self, blocks: Sequence[nnx.Module]) -> None:
        self.blocks = nnx.List(list(blocks))

    def __call__(self, x: Array) -> Array:
        for block in self.blocks:
            x = block(x)
        return x


class _Trunk(nnx.Module):
    """A residual network up to its third stage."""

    def __init__(self, base: ResNet) -> None:
        self.conv1, self.bn1 = base.conv1, base.bn1
        self.layer1, self.layer2, self.layer3 = base.layer1, base.layer2, base.layer3

    def __call__(self, x: Array) -> Array:
        check_image("AttentionBranchNetwork", x)
        x = max_pool(jax.nn.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3):
            for block in stage:
                x = block(x)
        return x


class _Head(nnx.Module):
    """The fourth stage of a residual network, and its classifier."""

    def __init__(self, base: ResNet) -> None:
        self.layer4, self.fc = base.layer4, base.fc

    def __call__(self, x: Array) -> Array:
        for block in self.layer4:
            x = block(x)
        return self.fc(x.mean((-3, -2)))
