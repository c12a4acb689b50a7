"""The live page in a real browser: it moves, it says what is done and what is missing, it comes back."""

import time

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
# How many of a canvas's pixels are painted at all.
PAINTED = """((canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
  .filter((value, i) => i % 4 === 3 && value > 0).length)(document.querySelector({selector!r}))"""


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
    for canvas in ("#bands", ".log canvas"):
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
    tab.press(" ", 32)
    wait(tab, "document.querySelector('.lit').hidden && light === null")
    while serving.page._light.wanted:
        time.sleep(0.05)


@pytest.mark.parametrize("page", ["concat"], indirect=True)
def test_a_model_without_attention_has_no_switch(tab, page):
    _, serving = page
    tab.open(serving.address, 1200)
    wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r}")
    assert tab.run("getComputedStyle(document.getElementById('switch')).display") == "none"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_cut_off_or_empty(tab, page, width, dark):
    playing, serving = page
    tab.open(serving.address, width, dark=dark)
    wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r} && {SENSORS}[2][1] === 'seen'")
    playing.stage.dead.add("right")
    wait(tab, f"{SENSORS}[2][0].includes('silent')")
    assert tab.run("document.documentElement.scrollWidth") <= width
    boxes = tab.run(BOXES)
    assert len(boxes) > 15 and all(0 <= left < right <= width and area > 100 for left, right, area in boxes)
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


def test_the_end_is_said_and_a_new_session_is_found(tab):
    with Played() as playing:
        serving = serve_page(playing.session, port=0)
        port = serving._listening.port
        tab.open(serving.address, 1200)
        wait(tab, f"{ACTIVITY} === {ACTIVITIES[0]!r}")
        serving.close("The session has ended.")
    wait(tab, "document.getElementById('state').textContent === 'The session has ended.'")
    assert tab.run("document.getElementById('present').hasAttribute('data-stale')")
    with Played() as playing:
        playing.says = ACTIVITIES[4]
        serving = serve_page(playing.session, port=port)
        wait(tab, f"{ACTIVITY} === {ACTIVITIES[4]!r} && document.getElementById('state').textContent === ''")
        serving._listening.close()  # as a server that is killed
        wait(tab, "document.getElementById('state').textContent.includes('trying again')")
        serving = serve_page(playing.session, port=port)
        wait(tab, "document.getElementById('state').textContent === ''")
        serving.close()
    tab.complaints[:] = [one for one in tab.complaints if "ERR_CONNECTION_REFUSED" not in one]
