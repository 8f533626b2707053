"""A table is read whole however it was saved, and what a sheet shows is what is read."""

import csv
import io
from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from labkit import LabError
from labkit.encoding import decode
from labkit.practice.questions import read_rows
from labkit.table import read_table, shown
from labkit.tune.prepare import read_pairs

ROWS = [["prompt", "response"], ["Wie schwer, genau?", '18,000 kg; "ungefähr"'], ["Wo?", "In Łódź\noder Čadca"]]
CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\n\t"), max_size=9)


def text_of(mark=",", quoting=csv.QUOTE_MINIMAL, rows=ROWS):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=mark, quoting=quoting).writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_any_separator_quoting_and_unicode_encoding_gives_the_same_pairs(tmp_path, mark, quoting, encoding):
    (tmp_path / "x.csv").write_bytes(text_of(mark, quoting).encode(encoding))
    assert [cells for _, cells in read_table(tmp_path / "x.csv")] == ROWS
    good, bad = read_pairs(tmp_path / "x.csv")
    assert [e.messages[1]["content"] for e in good] == [row[1] for row in ROWS[1:]] and not bad


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=5), st.sampled_from([",", ";", "\t"]))
def test_any_cells_come_back(tmp_path_factory, rows, mark):
    path = tmp_path_factory.mktemp("any") / "x.csv"
    rows = [["question", "answer"], *(row for row in rows if "".join(row).strip())]
    path.write_bytes(text_of(mark, csv.QUOTE_ALL, rows).encode())
    assert [cells for _, cells in read_table(path) if cells] == rows


def test_excel_s_own_first_line_names_the_separator(tmp_path):
    (tmp_path / "x.csv").write_text("sep=;\nprompt;response\nWhy, oh why?;So.\n")
    assert read_table(tmp_path / "x.csv")[-1] == (3, ["Why, oh why?", "So."])


def test_other_encodings_are_guessed_and_a_wrong_byte_costs_its_row_alone(tmp_path):
    assert decode("Frau Käthe – 5 €".encode("cp1252"))[0] == "Frau Käthe – 5 €"
    assert decode(("Где находится завод насосов?" * 9).encode("cp1251"))[0].startswith("Где находится")
    (tmp_path / "q.csv").write_bytes("question,answer\nGröße?,füñf\n".encode() + b"Wo?,h\xffer\nWer?,K\xc3\xa4the\n")
    first, second, third = read_rows(tmp_path / "q.csv")
    assert third["answer"] == "Käthe" and "not UTF-8" in second["fault"] and "fault" not in first


def test_a_row_with_too_many_cells_is_a_fault_and_one_with_too_few_is_filled(tmp_path):
    (tmp_path / "q.csv").write_text("question,answer,document,\nWhy?,It costs 1,240,a.md,\nWho?,Ann\n")
    first, second = read_rows(tmp_path / "q.csv")
    assert first["fault"].startswith("5 cells under 3 columns")
    assert (second["row"], second["answer"], second["document"]) == ("3", "Ann", "")


def test_several_answers_in_json_are_accepted_forms(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"question": "Who?", "answer": ["Ann", "Ann Lee"]}\n\n{"question": "Why?"}\n')
    assert [(row["row"], row["answer"]) for row in read_rows(tmp_path / "q.jsonl")] == [("1", "Ann|Ann Lee"), ("3", "")]


@pytest.mark.parametrize(
    "value, form, text",
    [
        (0.125, "0.0%", "12.5%"),
        (0.15, "0%", "15%"),
        (0.125, "0.00", "0.13"),
        (1240.5, '"£"#,##0.00', "£1,240.50"),
        (1240, "[$€-407] #,##0.00", "€ 1,240.00"),
        (-5.5, "#,##0.00_);(#,##0.00)", "(5.50)"),
        (41.0, "General", "41"),
        (4006381333931, "General", "4006381333931"),
        (0.1 + 0.2, "General", "0.3"),
        (7, "00000", "00007"),
        (1.5, "0.##", "1.5"),
        (True, "General", "TRUE"),
        (None, "General", ""),
        (date(2031, 5, 8), "d mmmm yyyy", "8 May 2031"),
        (datetime(2031, 5, 8), "dd.mm.yyyy", "08.05.2031"),
        (datetime(2031, 5, 8, 9, 5), "yyyy-mm-dd hh:mm", "2031-05-08 09:05"),
        (time(14, 30), "h:mm AM/PM", "2:30 PM"),
        (timedelta(hours=30, minutes=5), "[h]:mm", "30:05"),
    ],
)
def test_a_cell_is_read_as_it_is_shown(value, form, text):
    assert shown(value, form) == text


def test_a_sheet_is_read_as_shown_and_a_formula_without_its_value_costs_its_row(tmp_path):
    book = Workbook()
    sheet = book.active
    for row in [["Question ", "Answer", None], ["When?", datetime(2031, 5, 8), None], ["How much?", 0.15, None],
                ["Sum?", "=1+1", None], [None, None, None], ["Who?", "Ann", None]]:  # fmt: skip
        sheet.append(row)
    sheet["B2"].number_format, sheet["B3"].number_format = "d mmmm yyyy", "0%"
    book.save(tmp_path / "q.xlsx")
    rows = read_rows(tmp_path / "q.xlsx")
    assert [row["answer"] for row in rows] == ["8 May 2031", "15%", "", "Ann"]
    assert [row["row"] for row in rows] == ["2", "3", "4", "6"] and rows[2]["fault"].startswith("B4 holds")


def test_what_is_no_table_is_refused_in_one_line(tmp_path):
    (tmp_path / "x.xlsx").write_text("no spreadsheet")
    with pytest.raises(LabError, match="cannot read x.xlsx .*: save it again"):
        read_table(tmp_path / "x.xlsx")
