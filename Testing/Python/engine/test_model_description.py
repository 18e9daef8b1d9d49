"""What may be imported where PyTorch is not installed, and what a bundle says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from children import environment

from brbs.errors import InputError
from brbs.model_description import MODEL_FILE, read_description

TORCH_FREE = ("study", "settings", "job", "locking", "model_description")


def test_watching_and_describing_need_no_pytorch() -> None:
    imports = "; ".join(f"import brbs.{name}" for name in TORCH_FREE)
    script = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, env=environment()).returncode == 0


def test_description_of_a_model(model: Path) -> None:
    assert read_description(model)["provenance"]["atlases"] == ["atlas 0", "atlas 1"]


@pytest.mark.parametrize(
    ("content", "told"), [(None, "no model here"), ("{", "JSON"), ('{"format": 99}', "newer"), ("{}", "format")]
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / MODEL_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=told) as refusal:
        read_description(tmp_path)
    assert str(tmp_path) in str(refusal.value)
