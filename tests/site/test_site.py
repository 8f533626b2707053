"""The site builds without a warning from what is committed, needs no network, and holds every lesson."""

import json
import re
from urllib.parse import unquote

import pytest
from lxml import html

from labkit.compare.claims import VERDICTS, load_claims, load_papers
from tools.execute import sources

pytestmark = pytest.mark.slow


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
