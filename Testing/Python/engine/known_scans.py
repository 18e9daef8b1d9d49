"""Scans with known content and geometry, and the directions they may have."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk


def rotation(axis, degrees):
    versor = sitk.VersorTransform(axis, math.radians(degrees))
    return np.reshape(versor.GetMatrix(), (3, 3))


DIRECTIONS = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([-1.0, 1.0, 1.0]),
    "permuted": np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "oblique": rotation((1.0, 2.0, -0.5), 23.0) @ np.diag([-1.0, -1.0, 1.0]),
    "oblique, permuted": rotation((0.3, -1.0, 2.0), 17.0)[:, [2, 0, 1]],
}


def scan(array, spacing=(1.0, 1.0, 1.0), direction=None, origin=(-31.5, 12.25, 104.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(np.ravel(np.eye(3) if direction is None else direction).tolist())
    return image


def noise(size, seed=0):
    return np.random.default_rng(seed).uniform(0, 100, size[::-1]).astype(np.float32)


def blank(size, spacing=(1.0, 1.0, 1.0), **where):
    return scan(np.zeros(size[::-1], np.float32), spacing, **where)


def blobs(points, centres=((8, 0, 0), (-9, 6, 4), (0, -10, -6), (3, 9, 9)), widths=(5.0, 4.0, 6.0, 3.5)):
    """Brightness of a lopsided phantom at (..., 3) points in mm."""
    levels = (1.0, 0.6, 0.8, 0.4)
    value = np.zeros(points.shape[:-1])
    for centre, width, level in zip(centres, widths, levels, strict=True):
        value = np.maximum(value, level * (((points - centre) ** 2).sum(-1) < width**2))
    return value


def phantom(size, spacing=(1.0, 1.0, 1.0), matrix=None, shift=(0, 0, 0)):
    """A scan centred on 0 of the phantom seen through `x -> matrix @ x + shift` (world to phantom)."""
    origin = [-(n - 1) / 2 * s for n, s in zip(size, spacing, strict=True)]
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), -1)
    world = index * spacing + origin
    value = blobs(world @ (np.eye(3) if matrix is None else matrix).T + shift)
    image = scan(np.ascontiguousarray(value.T.astype(np.float32)), spacing, origin=origin)
    return sitk.DiscreteGaussian(image, 1.0)


def one_hot(classes, count):
    return (classes[None] == np.arange(count)[:, None, None, None]).astype(np.float32)
