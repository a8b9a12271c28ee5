"""Question and response in rows of other projects: chats, prompt and response, instruction and output.

    {"messages": [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "2 + 2 = 4\\n#### 4"}]}
    {"instruction": "Add.", "input": "2 + 2", "output": "4"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

CHATS = ("messages", "conversations", "conversation")
PAIRS = (
    *(("prompt", "response"), ("prompt", "completion"), ("prompt", "output"), ("instruction", "output")),
    *(("instruction", "response"), ("problem", "answer"), ("problem", "solution"), ("query", "response")),
    *(("question", "solution"), ("question", "response"), ("input", "output"), ("input", "target")),
)
"""(column of the question, column of the response); the first pair that a row has counts."""
ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


class Exchange(NamedTuple):
    """One question and what was answered."""

    layout: str
    """The columns, for people: "prompt and response"."""
    columns: tuple[str, ...]
    question: str
    response: Any


def exchange(row: Mapping[str, Any]) -> Exchange | None:
    """The question and the response of a row; None where it has neither form, or is a chat of several questions."""
    for name in CHATS:
        if isinstance(row.get(name), list):
            asked, answered = _turns(row[name], "user"), _turns(row[name], "assistant")
            if len(asked) == len(answered) == 1:
                return Exchange(f"a chat ({name})", (name,), asked[0], answered[0])
            return None
    for question, response in PAIRS:
        if question in row and response in row:
            more = row.get("input") if question == "instruction" else None
            asked_text = "\n".join(part for part in (said(row[question], "user"), more) if isinstance(part, str) and part)
            columns = (question, response, *(["input"] if question == "instruction" else []))
            return Exchange(f"{question} and {response}", columns, asked_text, said(row[response], "assistant"))
    return None


def said(value: Any, role: str) -> Any:
    """The text of a value that may be a chat: then its last turn of a role."""
    turns = _turns(value, role) if isinstance(value, list) else []
    return turns[-1] if turns else value


def _turns(chat: Sequence[Any], role: str) -> list[str]:
    turns = [each for each in chat if isinstance(each, Mapping)]
    own = [each for each in turns if ROLES.get(str(each.get("role", each.get("from")))) == role]
    return [text_of(each.get("content", each.get("value"))) for each in own]


def text_of(content: Any) -> str:
    """The text of a message: itself, or its parts (reasoning first, as it was written) joined by line breaks."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    parts = [part.get("text") or part.get("reasoning") for part in content if isinstance(part, Mapping)]
    return "\n".join(part for part in parts if isinstance(part, str))
