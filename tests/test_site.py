"""The site builds without a warning from what is committed, needs no network, and holds every lesson."""

import json
import re
import subprocess
import sys

import pytest

from labkit.execute import sources
from labkit.profile import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(made)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.slow
def test_every_lesson_has_a_page_that_fits_a_phone_and_loads_nothing_from_elsewhere(site):
    for source in sources():
        page = (site / "lessons" / f"{source.stem}.html").read_text("utf-8")
        assert 'name="viewport"' in page
        assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?://", page)


@pytest.mark.slow
def test_search_knows_the_words_of_the_glossary(site):
    index = (site / "searchindex.js").read_text("utf-8")
    found = json.loads(index[index.index("{") : index.rindex("}") + 1])
    glossary = found["docnames"].index("glossary")
    for term in ("adapt", "canari", "bootstrap", "distractor"):
        places = found["terms"][term]
        assert glossary in (places if isinstance(places, list) else [places])


@pytest.mark.slow
def test_the_first_page_shows_the_comparison_and_leads_to_claims_and_papers(site):
    page = (site / "index.html").read_text("utf-8")
    assert all(word in page for word in ("abstention (F1)", "lessons/19_claims.html", "lessons/18_papers.html"))
