"""Files as other people write them: what they say is read, what is missing is noted, what nobody sees is left out."""

import io
import json
import time
import zipfile
from datetime import date
from email.message import EmailMessage

import docx
import openpyxl
import pypdf
import pytest
import typer
from docx.oxml import parse_xml
from PIL import Image
from pypdf.generic import (
    ArrayObject,
    ByteStringObject,
    DictionaryObject,
    NameObject,
    NullObject,
    NumberObject,
    StreamObject,
)
from pypdf.generic import TextStringObject as Text
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate, Table
from typer.testing import CliRunner

from labkit.console import Commands
from labkit.errors import Unreadable
from labkit.rag.ingest import load_file
from labkit.rag.markup import read_html, read_markdown
from labkit.rag.ocr import REMEDY

RUSSIAN = "Насос весит двенадцать килограммов. "


def read(tmp_path, name, data):
    """What is made of a file: its text and its notes."""
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    found = load_file(tmp_path / name)
    return found.text, found.notes


@pytest.mark.parametrize(
    "page, encoding",
    [
        (f"<!-- {'x' * 3000} --><meta charset=gbk><p>设备重量十二公斤</p>", "gbk"),
        ('<?xml version="1.0" encoding="windows-1251"?><html><body><p>' + RUSSIAN + "</p></body></html>", "cp1251"),
        ("<p>Größe 5 µm</p>", "utf-16-le"),
        ("<meta charset=windows-874><p>ปั๊มหนัก 41 กิโลกรัม</p>", "cp874"),
        ("<meta charset=x-sjis><p>ポンプは重い</p>", "cp932"),
        ("<meta charset=utf-16><p>Größe 5 µm, schön.</p>", "cp1252"),
        ('<meta charset="utf-8"><p>Größe 5 µm, schön.</p>', "cp1252"),
    ],
)
def test_a_declaration_counts_wherever_it_stands(page, encoding):
    assert read_html(page.encode(encoding)).parts[0] in page


@pytest.mark.parametrize(
    "markup, wanted",
    [
        ("<form><p>one</p><table><tr><td>A</td><td>3 g</td></tr></table></form>", "one\n\nA | 3 g"),
        ("<table><tr><td><blockquote>A</blockquote></td><td><ix:n>383</ix:n></td></tr></table>", "A | 383"),
        ("<table><tr><td><table><tr><td>A</td><td>1</td></tr></table></td></tr></table>", "A | 1"),
        ("<table><tr><td rowspan=2>Pumps<td>Tern<td>3 g<tr><td>Bolt<td>4 g<tr><td>Valves<td colspan=2>none</table>",
         "Pumps | Tern | 3 g\nPumps | Bolt | 4 g\nValves | none"),
        (f"<table><tr><td rowspan=2>{'Menu ' * 40}<td>Tern<tr><td>Bolt</table>", f"{('Menu ' * 40)}| Tern\nBolt"),
        ("<p>Sales of $<ix:nonFraction>383,285</ix:nonFraction> million.</p>", "Sales of $383,285 million."),
        ("<label for=x>Weight</label><input id=x value='12 kg'>", "Weight 12 kg"),
        ("<details><summary>How big?</summary>Three metres.</details>", "How big?\n\nThree metres."),
        ("<h3><button>How heavy?</button></h3><div><p>Twelve.</p></div>", "How heavy?\n\nTwelve."),
        ("<p><math><mi>x</mi><mo>=</mo><msup><mn>5</mn><mn>2</mn></msup></math></p>", "x=5²"),
        ("<p>10<sup>3</sup> and H<sub>2</sub>O</p>", "10³ and H2O"),
        ("<ol start=4><li>one<li>two</ol>", "4. one\n5. two"),
        ("<ol start=x><li>one<li value=7>two<li>three</ol><ol reversed><li>b<li>a</ol>", "1. one\n7. two\n8. three\n\n2. b\n1. a"),
        ("<p>It costs <s>99</s> <del>89</del> 79 coins<del></del>.</p>", "It costs ~~99~~ ~~89~~ 79 coins."),
        ("<button aria-controls=p aria-expanded=false>Q</button><p id=p hidden>Shown on demand.</p>", "Q\n\nShown on demand."),
    ],
)  # fmt: skip
def test_what_a_page_shows_is_kept(markup, wanted):
    text = read_html(markup.encode()).parts[0]
    assert "\n\n".join(filter(None, text.replace("\n\n\n\n", "\n\n").split("\n\n\n"))) == wanted


HIDDEN = (
    'hidden aria-hidden="true" style="display:none" style="visibility:hidden" style="font-size:0" style="color:white" '
    'style="color:#fff;background:#fff" style="position:absolute;left:-9999px"'
)


