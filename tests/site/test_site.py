"""The site builds without a warning from what is committed, needs no network, and holds every lesson.

In Chromium, where the machine has one: no error, readable on a phone and in the dark, accessible, searched.
"""

import json
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from lxml import html
from playwright.sync_api import expect, sync_playwright

from labkit.compare.claims import VERDICTS, load_claims, load_papers
from labkit.store import ROOT
from tools.execute import sources

pytestmark = pytest.mark.slow
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(made)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): html.parse(path).getroot() for path in site.rglob("*.html")}


def test_every_lesson_has_a_page_that_fits_a_phone_and_loads_nothing_from_elsewhere(site):
    for source in sources():
        page = (site / "lessons" / f"{source.stem}.html").read_text("utf-8")
        assert 'name="viewport"' in page
        assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?://", page)


def test_search_knows_the_words_of_the_glossary(site):
    index = (site / "searchindex.js").read_text("utf-8")
    found = json.loads(index[index.index("{") : index.rindex("}") + 1])
    glossary = found["docnames"].index("glossary")
    for term in ("adapt", "canari", "bootstrap", "distractor"):
        places = found["terms"][term]
        assert glossary in (places if isinstance(places, list) else [places])


def test_the_first_page_leads_to_the_claims_and_the_papers_before_all_else(pages):
    links = pages["index.html"].xpath("//article//a[not(starts-with(@href, '#'))]/@href")
    assert links[:4] == ["claims.html", "papers.html", "lessons/12_compare.html", "lessons/00_start.html"]
    shown = pages["index.html"].find(".//article").text_content()
    assert f"{len(load_claims())} claims" in shown and "abstention (F1)" in shown


def test_the_ledger_has_a_row_for_each_claim_with_a_verdict_and_its_lesson(pages):
    rows = pages["claims.html"].xpath("//article//tbody/tr")
    told = [[cell.text_content().strip().replace("’", "'") for cell in row] for row in rows]
    assert [claim for claim, *_ in told] == [claim.claim for claim in load_claims()]
    assert {verdict for _, verdict, *_ in told} <= {*VERDICTS, "not judged yet"}
    assert [row.xpath(".//a/@href") for row in rows] == [[f"lessons/{c.lesson}.html"] for c in load_claims()]


def test_the_papers_stand_with_citation_finding_and_every_published_number(pages):
    shown = " ".join(pages["papers.html"].find(".//article").text_content().split())
    for paper in load_papers().values():
        numbers = [str(number) for row in paper["published"].values() for number in row.values()]
        said = (paper["authors"], paper["title"].split(":")[0], paper["arxiv"], paper["claim"], *numbers)
        assert not [text for text in said if text not in shown]


def test_every_link_within_the_site_leads_somewhere(site, pages):
    parts, broken = {name: {*page.xpath("//@id")} for name, page in pages.items()}, []
    for name, page in pages.items():
        for link in page.xpath("//a/@href"):
            target, _, part = unquote(link).partition("#")
            if "://" in link or link.startswith("mailto:"):
                continue
            there = ((site / name).parent / target).resolve() if target else site / name
            known = parts.get(there.relative_to(site.resolve()).as_posix() if target else name)
            if not there.is_file() or (part and known is not None and part not in known):
                broken.append((name, link))
    assert not broken


def test_every_figure_says_what_it_is_without_being_seen(pages):
    told = [alt for page in pages.values() for alt in page.xpath("//article//img/@alt")]
    assert told and not [alt for alt in told if alt.endswith(".png") or not alt.strip()]
    assert not [name for name, page in pages.items() if page.xpath("//article//img[not(@alt)]")]


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
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
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
