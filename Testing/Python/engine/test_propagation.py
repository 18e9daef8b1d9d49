"""Label maps of the atlases carried onto a scan by registration alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_model import tiny_bundle

from brbs.errors import InputError
from brbs.propagation import Propagation

CPU = torch.device("cpu")


def moved_by(voxels: int):
    """A registration network that moves everything by so many voxels of its own grid along the last axis."""

    def network(moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        flow = torch.zeros(len(moving), 3, *moving.shape[2:])
        flow[:, 2] = voxels
        return flow

    return network


def test_the_vote_is_the_mean_of_the_atlases_where_nothing_moves() -> None:
    bundle = tiny_bundle()
    propagation = Propagation(bundle, CPU)
    propagation.network = moved_by(0)
    vote = propagation.vote(bundle.atlas_images[0].astype(np.float32))
    onehots = np.stack([bundle.atlas_labels == k for k in range(bundle.schema.class_count)], axis=1)
    np.testing.assert_allclose(vote, onehots.mean(axis=0), atol=1e-5)


def test_labels_follow_the_displacement_in_voxels_of_the_working_grid() -> None:
    bundle = tiny_bundle()
    propagation = Propagation(bundle, CPU)
    propagation.network = moved_by(1)
    vote = propagation.vote(bundle.atlas_images[0].astype(np.float32))
    step = bundle.settings.registration_scale
    onehots = np.stack([bundle.atlas_labels == k for k in range(bundle.schema.class_count)], axis=1)
    np.testing.assert_allclose(vote[..., :-step], onehots.mean(axis=0)[..., step:], atol=1e-4)
    np.testing.assert_allclose(vote[..., :-step].sum(0), 1, atol=1e-4)
    np.testing.assert_allclose(vote[..., -1].sum(0), 0, atol=1e-4)  # outside of the atlases nothing is said


def test_a_model_without_registration_cannot_propagate() -> None:
    with pytest.raises(InputError, match="no registration network"):
        Propagation(tiny_bundle(registration=None), CPU)
