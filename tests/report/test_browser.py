"""The page in a real browser: any width, light and dark, by mouse and by keyboard, from disk and served."""

import json
import shutil

import polars as pl
import pytest
from tests.report.browser import needs_browser
from tests.report.conftest import recognised, with_films

from plait.report import write_report
from plait.report.serve import server

pytestmark = needs_browser

AREAS = """[...document.querySelectorAll("figure, figure svg, #bars, #matrix, .case, .screen, .said")]
  .filter((one) => !one.closest(".wide, .narrow") ||
    getComputedStyle(one.closest(".wide, .narrow")).display !== "none")
  .map((one) => one.getBoundingClientRect()).map((box) => box.width * box.height)"""
CONTROLS = 'select, a[href], input, button:not([hidden], [popover] *), video, summary, [tabindex="0"]'
LETTERS = """[...document.querySelectorAll("figure svg text")].filter((text) => text.getClientRects().length)
  .map((text) => [parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a,
                  text.textContent])"""
CUT = """[...document.querySelectorAll("figure svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    const beyond = box.left < frame.left - 2 || box.right > frame.right + 2;
    return box.width && (beyond || box.bottom > frame.bottom + 2);
  }).map((text) => text.textContent);
})"""


@pytest.fixture(scope="module")
def page(fused, tmp_path_factory):
    """A page with films, joints, signals and a timeline; its folder."""
    folder = tmp_path_factory.mktemp("page")
    with_films(fused, folder)
    recognised(folder)
    for name in ("jobs", "study.toml"):
        (folder / name).symlink_to(fused / name)
    write_report(folder)
    return folder


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_cut_off_or_empty(tab, page, width, dark):
    tab.open((page / "index.html").as_uri(), width, dark=dark)
    assert tab.run("innerWidth") == width
    assert tab.run("document.documentElement.scrollWidth") <= width
    areas = tab.run(AREAS)
    assert len(areas) > 12 and min(areas) > 1000
    ground, ink = tab.run(
        "['backgroundColor', 'color'].map((name) => "
        "getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
    )
    assert (sum(ground) < sum(ink)) == dark and abs(sum(ground) - sum(ink)) > 300


def test_the_first_screen_holds_what_fusion_gained_two_clips_and_a_new_recording(tab, page):
    tab.open((page / "index.html").as_uri(), 1200)
    ends = tab.run("""["#glance .brief-bars", "#glance .look img", "#glance .legend"].map((one) =>
      document.querySelector(one).getBoundingClientRect().bottom)""")
    assert sorted(ends) == ends and ends[-1] <= 900, ends


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_what_figures_say_can_be_read(tab, page, width):
    tab.open((page / "index.html").as_uri(), width)
    shown = set(
        tab.run("[...document.querySelectorAll('figure svg')].map((one) => one.closest('section').id)")
    )
    assert {"accuracy", "timelines", "comparisons", "widths", "gains", "calibration", "learning"} <= shown
    letters = tab.run(LETTERS)
    assert len(letters) > 60 and min(letters)[0] >= 11, min(letters)
    assert tab.run(CUT) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_tables_show_all_of_their_columns(tab, page, width):
    tab.open((page / "index.html").as_uri(), width)
    cut = tab.run("""[...document.querySelectorAll("section:not(#confusion, #subjects) > .scroll")]
      .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.ariaLabel)""")
    assert cut == []


@pytest.mark.parametrize("width", [390, 1280])
def test_a_row_says_what_it_is_when_asked(tab, page, width):
    tab.open((page / "index.html").as_uri(), width)
    names = tab.run("[...document.querySelectorAll('button.name')].map((one) => one.textContent)")
    assert names == tab.run("data.methods")
    opened = "[...document.querySelectorAll(':popover-open')].map((one) => one.innerText)"
    led = f"document.querySelectorAll('button.name')[{names.index('led')}]"
    assert tab.run(opened) == []
    tab.run(f"{led}.focus()")
    tab.press(" ", 32)
    [said] = tab.run(opened)
    for words in (
        "Class scores from the lead's grid",
        "plait.fusion:Led (lead a)",
        "a; b",
        "trained",
        "RMSprop",
    ):
        assert words in said, words
    box = tab.run("""(() => { const box = document.querySelector(":popover-open").getBoundingClientRect();
      return [box.left, box.top, innerWidth - box.right, innerHeight - box.bottom]; })()""")
    assert min(box) >= 0
    tab.press("Tab", 9)
    assert tab.run("document.activeElement.textContent") == "close"
    tab.press("Escape", 27)
    assert tab.run(opened) == [] and tab.run(f"document.activeElement === {led}")
    tab.run(f"{led}.click()")
    assert len(tab.run(opened)) == 1


