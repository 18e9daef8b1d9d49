"""Tests in several processes (``-n auto``) share the processor's cores."""

from __future__ import annotations

import os

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    # Read where PyTorch is loaded, here and in the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