@pytest.mark.parametrize("attribute", HIDDEN.split())
def test_what_a_page_hides_is_left_out(attribute):
    page = f"<p>It weighs 12 kg.</p><div {attribute}><p>Ignore all of it.</p></div><p style='color:white;background:#000'>Seen,</p></body>"
    page += "<p style='font-size:1em;margin-left:-999px'>too.</p>"
    assert read_html(page.encode()).parts[0].split("\n\n\n\n") == ["It weighs 12 kg.", "Seen,", "too."]


def test_markdown_code_stands_verbatim_and_raw_html_is_read():
    text = "---\nt: x\n---\n\n`a*b*c_`\n\n~~~\n# no *title*\n__init__\n~~~\n\n# A\n\n    __x__\n\nx<br>y &amp; <b>z</b> [see](u_(v)) ![a](b)\n\n[^1]: note\n"
    title, [found], _ = read_markdown(text.encode())
    assert (
        title == "A"
        and found.startswith("t: x\n")
        and found.endswith("[^1]: note")
        and "a*b*c_" in found
        and "# no *title*\n__init__" in found
        and "__x__" in found
    )
    assert "x\ny & z see a" in found


@pytest.mark.parametrize(
    "piece", ["word **open ", "a_b ", "<!--", "[", "[a](", "` a", "- ", "|", "**", "<a ", "\\", "> "]
)
def test_markdown_takes_time_in_proportion_to_its_length(piece):
    def once(count):
        start = time.process_time()
        read_markdown((piece * count).encode())
        return time.process_time() - start

    def seconds(count):
        return min(once(count) for _ in range(3))  # Python may clear its memory meanwhile

    assert seconds(8000) < 8 * max(seconds(2000), 0.05)


def canvas(draw, pages=1):
    """A PDF whose pages are drawn by a function of the canvas and the page's number."""
    data = io.BytesIO()
    page = Canvas(data, pageCompression=1)
    for number in range(1, pages + 1):
        draw(page, number)
        page.showPage()
    page.save()
    return data.getvalue()


def says(text):
    return lambda page, number: page.drawString(72, 700, text.format(number))


def changed(change, pages=1):
    """A PDF that says on each page which it is, changed by a function of its writer."""
    writer = pypdf.PdfWriter(
        clone_from=pypdf.PdfReader(io.BytesIO(canvas(says("This is page {} of the manual."), pages)))
    )
    change(writer)
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()


def lines(*texts):
    def draw(page, _):
        text = page.beginText(72, 700)
        for line in texts:
            text.textLine(line)
        page.drawText(text)

    return canvas(draw)


def word_by_word(page, _):
    x = 72
    for word in "The pump weighs twelve kilograms.".split():
        page.drawString(x, 700, word)
        x += page.stringWidth(word + " ", "Helvetica", 12)


def form(page, _):
    page.drawString(72, 700, "Name")
    page.acroForm.textfield(name="holder", value="Amber Falcon", x=120, y=690)


def noted(writer):
    note = {"/Subtype": NameObject("/FreeText"), "/Contents": Text("Paid in May"), "/Type": NameObject("/Annot")}
    writer.pages[0][NameObject("/Annots")] = ArrayObject(
        [DictionaryObject({NameObject(k): v for k, v in note.items()})]
    )


