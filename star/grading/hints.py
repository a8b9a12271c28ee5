"""The hint audit: does a rationale show the hint, or say that it was given the answer? Such a rationale is never trained on.

A rationale that leans on "the answer in parentheses" teaches a model to expect it. The rules look for an answer that comes
from outside ("the given answer", "you told me that it is 18", "18 is stated as the answer", "the question says (18)"); a
sentence that speaks of what the *problem* gives ("as given, each box holds 5 pens", "the problem says that he paid $5") is no
hint, and one that can be read either way ("working backwards from 18") is kept and counted. tests/hint_cases.json holds
labelled sentences; benchmarks/grading.py reports precision and recall on them.
"""

from __future__ import annotations

import re

_KIND = r"(?:(?:correct|final|right|true|actual|numerical|exact|official) )*"
_ANSWER = rf"{_KIND}(?:answer|solution|result)(?! (?:sheets?|books?|choices?|options?|of salt|contains)\b)"
_GIVEN = (
    r"(?:given|provided|supplied|told|stated|shown|marked|revealed|indicated|specified|labell?ed|flagged|highlighted|listed"
    r"|included|identified|mentioned|written|printed|attached)"
)
_OUTSIDE = (
    r"(?:given|provided|supplied|stated|known|revealed|expected|hinted|target|desired|official|reference|gold|intended"
    r"|listed|indicated)"
)
_VALUE = r"(?:\(?[-−]?[$€£]?\d[\d.,/]{0,40}%?\)?(?![\w/])|\(?\b[A-H]\)?(?!\w)|(?:option|choice) \(?[A-H]\)?(?!\w))"
_SOURCE = r"(?:question|problem(?: statement)?|prompt|user|task|list|exercise)"
_SAYS = r"(?:tells|says|gives|states|shows|provides|reveals|specifies|indicates|mentions|includes|contains|identifies|lists|marks)"
_WE = r"(?:we|i)(?:'re|'m|'ve been| are| were| was| am| have been)(?: already)?"
_IS = r"(?:is|was|has been|had been)(?: already| also)?"
_BE = r"(?:is|was|equals|comes to|(?:must|should|has to|will|would) (?:be|equal|come to))"
_PARENTHESES = r"(?:in|inside|within|between) (?:the )?(?:parenthes[ie]s|brackets)"
_NUMBER_NOUN = r"(?:number|value|total|amount|figure|answer|result)"
_FITS = (
    r"(?:match(?:es|ing)?|equals?|confirms?|fits?|reach|get|justify|justifies|explains?|obtain|arrive at|leads? to|agrees? with"
    r"|consistent with|in line with|identical to|(?:the )?same as|exactly)"
)
_COMMON = (
    # an answer that was given, is known, or comes from somewhere: "the answer is given", but not "is given by 3 * 5"
    rf"(?<!of )\bthe {_ANSWER}(?: \S{{1,12}})? {_IS} {_GIVEN}\b(?! by (?!the (?:hint|question|prompt|problem|user)|you))"
    r"(?! (?:in|by) (?:the )?(?:formula|table|equation))",
    rf"\bthe {_ANSWER} (?:is|was) (?:already known|(?:known|said|stated|given|supposed|meant) to be)\b",
    r"\banswer is already (?:known|there)\b",
    rf"\b{_OUTSIDE} {_ANSWER}\b|\b(?:expected|intended) output\b|\bground[- ]truth\b",
    rf"\bgiven (?:that )?(?:the|this) {_KIND}answer\b(?! (?:choices?|options?|sheet))",
    rf"(?<!of )\bthe {_ANSWER} (?:that |which )?(?:(?:you|we|i) )?(?:(?:is|was|were|had been|have been|are) )?{_GIVEN}\b"
    r"(?! by (?!you|the (?:user|prompt|question|problem)))(?! (?:in|by) (?:the )?(?:formula|table|equation))",
    rf"\bthe {_ANSWER}(?: \S{{1,12}})? (?:is |was |stands |appears )?(?:already )?(?:in|from|of|after|behind|with|at the end of)"
    rf" the (?:{_SOURCE}|hint)\b",
    rf"\b{_ANSWER}\b[^.\n]{{0,25}} (?:according to|as per|from) the (?:question|prompt|user)\b",
    rf"\b(?:{_GIVEN}|described|regarded)(?: to us| here)? as (?:(?:the|our|being) )?(?:the )?(?:{_ANSWER}|(?:correct|right)\b)",
    r"\banswer\b[^.\n]{0,60}\bas (?:(?:is|was|already) )?(?:given|provided|supplied|told|stated|shown|marked|indicated)\b"
    r"(?! (?:in|by) (?:the|its|their) (?:rules?|instructions?|game|contest|article|story))",
    # who says so
    rf"\bthe {_SOURCE}(?: itself)?(?: already| also)? {_SAYS}(?: us| me)?(?: that)? (?:the |its ){_ANSWER}\b",
    rf"\bthe {_SOURCE}(?: already| also)? (?:{_SAYS}|ends with)(?: us| me)?(?: that)? (?:the {_KIND}answer|{_VALUE})"
    r"(?: in (?:parentheses|brackets)| as the| is (?:the )?(?:correct|right)|\s*(?:[.;:!]|,(?! ?(?:and )?[$€£]?\d)|$))",
    rf"\bthe prompt(?: already)? {_SAYS}\b|\b(?:in|by|from) the prompt\b",
    rf"\bas the {_SOURCE}(?: already| also)? {_SAYS}(?: us)?, (?:the {_ANSWER}|it (?:is|must be) {_VALUE})",
    rf"\b(?:that|it|this)(?:'s| is) what the {_SOURCE} {_SAYS}\b|\bsays so\b",
    rf"\b{_WE} (?:given|told|informed|shown|provided with)(?: that)? (?:the|that the|an?) {_ANSWER}"
    rf"(?= {_BE}\b|\s*[.,;:!]|$| \(?\d)",
    rf"\b{_WE} (?:told|informed)(?: that)? (?:it|this) {_BE} {_VALUE}",
    rf"\b{_WE} (?:told|informed)(?: that)? {_VALUE} (?:is|was) (?:the )?(?:correct|right|answer)\b",
    rf"\b(?:you(?:'ve| have)?|the (?:user|prompt)) (?:told|said|gave|given|provided|supplied|stated|mentioned)\b[^.\n]{{0,25}}\b"
    rf"{_ANSWER}\b",
    r"\banswer (?:that |which )?you (?:gave|provided|told|stated|supplied|mentioned)\b",
    # what we know before we start
    rf"\bknowing (?:that )?the {_ANSWER}(?= {_BE}\b|,)|\bknow (?:that )?the {_ANSWER} {_BE}\b(?<!now we know the answer is)",
    rf"\b(?:we|i) already (?:know|have) (?:that )?the {_ANSWER}\b(?! to\b)",
    rf"\bwith the {_ANSWER} being\b|\breverse[- ]engineer|\bbackwards? from the (?:\w+ )?{_ANSWER}\b",
    rf"\b(?:since|because|as|if) the {_ANSWER} (?:must be|has to be|is known to be|is supposed to be) [$(\d-]",
    # it fits what was given
    rf"\b{_FITS}(?: exactly)? (?:to )?the (?:given|provided|known|stated|expected|supplied) {_NUMBER_NOUN}\b",
    rf"\b{_FITS}(?: exactly)? the {_NUMBER_NOUN} (?:that (?:was|is) )?(?:given|provided|shown|supplied)\b",
    r"\b(?:given|provided|hinted) result\b(?! by)",
    r"\b(?:according to|from|in|per|see|check(?:ing)?) the answer key\b",
    r"\bthe (?:answer )?key (?:says|shows|gives|is(?= [$\d(])|states|has|confirms)\b",
    # "so it is 18, as given.", but not "As given, each box holds 5 pens."
    r"\bas (?:(?:is|was|already|it is|it was) )?(?:given|provided|supplied|told)"
    r"(?=\s*(?:[.;:!)]|$|above\b|at\b|by (?:the )?(?:hint|prompt|you)\b|to us\b|there\b))",
    rf"\bas (?:given|provided), (?:the {_ANSWER}|it is {_VALUE})",
    # hints by name, and by their place
    r"\b(?:the|this|our|my) hint(?=\s*(?:[.,;:!()]|$)| (?:is|was|says|said|tells|told|shows|gives|gave|indicates|suggests|states"
    r"|already|provided|in|that|we|confirms?|at)\b| of \(?[$\d])|^hint\s*:",
    r"\b(?:according to|as per|per|from|by|following|using|given|with|thanks to) (?:the|this|your|our) hint\b",
    rf"\b(?:answer|result|hint|solution|{_VALUE})(?: {_GIVEN})? {_PARENTHESES}",
    rf"\b(?:number|value)(?: {_GIVEN})? in (?:parenthes[ie]s|brackets)|\b{_FITS} the (?:number|value)(?: {_GIVEN})? {_PARENTHESES}",
    rf"\bas (?:(?:is|was|it is) )?(?:{_GIVEN} )?{_PARENTHESES}",
    r"\b(?:parenthetical|parenthesi[sz]ed)\b[^.\n]{0,20}\b(?:tells|gives|shows|says|is|confirms)\b",
    rf"\b(?:{_NUMBER_NOUN}|{_VALUE}|{_GIVEN}|it)(?: \w+){{0,4}} (?:right |directly |just )?"
    r"(?:after|behind|beside|at the end of|next to) the (?:question|problem|prompt)\b",
    rf"^{_VALUE} is (?:the answer given|what we (?:are looking for|need to get|want))",
)
_QUOTED_HINT = (
    # the question quoted with its hint ("... in May? (72)"), or a line that holds the hint alone
    r"\?\s{0,3}\(\s?[-−]?[$€£]?[\d.,/]{1,40}%?\s?\)",
    r"^\(\s?[-−]?[$€£]?[\d.,/]{1,40}%?\s?\)$",
)
_MARK = r"(?:marked|labell?ed|flagged|indicated|highlighted|tagged|designated|listed|noted|given|shown|identified|said)"
_MARKED_CHOICE = (
    rf"(?<!\w)(?:option|choice|answer|it|that|which|one|\(?[a-z0-9]\)?) (?:is|was|has been|that is|being) (?:already )?{_MARK}"
    r"(?: as)?(?: being)?(?: to be)?(?: the)? \W?(?:correct|right|answer)\b",
    r"\b(?:marked|labell?ed|flagged|tagged) (?:as |with )?(?:the )?[\"'“(]?correct\b|\bmarked (?:option|choice|answer|one)\b",
    r"\bthe (?:correct|right) (?:option|choice|one|answer) (?:is|was|has been) (?:already )?"
    r"(?:given|marked|indicated|provided|shown|told|specified|stated|identified|highlighted)\b",
    r"\b(?:the (?:question|problem|prompt|list)|it) (?:is|was|has been)? ?(?:already )?"
    r"(?:indicate[sd]|mark(?:s|ed)|state[sd]|specifie[sd]|labels|labelled|flag(?:s|ged)|highlight(?:s|ed)|given|written|identifies|says)"
    r"(?: that)? [^.\n]{1,40}?\b(?:as|is) (?:the )?(?:correct|right)\b",
    rf"\bit is (?:indicated|stated|marked|shown)(?: that)? the {_ANSWER}\b",
    r"\b(?:choices|options|answer choices)(?: already)? (?:show|mark|tell|indicate|say)\b",
    r"\b(?:mark|marking|annotation|label|note|tag)\b[^.\n]{0,25}\b(?:shows?|says|tells|indicates?)\b[^.\n]{0,25}\b(?:right|correct|answer)\b",
    r"\b(?:from|by) the (?:mark|marking|label|tag)\b",
    r"\b(?:says|reads|stands|written) [\"'“(]?correct\b",
    r"\bcorrect[\"'”)]? (?:next to|beside|behind) (?:it\b|the (?:option|choice)|option|choice|\()",
)
CORRECT_MARK = re.compile(r"\bCORRECT\b|[(\[]\s?correct\s?[)\]]")
_SUSPECT = re.compile(
    r"answer|solution|result|hint|given|provided|supplied|told|parenthes|bracket|marked|label|flagged|tagged|correct|question"
    r"|problem|prompt|truth|output|reverse|the key|says|identified|mark\b|tag\b|annotation|note\b|\?\s{0,3}\(|^[ \t]{0,9}\(",
    re.MULTILINE,
)
"""Nothing below can match a text without one of these; most rationales have none."""
_NUMBER_AUDIT = re.compile("|".join((*_COMMON, *_QUOTED_HINT)), re.IGNORECASE)
_CHOICE_AUDIT = re.compile("|".join((*_COMMON, *_MARKED_CHOICE)), re.IGNORECASE)

