"""The readers that lesson 01 compares lose what the lesson says they lose, and its folder of bad files is read."""

import pytest


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_runs_at_smoke_size_and_its_takeaways_name_readers_files_and_memory(lesson):
    said = lesson("01_ingest")
    takeaways = [line for line in said.splitlines() if line.startswith("•")]
    complete = {line[2:].partition(":")[0]: line for line in takeaways if "every fact kept by" in line}
    assert complete.keys() == {"pdf", "docx", "html", "md"}
    assert all("labkit" in line.partition("; facts lost")[0] for line in complete.values())
    assert "paragraphs (kept 0%, table row)" in complete["docx"]
    assert any("10 bad files were named with a remedy, 4 good ones read" in line for line in takeaways)
    assert "slow.md,timed out," in said and "link.txt,refused," in said and "scan.pdf,scanned image," in said