def test_print_folds_nothing_and_says_what_rows_are(tab, page):
    tab.open((page / "index.html").as_uri(), 1280)
    tab.run("document.querySelector('main').append(document.createElement('details'))")
    tab.run("dispatchEvent(new Event('beforeprint'))")
    assert tab.run("document.querySelector('main > details').open")
    tab.call("Emulation.setEmulatedMedia", media="print")
    try:
        shown = tab.run(
            "[...document.querySelectorAll('.about')].map((one) => one.getBoundingClientRect().height)"
        )
        assert len(shown) == tab.run("data.methods.length") and min(shown) > 30
    finally:
        tab.call("Emulation.setEmulatedMedia", media="")


def test_the_browser_hears_complaints(tab, tmp_path):
    """The test of the test: errors, rejections and missing files are all heard."""
    (tmp_path / "bad.html").write_text(
        "<script>console.error('said'); Promise.reject(new Error('rejected')); "
        "throw new Error('thrown')</script>"
        "<script src='nothing.js'></script>"
    )
    tab.open((tmp_path / "bad.html").as_uri(), 800)
    tab.run("new Promise((done) => setTimeout(done, 200))")
    heard = " ".join(tab.complaints)
    assert all(word in heard for word in ("said", "rejected", "thrown", "ERR_FILE_NOT_FOUND"))
    tab.complaints.clear()


SHOWN = {
    "bars-method": "bars",
    "bars-against": "bars",
    "bars-order": "bars",
    "matrix-method": "matrix",
    "matrix-person": "matrix",
    "cases-who": "cases-list",
    "cases-activity": "cases-list",
    "cases-subject": "cases-list",
}


def test_every_choice_changes_what_is_shown(tab, page):
    tab.open((page / "index.html").as_uri(), 1200)
    assert set(tab.run("[...document.querySelectorAll('select')].map((one) => one.id)")) == set(SHOWN)
    for select, shown in SHOWN.items():
        seen = tab.run(f"""(() => {{
          const select = document.getElementById("{select}"), before = select.value, seen = [];
          for (const option of select.options) {{
            select.value = option.value;
            select.dispatchEvent(new Event("change"));
            seen.push(document.getElementById("{shown}").innerHTML);
          }}
          select.value = before;
          select.dispatchEvent(new Event("change"));
          return seen;
        }})()""")
        assert len(seen) > 1 and len(set(seen)) > 1, select


def test_filters_leave_what_they_say(tab, page):
    tab.open((page / "index.html").as_uri(), 1200)
    names, wanted, every = tab.run("""(() => {
      const select = document.getElementById("cases-activity");
      const every = document.querySelectorAll(".case").length;
      select.value = 1;
      select.dispatchEvent(new Event("change"));
      const names = [...document.querySelectorAll(".case h3")].map((one) => one.textContent);
      return [names, select.options[1].text, every];
    })()""")
    assert set(names) == {wanted} and 0 < len(names) < every
    found = tab.run("""(() => {
      const set = (id, value) => {
        const one = document.getElementById(id);
        one.value = value;
        one.dispatchEvent(new Event("change"));
      };
      const who = (note) => note.textContent.split(" · ")[0];
      set("cases-activity", 0);
      return [...document.getElementById("cases-who").options].map((option) => {
        set("cases-who", option.value);
        return [option.text, [...document.querySelectorAll(".case .note:not(figcaption)")].map(who)];
      });
    })()""")
    asked = dict(found)
    for label, fits in (
        ("fusion right, every single wrong", lambda who: who == "✗✗✓"),
        ("fusion right, a single wrong", lambda who: who[2] == "✓" and "✗" in who),
        ("led astray: a single right, fusion wrong", lambda who: who[2] == "✗" and "✓" in who),
    ):
        if label in asked:
            marks = ["".join(mark for mark in note if mark in "✓✗") for note in asked[label]]
            assert marks and all(fits(mark) for mark in marks), label
    combinations = [label for label in asked if label.startswith(("✓", "✗"))]
    assert combinations and all(set(asked[label]) == {label} for label in combinations)


