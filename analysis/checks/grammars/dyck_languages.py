"""Dyck languages: close the open brackets of a sequence, keeping a stack while reading it symbol by symbol.

The rules: symbols are read in the order of the question, none left out; an opening one is pushed, a closing one takes
away the top, which must be its partner; what is left at the end is closed from the top down. The answer is what closes
it, or the whole sequence with that. Spacing between brackets means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from analysis.checks.base import MAX_STEP_CHARS, Finding, Run, follow

MAX_SYMBOLS = 20_000
MAX_WORK = 2_000_000
"""Stack symbols compared over all steps; later steps are not judged."""
PARTNER = {"(": ")", "[": "]", "{": "}", "<": ">"}
_OPENING = {closing: opening for opening, closing in PARTNER.items()}
_BRACKETS = "".join(PARTNER) + "".join(_OPENING)
_B = "[" + re.escape(_BRACKETS) + "]"
_RUN = rf"[\s\"'“”`,{re.escape(_BRACKETS)}]*"
_LIST = rf"(?:[\s\"'“”`,{re.escape(_BRACKETS)}]|\band\b)*"

_NO = f"[^{re.escape(_BRACKETS)}]"
_READ = re.compile(
    rf"^{_NO}{{0,60}}?({_B})(?:(?!:){_NO}){{0,40}}?\bstack\b{_NO}{{0,20}}?(?:[:=]|\bis\b)\s*(empty|{_RUN})", re.I
)
_LISTED = re.compile(rf"\[\s*['\"]{_B}['\"](?:\s*,\s*['\"]{_B}['\"])*\s*\]")
"""A stack written as a list of Python: ['[', '{']."""
_EMPTY_LIST = re.compile(r"(\bstack\b[^\[\n]{0,12})\[\s*\]", re.I)
_START = re.compile(rf"^\s*(?:the\s+)?(?:initial\s+)?stack\s*(?:is\s+)?[:=]?\s*(empty\b|{_RUN})\s*\.?$", re.I)
_FINAL = re.compile(rf"\bfinal stack\s*(?:is|:)?\s*(?:now\s+)?(empty\b|{_RUN})", re.I)
_POP = re.compile(rf"\bpop\s+(?:out\s+)?(nothing\b|{_LIST})", re.I)
_NEED = re.compile(rf"\bwe need\s+(?:to add\s+)?(nothing\b|{_LIST})", re.I)
_ANSWER = re.compile(rf"\banswer\s*(?:is|:)\s*:?\s*({_RUN})", re.I)


@dataclass
class _Run(Run):
    symbols: str
    quoted: bool
    """Stacks are written as lists."""
    stack: list[str] = field(default_factory=list)
    done: int = 0
    """How many symbols were read."""
    work: int = 0
    ended: bool = False
    """The stack was computed, because the rationale came to its end without keeping one."""


def parse_question(question: str) -> str | None:
    """The brackets of a question ("Input: [ {" or the brackets alone); None for any other text."""
    text = question.strip()
    if len(text) > 4 * MAX_SYMBOLS:
        return None
    head, mark, tail = text.rpartition(":")
    body = tail if mark and not any(bracket in head for bracket in "[{<") else text
    symbols = "".join(body.split())
    if not symbols or len(symbols) > MAX_SYMBOLS or any(symbol not in _BRACKETS for symbol in symbols):
        return None
    return symbols


def check(question: str, steps: Sequence[str], answer: str | None, choices: Mapping[str, str]) -> Finding | None:
    """First step with a wrong symbol, stack or closing bracket. Abstains when no step keeps a stack."""
    symbols = parse_question(question)
    if symbols is None:
        return None
    run = _Run(symbols, any(_LISTED.search(step[:MAX_STEP_CHARS]) for step in steps))
    return follow(run, steps, answer, _check_step, _check_answer)


def _check_answer(answer: str, run: _Run) -> None:
    if run.work <= MAX_WORK:
        closing = [PARTNER[symbol] for symbol in reversed(_true_stack(run.symbols))]
        _expect("answer_wrong", "the right answer", _ending(answer, run), closing, run)


def _without_lists(text: str) -> str:
    """A stack that is written as a list, written as its brackets."""
    text = _LISTED.sub(lambda listed: "".join(_brackets(listed.group()[1:-1])), text)
    return _EMPTY_LIST.sub(r"\1 empty", text)


def _true_stack(symbols: str) -> list[str]:
    """The stack after all symbols, for a rationale that does not keep one."""
    stack: list[str] = []
    for symbol in symbols:
        if symbol in PARTNER:
            stack.append(symbol)
        elif stack and stack[-1] == _OPENING[symbol]:
            stack.pop()
    return stack


def _brackets(text: str) -> list[str]:
    return [symbol for symbol in text if symbol in _BRACKETS]


def _ending(text: str, run: _Run) -> list[str]:
    """The brackets of an answer, which may be the ending or the whole sequence with it."""
    said = _brackets(text)
    return said[len(run.symbols) :] if said[: len(run.symbols)] == list(run.symbols) else said


def _show(symbols: Sequence[str]) -> str:
    if not symbols:
        return "empty"
    return " ".join(symbols) if len(symbols) <= 30 else " ".join(symbols[:5]) + " ... " + " ".join(symbols[-10:])


def _check_step(text: str, run: _Run) -> None:
    if run.work > MAX_WORK:
        return
    text = _without_lists(text) if run.quoted else text
    text = text.replace("->", "→").replace("=>", "→")  # arrows are no brackets
    before = len(run.flags)
    read = _READ.match(text)
    start = None if read else _START.match(text)
    if read:
        _check_read(read.group(1), _brackets(read.group(2)), run)
    elif start and not run.done:
        run.readable += 1
        if _brackets(start.group(1)):
            run.flag("wrong_stack", "the stack is empty at the start")
    final, pop, need, stated = _FINAL.search(text), _POP.search(text), _NEED.search(text), _ANSWER.search(text)
    if final and final.group(1).strip():
        _check_end(_brackets(final.group(1)), run)
    if not run.done and (final or pop or need or stated) and not run.ended:
        run.stack, run.done, run.ended = _true_stack(run.symbols), len(run.symbols), True
    run.answered = run.answered or stated is not None
    closing = [PARTNER.get(symbol, symbol) for symbol in reversed(run.stack)] if need or stated else []
    if pop and len(run.flags) == before and (_brackets(pop.group(1)) or "nothing" in pop.group(1).lower()):
        _expect("wrong_pop", "to be popped", _brackets(pop.group(1)), run.stack[::-1], run)
    if need and len(run.flags) == before and need.group(1).strip():
        _expect("wrong_closing", "still to be closed", _brackets(need.group(1)), closing, run)
    if stated and len(run.flags) == before and (_brackets(stated.group(1)) or run.readable):
        run.readable += 1
        _expect("answer_wrong", "the right answer", _ending(stated.group(1), run), closing, run)


def _expect(name: str, what: str, said: Sequence[str], right: Sequence[str], run: _Run) -> None:
    run.work += len(right)
    if list(said) != list(right):
        run.flag(name, f"{what}: {_show(right)}, not {_show(said)}")


def _check_read(symbol: str, said: list[str], run: _Run) -> None:
    """One "X ; stack: ..." step: X is the next symbol and the stack is what X makes of it."""
    run.readable += 1
    run.work += len(said) + 1
    due = run.symbols[run.done] if run.done < len(run.symbols) else None
    run.done += 1
    if symbol != due:
        expected = f"symbol {run.done} of the input is {due}" if due else "the input has ended"
        run.flag("wrong_symbol", f"{expected}, but {symbol} is read here")
        place = run.symbols.find(symbol, run.done - 1, run.done + 20)
        run.done = place + 1 if place >= 0 else run.done  # behind the next place where it stands, or one further
        run.stack = said
        return
    if symbol in PARTNER:
        right = [*run.stack, symbol]
    elif run.stack and run.stack[-1] == _OPENING[symbol]:
        right = run.stack[:-1]
    else:
        top = run.stack[-1] if run.stack else "nothing"
        run.flag("unmatched", f"{symbol} closes {_OPENING[symbol]}, but the top of the stack is {top}")
        run.stack = said
        return
    if said != right:
        run.flag("wrong_stack", f"after {symbol} the stack is {_show(right)}, not {_show(said)}")
    run.stack = said


def _check_end(said: list[str], run: _Run) -> None:
    run.readable += 1
    run.work += len(said)
    if run.done < len(run.symbols):
        left = len(run.symbols) - run.done
        message = f"{left} symbol{' is' if left == 1 else 's are'} not read yet, the next is {run.symbols[run.done]}"
        run.flag("input_left", message)
    elif said != run.stack:
        run.flag("wrong_stack", f"the stack at the end is {_show(run.stack)}, not {_show(said)}")
    run.stack, run.done = said, len(run.symbols)
