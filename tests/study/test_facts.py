"""What a run says of the code that made it."""

import subprocess

import pytest

from plait.study import facts


@pytest.mark.parametrize("own", [True, False])
def test_a_commit_is_that_of_plaits_own_checkout_and_of_no_other(tmp_path, monkeypatch, own):
    """plait installed within somebody else's repository is not of its commits."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    file = tmp_path / "site-packages" / "plait" / "facts.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    (tmp_path / "other.txt").write_text("")
    for command in (["init", "-q"], ["add", "." if own else "other.txt"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(facts, "__file__", str(file))
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert facts.commit() == (head.strip() if own else None)
    if own:
        (tmp_path / "other.txt").write_text("changed")
        assert facts.commit() == head.strip() + "+"
