"""Yes and no as people write them, in English and in Korean, and answers on a scale such as stars."""

import math
from collections.abc import Mapping

from contrastive_learning.data.rows import shown

YES = (1, "1", "1.0", "yes", "y", "true", "o", "○", "예", "네", "그렇다", "좋음", "적합")  # 1 equals True and 1.0
NO = (0, "0", "0.0", "no", "n", "false", "x", "×", "아니오", "아니요", "아니다", "그렇지 않다", "나쁨", "부적합")
NO_ANSWER = (None, "", "nan", "null", "none")
WORDS: Mapping[object, bool | None] = {
    **dict.fromkeys(YES, True),
    **dict.fromkeys(NO, False),
    **dict.fromkeys(NO_ANSWER),
}
FORMS = "1/0, true/false, yes/no, y/n, O/X, 예/아니오, 네/아니요, 그렇다/아니다, 좋음/나쁨 or 적합/부적합"


class Answers:
    """Reads one answer of one annotator. If `yes_from` is given, numbers are a scale, and from it on they mean yes.

    >>> Answers(None).read("예"), Answers(None).read(""), Answers(4).read("3.5")
    (True, None, False)
    """

    def __init__(self, yes_from: float | None) -> None:
        if yes_from is not None and (isinstance(yes_from, bool) or not isinstance(yes_from, int | float)):
            raise ValueError(f"data.source.yes_from must be a number such as 4, got {yes_from!r}")
        self.yes_from = yes_from

    def read(self, value: object) -> bool | None:
        """None for an annotator who gave no answer. Raises ValueError if `value` is no answer, a list for instance."""
        try:
            if self.yes_from is None and value in WORDS:
                return WORDS[value]
        except TypeError as error:  # a list or an object
            raise ValueError(self.must_be(value)) from error
        if isinstance(value, float) and math.isnan(value):
            return None
        key = value.strip(" '\"").lower() if isinstance(value, str) else value
        number = None if self.yes_from is None else as_number(key)
        if self.yes_from is not None and number is not None:
            return number >= self.yes_from
        try:
            return WORDS[key]
        except (KeyError, TypeError) as error:
            raise ValueError(self.must_be(value)) from error

    def are(self, value: object) -> bool:
        """Whether `value` is an answer."""
        try:
            self.read(value)
        except ValueError:
            return False
        return True

    def must_be(self, value: object) -> str:
        number, advice = as_number(value), ""
        if number is not None and number < 0:
            advice = "; leave it empty if it means no answer, write 0 if it means no"
        elif number is not None:
            advice = "; for a scale say from where on it means yes: data.source.yes_from=4"
        return f"a vote must be {FORMS}, got {shown(value)}{advice}"


def as_number(value: object) -> float | None:
    """A finite number, or text that is one. True and False are words, not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
