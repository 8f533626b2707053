# %% [markdown]
# # 01 · Ingest
#
# You will turn files into plain text, and count what gets lost on the way. Nothing later in the course can find or
# learn what is lost here.
#
# - read PDF, DOCX, HTML and Markdown into documents that know where each passage came from;
# - extract the same files with a dozen readers, and count how many known facts each of them keeps;
# - see what gets in that should not: menus, cookie banners, scripts;
# - give the reader a folder with an encrypted file, half a file and worse, and get a report instead of a crash.
#
# *Before this: 00 Start. About 20 minutes.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. A folder becomes documents
#
# Each file becomes one `Document`: its text, its title, and where it is from. The hash tells later whether the file
# has changed; `pages` says where in the text each page of a PDF starts, so that an answer can cite a page; `notes` say
# what is missing or unsure. These documents are of four kinds; slides, sheets, mail, e-books and others are read too.

# %%
import pandas as pd

pd.set_option("display.max_colwidth", 100)
documents = pd.DataFrame(lab.original.documents)
documents["characters"], documents["sha256"] = documents.text.str.len(), documents.sha256.str[:12]
documents.groupby("format").head(1).set_index("format")[["id", "title", "characters", "pages", "sha256"]]

# %% [markdown]
# That is worth the trouble when someone asks "where does it say so?":

# %%
from bisect import bisect

document = next(document for document in lab.original.documents if len(document.pages) > 1)
for start in document.pages:
    page = bisect(document.pages, start)
    print(f"{document.id}, page {page}:", " ".join(document.text[start:].split()[:16]), "…")

# %% [markdown]
# Because this company was invented, we know every fact in it, which document states it, and in what words: `passage`
# is a sentence, a list item or a row of a table. That is what makes the losses countable.

# %%
from labkit.data import data_folder, documents_folder

facts = pd.read_json(data_folder() / "facts.jsonl", lines=True, dtype=False, convert_dates=False)
facts["form"] = facts.passage.str.contains(" | ", regex=False).map({True: "table row", False: "sentence or item"})
facts["format"] = facts.document.str.rpartition(".")[2]
facts.groupby(["format", "form"]).head(1).set_index(["format", "form"])[["passage", "value"]].sort_index()

# %% [markdown]
# ## 2. A dozen ways to read a file
#
# A PDF does not hold text, it holds drawing orders: put these letters *there*. Two libraries make lines of them.
# **pypdf** goes by the order in which they were drawn:

# %%
import pypdf


def pypdf_plain(path):
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)


# %% [markdown]
# **pdfplumber** goes by their place on the page:

# %%
import pdfplumber


def pdfplumber_plain(path):
    with pdfplumber.open(path) as file:
        return "\n".join(page.extract_text() for page in file.pages)


# %% [markdown]
# pdfplumber also finds tables, by their ruled lines. We cut them out of the page, read the rest, and put the rows behind
# it.


# %%
def rest_and_rows(page, **order):
    tables, rest = page.find_tables(), page
    for table in tables:
        rest = rest.outside_bbox(table.bbox)
    rows = [" | ".join(row) for table in tables for row in table.extract()]
    return "\n".join([rest.extract_text(**order), *rows])


# %% [markdown]
# And if told to, it goes by the order of drawing too: `use_text_flow`.


# %%
def pdfplumber_tables(path, **order):
    with pdfplumber.open(path) as file:
        return "\n".join(rest_and_rows(page, **order) for page in file.pages)


def pdfplumber_flow(path):
    return pdfplumber_tables(path, use_text_flow=True)


# %% [markdown]
# A Word file is a zip of XML. The loop that most tutorials show visits its paragraphs, and a table is not a paragraph.

# %%
import docx


def docx_paragraphs(path):
    return "\n".join(paragraph.text for paragraph in docx.Document(path).paragraphs)


# %% [markdown]
# So the tables need a loop of their own:


