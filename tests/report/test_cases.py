"""The browser of cases: who was right, films that play, signals; in a real browser where there is one."""

import base64
import io
import json
import queue
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import polars as pl
import pytest
import torch
from tests import tiny
from tests.report.test_sheet import Coloured

from plait.report import write_report
from plait.report.cases import chosen, filmed, heat, likeliest, signals, write_cases
from plait.study.again import Again
from plait.study.run import run_study
from plait.types import Clip, Modality, Readings, Recording

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CLIP = Clip("r1/0000", "r1", "1", "red", 1.0, 3.0)
RECORDING = Recording(
    "r1",
    "1",
    {"video": Coloured(), "wrist": Readings(np.arange(50) / 10, np.sin(np.arange(100.0)).reshape(50, 2))},
    (),
)
VIDEO = Modality("video", ("video",), 16, 8.0, torch.from_numpy, lambda shape: torch.nn.Identity())
WRIST = Modality("wrist", ("wrist",), 20, None, torch.from_numpy, lambda shape: torch.nn.Identity())


def test_films_hold_the_clip():
    film = filmed(VIDEO, RECORDING, CLIP)
    with av.open(io.BytesIO(base64.b64decode(film.removeprefix("data:video/mp4;base64,")))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 15 and frames[0].shape == (192, 192, 3)
    red, green = frames[2][96, 96].astype(int), frames[-2][96, 96].astype(int)
    assert red[0] > 200 > 90 > red[1] and green[1] > 150 > 90 > green[0]  # red until 2 s, then green
    assert filmed(WRIST, RECORDING, CLIP) is None and signals(VIDEO, RECORDING, CLIP) is None


def test_signals_are_the_clip_s_own():
    found = signals(WRIST, RECORDING, CLIP)
    assert found["modality"] == "wrist" and len(found["lines"]) == 2 and len(found["lines"][0]) == 120
    line = RECORDING.streams["wrist"].at(np.linspace(1, 3, 120))[:, 0]
    assert found["lines"][0] == pytest.approx((line - line.min()) / (line.max() - line.min()), abs=1e-3)


def test_scores_and_heat():
    assert likeliest([0.1, 0.6, 0.0, 0.3], "abcd") == [("b", 0.6), ("d", 0.3), ("a", 0.1)]
    made = heat((2, 1, 2), torch.tensor([[0.0, 1.0], [2.0, 0.0], [4.0, 3.0], [1.0, 1.0]]))
    assert made == {"shape": [2, 1, 2], "values": [0, 85, 255, 0]}
    assert heat((4,), torch.zeros(4, 2)) is None


def test_every_combination_of_who_was_right_is_there():
    cuts = [(RECORDING, Clip(f"c{i}", "r1", "1", "red" if i % 2 else "blue", 0, 1)) for i in range(16)]
    of = {}
    for i, (_, clip) in enumerate(cuts):
        for bit, name in enumerate(("a", "b", "led")):
            of[clip.name, name] = {"predicted": clip.activity if i >> bit & 1 else "none"}
    rows = chosen(cuts, of, ["a", "b", "led"], 1)
    assert len(rows) == 8 and {row % 8 for row in rows} == set(range(8))
    assert rows[0] % 8 == 4  # the fusion alone
    assert len(chosen(cuts, of, ["a", "b", "led"], 5)) == 16


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small study on generated arrays, with a page of everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        out = tmp_path_factory.mktemp("run")
        methods = {
            "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
            "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
            "concat": {"use": "plait.fusion:Concat"},
            "led": {"use": "plait.fusion:Led", "args": {"lead": "a"}},
        }
        run_study(tiny.study(methods=methods, seeds=[0]), None, out)
        write_cases(Again.of(out))
        write_report(out)
        yield out


def test_cases_say_what_the_predictions_say(run):
    told = json.loads((run / "cases.json").read_text())
    assert told["models"][-1] == "led" and set(told["models"]) == {"a", "b", "led"}
    table = pl.read_parquet(run / "predictions.parquet")
    for case in told["cases"]:
        for model, right, said in zip(told["models"], case["right"], case["said"], strict=True):
            row = table.row(by_predicate=(pl.col("clip") == case["clip"]) & (pl.col("method") == model), named=True)
            assert right == (row["predicted"] == row["activity"]) and said[0][0] == row["predicted"]
            assert case["activity"] == row["activity"]
        assert len(case["signals"]) == 2 and case["film"] is None
    before = (run / "cases.json").stat().st_mtime_ns
    assert write_cases(Again.of(run)).stat().st_mtime_ns == before


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_the_page_in_a_browser(run, tmp_path):
    """No error, every figure drawn, filters work, a film plays, every control has a place in the keyboard's order."""
    cases = json.loads((run / "cases.json").read_text())
    film = filmed(VIDEO, RECORDING, CLIP)
    for case in cases["cases"]:
        case |= {"film": film, "heat": {"shape": [2, 1, 2], "values": [0, 85, 255, 0]}}
    (run / "cases.json").write_text(json.dumps(cases))
    html = write_report(run).read_text(encoding="utf-8")
    probe = """
<script>
const tell = (seen) => fetch("http://127.0.0.1:PORT/", { method: "POST", mode: "no-cors", body: JSON.stringify(seen) });
window.addEventListener("error", (event) => tell({ error: event.message }));
window.addEventListener("load", async () => {
  const seen = { cases: document.querySelectorAll(".case").length };
  const select = document.getElementById("cases-activity");
  select.value = 1; select.dispatchEvent(new Event("change"));
  seen.filtered = [...document.querySelectorAll(".case h3")].map((h) => h.textContent);
  seen.wanted = select.options[1].textContent;
  const film = document.querySelector("video");
  film.muted = true;
  seen.played = await film.play().then(() => new Promise((done) => {
    film.addEventListener("timeupdate", () => film.currentTime > 0 && done(true));
    setTimeout(() => done(false), 8000);
  }), (error) => String(error));
  seen.moved = document.querySelector(".now").getAttribute("x1") > 0;
  const area = (box) => box.width * box.height;
  seen.figures = [...document.querySelectorAll("figure svg")].filter((s) => area(s.getBoundingClientRect())).length;
  const controls = [...document.querySelectorAll("select, a[href], input, video")];
  seen.unreachable = controls.filter((e) => e.tabIndex < 0).length;
  seen.wide = document.documentElement.scrollWidth - innerWidth;
  tell(seen);
});
</script>"""
    told = queue.Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = html.replace("</body>", probe.replace("PORT", str(server.server_port)) + "</body>")
        (tmp_path / "page.html").write_text(page, encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900", "--remote-debugging-port=0"]
        command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            seen = told.get(timeout=90)
        finally:
            browser.kill()
            browser.wait()
            server.shutdown()
    assert "error" not in seen, seen
    assert seen["cases"] == len(cases["cases"]) and set(seen["filtered"]) == {seen["wanted"]}
    assert seen["played"] is True and seen["moved"]
    assert seen["figures"] >= 3 and seen["unreachable"] == 0 and seen["wide"] <= 0, seen