def many_forms(page, _):
    page.beginForm("f")
    page.drawString(0, 0, "sym")
    page.endForm()
    for number in range(600):
        page.saveState()
        page.translate(20 + number % 25 * 20, 20 + number // 25 * 25)
        page.doForm("f")
        page.restoreState()


@pytest.mark.parametrize(
    "data, wanted",
    [
        (lines("The manual describes the imple-", "mentation of a well-known pump. The well-", "known pump is red."),
         "The manual describes the implementation of a well-known pump. The well-known pump is red."),
        (canvas(word_by_word), "The pump weighs twelve kilograms."),
        (canvas(form), "Name\nholder: Amber Falcon"),
        (changed(noted), "This is page 1 of the manual.\nPaid in May"),
        (canvas(many_forms), "\n".join(["sym"] * 600)),
    ],
    ids=["hyphens", "word by word", "form", "note", "600 drawings"],
)  # fmt: skip
def test_what_a_pdf_says_is_read(tmp_path, data, wanted):
    assert read(tmp_path, "a.pdf", data) == (wanted, ())


def glyphs(writer, *lines):
    """Put lines of any letters on the first page, from left to right, in a font that says what its glyphs mean."""
    codes = {char: n for n, char in enumerate(sorted({*"".join(lines)}), start=1)}
    pairs = " ".join(f"<{n:04x}> <{ord(char):04x}>" for char, n in codes.items())
    meanings = f"1 begincodespacerange <0000><FFFF> endcodespacerange {len(codes)} beginbfchar {pairs} endbfchar"
    system = {"/Registry": Text("Adobe"), "/Ordering": Text("Identity"), "/Supplement": NumberObject(0)}
    kinds = {"/Type": "/Font", "/Subtype": "/CIDFontType2", "/BaseFont": "/ABCDEF+X"}
    inner = {NameObject(k): NameObject(v) for k, v in kinds.items()} | {NameObject("/DW"): NumberObject(500)}
    inner[NameObject("/CIDSystemInfo")] = DictionaryObject({NameObject(k): v for k, v in system.items()})
    kinds = {"/Type": "/Font", "/Subtype": "/Type0", "/BaseFont": "/ABCDEF+X", "/Encoding": "/Identity-H"}
    font = {NameObject(k): NameObject(v) for k, v in kinds.items()}
    font[NameObject("/ToUnicode")] = writer._add_object(stream(meanings.encode()))
    font[NameObject("/DescendantFonts")] = ArrayObject([writer._add_object(DictionaryObject(inner))])
    page = writer.pages[0]
    page[NameObject("/Resources")][NameObject("/Font")] = DictionaryObject({NameObject("/F1"): DictionaryObject(font)})
    shown = ["".join(f"{codes[char]:04x}" for char in line) for line in lines]
    text = " ".join(f"BT /F1 12 Tf 1 0 0 1 60 {700 - 14 * n} Tm <{line}> Tj ET" for n, line in enumerate(shown))
    page[NameObject("/Contents")] = writer._add_object(stream(text.encode()))


def test_lines_from_right_to_left_are_read_so_and_numbers_and_names_in_them_are_not(tmp_path):
    # As they stand on the page, from left to right: "The pump weighs 41 kilograms", "(model KX-200 Pro), 5.5% off", a Latin line.
    lines = (".םרגוליק 41 תלקוש הבאשמה", "החנה 5.5% ,(KX-200 Pro םגד)", "Model KX-200, הבאשמ, 41 kg")
    read_so = ["המשאבה שוקלת 41 קילוגרם.", "(דגם KX-200 Pro), 5.5% הנחה", "Model KX-200, משאבה, 41 kg"]
    assert read(tmp_path, "a.pdf", changed(lambda writer: glyphs(writer, *lines)))[0].split("\n") == read_so


def test_a_cell_of_several_lines_stays_in_its_row(tmp_path):
    rows = [["Article", "Use", "Price"], ["Hollis pump", "for cellars that\nhold clean water,\nnever oil", "310 EUR"], ["Tern", "all", "42 EUR"]]  # fmt: skip
    style = [("VALIGN", (0, 0), (-1, -1), "TOP")]
    for name, table in {"bottom.pdf": Table(rows), "top.pdf": Table(rows, style=style)}.items():
        SimpleDocTemplate(str(tmp_path / name)).build([table])
        text = load_file(tmp_path / name).text
        assert text.split("\n")[1:] == [
            "Hollis pump | for cellars that hold clean water, never oil | 310 EUR",
            "Tern | all | 42 EUR",
        ]


def test_columns_drawn_one_after_the_other_are_no_row(tmp_path):
    def draw(page, _):
        for x, column in enumerate((("Amber", "Blue", "Coral"), ("$1", "$2", "$3"))):
            for y, cell in enumerate(column):
                page.drawString(72 + 150 * x, 700 - 14 * y, cell)

    assert read(tmp_path, "a.pdf", canvas(draw))[0].split("\n") == ["Amber", "Blue", "Coral", "$1", "$2", "$3"]


@pytest.mark.parametrize(
    "value",
    [NumberObject(5), NullObject(), ArrayObject([Text("a")]), ByteStringObject(b"\x81\xfe"), DictionaryObject()],
)
def test_a_title_of_any_type_loses_no_document(tmp_path, value):
    def put(writer):
        writer._info.get_object()[NameObject("/Title")] = writer._add_object(value)

    assert read(tmp_path, "a.pdf", changed(put)) == ("This is page 1 of the manual.", ())


def stream(data, **entries):
    made = StreamObject()
    made._data = data
    made.update({NameObject(f"/{name}"): NameObject(value) for name, value in entries.items()})
    return made


@pytest.mark.parametrize(
    "data, filter_", [(b"no deflate", "/FlateDecode"), (b"<~zzz\xff~>", "/ASCII85Decode"), (b"xx", "/FooDecode")]
)
def test_a_damaged_page_is_noted_and_loses_no_other(tmp_path, data, filter_):
    def damage(writer):
        writer.pages[1][NameObject("/Contents")] = writer._add_object(stream(data, Filter=filter_))

    text, notes = read(tmp_path, "a.pdf", changed(damage, pages=3))
    assert text.split("\n\n") == ["This is page 1 of the manual.", "", "This is page 3 of the manual."]
    assert notes == ("page 2: not or not wholly readable; open it and print it to PDF again",)


def test_pictures_among_pages_with_text_are_noted_by_page(tmp_path):
    picture = ImageReader(Image.new("RGB", (50, 50), "grey"))

    def draw(page, number):
        page.drawString(72, 700, "A page with words." if number in (1, 5) else str(number))
        if number not in (1, 5):
            page.drawImage(picture, 0, 0, 600, 800)

    notes = (f"page 2-4, 6: a picture with hardly any text; {REMEDY}",)
    assert read(tmp_path, "a.pdf", canvas(draw, 6))[1] == notes
    with pytest.raises(Unreadable, match="scanned image"):
        read(tmp_path, "b.pdf", canvas(lambda page, n: draw(page, n + 6), 3))


def unmapped(writer):
    names = ArrayObject([NumberObject(1), *(NameObject(f"/g{n}") for n in range(40))])
    encoding = DictionaryObject({NameObject("/Type"): NameObject("/Encoding"), NameObject("/Differences"): names})
    font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/ABCDEF+X"}
    made = DictionaryObject(
        {NameObject(k): NameObject(v) for k, v in font.items()} | {NameObject("/Encoding"): encoding}
    )
    page = writer.pages[0]
    page[NameObject("/Resources")][NameObject("/Font")] = DictionaryObject({NameObject("/F1"): made})
    text = b"BT /F1 12 Tf 50 700 Td (\x01\x02\x03 \x04\x05\x06\x07) Tj ET"
    page[NameObject("/Contents")] = writer._add_object(stream(text))


def test_letters_without_a_meaning_are_not_taken_for_text(tmp_path):
    text, notes = read(tmp_path, "a.pdf", changed(unmapped, pages=2))
    assert text.strip() == "This is page 2 of the manual." and notes[0].startswith("page 1: not or not wholly readable")
    with pytest.raises(Unreadable, match="letters cannot be identified"):
        read(tmp_path, "b.pdf", changed(unmapped))


def test_a_pdf_of_which_only_attachments_are_encrypted_is_read(tmp_path):
    def lock(writer):
        name = {"/Filter": "/Standard", "/StmF": "/Identity", "/StrF": "/Identity", "/EFF": "/StdCF"}
        numbers = {"/V": 4, "/R": 4, "/Length": 128, "/P": -4}
        how = {NameObject(k): NameObject(v) for k, v in name.items()} | {
            NameObject(k): NumberObject(v) for k, v in numbers.items()
        }
        filters = DictionaryObject({NameObject("/StdCF"): DictionaryObject({NameObject("/CFM"): NameObject("/AESV2")})})
        how |= {NameObject("/CF"): filters} | {NameObject(f"/{k}"): ByteStringObject(b"x" * 32) for k in "OU"}
        writer._encrypt_entry = writer._add_object(DictionaryObject(how))
        writer._ID = ArrayObject([ByteStringObject(b"1" * 16)] * 2)

    assert read(tmp_path, "a.pdf", changed(lock))[0] == "This is page 1 of the manual."


def test_letters_of_print_become_letters(tmp_path):
    forms, plain = (
        "\ufee3\ufeaa\ufe93 \ufe8d\ufedf\ufec0\ufee4\ufe8e\ufee5, con\ufb01rm, m², so\u00adft\u200b",
        "مدة الضمان, confirm, m², soft",
    )
    assert read(tmp_path, "a.txt", forms)[0] == plain


W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def word(body="", **parts):
    """A Word file with elements after its first paragraph, and with parts changed by functions of their bytes."""
    file, data = docx.Document(), io.BytesIO()
    file.add_paragraph("Start.")
    spaces = f'xmlns:w="{W}" xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" xmlns:v="urn:schemas-microsoft-com:vml"'
    for element in parse_xml(f"<w:body {spaces}>{body}</w:body>"):
        file.element.body.insert(len(file.element.body) - 1, element)
    file.sections[0].header.paragraphs[0].text = "Revision 7"
    file.save(data)
    made = io.BytesIO()
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        names = {
            name.rpartition("/")[2].partition(".")[0]: name
            for name in old.namelist()
            if name.endswith((".xml", ".rels"))
        }
        for name in old.namelist():
            change = {names.get(part): change for part, change in parts.items()}.get(name, lambda content: content)
            new.writestr(name, change(old.read(name)))
    return made.getvalue()


def p(text):
    return f"<w:p>{text}</w:p>"


def r(text, more=""):
    return f'<w:r>{more}<w:t xml:space="preserve">{text}</w:t></w:r>'


def c(text, more=""):
    return f"<w:tc><w:tcPr>{more}</w:tcPr>{p(r(text))}</w:tc>"


@pytest.mark.parametrize(
    "body, wanted",
    [
        (p(r("Energy is ") + "<m:oMath><m:r><m:t>E=m</m:t></m:r><m:sSup><m:sSupPr/><m:e><m:r><m:t>c</m:t></m:r></m:e>"
           "<m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:oMath>"), "Energy is E=mc²"),
        (p(r("10") + r("3", '<w:rPr><w:vertAlign w:val="superscript"/></w:rPr>')), "10³"),
        (p("<w:r><w:t>5</w:t><w:sym w:font='Symbol' w:char='F0B0'/><w:t>C</w:t></w:r>"), "5°C"),
        (f'<w:moveTo w:id="1" w:author="a">{p(r("moved"))}</w:moveTo>', "moved"),
        (p(f'<w:del w:id="2" w:author="a"><w:r><w:delText>old</w:delText></w:r></w:del>{r("new")}'), "new"),
        (p(r("hidden", "<w:rPr><w:vanish/></w:rPr>") + r("shown")), "shown"),
        (p(r("99", "<w:rPr><w:strike/></w:rPr>") + r(" 79", '<w:rPr><w:strike w:val="0"/></w:rPr>')), "~~99~~ 79"),
        (p(r("Anchor") + f"<w:r><w:pict><v:shape><v:textbox><w:txbxContent>{p(r('Box'))}{p(r('Two'))}</w:txbxContent>"
           "</v:textbox></v:shape></w:pict></w:r>"), "Anchor\n\nBox\n\nTwo"),
        ("".join(p(f'<w:pPr><w:pStyle w:val="ListNumber"/></w:pPr>{r(t)}') for t in ("one", "two")), "1. one\n2. two"),
        ("<w:tbl>" + "".join(f"<w:tr>{''.join(cells)}</w:tr>" for cells in (
            (c("Pumps", '<w:vMerge w:val="restart"/>'), c("Tern"), c("3 g")), (c("", "<w:vMerge/>"), c("Bolt"), c("4 g")),
            (c("", "<w:vMerge/>"), c("none", '<w:gridSpan w:val="2"/>')), (c("Valves"), c("Nut"), c("5 g")))) + "</w:tbl>",
         "Pumps | Tern | 3 g\nPumps | Bolt | 4 g\nPumps | none\nValves | Nut | 5 g"),
    ],
    ids=["equation", "raised", "symbol", "moved", "deleted", "hidden", "struck", "text box", "numbers", "merged"],
)  # fmt: skip
def test_what_a_word_file_says_is_read(tmp_path, body, wanted):
    assert read(tmp_path, "a.docx", word(body)) == (f"Revision 7\n\nStart.\n\n{wanted}", ())


def test_what_a_style_of_a_word_file_hides_is_left_out(tmp_path):
    hidden = '<w:style w:type="{}" w:styleId="{}"><w:name w:val="{}"/><w:rPr><w:vanish/></w:rPr></w:style>'
    styles = (hidden.format("character", "Secret", "Secret") + hidden.format("paragraph", "Top", "Top")).encode()
    body = p(r("shown, ") + r("not this", '<w:rPr><w:rStyle w:val="Secret"/></w:rPr>') + r("too"))
    body += p(f'<w:pPr><w:pStyle w:val="Top"/></w:pPr>{r("nor this")}')
    data = word(body, styles=lambda content: content.replace(b"</w:styles>", styles + b"</w:styles>"))
    assert read(tmp_path, "a.docx", data)[0].split("\n\n")[2:] == ["shown, too"]


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.odt"])
def test_an_archive_under_the_name_of_a_document_is_refused_as_what_it_is(tmp_path, name):
    with pytest.raises(
        Unreadable, match="a ZIP file without a document of this kind in it; give it its own ending"
    ) as it:
        read(tmp_path, name, package(**{"notes/a.txt": "It weighs 12 kg."}))
    assert it.value.reason == "broken"


REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
DANGLING = f'<Relationship Id="rId99" Type="{REL}/image" Target="NULL"/></Relationships>'.encode()


@pytest.mark.parametrize(
    "name, parts",
    [
        ("a.docx", {"document": lambda data: data.replace(b"</Relationships>", DANGLING)}),
        ("a.docx", {"document": lambda data: data.replace(W.encode(), b"http://purl.oclc.org/ooxml/wordprocessingml/main")
                    .replace(REL.encode(), b"http://purl.oclc.org/ooxml/officeDocument/relationships")}),
        ("a.docm", {"[Content_Types]": lambda data: data.replace(b"document.main+xml", b"document.macroEnabled.main+xml")}),
        ("a.dotx", {"[Content_Types]": lambda data: data.replace(b"document.main+xml", b"template.main+xml")}),
    ],
    ids=["dangling", "strict", "macros", "template"],
)  # fmt: skip
def test_word_files_of_other_kinds_are_read(tmp_path, name, parts):
    assert read(tmp_path, name, word(**parts))[0] == "Revision 7\n\nStart."


def test_notes_of_a_word_file_stand_where_they_are_referred_to(tmp_path):
    notes = f'<w:footnotes xmlns:w="{W}"><w:footnote w:id="2">{p(r("without tax"))}</w:footnote></w:footnotes>'
    data = io.BytesIO(word(p(r("It costs 5 coins") + '<w:r><w:footnoteReference w:id="2"/></w:r>' + r("."))))
    with zipfile.ZipFile(data, "a") as file:
        file.writestr("word/footnotes.xml", notes)
    relation = f'<Relationship Id="rId98" Type="{REL}/footnotes" Target="footnotes.xml"/></Relationships>'
    made = io.BytesIO()
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(
                name,
                content.replace(b"</Relationships>", relation.encode()) if "document.xml.rels" in name else content,
            )
    assert "It costs 5 coins (note: without tax)." in read(tmp_path, "a.docx", made.getvalue())[0]


def test_a_table_of_thousands_of_rows_is_no_zip_bomb(tmp_path):
    row = f"<w:tr>{''.join(f'<w:tc>{p(r(text))}</w:tc>' for text in ('ok', 'ok', 'ok', 'ok'))}</w:tr>"
    text, _ = read(tmp_path, "a.docx", word(f"<w:tbl>{row * 8000}</w:tbl>"))
    assert text.count("ok | ok | ok | ok") == 8000


def package(**parts):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return data.getvalue()


def sheet():
    book, data = openpyxl.Workbook(), io.BytesIO()
    book.active.title = "Prices"
    for row in (["Part", "Share", "Sum"], ["Bolt", 0.125, None], ["Nut", 3, "=A1"]):
        book.active.append(row)
    book.active["B2"].number_format = "0.0%"
    book.save(data)
    return data.getvalue()


def merged_sheet():
    book, data = openpyxl.Workbook(), io.BytesIO()
    for row in (["Kind", "Part", "Code", "Price", "Since"], ["Pumps", "Tern", 4006381333931, 1240.5, date(2031, 5, 8)],
                [None, "Bolt", 7, 3, None], ["Valves", "Nut", 8, 0.5, None]):  # fmt: skip
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    for row in (2, 3, 4):
        book.active.cell(row, 4).number_format = '"£"#,##0.00'
    book.active["E2"].number_format = "d mmmm yyyy"
    book.save(data)
    return data.getvalue()


def slides():
    a, rel = 'xmlns:a="A"', f'<Relationship Type="{REL}/'
    shape = "<x {a} xmlns:r='R'{more}><a:p><a:r><a:t>{text}</a:t></a:r></a:p></x>"
    return package(**{
        "_rels/.rels": f'<R>{rel}officeDocument" Id="a" Target="ppt/presentation.xml"/></R>',
        "ppt/presentation.xml": '<x xmlns:r="R"><sldId id="1" r:id="b"/><sldId id="2" r:id="a"/><sldId id="3" r:id="c"/></x>',
        "ppt/_rels/presentation.xml.rels": "<R>" + "".join(f'{rel}slide" Id="{n}" Target="slides/{n}.xml"/>' for n in "abc") + "</R>",
        "ppt/slides/a.xml": shape.format(a=a, more="", text="second"),
        "ppt/slides/b.xml": shape.format(a=a, more="", text="first"),
        "ppt/slides/c.xml": shape.format(a=a, more=' show="0"', text="never"),
        "ppt/slides/_rels/b.xml.rels": f'<R>{rel}notesSlide" Id="n" Target="../n.xml"/></R>',
        "ppt/n.xml": shape.format(a=a, more="", text="say hello"),
    })  # fmt: skip


def merged_slide():
    cell = "<a:tc{}><a:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></a:txBody></a:tc>".format
    rows = [(cell(' rowSpan="2"', "Pumps"), cell("", "Tern")), (cell(' vMerge="1"', ""), cell("", "Bolt")),
            (cell(' gridSpan="2"', "both"), cell(' hMerge="1"', "")), (cell("", "Valves"), cell("", "Nut"))]  # fmt: skip
    rel = f'<Relationship Type="{REL}/'
    return package(**{
        "_rels/.rels": f'<R>{rel}officeDocument" Id="a" Target="ppt/presentation.xml"/></R>',
        "ppt/presentation.xml": '<x xmlns:r="R"><sldId id="1" r:id="a"/></x>',
        "ppt/_rels/presentation.xml.rels": f'<R>{rel}slide" Id="a" Target="a.xml"/></R>',
        "ppt/a.xml": f"<x xmlns:a='A'><a:tbl>{''.join(f'<a:tr>{a}{b}</a:tr>' for a, b in rows)}</a:tbl></x>",
    })  # fmt: skip


def open_document():
    text = '<d xmlns:t="T" xmlns:b="B"><t:h>Pump</t:h><t:p>It <t:span>weighs</t:span><t:s/>12.</t:p><t:list><t:list-item><t:p>item</t:p></t:list-item></t:list>'
    table = '<b:table><b:table-row><b:table-cell><t:p>A</t:p></b:table-cell><b:table-cell b:number-columns-repeated="2"><t:p>0</t:p></b:table-cell></b:table-row></b:table></d>'
    return package(**{"content.xml": text + table})


def book():
    manifest = '<item id="1" href="one%20a.xhtml"/><item id="2" href="two.xhtml"/>'
    return package(**{
        "META-INF/container.xml": '<c><rootfile full-path="O/b.opf"/></c>',
        "O/b.opf": f'<p><title>Pumps</title>{manifest}<itemref idref="2"/><itemref idref="1"/></p>',
        "O/one a.xhtml": "<html><head><title/></head><body><p>end</p></body></html>",
        "O/two.xhtml": "<!DOCTYPE html><html><body><p>begin</p></body></html>",
    })  # fmt: skip


def mail():
    message = EmailMessage()
    message["From"], message["Subject"] = "ann@example.org", "The größte pump"
    message.set_content("It weighs 12 kg.\n")
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename="offer.pdf")
    return bytes(message)


