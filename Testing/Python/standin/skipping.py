"""Skipping whole test files, with the reason, where what they need is not installed."""

import pytest


class SkippedModule(pytest.Module):
    """A test file that is not even imported."""

    reason = ""

    def collect(self):
        """Skips the file."""
        pytest.skip(self.reason)


def moduleOrSkip(modulePath, parent, reason: str):
    """Returns the skipped file when there is a reason, otherwise None: pytest then collects it as always."""
    if not reason:
        return None
    module = SkippedModule.from_parent(parent, path=modulePath)
    module.reason = reason
    return module
