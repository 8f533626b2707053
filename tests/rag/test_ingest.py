"""Every bad file is named with its reason; one that hangs, dies or eats memory costs itself alone."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zlib
from contextlib import suppress

import psutil
import pytest
from reportlab.pdfgen.canvas import Canvas

from labkit import LabError
from labkit.data import documents_folder
from labkit.rag.ingest import ingest, verdicts

CONTENT = zlib.compress(b"BT /F 12 Tf (x) Tj ET " * 1_000_000)
FONT = b"<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
HANGING = b"""%%PDF-1.5
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources %b>> endobj
4 0 obj <</Filter/FlateDecode/Length %d>> stream
%b
endstream endobj
trailer <</Size 5/Root 1 0 R>>
startxref
0
%%%%EOF""" % (FONT, len(CONTENT), CONTENT)  # a million letters, each drawn for itself: minutes
SCRIPT = """
import json, psutil, resource, sys
from labkit.rag.ingest import ingest
before = psutil.Process().memory_info().rss
found = ingest(sys.argv[1], progress=False, seconds=float(sys.argv[2]))
after = psutil.Process().memory_info().rss
child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1000
print(json.dumps({"files": len(found.documents) + len(found.rejected), "grown": after - before, "child": child}))
"""


def test_a_folder_reports_the_bad_and_keeps_the_rest_in_order(tmp_path):
    outside = tmp_path / "secret.txt"
    outside.write_text("not for the index")
    folder = tmp_path / "docs"
    (folder / "b").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.txt").write_text("hidden")
    (folder / "b" / "parts.html").write_text("<p>parts</p>")
    (folder / "a.txt").write_text("plain")
    (folder / "z.md").write_text("# Last\n\ntext")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "link.txt").symlink_to(outside)
    (folder / "away").symlink_to(tmp_path)
    (folder / "inside.txt").symlink_to(folder / "a.txt")
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    found = ingest(folder, progress=False)
    assert [document.id for document in found.documents] == ["a.txt", "b/parts.html", "z.md"]
    assert {bad.id: bad.reason for bad in found.rejected} == {
        "away": "refused", "bad.pdf": "broken", "inside.txt": "refused", "link.txt": "refused", "loop.txt": "refused",
    }  # fmt: skip
    assert all("; " in bad.detail and "\n" not in bad.detail for bad in found.rejected)
    assert not any(str(tmp_path) in bad.detail for bad in found.rejected)
    assert ingest(folder, progress=False) == found


def test_a_missing_or_empty_folder_is_an_error(tmp_path):
    with pytest.raises(LabError, match="no folder"):
        ingest(tmp_path / "nowhere")
    with pytest.raises(LabError, match="no files"):
        ingest(tmp_path)


@pytest.fixture
def mixed(tmp_path):
    for name, text in {"good.txt": "words", "empty.md": "", "bad, very.pdf": "no", "größe.xyz": "x"}.items():
        (tmp_path / name).write_text(text)
    return ingest(tmp_path, progress=False)


def test_every_file_has_a_verdict_and_every_bad_one_a_remedy(mixed):
    table = verdicts(mixed).set_index("file")
    assert table.verdict.to_dict() == {
        "bad, very.pdf": "broken", "empty.md": "empty", "größe.xyz": "unsupported", "good.txt": "loaded",
    }  # fmt: skip
    bad = table[table.verdict != "loaded"]
    assert bad.wrong.astype(bool).all() and bad.remedy.astype(bool).all()
    assert not table.loc["good.txt", ["wrong", "remedy"]].any()


def test_copies_of_one_text_are_indexed_once_and_named(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("old/sheet.md", "sheet - Copy.md", "sheet.md", "other.md"):
        (tmp_path / name).write_text("other" if "other" in name else "The pump weighs 12 kg.")
    found = ingest(tmp_path, progress=False)
    assert [document.id for document in found.documents] == ["other.md", "sheet.md"]
    assert [sorted(document.copies) for document in found.documents] == [[], ["old/sheet.md", "sheet - Copy.md"]]
    assert {str(file) for file in found.flawed} == {
        f"left out: {name}: copy: the same text as sheet.md, which is read; leave one of them out"
        for name in ("old/sheet.md", "sheet - Copy.md")
    }


def test_a_file_that_is_read_partly_says_so_where_refused_ones_are_listed(tmp_path, capsys):
    (tmp_path / "a.txt").write_bytes("Größe 5 µm, größer".encode() + b" \xff")
    found = ingest(tmp_path, progress=False)
    [row] = verdicts(found).to_dict("records")
    assert (row["verdict"], row["remedy"]) == ("partly", "save it again as UTF-8")
    found.tell()
    assert capsys.readouterr().err == f"read: a.txt: partly: {row['wrong']}; {row['remedy']}\n"


@pytest.mark.parametrize("name, advice", [("b.zip", "unpack"), ("c.doc", ".docx"), ("d.xyz", "no reader")])
def test_what_has_no_reader_gets_advice_that_applies(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"PK")
    [file] = ingest(tmp_path, progress=False).rejected
    assert file.reason == "unsupported" and advice in file.detail and "; " in file.detail


def folder_with(tmp_path, **bad):
    """Two good files with the bad ones between them."""
    for name, text in {"a.txt": "first", **{k.replace("_", "."): v for k, v in bad.items()}, "z.md": "# Last"}.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path


def said(found):
    return [d.id for d in found.documents], {r.id: (r.reason, r.detail) for r in found.rejected}


def script(folder, seconds=60.0):
    words = [sys.executable, "-c", SCRIPT, str(folder), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def child_of(process, cpu_seconds):
    """The reading child, once it has worked for so long."""
    patience = time.monotonic() + 60
    while time.monotonic() < patience:
        for child in process.children():
            with suppress(psutil.Error):
                if "import serve" in " ".join(child.cmdline()) and child.cpu_times().user > cpu_seconds:
                    return child
        time.sleep(0.05)
    raise AssertionError("no child process is reading")


def gone(child, seconds):
    patience = time.monotonic() + seconds
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < patience:
        time.sleep(0.05)
    return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_file_that_hangs_its_parser_is_given_up_and_the_rest_is_read(tmp_path):
    start = time.monotonic()
    found = ingest(folder_with(tmp_path, hang_pdf=HANGING), progress=False, seconds=3)
    assert said(found) == (
        ["a.txt", "z.md"],
        {"hang.pdf": ("timed out", "reading it takes over 3 seconds of processor time; split it, or allow more")},
    )
    assert 3 < time.monotonic() - start < 60


def test_a_reader_that_crashes_costs_only_its_file(tmp_path):
    folder = folder_with(tmp_path, crash_pdf=HANGING)
    found = []
    thread = threading.Thread(target=lambda: found.append(ingest(folder, progress=False)))
    thread.start()
    child_of(psutil.Process(), 1.0).send_signal(signal.SIGSEGV)
    thread.join(30)
    documents, rejected = said(found[0])
    assert documents == ["a.txt", "z.md"]
    assert rejected["crash.pdf"] == ("broken", "its reader died (SIGSEGV); open it and save it again")


def test_a_file_that_needs_too_much_memory_is_named(tmp_path):
    wide = "\U0001f600" + "x" * 15_000_000  # one such sign makes every character four bytes
    found = ingest(folder_with(tmp_path, wide_txt=wide), progress=False, megabytes=150)
    documents, rejected = said(found)
    assert documents == ["a.txt", "z.md"] and rejected["wide.txt"][0] == "too large"
    assert "memory" in rejected["wide.txt"][1]
    assert len(ingest(tmp_path, progress=False).documents) == 3


def test_an_interrupt_ends_the_children_at_once(tmp_path):
    reading = script(folder_with(tmp_path, hang_pdf=HANGING))
    child = child_of(psutil.Process(reading.pid), 1.0)
    reading.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in reading.communicate(timeout=30)[1]
    assert gone(child, 5)


@pytest.mark.slow
def test_a_child_whose_parent_was_killed_does_not_read_for_ever(tmp_path):
    reading = script(folder_with(tmp_path, hang_pdf=HANGING), seconds=5)
    child = child_of(psutil.Process(reading.pid), 0.3)
    reading.kill()
    reading.communicate()
    assert gone(child, 120)


def test_progress_moves_within_a_long_file_also_in_a_log(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("labkit.quiet.EVERY", 0.0)
    monkeypatch.setattr("labkit.rag.ingest._BAR_AFTER", 0.0)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # another test's: a notebook has no log
    page = Canvas(str(tmp_path / "long.pdf"))
    for number in range(200):
        page.drawString(72, 700, f"This is page {number} of the manual.")
        page.showPage()
    page.save()
    ingest(folder_with(tmp_path))
    lines = capsys.readouterr().err.splitlines()
    shares = [int(share) for line in lines for share in re.findall(r"(\d+)%", line)]
    assert shares == sorted(shares) and shares[-1] == 100 and len(set(shares)) > 30
    assert any("long.pdf, 100 of 200 pages" in line and "left" in line for line in lines)
    assert "pages" not in lines[-1]


def test_names_in_any_bytes_reach_the_child(tmp_path):
    path = os.fsencode(tmp_path) + b"/gr\xf6\xdfe \xe2\x82\xac.txt"
    with open(path, "w") as file:
        file.write("five")
    assert [document.text for document in ingest(tmp_path, progress=False).documents] == ["five"]


def test_a_child_that_cannot_start_is_an_error_not_a_broken_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LabError, match="does not start"):
        ingest(folder_with(tmp_path), progress=False)


def copies(folder, documents, count):
    """`count` files, a quarter of them of each format; of two formats each with another text."""
    folder.mkdir()
    for number in range(count):
        source = documents[number % len(documents)]
        more = f"\n\n<p>{number}</p>" if source.suffix in (".html", ".md") else ""
        (folder / f"{number}{source.suffix}").write_bytes(source.read_bytes() + more.encode())
    return folder


def one_of_each():
    return [sorted(documents_folder().rglob(f"*.{suffix}"))[0] for suffix in ("pdf", "docx", "html", "md")]


def test_a_hundred_small_files_take_seconds(tmp_path):
    folder = copies(tmp_path / "many", one_of_each(), 100)
    start = time.perf_counter()
    found = ingest(folder, progress=False)
    assert len(found.documents) == 52 and {file.reason for file in found.rejected} == {"copy"}
    assert time.perf_counter() - start < 10


def measured(folder):
    done = script(folder)
    out, _ = done.communicate()
    return json.loads(out)


@pytest.mark.slow
def test_a_thousand_small_files_are_read_in_bounded_memory(tmp_path):
    """Bytes: by how much the process that holds the text has grown, and the peak of its largest child."""
    documents = one_of_each()
    few = measured(copies(tmp_path / "few", documents, 100))
    many = measured(copies(tmp_path / "many", documents, 1000))
    assert (few["files"], many["files"]) == (100, 1000)
    assert many["child"] < min(1.5 * few["child"], 200_000_000)
    assert many["grown"] < few["grown"] + 20_000_000


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_runs_at_smoke_size_and_its_takeaways_name_readers_and_files(lesson):
    said = lesson("01_ingest")
    takeaways = [line for line in said.splitlines() if line.startswith("•")]
    complete = {line[2:].partition(":")[0]: line for line in takeaways if "every fact kept by" in line}
    assert complete.keys() == {"pdf", "docx", "html", "md"}
    assert all("labkit" in line.partition("; facts lost")[0] for line in complete.values())
    assert "paragraphs (kept 0%, table row)" in complete["docx"]
    assert any("8 bad files were named with a remedy, 4 good ones read" in line for line in takeaways)
    assert "slow.pdf,timed out," in said and "link.txt,refused," in said and "scan.pdf,scanned image," in said
