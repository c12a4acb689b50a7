"""What several files of tests need: a hub on loopback instead of Hugging Face's, and quicker exports."""

import functools
import importlib.util

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.recogniser.hub import TOKEN, serving


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that is asked instead of the Hugging Face hub, by somebody who may write there."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)  # which would ask the Hugging Face hub
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    for name in ("HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    huggingface_hub.close_session()
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", f"{served.url}/")
        yield served
        huggingface_hub.close_session()


@pytest.fixture(scope="module")
def operations_listed_once():
    """What ONNX has for torch's operations is listed for the first file, and not for each."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("onnxruntime") is not None:
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            listed = functools.cache(ONNXRegistry.from_torchlib)
            patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(listed))
        yield
