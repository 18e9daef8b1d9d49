"""One scan from file to label map where memory is short."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from tiny_model import tiny_bundle
from tiny_study import SCHEMA, on_grid, subject

from brbs.errors import InputError
from brbs.predictor import Predictor
from brbs.segmentation_job import SegmentationJob, Segmenter, volumes


@pytest.fixture
def job(tmp_path: Path) -> SegmentationJob:
    """A scan larger than the working grid, and a model."""
    tiny_bundle().save(tmp_path / "Modell")
    sitk.WriteImage(on_grid(np.tile(subject(5)[0], (3, 1, 1))), str(tmp_path / "large.nrrd"))
    return SegmentationJob(tmp_path / "Modell", tmp_path / "large.nrrd", tmp_path / "out.nii.gz", "cpu")


class FullMemory:
    """A network that needs more than there is for ``count`` passes, and notes what it is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int, error: Exception) -> None:
        self.asked: list[tuple[str, int]] = []
        classify = Predictor._classify

        def full(predictor: Predictor, windows: torch.Tensor, *how: object) -> torch.Tensor:
            self.asked.append((str(predictor.device), len(windows)))
            if len(self.asked) <= count:
                raise error
            return classify(predictor, windows, *how)

        monkeypatch.setattr(Predictor, "_classify", full)


def test_result_is_the_same_window_by_window(job: SegmentationJob, monkeypatch, full_precision) -> None:
    whole = Segmenter().run(job)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(job.output)))
    seen, classify = [], Predictor._classify

    def full(predictor: Predictor, windows: torch.Tensor, *how: object) -> torch.Tensor:
        seen.append(len(windows))
        if len(windows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return classify(predictor, windows, *how)

    monkeypatch.setattr(Predictor, "_classify", full)
    result = Segmenter().run(job)
    assert 2 in seen and set(seen[seen.index(2) + 1 :]) == {1}
    assert "smaller pieces" in result.message and result.volumes == whole.volumes
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(job.output))), expected)


def test_a_window_too_large_for_the_memory_in_other_sizes_is_seen_in_its_own(job: SegmentationJob, monkeypatch) -> None:
    logits = Predictor._logits

    def full(predictor: Predictor, windows: torch.Tensor, size: float) -> torch.Tensor:
        if size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(predictor, windows, size)

    monkeypatch.setattr(Predictor, "_logits", full)
    result = Segmenter().run(job)
    assert "one size" in result.message and job.output.is_file()


def test_structures_that_may_go_on_beyond_the_region_are_named(job: SegmentationJob) -> None:
    assert "train with the region" not in Segmenter().run(job).message
    bundle = tiny_bundle()  # its network, which has learned nothing, finds something everywhere
    replace(bundle, grid=replace(bundle.grid, region="labels")).save(job.model)
    told = Segmenter().run(job).message
    assert "may go on beyond" in told and any(label.name in told for label in SCHEMA.labels)


def test_what_is_not_found_in_a_part_of_the_scan_is_told_and_deserves_no_trust(job: SegmentationJob) -> None:
    bundle = tiny_bundle()
    blind = {name: torch.zeros_like(weight) for name, weight in bundle.segmentation.items()}
    blind["out_conv.bias"] = torch.tensor([50.0, 0.0, 0.0])  # nothing but background
    for region, told, confidence in (("whole", "", None), ("labels", "not found in the part", 0.0)):
        replace(bundle, segmentation=blind, grid=replace(bundle.grid, region=region)).save(job.model)
        result = Segmenter().run(replace(job, confidence=True))
        assert told in result.message and set(result.confidence.values()) == {confidence}


def test_windows_become_smaller_before_the_device_is_given_up(job: SegmentationJob, monkeypatch) -> None:
    seen, classify = [], Predictor._classify

    def full(predictor: Predictor, windows: torch.Tensor, *how: object) -> torch.Tensor:
        seen.append(tuple(windows.shape))
        if windows.numel() > 16**3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return classify(predictor, windows, *how)

    monkeypatch.setattr(Predictor, "_classify", full)
    result = Segmenter().run(replace(job, confidence=False))
    assert "smaller windows" in result.message
    assert {shape[2:] for shape in seen[:3]} == {(16, 20, 16)} and seen[3] == (1, 1, 16, 16, 16)
    assert sitk.ReadImage(str(job.output)).GetSize() == sitk.ReadImage(str(job.input)).GetSize()


def test_processor_is_the_last_resort_of_a_gpu(job: SegmentationJob, monkeypatch) -> None:
    # "meta" stands in for a GPU that this computer lacks; its networks compute nothing before they are full.
    monkeypatch.setattr("brbs.segmentation_job.choose_device", lambda name: torch.device("meta"))
    monkeypatch.setattr("brbs.confidence.Propagation", lambda bundle, device: None)
    memory = FullMemory(monkeypatch, 4, RuntimeError("MPS backend out of memory"))
    sitk.WriteImage(on_grid(subject(5)[0]), str(job.input))
    segmented = []
    result = Segmenter().run(replace(job, confidence=False), segmented.append)
    assert memory.asked == [("meta", 1)] * 4 + [("cpu", 1)]
    assert result.device == "cpu" and "the processor was used" in result.message and segmented == [result]


def test_too_little_memory_anywhere_is_told(job: SegmentationJob, monkeypatch) -> None:
    FullMemory(monkeypatch, 99, RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."))
    with pytest.raises(InputError, match="large.nrrd: this computer's memory is too small"):
        Segmenter().run(job)
    assert not job.output.exists()


def test_memory_that_is_short_for_the_weights_of_windows_is_recognised(job: SegmentationJob, monkeypatch) -> None:
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("brbs.windows.window_weights", full)
    with pytest.raises(InputError, match="memory is too small"):
        Segmenter().run(job)


def test_memory_too_small_for_the_confidence_loses_no_label_map(job: SegmentationJob, monkeypatch) -> None:
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("brbs.confidence.Propagation.vote", full)
    result = Segmenter().run(replace(job, confidence=True))
    assert job.output.is_file() and result.volumes and result.confidence is None
    assert result.message.endswith("the memory was too small to tell the confidence")


def test_other_errors_are_not_taken_for_that(job: SegmentationJob, monkeypatch) -> None:
    memory = FullMemory(monkeypatch, 99, RuntimeError("odd"))
    with pytest.raises(RuntimeError, match="odd"):
        Segmenter().run(job)
    assert len(memory.asked) == 1


def test_the_two_models_used_last_stay_loaded(tmp_path: Path) -> None:
    segmenter, cpu = Segmenter(), torch.device("cpu")
    for seed in range(3):
        tiny_bundle(seed=seed).save(tmp_path / str(seed))
    first = segmenter.model(tmp_path / "0", cpu)
    second = segmenter.model(tmp_path / "1", cpu)
    assert segmenter.model(tmp_path / "0", cpu) is first
    segmenter.model(tmp_path / "2", cpu)
    assert segmenter.model(tmp_path / "0", cpu) is first
    assert segmenter.model(tmp_path / "1", cpu) is not second


def test_volumes_are_in_millilitres() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, :2] = 3
    assert volumes(on_grid(labels, (10.0, 10.0, 5.0)), SCHEMA) == {"Hülle": 1.0, "Kern": 0.0}
