import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_readme_s_python_runs(code):
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["MyNetwork"]()(torch.randn(2, 10, 7, 7, 832), torch.randn(2, 28, 64)).shape == (2, 8)


def test_what_the_readme_points_at_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
    for script in re.findall(r"(?:python|plait run) (\S+\.(?:py|toml))", README):
        assert (ROOT / script).exists(), script
    targets = re.findall(r"make (\w+)", README)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