# %%
def docx_and_tables(path):
    rows = (row for table in docx.Document(path).tables for row in table.rows)
    return "\n".join([docx_paragraphs(path), *(" | ".join(cell.text for cell in row.cells) for row in rows)])


# %% [markdown]
# In a web page the text stands among much else. Either remove the tags and keep everything:

# %%
import re
from html import unescape


def html_stripped(path):
    return unescape(re.sub(r"<[^>]*>", " ", path.read_text("utf-8")))


# %% [markdown]
# Or have **trafilatura** decide what is content:

# %%
import trafilatura


def html_trafilatura(path):
    return trafilatura.extract(path.read_text("utf-8")) or ""


# %% [markdown]
# Markdown is almost text already. `labkit` is this course's own reader, built on pypdf, lxml and markdown-it;
# it was written with documents like these at hand, so it plays at home here.

# %%
from labkit.rag.ingest import load_file


def markdown_raw(path):
    return path.read_text("utf-8")


def ours(path):
    return load_file(path).text


# %% [markdown]
# All readers, by the format that they read:

# %%
READERS = {
    "pdf": {
        "pypdf": pypdf_plain, "pdfplumber": pdfplumber_plain, "pdfplumber + tables": pdfplumber_tables,
        "pdfplumber + tables + flow": pdfplumber_flow, "labkit": ours,
    },
    "docx": {"paragraphs": docx_paragraphs, "paragraphs + tables": docx_and_tables, "labkit": ours},
    "html": {"tags stripped": html_stripped, "trafilatura": html_trafilatura, "labkit": ours},
    "md": {"as it is": markdown_raw, "labkit": ours},
}  # fmt: skip

# %% [markdown]
# Look before you count. One row of one table in one PDF, three times:

# %%
example = facts.query("format == 'pdf' and form == 'table row'").iloc[0]
for name in ("pypdf", "pdfplumber", "labkit"):
    lines = READERS["pdf"][name](documents_folder() / example.document).splitlines()
    at = next(number for number, line in enumerate(lines) if example.value in line)
    print(f"{name:>12}:", " ⏎ ".join(lines[max(0, at - 2) : at + 1]))

# %% [markdown]
# ## 3. How many facts survive?
#
# Read every document with every reader of its format, then look for each fact. A sentence is **kept** if its words
# stand together in the text, in order; a row of a table if they also stand on one line, so that no later cut (lesson
# 02) and no reader tears the value from its name.

# %%
files = sorted(facts.document.unique())[:: 1 if SIZE == "full" else 8]
print(len(files), "files,", facts.document.isin(files).sum(), "facts")

# %%
import time

texts, seconds = {}, {}
for kind, name in [(kind, name) for kind, readers in READERS.items() for name in readers]:
    start, paths = time.perf_counter(), [file for file in files if file.endswith(kind)]
    texts |= {(kind, name, file): READERS[kind][name](documents_folder() / file) for file in paths}
    seconds[kind, name] = (time.perf_counter() - start) / len(paths)
print(len(texts), "readings")

# %% [markdown]
# Spaces, bars and stars are the reader's own business, so they are passed over:


# %%
def words(text):
    return " ".join(text.replace("|", " ").replace("*", " ").split())


def kept(fact, text):
    pieces = text.splitlines() if fact.form == "table row" else [text]
    return any(words(fact.passage) in words(piece) for piece in pieces)


# %%
found = pd.DataFrame(
    {
        "format": kind, "reader": name, "form": fact.form, "document": file, "passage": fact.passage,
        "kept": kept(fact, text), "value": fact.value in words(text),
    }
    for (kind, name, file), text in texts.items()
    for fact in facts[facts.document == file].itertuples()
)  # fmt: skip
print(f"{len(found):,} searches, each for one fact in one text")

# %%
found.pivot_table(["kept", "value"], ["format", "reader"], "form").loc[list(seconds)].round(2)

