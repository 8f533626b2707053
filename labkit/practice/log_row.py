"""A row of the log. Introduced in 20_log.

Names are those of OpenTelemetry's generative-AI conventions (still in development), or begin with `labkit.`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkit.practice.log_redact import redact

if TYPE_CHECKING:
    from labkit.compare.arms import Answer

COLUMNS = {
    "gen_ai.response.id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "timestamp": "TEXT NOT NULL",
    "gen_ai.operation.name": "TEXT NOT NULL",
    "gen_ai.provider.name": "TEXT NOT NULL",
    "gen_ai.request.model": "TEXT NOT NULL",
    "gen_ai.agent.name": "TEXT NOT NULL",
    "gen_ai.input.messages": "TEXT NOT NULL",
    "gen_ai.output.messages": "TEXT NOT NULL",
    "gen_ai.retrieval.documents": "TEXT NOT NULL",
    "gen_ai.usage.input_tokens": "INTEGER NOT NULL",
    "gen_ai.usage.output_tokens": "INTEGER NOT NULL",
    "gen_ai.client.operation.duration": "REAL NOT NULL",
    "labkit.retrieval.duration": "REAL NOT NULL",
    "gen_ai.evaluation.score.label": "TEXT",
}
"""The columns of the log: an answer's arm is the agent, its sources the documents, its rating the score's label."""


def row_of(answer: Answer, arm: str, model: str) -> dict[str, Any]:
    """What the log keeps of an answer but its number and rating: texts redacted, time in UTC, durations in seconds."""
    found = [{"id": redact(hit.chunk.id), "score": round(hit.score, 6)} for hit in answer.hits]
    values = (
        *(datetime.now(UTC).isoformat(timespec="milliseconds"), "chat", "labkit", redact(model), redact(arm)),
        *(_message("user", answer.question), _message("assistant", answer.text), json.dumps(found)),
        *(answer.prompt_tokens, answer.output_tokens, answer.generation_seconds, answer.retrieval_seconds),
    )
    return dict(zip(list(COLUMNS)[1:-1], values, strict=True))


def _message(role: str, text: str) -> str:
    """One message as the conventions' JSON schema has it."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": redact(text)}]}], ensure_ascii=False)


def said(messages: str) -> str:
    """The text of the one message in a column of messages."""
    return str(json.loads(messages)[0]["parts"][0]["content"])
