"""Inception-v3 of the FID convention beside pytorch-fid, and its file of weights.

The published weights are not needed: made-up ones of the same names and shapes show whether
two networks are the same function, and whether a file in the published format is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import pytorch_fid.inception as published
import torch
from torchvision.datasets import utils
from torchvision.models import inception_v3

from t3vae.errors import DataError
from t3vae.extractors import MissingWeightsError, inception, load
from t3vae.published.torch_weights import read_weights

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Made-up weights under which every branch has a say in the features."""
    rng = torch.Generator().manual_seed(0)
    net = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    found = {}
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(7)
        elif name.endswith(("bn.weight", "running_var")):
            found[name] = 0.5 + torch.rand(value.shape, generator=rng)
        elif value.dim() > 1:
            scale = (2 / value[0].numel()) ** 0.5
            found[name] = scale * torch.randn(value.shape, generator=rng)
        else:
            found[name] = 0.1 * torch.randn(value.shape, generator=rng)
    return found


@pytest.fixture(scope="module")
def theirs(weights) -> torch.nn.Module:
    """pytorch-fid's network, which loads the weights by name and wants all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "load_state_dict_from_url", lambda *_, **__: weights)
        return published.InceptionV3().eval()


@pytest.fixture(scope="module")
def ours(weights) -> inception.InceptionFeatures:
    return inception.InceptionFeatures(weights)


def largest_gap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference, as a part of the largest value."""
    assert a.shape == b.shape
    return float((a - b).abs().max() / b.abs().max())


# --- the network --------------------------------------------------------------------------


def test_names_and_shapes_are_those_of_the_published_file(weights):
    """The published file has 566 tensors: 94 convolutions with six each, and the last layer."""
    assert len(weights) == 566
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    for name, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
        "Mixed_7c.branch3x3dbl_3b.bn.num_batches_tracked": (),
        "fc.weight": (1008, 2048),
        "fc.bias": (1008,),
    }.items():
        assert shapes[name] == shape
    assert not any("AuxLogits" in name for name in shapes)


@pytest.mark.parametrize(
    "shape", [(3, 8, 8), (3, 32, 32), (3, 64, 64), (3, 40, 75), (3, 299, 299), (3, 320, 310)]
)
def test_features_are_those_of_pytorch_fid(ours, theirs, shape):
    x = torch.rand((2, *shape), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (expected,) = theirs(x)
        found = ours(x)
    assert found.shape == (2, 2048) and float(found.std()) > 0
    assert largest_gap(found, expected[:, :, 0, 0]) < 1e-5


def test_it_is_not_the_network_of_torchvision(ours, weights):
    """The changes of pooling are seen in the features, so that the test above can fail."""
    net = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    net.load_state_dict(weights)
    net.fc, net.dropout, net.transform_input = torch.nn.Identity(), torch.nn.Identity(), False
    x = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert largest_gap(ours(x), net.eval()(2 * x - 1)) > 1e-2


def test_one_channel_counts_three_times(ours, theirs):
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        (expected,) = theirs(x.repeat(1, 3, 1, 1))
        assert largest_gap(ours(x), expected[:, :, 0, 0]) < 1e-5


def bilinear(image: np.ndarray, side: int) -> np.ndarray:
    """Interpolate between the centres of pixels, the border continued."""

    def weights_of(size: int) -> np.ndarray:
        centres = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
        return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(size)))

    return weights_of(image.shape[0]) @ image @ weights_of(image.shape[1]).T


@pytest.mark.parametrize("size", [(8, 8), (32, 50), (400, 299)])
def test_images_are_resized_between_centres_and_scaled(ours, size):
    x = np.random.default_rng(4).random(size)
    seen = []
    hook = ours.net.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        ours(torch.from_numpy(x).float().expand(1, 3, *size))
    hook.remove()
    for channel in seen[0][0]:
        # positions are float32, so up to 400 pixels are known to 400 x 2^-24
        np.testing.assert_allclose(channel.numpy(), 2 * bilinear(x, 299) - 1, atol=1e-4)


