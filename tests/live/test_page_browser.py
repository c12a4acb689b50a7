"""The live page in a real browser: it moves, it says what is done and what is missing, it comes back."""

import time
from itertools import product

import pytest

from plait.live.page import serve_page
from tests.live.stage import ACTIVITIES, Played
from tests.report.browser import needs_browser

pytestmark = needs_browser

WAIT = """new Promise((done, fail) => {{
  const begun = performance.now();
  const look = () => {{
    const found = {condition};
    if (found) done(found);
    else if (performance.now() - begun > 50000) fail(new Error("it has not come to this: " + {told!r}));
    else setTimeout(look, 50);
  }};
  look();
}})"""
SHOWN = "Number(document.querySelector('.picture')?.dataset.shown ?? 0)"
PIXELS = "document.querySelector('.picture').toDataURL()"
ACTIVITY = "document.getElementById('activity').textContent"
SENSORS = "[...document.querySelectorAll('#sensors li')].map((one) => [one.textContent, one.dataset.state])"
BOXES = """[...document.querySelectorAll("canvas, #activity, #sensors li, #names li, dd")]
  .filter((one) => !one.hidden).map((one) => one.getBoundingClientRect())
  .map((box) => [box.left, box.right, box.width * box.height])"""
KEYS = """[...document.querySelectorAll(".key")]
  .map((one) => [one.textContent.trim(), one.getBoundingClientRect().right])"""
LONG = "put the knife down on the left counter beside the sink, then turn on the tap"
# Where an activity's names and bands are, while one or another is present.
PLACES = """[{long!r}, there.activities[1]].map((predicted) => {{
  present({{ ...windows.at(-1) ?? {{ scores: there.activities.map(() => 0) }}, predicted }});
  const box = (one) => one.getBoundingClientRect().toJSON();
  return {{
    heading: box(document.getElementById("activity")), score: box(document.getElementById("score")),
    cut: there.bands.map(({{ called }}) => called.scrollWidth > called.clientWidth),
    names: there.bands.map(({{ called }}) => box(called)),
    bands: there.bands.map(({{ canvas }}) => box(canvas)),
  }};
}})"""
TIMERS = """window.waits = [];
((later) => (window.setTimeout = (done, after) => {
  if (done !== connect) return later(done, after);
  waits.push(after);
  return later(done, 0);
}))(window.setTimeout.bind(window))"""
AXES = "[...document.querySelectorAll('.axis span')].map((one) => one.textContent)"
# How many of a canvas's pixels are painted at all.
PAINTED = """((canvas) => {{
  const {{ width, height }} = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", {{ willReadFrequently: true }});
  copy.drawImage(canvas, 0, 0);
  const {{ data }} = copy.getImageData(0, 0, width, height);
  return data.filter((value, i) => i % 4 === 3 && value > 0).length;
}})(document.querySelector({selector!r}))"""


def wait(tab, condition):
    """What a condition comes to, once it holds."""
    return tab.run(WAIT.format(condition=condition, told=condition))


def painted(selector):
    return PAINTED.format(selector=selector)


@pytest.fixture
def page(request):
    """A session that runs, and its page."""
    playing = Played(getattr(request, "param", "led"))
    serving = serve_page(playing.session, port=0)
    with playing:
        yield playing, serving
    serving.close()


def test_the_picture_moves_and_the_activity_changes(tab, page):
    playing, serving = page
    tab.open(serving.address, 1200)
    wait(tab, f"{SHOWN} > 2 && {ACTIVITY} === {ACTIVITIES[0]!r}")
    before, shown = tab.run(f"[{PIXELS}, {SHOWN}]")
    wait(tab, f"{SHOWN} > {shown} + 3")
    assert tab.run(PIXELS) != before
    playing.says = ACTIVITIES[3]
    wait(tab, f"{ACTIVITY} === {ACTIVITIES[3]!r} && document.title.startsWith({ACTIVITIES[3]!r})")
    assert tab.run("document.querySelector('#names [aria-current]').textContent") == ACTIVITIES[3]
    assert tab.run("document.getElementById('activity').getAttribute('aria-live')") == "polite"
    for canvas in (".bands canvas", ".log canvas"):
        assert wait(tab, f"{painted(canvas)} > 500")
    assert tab.run("document.getElementById('median').textContent").endswith(" ms")
    assert wait(tab, "/^\\d+:\\d\\d$/.test(document.getElementById('time').textContent)")
    assert tab.run("document.getElementById('state').textContent") == ""


