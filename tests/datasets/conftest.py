"""What several data sets' tests need."""

import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