# %% [markdown]
# `kept` is the measure; `value` only asks whether the value is anywhere in the text. A price that has lost its product
# is still "there", and answers nothing.
#
# How sure are these shares? Other documents would have given others. So we draw as many documents again, some of them
# twice and some not at all, and count once more, thousands of times: the middle 95 % of what comes out is the
# *interval*, and the method is called the *bootstrap*. It draws documents and not facts, because the facts of one
# document succeed and fail together. Where every document agrees the interval has no width: read it as "no loss among
# these", not as "never".

# %%
from labkit.stats import bootstrap


def by_document(rows):
    return rows.groupby("document").kept.agg(["sum", "size"]).to_numpy()


def share(counts):
    return lambda items: counts[items, 0].sum(-1) / counts[items, 1].sum(-1)


# %%
counts = {key: by_document(rows) for key, rows in found.groupby(["format", "form", "reader"], sort=False)}
intervals = {key: vars(bootstrap(share(value), len(value))) for key, value in counts.items()}
shares = pd.DataFrame(intervals).T.rename(columns={"mean": "kept"})
shares = shares.rename_axis(["format", "form", "reader"]).reset_index()
shares["text"] = [f"{row.kept:.2f} ({row.low:.2f} to {row.high:.2f})" for row in shares.itertuples()]
shares.pivot_table("text", ["format", "reader"], "form", aggfunc="first").loc[list(seconds)]

# %%
import matplotlib.pyplot as plt

figure, panels = plt.subplots(1, 2, figsize=(7, 3.6), sharey=True, layout="constrained")
for axes, (form, rows) in zip(panels, shares.groupby("form"), strict=True):
    around = [rows.kept - rows.low, rows.high - rows.kept]
    axes.errorbar(rows.kept, rows.format + ": " + rows.reader, xerr=around, fmt="o")
    axes.set(title=form, xlim=(-0.05, 1.05), xticks=[0, 0.5, 1])
axes.invert_yaxis()
figure.supxlabel("share of known facts kept (95 % intervals over documents)", fontsize=9)
for row in shares[shares.kept < 1].itertuples():
    print(f"{row.format}, {row.reader}, {row.form}: kept {row.text}")
plt.close()
figure

# %% [markdown]
# Tag stripping keeps the rows of a web page together only because the source of these pages has each row on one line.
#
# Are the differences real? Both readers read the same documents, so each difference is resampled as a *pair*: where its
# interval excludes zero, the readers differ.

# %%
from labkit.stats import bootstrap_difference


def differ(kind, form, first, second):
    a, b = counts[kind, form, first], counts[kind, form, second]
    return bootstrap_difference(lambda items: share(a)(items) - share(b)(items), len(a)).interval


# %%
PAIRS = [
    ("pdf", "pypdf", "pdfplumber"), ("pdf", "pdfplumber + tables + flow", "pdfplumber + tables"),
    ("docx", "paragraphs + tables", "paragraphs"), ("html", "trafilatura", "tags stripped"),
]  # fmt: skip

# %%
forms = sorted(facts.form.unique())
gaps = {(kind, f"{a} − {b}", form): vars(differ(kind, form, a, b)) for kind, a, b in PAIRS for form in forms}
gaps = pd.DataFrame(gaps).T.rename_axis(["format", "readers", "form"])
gaps.rename(columns={"mean": "difference"}).round(2)

# %% [markdown]
# What happened to the sentences that pdfplumber lost? It reads straight across the page, also where the page is set in
# two columns. The lines below are whole; the sentences are not.

# %%
lost = found.query("reader == 'pdfplumber' and form == 'sentence or item' and not kept")
example = lost.iloc[0]
lines = texts["pdf", "pdfplumber", example.document].splitlines()
at = next(number for number, line in enumerate(lines) if line.startswith(" ".join(example.passage.split()[:4])))
print("fact: ", example.passage)
print("lines:", "\n       ".join(lines[at : at + 2]))

