"""The hint audit: does a rationale show the hint, or say that it was given the answer? Such a rationale is never trained on.

A rationale that leans on "the answer in parentheses" teaches a model to expect it. Dropping a good rationale costs one row,
training on a bad one costs the method, so a sentence that can be read either way is dropped; but a sentence that merely
speaks of what the *problem* gives ("as given in the problem, each box holds 5 pens") is not a hint.
"""

from __future__ import annotations

import re

_ANSWER = r"(?:(?:correct |final |right |true |expected |actual |gold |reference )?answer|(?:correct|final|right) solution)"
_GIVEN = (
    r"(?:given|provided|supplied|told|stated|shown|marked|revealed|indicated|specified|labell?ed|flagged|highlighted)"
)
_EXPECTED = rf"the (?:(?:given|provided|known|expected|hinted|stated) {_ANSWER}|(?:given|provided|hinted) (?:result|value|number))"
_PREMISE = (
    r"(?! (?:in|by|from|within) (?:the |this )?(?:question|problem|story|text|statement|exercise|passage|table|data))"
)
_NO_OPTIONS = r"\b(?! (?:choices?|options?))"
_SOURCE = r"(?:question|problem|prompt)"
_BRACKETS = r"(?:parenthes[ie]s|brackets)"
_BEHIND = r"(?:after|behind|beside|next to|at the end of)"
_COMMON = (
    # "the answer is given", but not "the answer is given by 3 * 5"
    rf"\bthe {_ANSWER}(?: \S{{1,12}})? (?:is|was|has been|had been) (?:already |also )?{_GIVEN}\b"
    r"(?! by (?!the (?:hint|question|prompt)))",
    rf"\b(?:given|provided|supplied|stated|known|revealed) {_ANSWER}{_NO_OPTIONS}",
    rf"\bgiven (?:that )?the {_ANSWER}{_NO_OPTIONS}",
    rf"\b(?:we|i)(?:'re|'m|'ve been| are| were| was| am| have been) (?:already )?(?:given|told|informed|shown|provided with)"
    rf"(?: that)? (?:the|that the|an?) {_ANSWER}{_NO_OPTIONS}",
    rf"\bthe {_SOURCE}(?: itself)?(?: already| also)? (?:tells|gives|says|states|shows|provides|reveals|specifies)"
    rf"(?: us| me)?(?: that)? the {_ANSWER}{_NO_OPTIONS}",
    rf"\bthe {_ANSWER} (?:given|shown|provided|supplied)(?= (?:is|was|here|above|to us)\b|\s*(?:[.,;:!)]|$))",
    r"(?:^|[.,;!?] )the (?:answer|solution) (?:is|was) (?:given|stated|said|known) to be\b",
    rf"\bthe {_ANSWER}(?: \S{{1,12}})? (?:is|was|stands|appears) (?:already )?(?:in|{_BEHIND}) the {_SOURCE}\b",
    rf"\b(?:written|given|shown|stated|stands|printed|placed|noted) (?:right |directly |just )?{_BEHIND} the {_SOURCE}\b",
    r"\bthe prompt (?:already )?(?:says|gives|shows|states|tells|has)\b",
    r"\b(?:gold|reference) answer\b|\bground[- ]truth\b",
    rf"\bknowing (?:that )?the {_ANSWER}(?: (?:is|must be|should be|will be)\b|,)",
    rf"\b(?:we|i) already know (?:that )?the {_ANSWER}\b",
    r"\b(?:we|i) know (?:that )?the (?:correct|final|right|true|actual) (?:answer|solution) is\b",
    rf"\bto (?:get|reach|match|obtain|arrive at|justify|fit) {_EXPECTED}",
    rf"\bmatch(?:es|ing)? {_EXPECTED}",
    rf"\b(?:since|because|as|if) the {_ANSWER} (?:must be|has to be|is known to be|is supposed to be) [$(\d-]",
    r"\b(?:according to|based on|from|following|given|using|use|per|by|with|in|match(?:es)?|confirms?|says?)"
    r" (?:the|this|our|my) hint\b",
    r"\b(?:the|this|our) hint ?[:(]|\bnote the hint\b",
    r"\b(?:the|this|our) hint (?:is|says|said|tells|shows|gives|gave|indicates|suggests|states|already|provided|in)\b",
    r"^hint\s*:",
    rf"\b(?:answer|number|value|result|hint|solution)(?: {_GIVEN})? (?:in|inside|within|between) (?:the )?{_BRACKETS}",
    rf"\bas (?:(?:is|was|it is) )?(?:{_GIVEN} )?(?:in|inside|within|between) (?:the )?{_BRACKETS}",
    r"\b(?:according to|from|in|per|see|check(?:ing)?) the answer key\b|\bthe answer key (?:says|shows|gives|is|states)\b",
    # "so it is 18, as given.", but not "as given in the problem"
    rf"\bas (?:(?:is|was|already|it is|it was) )?(?:given|provided|supplied|told){_PREMISE}"
    r"(?=\s*(?:[.,;:!)]|$|above\b|in\b|at\b|by (?:the )?(?:hint|prompt|you)\b|to us\b|there\b))",
    r"\banswer\b[^.\n]{0,60}\bas (?:(?:is|was|already) )?(?:given|provided|supplied|told|stated|shown|marked|indicated)\b"
    r"(?! (?:in|by) (?:the|its|their) (?:rules?|instructions?|game|contest|article|story))",
)
_PARENTHESES = (
    # the question quoted with its hint ("... in May? (72)"), or a line that holds the hint alone
    r"\?\s{0,3}\(\s?[-−]?[$€£]?[\d.,/]{1,40}%?\s?\)",
    r"^\(\s?[-−]?[$€£]?[\d.,/]{1,40}%?\s?\)$",
)
_MARKED_CHOICE = (
    r"(?<!\w)(?:option|choice|answer|it|that|which|one|\([a-z0-9]\)) (?:is|was|has been|that is|being) (?:already )?"
    r"(?:marked|labell?ed|flagged|indicated|highlighted|tagged|designated|listed|noted|given|shown)"
    r"(?: as)?(?: being)?(?: the)? \W?(?:correct|right|answer)\b",
    r"\b(?:marked|labell?ed|flagged|tagged) (?:as |with )?(?:the )?[\"'“(]?correct\b",
    r"\bthe (?:correct|right) (?:option|choice|one) (?:is|was|has been) (?:already )?"
    r"(?:given|marked|indicated|provided|shown|told|specified|stated|identified|highlighted)\b",
    r"\b(?:the (?:question|problem|prompt|list)|it) (?:is|was|has been)? ?(?:already )?"
    r"(?:indicate[sd]|mark(?:s|ed)|state[sd]|specifie[sd]|labels|labelled|flag(?:s|ged)|highlight(?:s|ed)|given|written)(?: that)?"
    r" [^.\n]{1,40}?\b(?:as|is) (?:the )?(?:correct|right)\b",
    r"\b(?:says|reads|stands|written) [\"'“(]?correct\b",
    r"\bcorrect[\"'”)]? (?:next to|beside|behind) (?:it\b|the (?:option|choice)|option|choice|\()",
)
CORRECT_MARK = re.compile(r"\bCORRECT\b|[(\[]\s?correct\s?[)\]]")
_SUSPECT = re.compile(
    r"answer|solution|hint|given|provided|supplied|told|parenthes|bracket|marked|label|flagged|tagged|correct|right|question"
    r"|problem|prompt|truth|\?\s{0,3}\(|^\s*\(",
    re.IGNORECASE,
)
"""Nothing below can match a text without one of these; most rationales have none."""
_NUMBER_AUDIT = re.compile("|".join((*_COMMON, *_PARENTHESES)), re.IGNORECASE)
_CHOICE_AUDIT = re.compile("|".join((*_COMMON, *_MARKED_CHOICE)), re.IGNORECASE)


def mentions_answer_hint(rationale: str) -> bool:
    """For hints in parentheses after the question (numbers, texts, mathematics)."""
    return _objects(_NUMBER_AUDIT, rationale)


def mentions_choice_hint(rationale: str) -> bool:
    """For the mark ` (CORRECT)` after an option."""
    return _objects(_CHOICE_AUDIT, rationale)


def _objects(audit: re.Pattern[str], rationale: str) -> bool:
    for line in rationale.replace("’", "'").split("\n"):
        if _SUSPECT.search(line):
            text = " ".join(line.split())
            if audit.search(text) or CORRECT_MARK.search(text):
                return True
    return False
