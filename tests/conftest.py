"""Shapes in signatures are checked at run time in every test; property tests are repeatable and have no deadline."""

import torch
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook(["plait.fusion", "plait.encoders"], "beartype.beartype")
settings.register_profile("plait", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("plait")
torch.set_num_threads(1)
