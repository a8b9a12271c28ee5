"""Reading answers out of completions, and comparing them.

`same_answer` is the one equality of answers of this project: graders, votes, probes, checks and scores go by it.
"""

from star.grading.equality import answer_type_of, grade, is_right, same_answer, votes

__all__ = ["answer_type_of", "grade", "is_right", "same_answer", "votes"]