# %% [markdown]
# ## 4. What should not be there
#
# The opposite of a loss is noise: text that belongs to the page and not to its content. It costs space in every
# prompt, and a search for "cookies" should not find every product. Here is a simple detector: lines that stand, apart
# from their numbers, on more than half of the documents of a format.

# %%
from collections import Counter


def repeated(pages):
    seen = Counter(line for page in pages for line in set(page))
    return {line for line, times in seen.items() if times > len(pages) / 2}


# %%
pages = {key: [] for key in seconds}
for (kind, name, _), text in texts.items():
    pages[kind, name].append([re.sub(r"\d+", "0", line.strip()) for line in text.splitlines() if line.strip()])
often = {key: repeated(some) for key, some in pages.items()}
print(f"{sum(map(len, often.values()))} repeated lines, of all readers together")


# %%
def share_of_words(key):
    lines = [line for page in pages[key] for line in page]
    again = [line for line in lines if line in often[key]]
    return len(" ".join(again).split()) / len(" ".join(lines).split())


noise = pd.Series({key: share_of_words(key) for key in seconds})
pd.DataFrame({"share of words in repeated lines": noise, "milliseconds a file": 1000 * pd.Series(seconds)}).round(2)

# %%
for kind, name in (("html", "tags stripped"), ("html", "trafilatura"), ("pdf", "labkit")):
    print(f"{kind}, {name}:", " / ".join(sorted(sorted(often[kind, name]), key=len, reverse=True)))

# %% [markdown]
# Styles, scripts and a cookie banner go where trafilatura looks; the headings that every page shares stay, as they
# should. The running header and footer of a PDF stay too: to the reader they are words like any others.
#
# The milliseconds are of one run on this machine, and the first reader of a library also pays for loading it.
#
# ## 5. No reader is right about every file
#
# The PDFs above were drawn in reading order. Many programs draw differently: here is a price list drawn column by
# column, without ruled lines.

# %%
import tempfile
from pathlib import Path

place = tempfile.TemporaryDirectory()
path = Path(place.name) / "columns.pdf"

# %%
from reportlab.pdfgen.canvas import Canvas

canvas = Canvas(str(path))
for x, column in enumerate([("Product", "Amber Fox", "Blue Heron"), ("Price", "$120", "$95")]):
    for y, cell in enumerate(column):
        canvas.drawString(72 + 150 * x, 700 - 20 * y, cell)
canvas.save()

# %%
columns = {name: reader(path).strip() for name, reader in READERS["pdf"].items()}
for name, text in columns.items():
    print(f"{name:>26}:", text.replace("\n", " ⏎ "))

# %% [markdown]
# What is a flaw with two columns of prose is right for two columns of a table. No setting is best for every
# file: that is why you measure on your own documents, with facts that you know are in them.
#
# ## 6. A folder with bad files
#
# Folders are not tidy. Some files cannot be read, some *should* not be, and one of them must not end the run. Here is
# a small collection: two good files first.

# %%
inbox = Path(place.name) / "inbox"
inbox.mkdir()


