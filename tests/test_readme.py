import ast
import re
import subprocess
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


def test_make_bench_asks_nothing_and_goes_on_after_one_that_fails(tmp_path):
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\necho "$@" >> ran\ncase $1 in *memory.py) exit 1;; esac\n')
    stub.chmod(0o755)
    words = ["make", "-f", str(ROOT / "Makefile"), "-o", "install", "bench", "BIN=."]
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    *ran, last = (tmp_path / "ran").read_text().splitlines()
    assert made.returncode != 0 and "failed: memory\n" in made.stdout
    assert last == "benchmarks/ratios.py runs/bench"
    names = [Path(line.split()[0]).stem for line in ran]
    assert {"decode", "fusion", "memory", "study"} < set(names)
    assert ran == [f"benchmarks/{name}.py --json runs/bench/{name}.json" for name in names]
    for name in names:
        source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        assert "options(" in source or '"--json"' in source, name
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        added = [call for call in calls if ast.unparse(call.func).endswith(".add_argument")]
        asked = [ast.unparse(call) for call in added if not ast.unparse(call.args[0]).startswith("'-")]
        assert all("nargs='?'" in call for call in asked), f"{name}: {asked}"
    stub.write_text("#!/bin/sh\n")
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == 0
