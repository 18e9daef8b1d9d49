"""What a training is validated on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .augmentation import random_contrast
from .data import TrainingData
from .label_schema import LabelSchema
from .metrics import dice
from .preparation import Prepared

HELD_BACK_SAMPLES = 4


@dataclass
class Validation:
    """Volumes with reference label maps: images (V, 1, D, H, W), class indices (V, D, H, W) uint8."""

    images: torch.Tensor
    labels: np.ndarray
    real: bool  # annotated scans, not warped atlases

    @classmethod
    def of(cls, prepared: Prepared, data: TrainingData, seed: int) -> Validation:
        """Annotated validation scans where there are any, else atlases bent and recoloured by draws of their own.

        Args:
            prepared: the study.
            data: the same, on the device.
            seed: of the draws.
        """
        if len(prepared.validation_images):
            images = torch.as_tensor(prepared.validation_images, device=data.device).unsqueeze(1)
            return cls(images, prepared.validation_labels, real=True)
        generator = torch.Generator().manual_seed(seed)
        draws = [data.draw_atlas(generator, "full") for _ in range(HELD_BACK_SAMPLES)]
        images = random_contrast(torch.cat([image for image, _ in draws]), generator)
        labels = torch.cat([onehot.argmax(1) for _, onehot in draws]).to(torch.uint8)
        return cls(images, labels.cpu().numpy(), real=False)

    def dice(self, predicted: np.ndarray, schema: LabelSchema) -> dict[str, float]:
        """Mean Dice over the volumes, of each structure by its name and of all as "mean".

        A volume without a structure, in truth and in prediction, says nothing of it; a structure that none has is left
        out, as one too small for the working grid.

        Args:
            predicted: class indices (V, D, H, W).
            schema: the structures.
        """
        found: dict[str, list[float]] = {}
        for volume, reference in zip(predicted, self.labels, strict=True):
            present = set(np.unique(volume)) | set(np.unique(reference))
            for index, value in dice(volume, reference, sorted(present - {0})).items():
                found.setdefault(schema.labels[index - 1].name, []).append(value)
        values = {label.name: float(np.mean(found[label.name])) for label in schema.labels if label.name in found}
        return {"mean": float(np.mean(list(values.values()))) if values else 0.0} | values