# --- the file of weights ------------------------------------------------------------------


def save(weights: Weights, path: Path, *, archive: bool) -> dict:
    """Write the file as PyTorch does, before 1.6 (the published one) and since; its options."""
    torch.save(weights, path, _use_new_zipfile_serialization=archive)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"weights": str(path), "sha256": digest, "download": False}


@pytest.mark.parametrize("archive", [False, True])
def test_a_file_in_the_published_format_gives_the_features(tmp_path, weights, theirs, archive):
    options = save(weights, tmp_path / inception.PUBLISHED.name, archive=archive)
    extractor = load("inception", options, tmp_path)
    images = np.random.default_rng(5).integers(0, 256, (3, 3, 32, 32)).astype(np.uint8)
    found = extractor.extract(images)
    with torch.no_grad():
        (expected,) = theirs(torch.from_numpy(images).float() / 255)
    assert found.predicted is None and found.features.dtype == np.float32
    assert largest_gap(torch.from_numpy(found.features), expected[:, :, 0, 0]) < 1e-5
    for part in ("299 x 299", "bilinear", "-1..1", "FID convention"):
        assert part in extractor.protocol


@pytest.mark.parametrize("archive", [False, True])
def test_tensors_are_read_as_they_were_written(tmp_path, archive):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    whole = torch.arange(12.0)
    state = {
        **net.state_dict(),
        "part": whole[2:8].view(2, 3),
        "rest": whole[8:],
        "double": torch.rand(3).double(),
        "half": torch.rand(2).half(),
        "none": torch.empty(0, 5),
    }
    path = tmp_path / "weights.pth"
    for given in (net.state_dict(), state):
        torch.save(given, path, _use_new_zipfile_serialization=archive)
        found = read_weights(path)
        assert list(found) == list(given)
        for name, value in given.items():
            assert found[name].dtype == value.numpy().dtype
            np.testing.assert_array_equal(found[name], value.numpy())


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("archive", [False, True])
def test_no_function_of_the_file_is_run(tmp_path, archive):
    made, path = tmp_path / "made", tmp_path / "weights.pth"
    given = {"x": torch.zeros(2), "trap": Trap(str(made))}
    torch.save(given, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(DataError, match=r"mkdir' is not allowed.*not run"):
        read_weights(path)
    assert not made.exists()


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(3, 2).T,
        torch.zeros(1).expand(10**12),  # a few bytes that would become a terabyte
        torch.zeros(3, dtype=torch.int32),
        torch.zeros(3).to_sparse(),
        torch.zeros(10**12, device="meta"),
        torch.nn.Parameter(torch.zeros(3)),
        [1.0],
        "text",
    ],
)
@pytest.mark.parametrize("archive", [False, True])
def test_what_is_no_plain_tensor_is_refused(tmp_path, archive, value):
    path = tmp_path / "weights.pth"
    torch.save({"x": value}, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(DataError, match="not a file of weights"):
        read_weights(path)


@pytest.mark.parametrize("archive", [False, True])
def test_damaged_files_are_refused(tmp_path, archive):
    """Cut: an error. A flipped bit: an error or other numbers, which the checksum has refused."""
    path = tmp_path / "weights.pth"
    torch.save(
        {"a": torch.arange(4.0), "b": torch.arange(3)},
        path,
        _use_new_zipfile_serialization=archive,
    )
    good = path.read_bytes()
    for length in range(0, len(good), 7):
        path.write_bytes(good[:length])
        with pytest.raises(DataError, match="not a file of weights"):
            read_weights(path)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(good), 300):
        flipped = bytearray(good)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with contextlib.suppress(DataError):
            assert all(isinstance(value, np.ndarray) for value in read_weights(path).values())


