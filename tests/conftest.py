"""Shapes in signatures are checked at run time in every test; property tests are repeatable and have no deadline."""

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook(["plait.fusion", "plait.encoders"], "beartype.beartype")
settings.register_profile("plait", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("plait")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or leaves anything in the user's cache."""
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
