"""The engine computes the numbers of the original release (one step, float32, recorded with its own functions)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from brbs.__main__ import main
from brbs.generation import mixture, space_style_sample
from brbs.losses import inverse_loss, similarity_loss, smoothness_loss
from brbs.model import ModelBundle
from brbs.networks import RegistrationNet, SegmentationNet
from brbs.settings import PAPER
from brbs.steps import registration_losses, segmentation_losses
from brbs.warp import warp

SHARED = Path(__file__).resolve().parents[4] / "shared"
GOLDEN = Path(os.environ.get("BRBS_GOLDEN") or SHARED / "golden" / "official_step.npz")
CHANNELS = (8, 8, 16, 16, 16, 16, 16, 8, 8)
VALUES, GRADIENTS = 1e-4, 1e-3  # relative to the largest magnitude

pytestmark = pytest.mark.skipif(
    not GOLDEN.is_file(), reason=f"needs the release's recorded numbers: {GOLDEN}, or another file named by BRBS_GOLDEN"
)


class Step:
    """The recorded step: arrays by key as tensors, and the two networks with the recorded weights."""

    def __init__(self) -> None:
        with np.load(GOLDEN) as content:
            self.values = {key: torch.from_numpy(np.asarray(content[key])) for key in content.files}
        self.registration, self.segmentation = RegistrationNet(CHANNELS), SegmentationNet(3, CHANNELS)
        self.registration.load_state_dict(self.state("registration"))
        self.segmentation.load_state_dict(self.state("segmentation"))
        keys = ("labeled_image", "labeled_onehot", "unlabeled_image_1", "unlabeled_image_2")
        self.atlas, self.onehot, self.scan_1, self.scan_2 = (self.values[key] for key in keys)

    def state(self, network: str) -> dict[str, torch.Tensor]:
        prefix = f"{network}_state/"
        return {key.removeprefix(prefix): value for key, value in self.values.items() if key.startswith(prefix)}

    def check(self, key: str, found: torch.Tensor, tolerance: float = VALUES) -> None:
        expected = self.values[key].double()
        difference = (found.detach().double() - expected).abs().max() / expected.abs().max()
        assert difference <= tolerance, f"{key}: {float(difference):.2g} off"

    def fraction(self, name: str) -> torch.Tensor:
        return self.values[f"draw/{name}"].float()


@pytest.fixture
def step() -> Step:
    return Step()


def test_networks_and_warps(step: Step) -> None:
    with torch.no_grad():
        flow = step.registration(step.atlas, step.scan_1)
        step.check("flow_labeled_to_u1", flow)
        step.check("flow_u1_to_labeled", step.registration(step.scan_1, step.atlas))
        step.check("segmentation_logits_u1", step.segmentation(step.scan_1))
    step.check("warp_labeled_to_u1", warp(step.atlas, flow))
    step.check("warp_onehot_to_u1", warp(step.onehot, flow))


def test_registration_step_with_gradients(step: Step) -> None:
    with torch.no_grad():
        opinion = step.segmentation(step.scan_1).softmax(1)
    losses = registration_losses(step.registration, step.atlas, step.scan_1, step.onehot, opinion, PAPER)
    step.check("loss/smooth", losses["smoothness"])
    step.check("loss/similarity", losses["similarity"])
    step.check("loss/inverse", losses["inverse"])
    step.check("loss/semantic_consistency", losses["consistency"])
    step.check("loss/registration_total", losses["registration_total"])
    losses["registration_total"].backward()
    parameters = dict(step.registration.named_parameters())
    for name in ("out_conv.weight", "unet.inc.double_conv.0.weight"):
        step.check(f"grad/registration.{name}", parameters[name].grad, GRADIENTS)


def test_single_losses_on_the_recorded_fields(step: Step) -> None:
    forward, back = step.values["flow_labeled_to_u1"], step.values["flow_u1_to_labeled"]
    step.check("loss/smooth", smoothness_loss(forward) + smoothness_loss(back))
    step.check("loss/inverse", inverse_loss(forward, back))
    warped, warped_back = warp(step.atlas, forward), warp(step.scan_1, back)
    step.check("loss/similarity", similarity_loss(warped, step.scan_1) + similarity_loss(warped_back, step.atlas))


def test_segmentation_step_with_gradient(step: Step) -> None:
    alpha, beta, gamma = (step.fraction(name) for name in ("alpha", "beta", "gamma"))
    with torch.no_grad():
        styled = warp(step.scan_1, step.registration(step.scan_1, step.atlas))
        flow = step.registration(step.atlas, step.scan_2)
        generated, target = space_style_sample(step.atlas, step.onehot, styled, flow, alpha, beta)
        passed = warp(styled, flow)
        mixed = mixture(passed, step.scan_2, gamma)
    step.check("generated_image", generated)
    step.check("generated_onehot", target)
    step.check("mixed_image", mixed)
    ends = torch.cat([passed, step.scan_2])
    losses = segmentation_losses(step.segmentation, generated, target, mixed, ends, gamma, PAPER)
    step.check("loss/segmentation", losses["segmentation"])
    step.check("loss/mix", losses["mix"])
    step.check("loss/segmentation_total", losses["segmentation_total"])
    losses["segmentation_total"].backward()
    step.check("grad/segmentation.out_conv.weight", step.segmentation.out_conv.weight.grad, GRADIENTS)


def test_the_release_s_checkpoints_become_a_model_with_the_same_output(step: Step, tmp_path: Path) -> None:
    for name, network in (("Seger", "segmentation"), ("Reger", "registration")):
        torch.save(step.state(network), tmp_path / f"{name}_200.pth")
    options = ["--segmentation", f"{tmp_path}/Seger_200.pth", "--registration", f"{tmp_path}/Reger_200.pth"]
    options += ["--size", "28", "20", "24", "--spacing", "1", "1", "1.5", "--output", f"{tmp_path}/model"]
    assert main(["import-weights", *options]) == 0

    bundle = ModelBundle.load(tmp_path / "model")
    assert bundle.grid.shape == step.atlas.shape[2:]
    assert [label.name for label in bundle.schema.labels] == ["Label 1", "Label 2"]
    with torch.no_grad():
        logits, expected = bundle.segmentation_net()(step.scan_1), step.segmentation(step.scan_1)
        flow = bundle.registration_net()(step.atlas, step.scan_1)
    assert torch.equal(logits, expected)
    step.check("segmentation_logits_u1", logits)
    step.check("flow_labeled_to_u1", flow)
