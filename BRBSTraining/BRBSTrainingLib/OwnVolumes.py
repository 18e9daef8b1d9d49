"""Volumes that the modules have made, which are no scans."""

from __future__ import annotations

SAMPLE, INSPECTOR, UNCERTAINTY = "BRBS.Sample", "BRBS.Inspector", "BRBS.Uncertainty"  # attributes of such nodes


def isOwnVolume(node) -> bool:
    """Whether a volume node is a sample, a part of the inspector or an uncertainty."""
    return any(node.GetAttribute(name) is not None for name in (SAMPLE, INSPECTOR, UNCERTAINTY))