PLAYED = """(async () => {
  const film = document.querySelector("video"), one = film.closest(".case");
  const joint = one.querySelector(".body circle");
  const before = joint.getAttribute("cx"), small = joint.getAttribute("class");
  one.querySelector("input[type=checkbox]").click();
  film.muted = true;
  await film.play();
  await new Promise((done) => film.addEventListener("timeupdate", () => film.currentTime > 0.3 && done()));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  film.pause();
  const canvas = one.querySelector("canvas"), alpha = [];
  for (const share of [0.25, 0.75]) {  // where it stopped depends on how busy the machine is
    film.currentTime = film.duration * share;
    await new Promise((done) => film.addEventListener("seeked", done, { once: true }));
    const copy = new OffscreenCanvas(2, 1).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const pixels = copy.getImageData(0, 0, 2, 1).data;
    alpha.push([pixels[3], pixels[7]]);
  }
  return {
    moved: Number(one.querySelector(".now").getAttribute("x1")), joint: joint.getAttribute("cx") !== before,
    lit: [small, joint.getAttribute("class")], shown: !canvas.hidden, alpha,
    bands: one.querySelector(".bands").getAttribute("visibility"),
    sharp: one.querySelectorAll(".bands rect").length,
  };
})()"""


def as_it_should(seen):
    assert seen["moved"] == pytest.approx(225, abs=20)  # three quarters of 300
    assert seen["joint"] and seen["lit"] == ["", "lit"] and seen["shown"]
    assert seen["alpha"] == [[0, 85], [255, 0]]  # of either half of the clip
    assert seen["bands"] == "visible" and seen["sharp"] == 6


def test_a_clip_plays_and_everything_follows(tab, page):
    tab.open((page / "index.html").as_uri(), 1200)
    as_it_should(tab.run(PLAYED))


def test_films_beside_the_page_play_where_it_is_served(tab, page, tmp_path):
    served = shutil.copytree(page, tmp_path / "page", symlinks=True)
    write_report(served, limit=1)
    with server(served, port=0) as listening:
        tab.open(listening.address, 1200)
        as_it_should(tab.run(PLAYED))
        tab.open("about:blank", 1200)


def test_the_rest_is_shown_when_asked_for(tab, page):
    tab.open((page / "index.html").as_uri(), 1200)
    every = len(json.loads((page / "cases.json").read_text())["cases"])
    assert every > 12 and tab.run("document.querySelectorAll('.case').length") == 12
    assert tab.run("document.getElementById('cases-more').textContent") == f"show {every - 12} more"
    tab.run("document.getElementById('cases-more').click()")
    assert tab.run("document.querySelectorAll('.case').length") == every
    assert tab.run("document.getElementById('cases-more').hidden")
    assert tab.run("document.activeElement === document.querySelectorAll('.case')[12]")


def test_a_clip_without_a_film_has_a_clock(tab, page):
    tab.open((page / "index.html").as_uri(), 1200)
    tab.run("document.getElementById('cases-more').click()")
    seen = tab.run("""(async () => {
      const line = document.querySelector(".clock"), one = line.closest(".case");
      const [button, slider] = line.children;
      const now = () => Number(one.querySelector(".now").getAttribute("x1"));
      slider.value = 0.5;
      slider.dispatchEvent(new Event("input"));
      const half = now();
      button.click();
      await new Promise((done) => setTimeout(done, 300));
      const playing = now(), label = button.ariaLabel;
      button.click();
      const stopped = now();
      await new Promise((done) => setTimeout(done, 200));
      return { half, playing, label, still: now() === stopped, after: button.ariaLabel };
    })()""")
    assert seen["half"] == 150 and seen["playing"] != 150
    assert (seen["label"], seen["after"], seen["still"]) == ("pause", "play", True)