_UNSURE = re.compile(
    r"\bas (?:(?:is|was|it is|it was|already) )?(?:given|provided|stated|supplied|told|expected|required|shown|indicated|listed)\b"
    r"|\bbackwards?\b|\bhints?\b|\bparenthes[ie]s\b|\bthe (?:user|prompt)\b"
    r"|\bquestion (?:ends|says|tells|gives|shows|states)\b|\balready (?:in|given|known|stated)\b"
    rf"|\b(?:{_OUTSIDE}|correct|right) (?:{_NUMBER_NOUN}|option|choice)\b"
    rf"|\b(?:known?|knew|told)\b[^.\n]{{0,30}}\banswer\b|\banswer\b[^.\n]{{0,30}}\b(?:{_GIVEN}|known)\b",
    re.IGNORECASE,
)


def mentions_answer_hint(rationale: str) -> bool:
    """For hints in parentheses after the question (numbers, texts, mathematics)."""
    return _objects(_NUMBER_AUDIT, rationale)


def mentions_choice_hint(rationale: str) -> bool:
    """For the mark ` (CORRECT)` after an option."""
    return _objects(_CHOICE_AUDIT, rationale)


def may_mention_hint(rationale: str) -> bool:
    """Whether a rationale that is no plain mention speaks of an answer, or of its source, in words that can be read either way."""
    return _UNSURE.search(rationale) is not None


def _objects(audit: re.Pattern[str], rationale: str) -> bool:
    if not _SUSPECT.search(rationale.lower()):
        return False
    for line in rationale.replace("’", "'").split("\n"):
        if _SUSPECT.search(line.lower()):
            text = " ".join(line.split())
            if audit.search(text) or CORRECT_MARK.search(text):
                return True
    return False