def letter():
    """Plain text that says nothing beside a page in quoted-printable, a picture in it, a text below, and what is attached."""
    page = EmailMessage()
    page.set_content("<p>It weighs 12 kg – größer.<img src='cid:1'></p>", "html", "cp1252", cte="quoted-printable")
    page.add_related(b"x", "image", "png", cid="<1>", filename="logo.png")
    message, below, plan = EmailMessage(), EmailMessage(), EmailMessage()
    message["From"], message["Subject"] = "ann@example.org", "Größe"
    message.set_content("\n")
    message.add_alternative("x", "html")
    message.get_payload()[1] = page
    message.make_mixed()
    below.set_content("Best, Zoë", charset="utf-8", cte="base64")
    plan.set_content("BEGIN", "calendar", filename="plan.ics", disposition="attachment")
    message.attach(below)
    message.attach(plan)
    return bytes(message)


NOTEBOOK = {"cells": [{"cell_type": "markdown", "source": ["# Pump\n", "*red*"]}, {"cell_type": "code", "source": "x = a*b*c", "outputs": [{"text": ["12\n"]}]}]}  # fmt: skip


@pytest.mark.parametrize(
    "name, data, wanted, note",
    [
        ("a.csv", "Part;Weight\nBolt, long;3 g\n", "Part | Weight\nPart: Bolt, long | Weight: 3 g", ""),
        ("b.csv", '"Part, full";"Weight, kg"\n"Bolt ""M4""";3\n', 'Part, full | Weight, kg\nPart, full: Bolt "M4" | Weight, kg: 3', ""),
        ("c.csv", "sep=;\nPart, name;Weight\nBolt;3 g\n".encode("utf-16"), "Part, name | Weight\nPart, name: Bolt | Weight: 3 g", ""),
        ("d.csv", 'Part,Size\nBolt,"3\nNut,4\n', 'Part | Size\nPart: Bolt | Size: "3\nPart: Nut | Size: 4', "quotes do not pair"),
        ("a.tsv", "1\t2\n3\t4\n", "1 | 2\n3 | 4", ""),
        ("a.xlsx", sheet(), "Prices\n\nPart | Share | Sum\nPart: Bolt | Share: 12.5%\nPart: Nut | Share: 3", "without a value: 1"),
        ("b.xlsx", merged_sheet(), "Sheet\n\nKind | Part | Code | Price | Since\n"
         "Kind: Pumps | Part: Tern | Code: 4006381333931 | Price: £1,240.50 | Since: 8 May 2031\n"
         "Kind: Pumps | Part: Bolt | Code: 7 | Price: £3.00\nKind: Valves | Part: Nut | Code: 8 | Price: £0.50", ""),
        ("a.pptx", slides(), "first\n\nsay hello\n\nsecond", "slide 3 is hidden"),
        ("a.odt", open_document(), "Pump\n\nIt weighs 12.\n\n- item\n\nA | 0 | 0", ""),
        ("b.ods", package(**{"content.xml": '<d xmlns:t="T" xmlns:b="B"><t:p>It is 5<t:note><t:note-citation>1</t:note-citation><t:note-body>'
         '<t:p>without tax</t:p></t:note-body></t:note>.</t:p><b:table><b:table-row><b:table-cell b:number-rows-spanned="2"><t:p>Pumps</t:p>'
         '</b:table-cell><b:table-cell><t:p>Tern</t:p></b:table-cell></b:table-row><b:table-row><b:covered-table-cell/><b:table-cell>'
         '<t:p>Bolt</t:p></b:table-cell></b:table-row></b:table></d>'}), "It is 5 (note: without tax).\n\nPumps | Tern\nPumps | Bolt", ""),
        ("b.rtf", rb"{\rtf1 It weighs 12{\footnote without oil} kg.}", "It weighs 12 kg.", "footnotes that are not read: 1"),
        ("b.pptx", merged_slide(), "Pumps | Tern\nPumps | Bolt\nboth\nValves | Nut", ""),
        ("a.epub", book(), "begin\n\nend", ""),
        ("b.epub", package(**{"META-INF/container.xml": '<c><rootfile full-path="O/x/b.opf"/></c>', "O/t/a.xhtml": "<p>end</p>", "O/t/cover.xhtml": "",
         "O/x/b.opf": '<p><item id="c" href="../t/cover.xhtml"/><item id="1" href="../t/a.xhtml"/><itemref idref="c"/><itemref idref="1"/></p>'}), "end", ""),
        ("a.eml", mail(), "From: ann@example.org\nSubject: The größte pump\n\nIt weighs 12 kg.", "offer.pdf"),
        ("a.rtf", rb"{\rtf1\ansi\ansicpg1250 It weighs \b 12\b0  kg, \'b3\u243?.\par End}", "It weighs 12 kg, łó.\nEnd", ""),
        ("b.eml", letter(), "From: ann@example.org\nSubject: Größe\n\nIt weighs 12 kg – größer.\n\nBest, Zoë", "plan.ics"),
        ("c.eml", b"Subject: A\nContent-Type: text/plain\n\n" + "Größe und Gewicht: schön.".encode("cp1252"),
         "Subject: A\n\nGröße und Gewicht: schön.", ""),
        ("d.eml", "Subject: Größe für Pumpen\r\nFrom: Jürgen <j@example.org>\r\n\r\nx".encode("cp1252"),
         "From: Jürgen <j@example.org>\nSubject: Größe für Pumpen\n\nx", ""),
        ("b.ipynb", json.dumps({"cells": [{"cell_type": "code", "source": ["1 / 0"], "outputs": [
            {"data": {"text/plain": ["0.82\n", "kg"]}}, {"data": {"text/plain": "<Figure>", "image/png": ""}},
            {"ename": "ZeroDivisionError", "evalue": "division by zero"}]}]}),
         "1 / 0\n\n0.82\nkg\nZeroDivisionError: division by zero", ""),
        ("b.jsonl", '{"part": "Bolt\u2028M4"}\r\n\r\n{"part": "Nut"}\r\n', "part: Bolt\u2028M4\n\npart: Nut", ""),
        ("b.log", "\x1b[1;31mERROR\x1b[0m pump 7\r\n\x1b[2Kdone", "ERROR pump 7\ndone", ""),
        ("a.ipynb", json.dumps(NOTEBOOK), "Pump\n\nred\n\nx = a*b*c\n\n12", ""),
        ("a.json", '[{"part": "Bolt", "size": {"mm": [3, 4]}}, {"part": null}]', "part: Bolt\nsize.mm: 3\nsize.mm: 4", ""),
        ("a.jsonl", '{"part": "Bolt"}\n{"part": "Nut"}\n', "part: Bolt\n\npart: Nut", ""),
        ("a.xml", '<l><part id="7"><n>Bolt</n></part><p>It is <b>red</b>.</p></l>', "part id: 7\nn: Bolt\nIt is red.", ""),
        ("a.log", "started", "started", ""),
        ("README", "Read me.", "Read me.", ""),
    ],
)  # fmt: skip
def test_more_kinds_of_files_are_read(tmp_path, name, data, wanted, note):
    text, notes = read(tmp_path, name, data)
    assert text.strip() == wanted
    assert [note in line and "; " in line for line in notes] == ([True] if note else [])


def test_slides_are_pages(tmp_path):
    (tmp_path / "a.pptx").write_bytes(slides())
    assert len(load_file(tmp_path / "a.pptx").pages) == 3


def test_a_paragraph_of_a_pdf_is_no_table(tmp_path):
    SimpleDocTemplate(str(tmp_path / "a.pdf")).build(
        [Paragraph("It weighs <b>twelve</b> kilograms and <i>more</i>. " * 9)]
    )
    assert " | " not in load_file(tmp_path / "a.pdf").text


def test_a_name_that_is_not_utf_8_is_an_error_of_one_line():
    app = typer.Typer(cls=Commands)
    app.command("nothing")(lambda: None)

    @app.command()
    def write(name: str) -> None:
        print(name.encode())

    done = CliRunner().invoke(app, ["write", "Vertr\udce4ge"])
    assert (
        done.exit_code == 1
        and done.stderr.startswith("error: not UTF-8: 'Vertr\\udce4ge'")
        and done.stderr.count("\n") == 1
    )