def test_a_sensor_that_dies_is_greyed_and_named(tab, page):
    playing, serving = page
    tab.open(serving.address, 1200)
    wait(tab, f"{SENSORS}.length === 3 && {SENSORS}.every(([name, state]) => state === 'seen')")
    assert tab.run(SENSORS) == [[name, "seen"] for name in ("video", "left", "right")]
    playing.stage.dead.add("left")
    wait(tab, f"{SENSORS}[1][1] === 'gone' && {SENSORS}[2][1] === 'seen'")
    assert tab.run(f"/^left: silent for \\d+\\.\\d s$/.test({SENSORS}[1][0])")
    assert tab.run("[...document.querySelectorAll('.log')].map((one) => one.dataset.state)") == [
        "gone",
        "seen",
    ]
    assert "grayscale" in tab.run("getComputedStyle(document.querySelector('.log canvas')).filter")
    wait(tab, "document.getElementById('news').textContent === 'left: silent'")
    playing.stage.dead.clear()
    wait(tab, f"{SENSORS}[1][1] === 'seen' && document.getElementById('news').textContent === 'left is back'")


@pytest.mark.parametrize("width", [390, 1200])
def test_long_names_are_whole_and_move_nothing(tab, page, width):
    _, serving = page
    tab.open(serving.address, width)
    wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r}")
    tab.run(f"open({{ ...there, activities: [{LONG!r}, ...there.activities.slice(1)] }})")
    tall, short = tab.run(PLACES.format(long=LONG))
    assert tall["heading"]["height"] > 1.9 * 51 > 1.9 * 25 and tall["score"] == short["score"]
    assert tall["names"] == short["names"] and tall["bands"] == short["bands"]
    assert not any(tall["cut"]) and tall["names"][0]["height"] > 1.9 * short["names"][1]["height"]
    for name, band in zip(tall["names"], tall["bands"], strict=True):
        assert name["right"] <= width and band["width"] > 0.25 * width
        assert (name["bottom"] <= band["top"] + 1) if width == 390 else (name["right"] <= band["left"])


def test_news_are_of_what_was_gone(tab, page):
    _, serving = page
    tab.open(serving.address, 1200)
    wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r}")
    tell = """(() => {
      const last = windows.at(-1), heard = [];
      const hear = (left, right, since = []) => {
        windows = since;
        told = { streams: { video: { silent_s: 0 }, left: { silent_s: left }, right: { silent_s: right } } };
        notice();
        heard.push(document.getElementById("news").textContent);
      };
      open({ ...there });
      hear(null, null);
      hear(0, null);
      hear(0, null, [last]);
      hear(9, 0, [last]);
      hear(0, 0, [last]);
      return heard;
    })()"""
    wait(tab, "windows.length > 0")
    assert tab.run(tell) == ["", "", "right: silent", "left: silent, right is there", "left is back"]


def test_each_column_says_its_scale(tab, page):
    _, serving = page
    tab.open(serving.address, 390)
    scales = "[...document.querySelectorAll('.log:last-child small')].map((one) => one.textContent)"
    wait(tab, f"{scales}.length === 6 && {scales}.every((one) => / to /.test(one))")
    low, high = (float(part) for part in tab.run(scales)[5].split(" to "))
    assert -6.1 <= low < high <= 6.1  # a sine of this height
    heights = (
        "['figcaption', 'canvas'].map((one) => document.querySelector(`.log:last-child ${one}`).clientHeight)"
    )
    legend, strip = tab.run(heights)
    assert 20 < legend < strip