@pytest.mark.parametrize("width", [390, 1200])
def test_the_keyboard_reaches_every_control(tab, page, width):
    tab.open((page / "index.html").as_uri(), width)
    tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
    count = tab.run(f"""(() => {{
      const every = [...document.querySelectorAll('{CONTROLS}')];
      every.forEach((one, i) => {{ one.dataset.number = i; }});
      return every.length;
    }})()""")
    reached = []
    for _ in range(count * 8):  # a player's own buttons are stops within one control
        tab.press("Tab", 9)
        number = tab.run("document.activeElement.dataset.number ?? null")
        if reached and number in (None, reached[0]) and number != reached[-1]:
            break
        if number is not None:
            reached.append(number)
    assert set(map(int, reached)) == set(range(count))
    assert [int(one) for one in dict.fromkeys(reached)] == list(range(count))  # in the order of the page


HOSTILE = (
    "<img src=x onerror=hit()>",
    "</script><script>hit()</script>",
    "\"'><svg onload=hit()>",
    "javascript:hit()",
    "&lt;b onclick=hit()&gt;",
    "${hit()}`; hit(); //",
    "=hit() $\\frac$ %s {0}",
)


def test_whatever_things_are_called_is_shown_as_written_and_never_run(tab, fused, tmp_path):
    """Methods, modalities, activities, people and clips, on the page and in what it builds of them."""
    predictions = pl.read_parquet(fused / "predictions.parquet")
    with_films(fused, tmp_path)
    renamed = {
        name: f"{HOSTILE[number % len(HOSTILE)]} {number}"
        for number, name in enumerate(
            name
            for column in ("method", "activity", "subject", "clip")
            for name in predictions[column].unique(maintain_order=True)
        )
    }

    def called(value):
        if isinstance(value, dict):
            return {called(name): one if name == "kind" else called(one) for name, one in value.items()}
        if isinstance(value, list):
            return [called(one) for one in value]
        return renamed.get(value, value) if isinstance(value, str) else value

    for name in ("run.json", "cases.json"):
        said = called(json.loads((tmp_path / name).read_text()))
        said.pop("tables", None)  # digests of what is changed here
        (tmp_path / name).write_text(json.dumps(said))
    columns = ("method", "fold", "clip", "subject", "activity", "predicted")
    predictions.with_columns(pl.col(*columns).replace(renamed)).write_parquet(
        tmp_path / "predictions.parquet"
    )
    (tmp_path / "index.html").write_text(
        write_report(tmp_path)
        .read_text()
        .replace("<head>", "<head><script>var hits = 0, hit = () => { hits++ }</script>")
    )
    tab.open((tmp_path / "index.html").as_uri(), 1200)
    tab.run("""for (const select of document.querySelectorAll("select"))
      for (const option of select.options) {
        select.value = option.value;
        select.dispatchEvent(new Event("change"));
      }
      for (const one of document.querySelectorAll("button:not([hidden]), [tabindex='0'], [title]"))
        for (const kind of ["mouseover", "focus", "click"])
          one.dispatchEvent(new Event(kind, {bubbles: true}));""")
    tab.run("new Promise((done) => setTimeout(done, 300))")
    assert tab.run("hits") == 0
    shown = tab.run(
        "document.body.innerText + "
        "[...document.querySelectorAll('option')].map((one) => one.text).join('\\n')"
    )
    assert tab.run("document.querySelectorAll('a[href^=\"javascript:\"]').length") == 0
    predicted = {renamed[name] for name in predictions["activity"]}
    names = [*map(renamed.get, predictions["method"].unique()), *predicted]
    assert [name for name in names if name not in shown] == []