def put(name, content):
    (inbox / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    print(f"{name}: {(inbox / name).stat().st_size:,} bytes")


# %%
pdf, word = (next(documents_folder().rglob(f"*.{kind}")).read_bytes() for kind in ("pdf", "docx"))
put("good.pdf", pdf)
put("good.docx", word)

# %% [markdown]
# Harmless but useless: nothing in it, half of it, too much of it, no reader for it.

# %%
put("empty.md", "")
put("broken.docx", word[: len(word) // 2])
put("large.txt", "All work and no play. " * 200_000)
put("plan.dwg", "AC1032")

# %% [markdown]
# Text that is there for a person, not for a program. A scanned page is a picture of its words:

# %%
from PIL import Image, ImageDraw

picture, says = Image.new("RGB", (400, 60), "white"), "The price is 120 dollars."
ImageDraw.Draw(picture).text((20, 20), says, "black")
picture.save(inbox / "scan.pdf")
print(f"scan.pdf shows the words {says!r}; pypdf finds {pypdf_plain(inbox / 'scan.pdf')!r}")
picture

# %% [markdown]
# And a page behind a password:

# %%
locked = pypdf.PdfWriter(clone_from=inbox / "good.pdf")
locked.encrypt("secret", algorithm="RC4-128")
locked.write(inbox / "locked.pdf")
print("locked.pdf is encrypted:", pypdf.PdfReader(inbox / "locked.pdf").is_encrypted)

# %% [markdown]
# A link to a file outside the folder, and a page that draws a hundred thousand letters, each for itself.

# %%
(inbox / "link.txt").symlink_to(data_folder() / "style.md")
slow = Canvas(str(inbox / "slow.pdf"), pageCompression=1)
for _ in range(100_000):
    slow.drawString(50, 700, "x")
slow.save()

# %% [markdown]
# And two old files in old encodings, which is no reason to refuse them.

# %%
put("preis.txt", "Größe: 5 m², Preis: 10 €".encode("cp1252"))
put("насос.txt", ("Насос весит двенадцать килограммов. " * 3).encode("cp1251"))

# %% [markdown]
# `ingest` has each file parsed in a child process with limits of processor time and memory. A reader that hangs is
# ended, one that crashes is replaced, and only its file is lost.

# %%
from labkit.rag.ingest import ingest, verdicts

start = time.perf_counter()
inboxed = ingest(inbox, max_bytes=2_000_000, seconds=5)
print(f"{time.perf_counter() - start:.1f} s; read:", {d.id: d.text[:24] for d in inboxed.documents})
verdicts(inboxed)

# %% [markdown]
# Every file has a verdict, every bad one a remedy: a list to hand to whoever owns the files. Between `loaded` and left
# out stands `partly`: a document whose pages are pictures here and there, or whose encoding had to be guessed. Copies of
# one text are kept once, as they would take every place among the passages that a search finds.

# %%
verdicts(inboxed).query("verdict != 'loaded'").to_csv(Path(place.name) / "quarantine.csv", index=False)
print((Path(place.name) / "quarantine.csv").read_text("utf-8"))

# %% [markdown]
# This protects the run from files. It is no sandbox: for files from strangers, run the whole thing in a container too.

# %% [markdown]
# ## Takeaways
#
# The cells below state them from the results above.

# %%
for kind, group in shares.groupby("format", sort=False):
    complete = [name for name, rows in group.groupby("reader", sort=False) if rows.kept.eq(1).all()]
    lossy = [f"{row.reader} (kept {row.kept:.0%}, {row.form})" for row in group[group.kept < 1].itertuples()]
    print(f"• {kind}: every fact kept by {', '.join(complete) or 'none'}; facts lost by {', '.join(lossy) or 'none'}.")

# %%
stripped, extracted = noise["html", "tags stripped"], noise["html", "trafilatura"]
print(f"• Words in lines that most pages repeat: {stripped:.0%} with tags stripped, {extracted:.0%} by trafilatura.")
whole = [name for name, text in columns.items() if "$120" in next(x for x in text.splitlines() if "Amber" in x)]
print(f"• Drawn column by column, the price stays with its product only for: {', '.join(whole) or 'no reader'}.")

# %%
print(f"• {len(inboxed.rejected)} bad files were named with a remedy, {len(inboxed.documents)} good ones read.")
place.cleanup()

# %% [markdown]
# - These documents are clean, short and generated, all with one layout per format; real folders lose more, elsewhere.
#   Count with a few facts that you know before you trust any reader, ours included.
#
# ## Exercises
#
# 1. `kept` forgives `|` and `*`. Make it strict, and see which readers still keep every table row.
# 2. Save one of the Word files as PDF with a program of yours, and read it with all five PDF readers. What changed?
# 3. Set `include_tables=False` in `html_trafilatura`. Predict the new row of the table before you run it.
# 4. `scan.pdf` was refused although a person can read it. What would you need in order to load it, and what new kind
#    of error would come in?
