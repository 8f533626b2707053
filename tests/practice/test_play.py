"""The playground answers in a browser, with a keyboard only, and survives what is typed into it."""

import base64
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websocket import create_connection

from labkit import LabError
from labkit.compare.arms import ARMS, Answer
from labkit.data import load_questions
from labkit.practice.play import answers, cards, line, mark, open_lab, page
from labkit.store import Artifacts, runs_folder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
QUESTION = "Where is the <b>Amber Falcon</b> made?"
LONG = "How heavy is it? " * 600
WAIT = 240


@pytest.fixture(scope="module")
def lab():
    return open_lab("pocket")


def parts(shown) -> tuple[Any, ...]:
    """Question, settings, button, status and result of a page."""
    _, question, _, row, status, result = shown.children
    return question, row.children, row.children[-1], status, result


def test_four_cards_hold_what_the_arms_answered_and_escape_the_question(lab):
    replies = dict(answers(lab, QUESTION, k=3))
    made = cards(QUESTION, replies, gold="<i>")
    assert list(replies) == list(ARMS) and made.count("<article>") == 4
    assert "<b>Amber" not in made and "&lt;b&gt;Amber" in made and "&lt;i&gt;" in made
    assert all(f"{reply.prompt_tokens} read, {reply.output_tokens} written" in made for reply in replies.values())
    assert [len(reply.hits) for reply in replies.values()] == [0, 3, 0, 3]
    assert made.count("Reads no documents") == 2 and made.count("House style") == 4


def test_the_passage_that_an_answer_cites_is_open_with_its_support_mark(lab):
    item = next(i for i in lab.questions if i.kind == "single fact")
    hits = lab.retriever().search(item.question, 5)
    proof = next(n for n, hit in enumerate(hits, 1) if item.gold in hit.chunk.text)
    made = cards(item.question, {"rag": Answer(item.question, f"{item.answer} [{proof}]", tuple(hits), 9, 9, 0, 0)})
    before, _, after = made.partition("<details>")
    assert f"<li value='{proof}'>" in before and "holds all of the answer" in before
    assert item.gold in before.partition("<mark>")[2].partition("</mark>")[0]
    assert "Read, not cited: 4" in after and f"<li value='{proof}'>" not in after


def test_only_the_sentence_that_holds_the_value_is_mark():
    text = "It is <red>.\nIt costs $1,240 now. It is old."
    assert mark(text, ["$1240"]) == "It is &lt;red&gt;.\n<mark>It costs $1,240 now.</mark> It is old."
    assert "<mark>" not in mark(text, ["$12"])


@pytest.mark.parametrize("question, told", [(" \n", "empty"), (LONG[:10_000], "cut it to about")])
def test_a_question_that_cannot_be_asked_is_told_in_one_line(lab, question, told):
    asked, _, button, status, result = parts(page("pocket"))
    asked.value = question
    button.click()
    assert told in status.value and "role='alert'" in status.value and "\n" not in status.value
    assert result.value == "" and not button.disabled
    assert cards(question, dict.fromkeys(ARMS, "no")).count("<article>") == 4


def test_a_question_is_cut_to_a_length_that_is_then_answered(lab):
    with pytest.raises(LabError, match="cut it to about") as told:
        list(answers(lab, LONG, k=1))
    fits = int(str(told.value).split("about ")[1].split()[0].replace(",", ""))
    assert fits > 1000 and lab.model.count([{"role": "user", "content": LONG[: fits - 200]}]) < lab.model.context


def test_k_changes_what_is_read(lab):
    asked, (_, k, *_), button, status, result = parts(page("pocket"))
    asked.value, k.value = QUESTION, 2
    button.click()
    assert status.value.count("4 of 4") == 1 and result.value.count("<li value=") == 2 * 2


def test_a_profile_that_cannot_be_had_and_a_failure_are_one_line():
    _, (profile, *_), button, status, _ = parts(page("pocket"))
    profile.value = "gpu"
    button.click()
    assert "role='alert'" in status.value and "Traceback" not in status.value and status.value.count("\n") == 0
    assert line("a\nb <", wrong=True) == "<p class='play-error' role='alert'>a b &lt;</p>"


