"""The seven topics: two themes per topic, two subjects per theme, every subject with its own vocabulary."""

from dataclasses import dataclass

from contrastive_learning.data.sample.subjects import Subject, Themes
from contrastive_learning.data.sample.subjects_culture import CULTURE
from contrastive_learning.data.sample.subjects_daily import DAILY


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    themes: Themes

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return tuple(subject for theme in self.themes for subject in theme)

    def theme_of(self, subject: Subject) -> tuple[Subject, ...]:
        return next(theme for theme in self.themes if subject in theme)


TOPICS = {name: Topic(name, themes) for name, themes in (CULTURE | DAILY).items()}
