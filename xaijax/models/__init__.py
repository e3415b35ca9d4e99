"""A small model zoo, in Flax nnx: the networks that explanations are usually tried on.

EfficientNet-Lite0, SqueezeNet 1.1 and dlib's ResNet-34 come with ImageNet weights from packages; VGG, ResNet, DenseNet
and ViT read the checkpoints of torchvision and timm, without PyTorch. They map one image to logits, or a batch.
MiniLM, with its weights from a package, maps the token ids of a sentence to an embedding, and there is a classifier of
film reviews on it.
An Attention Branch Network has an attention map of its own, over any of them that comes in stages.
Nothing else in the library needs them: explainers take any function.
"""

from xaijax.models._attention_branch import (
    AttentionBranchNetwork,
    Branches,
    attention_branch_loss,
    attention_branch_resnet,
)
from xaijax.models._densenet import DenseNet, densenet121
from xaijax.models._dlib_resnet import DlibResNet, dlib_resnet34
from xaijax.models._efficientnet_lite import EfficientNetLite0, efficientnet_lite0
from xaijax.models._imagenet import Preprocessing, find_label, imagenet_labels, preprocess
from xaijax.models._minilm import MiniLM, minilm
from xaijax.models._resnet import ResNet, resnet18, resnet34, resnet50
from xaijax.models._safetensors import load_safetensors
from xaijax.models._sentiment import SentenceClassifier, minilm_sentiment
from xaijax.models._simple_cnn import SimpleCNN, simple_cnn
from xaijax.models._squeezenet import SqueezeNet, squeezenet1_1
from xaijax.models._tokenizer import Sentence, Tokenizer, minilm_tokenizer
from xaijax.models._vgg import VGG, vgg11, vgg16
from xaijax.models._vit import ViT, vit_small_16
from xaijax.models._weights import load_torch

__all__ = [
    "VGG",
    "AttentionBranchNetwork",
    "Branches",
    "DenseNet",
    "DlibResNet",
    "EfficientNetLite0",
    "MiniLM",
    "Preprocessing",
    "ResNet",
    "Sentence",
    "SentenceClassifier",
    "SimpleCNN",
    "SqueezeNet",
    "Tokenizer",
    "ViT",
    "attention_branch_loss",
    "attention_branch_resnet",
    "densenet121",
    "dlib_resnet34",
    "efficientnet_lite0",
    "find_label",
    "imagenet_labels",
    "load_safetensors",
    "load_torch",
    "minilm",
    "minilm_sentiment",
    "minilm_tokenizer",
    "preprocess",
    "resnet18",
    "resnet34",
    "resnet50",
    "simple_cnn",
    "squeezenet1_1",
    "vgg11",
    "vgg16",
    "vit_small_16",
]