def test_a_click_never_trains(tmp_path):
    artifacts = Artifacts(tmp_path, tmp_path / "none")
    artifacts.read_only = open_lab("pocket").artifacts.read_only
    with pytest.raises(LabError, match="not trained yet"):
        artifacts.folder(lambda folder: None, name="tuned, seed 0", kind="tuned")
    assert not list(tmp_path.rglob("*"))


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """The page, served as `make play` serves it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [
        sys.executable,
        "-c",
        "from labkit.cli import app; app()",
        "play",
        "pocket",
        "--no-browser",
        f"--port={port}",
    ]
    log = tmp_path_factory.mktemp("play") / "log"
    with log.open("w") as told:
        server = subprocess.Popen([*words, "--Voila.ip=127.0.0.1"], stdout=told, stderr=told)
    until = time.time() + WAIT
    while time.time() < until and server.poll() is None:
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    yield f"http://127.0.0.1:{port}/"
    server.send_signal(signal.SIGINT)
    assert server.wait(WAIT) == 0, log.read_text()[-2000:]


class Tab:
    """A page of a headless Chromium, driven through the DevTools protocol."""

    def __init__(self, folder: Path) -> None:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
        words = [CHROMIUM, *flags, "--disable-background-networking", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = folder / "DevToolsActivePort"
        wait(lambda: told.is_file() and told.read_text().count("\n"))
        with urllib.request.urlopen(f"http://127.0.0.1:{told.read_text().split()[0]}/json/list") as listed:
            found = next(target for target in json.load(listed) if target["type"] == "page")
        self.line = create_connection(found["webSocketDebuggerUrl"], suppress_origin=True, timeout=WAIT)
        self.asked, self.loaded = 0, []
        self.do("Network.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.asked += 1
        self.line.send(json.dumps({"id": self.asked, "method": method, "params": parameters}))
        while (told := json.loads(self.line.recv())).get("id") != self.asked:
            if told.get("method") == "Network.responseReceived":
                self.loaded.append(told["params"]["response"])
        assert "error" not in told, told
        return told["result"]

    def js(self, expression: str) -> Any:
        return self.do("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        code = {"Tab": 9, "Enter": 13}[key]
        for kind in ("keyDown", "keyUp"):
            given = {"text": text} if text and kind == "keyDown" else {}
            self.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **given)

    def write(self, text: str) -> None:
        """Replace the question, and leave its field as a reader does: with the keyboard."""
        self.js("document.querySelector('.play textarea').select()")
        self.do("Input.insertText", text=text) if text else self.js("document.execCommand('delete')")

    def ask(self) -> None:
        for _ in range(6):
            self.press("Tab")
            if self.js("document.activeElement.tagName") == "BUTTON":
                return self.press("Enter", "\r")
        raise AssertionError("Tab does not lead from the question to the button")

    def shoot(self, path: Path, width: int, scheme: str) -> None:
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.do("Emulation.setDeviceMetricsOverride", **size)
        size["height"] = self.js("Math.ceil(document.querySelector('.play').getBoundingClientRect().height) + 40")
        self.do("Emulation.setDeviceMetricsOverride", **size)
        assert self.js("document.documentElement.scrollWidth <= innerWidth"), f"wider than {width} pixels"
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self.do("Browser.close")
        self.line.close()
        self.process.wait(WAIT)


def wait(ready) -> None:
    until = time.time() + WAIT
    while not ready():
        assert time.time() < until, "the page did not get there"
        time.sleep(0.25)


def in_chromium(address: str, folder: Path) -> None:
    with closing(Tab(folder / "profile")) as tab:
        drive(tab, address, folder)


def drive(tab: Tab, address: str, folder: Path) -> None:
    tab.do("Page.navigate", url=address)
    wait(lambda: tab.js("!!document.querySelector('.play button')?.offsetHeight"))
    fields = "[...document.querySelectorAll('.play :is(textarea, select, input)')]"
    labels = "Question Example Profile Passages,_k".replace("_", " ")
    assert tab.js(f"{fields}.map(field => field.labels[0].innerText).join(' ')") == labels
    for text, told in (("", "is empty"), (LONG[:10_000], "cut it to about")):
        tab.write(text)
        tab.ask()
        wait(lambda told=told: told in tab.js("document.querySelector('.play [role=alert]')?.innerText || ''"))
    item = next(item for item in load_questions() if item.kind == "single fact")
    tab.write(item.question)
    tab.ask()
    wait(lambda: "4 of 4" in (tab.js("document.querySelector('.play [role=status]')?.innerText || ''")))
    assert tab.js("document.querySelectorAll('.play article').length") == 4
    assert tab.js("document.querySelector('.play h2').innerText") == item.question
    assert item.gold in tab.js("document.querySelector('.play section').innerText")
    kept = runs_folder() / "play"
    kept.mkdir(parents=True, exist_ok=True)
    for name, width, scheme in (("phone", 390, "light"), ("dark", 1200, "dark"), ("play", 1200, "light")):
        tab.shoot(folder / f"{name}.png", width, scheme)
        shutil.copy(folder / f"{name}.png", kept)
        assert (kept / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert tab.loaded[0]["headers"]["Content-Security-Policy"].startswith("default-src 'self'")
    assert not [told["url"] for told in tab.loaded if not told["url"].startswith((address, "data:", "blob:"))]


def over_http(address: str, folder: Path) -> None:
    """Where no Chromium is: the page is there, and draws the widget that the other tests click on."""
    with urllib.request.urlopen(address, timeout=WAIT) as page:
        text = page.read().decode()
    assert "application/vnd.jupyter.widget-view+json" in text and "<title>Playground</title>" in text


@pytest.mark.slow
@pytest.mark.parametrize("look", [in_chromium if CHROMIUM else over_http])
def test_the_served_page_answers_with_four_cards(look, address, tmp_path):
    look(address, tmp_path)
