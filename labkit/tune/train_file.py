"""From a file of pairs to an adapter or to new weights in a folder, whole or not at all. Introduced in 08_train."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError
from labkit.quiet import quiet
from labkit.store import address, write_json
from labkit.tune.adapters import LoraSettings, add_lora, save_adapter
from labkit.tune.prepare import BadRow, Example, dataset, read_csv, read_examples
from labkit.tune.train import TrainReport, TrainSettings, train

if TYPE_CHECKING:
    from labkit.model import Model

REPORT = "tuned.json"


@dataclass(frozen=True)
class Tuned:
    """What a training made of a file: `made` is "adapter" or "weights", `left_out` says which examples, and why."""

    folder: Path
    made: str
    examples: int
    left_out: list[str]
    steps: int
    seconds: float
    tokens_per_second: float
    first_loss: float
    last_loss: float

    def row(self) -> dict[str, Any]:
        """Its fields for a JSON file; the folder is where the file lies."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}

    def __str__(self) -> str:
        lines = [f"left out: {why}" for why in self.left_out]
        speed = f"{self.steps} steps, {self.seconds:.0f} s, {self.tokens_per_second:,.0f} tokens a second"
        losses = f"loss {self.first_loss:.3f} at first, {self.last_loss:.3f} at last"
        return "\n".join([*lines, f"{self.examples} examples, {speed}; {losses}", f"{self.made}: {self.folder}"])


def read_pairs(path: Path | str) -> tuple[list[Example], list[BadRow]]:
    """The examples of a .jsonl or .csv file and its bad rows; LabError for another file, and for no example.

    >>> read_pairs("pairs.csv")[1]
    [BadRow(line=4, reason='no response')]
    """
    kinds = {".jsonl": read_examples, ".csv": read_csv}
    if Path(path).suffix not in kinds:
        raise LabError(f"{path} is neither .jsonl nor .csv: write one conversation a line, or prompt,response rows")
    good, bad = kinds[Path(path).suffix](path)
    if not good:
        first = f"; line {bad[0].line}: {bad[0].reason}" if bad else ""
        raise LabError(f"{path} holds no example{first}: give at least one prompt with its response")
    return good, bad


def tune_file(
    pairs: Path | str,
    out: Path | str,
    base: Path | str,
    settings: TrainSettings,
    limit: int,
    drop_long: bool = False,
    progress: bool = True,
    save_seconds: float = 20.0,
) -> Tuned:
    """Train a model on a file's pairs: LoraSettings make an adapter, plain TrainSettings new weights (float32).

    `out` appears when it is complete. The same call goes on after a kill, and gives what it made before when
    it was done. Bad rows are left out and listed; an example above `limit` tokens, or the model's context, is too, if `drop_long`.
    Raises LabError for an `out` that holds anything else, no examples, a full disk, and as `train` does.

    >>> print(tune_file("pairs.csv", "runs/mine", "data/models/pocket", LoraSettings(epochs=10), limit=2048))
    """
    from labkit.model import load_model

    out = Path(out)
    examples, bad = read_pairs(pairs)
    model = load_model(base, dtype="float32")
    limit = min(limit, model.context)
    # "told" is a part of every address so far: renamed, it would train all of them again.
    name = address(base=model.fingerprint, told=[e.messages for e in examples], settings=settings, limit=limit,
                   kind=type(settings).__name__, drop_long=drop_long)  # fmt: skip
    if earlier := _earlier(out, name):
        return earlier
    prepared = dataset(examples, model.tokenizer, limit, "drop" if drop_long else "refuse")
    left_out = [f"line {row.line}: {row.reason}" for row in bad]
    left_out += [f"example {n}: more than {limit} tokens" for n in prepared.dropped]
    lora = isinstance(settings, LoraSettings)
    network = add_lora(model.network, settings) if lora else model.network
    work = out.absolute().with_name(f".{out.name}.training")

    def keep(report: TrainReport) -> None:
        """Write a whole folder beside `out` and rename it, so that `out` is never half there."""
        whole = work / "done"
        shutil.rmtree(whole, ignore_errors=True)
        if lora:
            save_adapter(network, whole, str(base))
        else:
            _save_weights(model, whole)
        tuned = Tuned(out, "adapter" if lora else "weights", len(prepared.rows), left_out, *_figures(report))
        write_json(
            whole / REPORT, {"address": name, "base": Path(base).name, "settings": asdict(settings)} | tuned.row()
        )
        whole.replace(out)

    train(network, model.tokenizer, prepared.rows, settings, work, progress, save_seconds, keep=keep)
    shutil.rmtree(work, ignore_errors=True)
    return _earlier(out, name)


def _figures(report: TrainReport) -> tuple[int, float, float, float, float]:
    """Steps, seconds, tokens per second, and the mean loss of the first and of the last tenth of the steps."""
    tenth = max(1, report.steps // 10)
    first, last = report.losses[:tenth], report.losses[-tenth:]
    return report.steps, report.seconds, report.tokens_per_second, sum(first) / tenth, sum(last) / tenth


def _save_weights(model: Model, folder: Path) -> None:
    with quiet():
        model.network.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)


def _earlier(out: Path, name: str) -> Tuned | None:
    """What this very training gave before; LabError if `out` holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        report = json.loads((out / REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        report = {}
    if report.get("address") != name:
        raise LabError(f"{out} holds something else: choose another folder, or remove it")
    return Tuned(out, **{key: report[key] for key in Tuned.__annotations__ if key != "folder"})
