"""The site in a browser: no error, readable on a phone and in the dark, accessible, searched."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

pytestmark = pytest.mark.slow
PAGES = ("index", "claims", "glossary", "lessons/12_compare", "api/labkit.rag")
LOOKS = {"light": (1200, "light"), "phone, dark": (390, "dark")}
WAIT = 240_000  # milliseconds
WIDE = """() => [...document.querySelectorAll("article :is(pre, table, img, math)")].filter(it => {
  if (it.getBoundingClientRect().right <= innerWidth) return false
  for (let box = it; box.tagName != "ARTICLE"; box = box.parentElement)
    if (/auto|scroll/.test(getComputedStyle(box).overflowX)) return false
  return true
}).map(it => it.outerHTML.slice(0, 200))"""
BRIGHT = """() => {
  const parts = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3)
  return parts.reduce((sum, part) => sum + Number(part), 0) / 3
}"""


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *told):
        pass


@pytest.fixture(scope="module")
def address(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def look(browser, width=1200, scheme="light"):
    """A tab that keeps what goes wrong in it, and what it loads."""
    size = {"width": width, "height": 900}
    tab = browser.new_context(viewport=size, color_scheme=scheme, is_mobile=width < 600).new_page()
    tab.set_default_timeout(WAIT)
    tab.wrong, tab.loaded = [], []
    tab.on("console", lambda told: tab.wrong.append(told.text) if told.type == "error" else None)
    tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
    tab.on("request", lambda asked: tab.loaded.append(asked.url))
    return tab


@pytest.fixture(scope="module", params=[(page, name) for page in PAGES for name in LOOKS], ids=lambda p: " ".join(p))
def seen(request, browser, address):
    page, name = request.param
    tab = look(browser, *LOOKS[name])
    tab.goto(f"{address}{page}.html", wait_until="load")
    yield tab, LOOKS[name][1]
    tab.context.close()


def test_a_page_meets_no_serious_finding_of_axe(seen):
    found = Axe().run(seen[0]).response
    wrong = [rule for rule in found["violations"] if rule["impact"] in ("serious", "critical")]
    assert not [(rule["id"], rule["nodes"][0]["target"]) for rule in wrong]
    assert "color-contrast" in [rule["id"] for rule in found["passes"]]


def test_a_page_follows_the_reader_s_choice_of_light_or_dark(seen):
    tab, scheme = seen
    assert tab.evaluate(BRIGHT) > 200 if scheme == "light" else tab.evaluate(BRIGHT) < 60


def test_no_page_reports_an_error_scrolls_sideways_on_a_phone_or_loads_from_elsewhere(site, browser, address):
    tab = look(browser, 390)
    for path in sorted(site.rglob("*.html")):
        tab.goto(address + path.relative_to(site).as_posix(), wait_until="load")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390, path.name
        assert not tab.evaluate(WIDE), path.name
        assert not tab.wrong, (path.name, tab.wrong)
    assert not [url for url in tab.loaded if not url.startswith((address, "data:"))]
    tab.context.close()


@pytest.mark.parametrize("term, page", [("canary", "glossary.html"), ("reciprocal_rank_fusion", "api/labkit.rag.html")])
def test_searching_a_term_finds_its_page(browser, address, term, page):
    tab = look(browser)
    tab.goto(f"{address}index.html")
    tab.fill("input[name=q]", term)
    tab.press("input[name=q]", "Enter")
    expect(tab.locator(f"#search-results a[href*='{page}']").first).to_be_visible(timeout=WAIT)
    assert not tab.wrong
    tab.context.close()


def test_what_scrolls_within_itself_is_reached_by_the_keyboard(browser, address):
    tab = look(browser, 390)
    tab.goto(f"{address}lessons/12_compare.html", wait_until="load")
    assert tab.evaluate("document.querySelectorAll('pre[tabindex]').length") > 0
    tab.focus("pre[tabindex]")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("document.activeElement.scrollLeft > 0")
    tab.context.close()