def test_numbers_that_are_not_in_the_file_are_refused(tmp_path):
    """The format before PyTorch 1.6 names its numbers twice; what it leaves out is not zero."""
    content, path = io.BytesIO(), tmp_path / "weights.pth"
    torch.save({"x": torch.arange(1000.0)}, content, _use_new_zipfile_serialization=False)
    content.seek(0)
    for _ in range(4):  # three lines about the format, then the dictionary
        list(pickletools.genops(content))
    path.write_bytes(content.getvalue()[: content.tell()] + pickle.dumps([], 2))
    with pytest.raises(DataError, match="larger than the file"):
        read_weights(path)


def test_a_compressed_archive_is_refused(tmp_path):
    """As a small file that unpacks to a large one would be."""
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", pickle.dumps({}))
        archive.writestr("w/data/0", bytes(10**6))
    with pytest.raises(DataError, match="compressed"):
        read_weights(path)


# --- what is missing or wrong -------------------------------------------------------------


def test_without_weights_one_message_says_where_they_are(tmp_path):
    place = tmp_path / "weights.pth"
    for options in (
        {"weights": None, "sha256": None, "download": True},
        {"weights": str(place), "sha256": "0" * 64, "download": False},
    ):
        with pytest.raises(MissingWeightsError) as caught:
            load("inception", options, tmp_path)
        message = str(caught.value)
        assert message.startswith(str(options["weights"] or "inception.weights"))
        for part in (
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth",
            "95628359 bytes",
            "sha256 6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            "inception.weights",
            "inception.sha256",
        ):
            assert part in message


def test_another_file_and_another_network_are_refused(tmp_path, weights):
    path = tmp_path / "weights.pth"
    options = save({"x": torch.zeros(2)}, path, archive=False)
    with pytest.raises(DataError, match="weights of another network") as caught:
        load("inception", options, tmp_path)
    assert not isinstance(caught.value, MissingWeightsError)
    with pytest.raises(DataError, match=r"wrong checksum.*inception\.sha256"):
        load("inception", {**options, "sha256": "0" * 64}, tmp_path)
    wrong = {**weights, "fc.weight": torch.zeros(1000, 2048)}
    with pytest.raises(DataError, match="weights of another network"):
        load("inception", save(wrong, path, archive=False), tmp_path)


def test_missing_weights_are_fetched_where_the_machine_is_connected(tmp_path, monkeypatch, weights):
    content = io.BytesIO()
    torch.save(weights, content, _use_new_zipfile_serialization=False)
    asked = []

    def fetch(url, folder, name, md5):
        asked.append((url, name))
        (Path(folder) / name).write_bytes(content.getvalue())

    monkeypatch.setattr(utils, "download_url", fetch)
    path = tmp_path / "raw" / inception.PUBLISHED.name
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    options = {"weights": str(path), "sha256": digest, "download": True}
    load("inception", options, tmp_path)
    load("inception", options, tmp_path)
    assert asked == [(inception.PUBLISHED.url, inception.PUBLISHED.name)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    path.unlink()  # what was fetched is checked as well
    with pytest.raises(DataError, match="wrong checksum"):
        load("inception", {**options, "sha256": "0" * 64}, tmp_path)


def test_a_download_that_fails_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    def offline(url, folder, name, md5):
        (Path(folder) / name).write_bytes(b"half")
        raise OSError("no route to host")

    monkeypatch.setattr(utils, "download_url", offline)
    path = tmp_path / "raw" / inception.PUBLISHED.name
    options = {"weights": str(path), "sha256": "0" * 64, "download": True}
    with pytest.raises(MissingWeightsError, match="no route to host"):
        load("inception", options, tmp_path)
    assert not path.parent.exists()
    own = {**options, "weights": str(tmp_path / "own.pth")}  # a file of one's own is not fetched
    with pytest.raises(MissingWeightsError) as caught:
        load("inception", own, tmp_path)
    assert "no route" not in str(caught.value)