def test_what_is_attended_to_is_shown_when_it_is_wanted(tab, page):
    _, serving = page
    tab.open(serving.address, 1200)
    wait(tab, "!document.getElementById('switch').hidden")
    assert tab.run("document.querySelector('.lit').hidden && !document.getElementById('lights').checked")
    assert tab.run("document.getElementById('lights').labels[0].textContent").strip() == (
        "show what the fusion attends to"
    )
    tab.run("document.getElementById('lights').focus()")
    tab.press(" ", 32)
    wait(tab, f"!document.querySelector('.lit').hidden && {painted('.lit')} > 10")
    assert tab.run("light.lit.left.shape.length") == 1
    for width in (390, 1200):
        tab.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        for legend, right in tab.run(KEYS):
            assert legend.startswith("attended to") and 100 < right <= width
    tab.press(" ", 32)
    wait(tab, "document.querySelector('.lit').hidden && light === null")
    assert [right for _, right in tab.run(KEYS)] == [0, 0]
    while serving.page._light.wanted:
        time.sleep(0.05)


@pytest.mark.parametrize("page", ["concat"], indirect=True)
def test_a_model_without_attention_has_no_switch(tab, page):
    _, serving = page
    tab.open(serving.address, 1200)
    wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r}")
    assert tab.run("getComputedStyle(document.getElementById('switch')).display") == "none"


def test_nothing_is_cut_off_or_empty(tab, page):
    playing, serving = page
    tab.open(serving.address, 1200)
    wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r} && {SENSORS}[2][1] === 'seen'")
    playing.stage.dead.add("right")
    for width, dark in product((390, 1200), (False, True)):
        tab.open(serving.address, width, dark=dark)
        wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r} && {SENSORS}[2][0].includes('silent')")
        assert tab.run("document.documentElement.scrollWidth") <= width
        boxes = tab.run(BOXES)
        assert len(boxes) > 15
        assert all(0 <= left < right <= width and area > 100 for left, right, area in boxes)
        ground, ink = tab.run(
            "['backgroundColor', 'color'].map((name) => "
            "getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
        )
        assert (sum(ground) < sum(ink)) == dark and abs(sum(ground) - sum(ink)) > 300


def test_who_wants_less_motion_is_shown_the_same_in_steps(tab, page):
    _, serving = page
    tab.open(serving.address, 1200)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    wait(tab, f"calm.matches && {ACTIVITY} === {ACTIVITIES[0]!r} && {painted('.log canvas')} > 500")
    drawn = tab.run("drawn")
    assert wait(tab, f"drawn > {drawn} && drawn") - drawn >= 500


def test_the_end_is_said_and_nothing_is_asked_for_any_more(tab):
    with Played() as playing:
        serving = serve_page(playing.session, port=0)
        tab.open(serving.address, 1200)
        tab.run(TIMERS)
        wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r} && clock !== null && {AXES}.includes('now')")
        serving.close("The session has ended.")
    wait(tab, "socket.readyState === WebSocket.CLOSED")
    scored, skipped = tab.run("[told.scored, told.skipped]")
    assert scored > 0 and tab.run("document.getElementById('state').textContent") == (
        f"The session has ended. Windows scored: {scored}, skipped: {skipped}."
    )
    wait(tab, "document.getElementById('present').hasAttribute('data-stale')")
    assert {state for _, state in tab.run(SENSORS)} == {"unknown"}
    dot = "getComputedStyle(document.querySelector('#sensors li'), '::before').backgroundColor"
    assert tab.run(dot) == "rgba(0, 0, 0, 0)"
    assert all(":" in when for when in tab.run(AXES)) and tab.run("waits") == []
    assert tab.run("document.getElementById('lights').disabled")


def test_a_server_that_is_gone_is_asked_for_less_and_less_and_found_again(tab):
    with Played() as playing:
        serving = serve_page(playing.session, port=0)
        port = serving._listening.port
        tab.open(serving.address, 1200)
        wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r}")
        tab.run(TIMERS)
        serving._listening.close()  # as a server that is killed
        wait(tab, "waits.length > 6 && document.getElementById('state').textContent.includes('trying again')")
        assert tab.run("waits.slice(0, 7)") == [1000, 2000, 5000, 10000, 30000, 30000, 30000]
    with Played() as playing:
        playing.says = ACTIVITIES[4]
        serving = serve_page(playing.session, port=port)
        wait(tab, f"{ACTIVITY} === {ACTIVITIES[4]!r} && document.getElementById('state').textContent === ''")
        assert tab.run(f"tries === 0 && {AXES}.includes('now')")
        serving.close()
    tab.complaints[:] = [one for one in tab.complaints if "ERR_CONNECTION_REFUSED" not in one]
