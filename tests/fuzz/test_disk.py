"""A full disk costs a verb one line and nothing that it has done; `tests.fuzz.disk` tries more of them."""

import shutil
import subprocess
import sys

import pytest

ALONE = ["unshare", "--mount", "--map-root-user"]  # with mounts of its own


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_more_room_lets_a_verb_go_on(tmp_path):
    may = (
        shutil.which(ALONE[0])
        and subprocess.run([*ALONE, "mount", "-t", "tmpfs", "none", tmp_path]).returncode == 0
    )
    if not may:
        pytest.skip("no disk in memory can be made here")
    command = [sys.executable, "-m", "tests.fuzz.disk", "--stops", "1", "--folder", str(tmp_path)]
    done = subprocess.run([*ALONE, *command, "--verbs", "run"], capture_output=True)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert b"run: stopped " in done.stdout
