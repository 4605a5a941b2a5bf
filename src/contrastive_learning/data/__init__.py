"""Where judged responses come from. Each class is a DataSource: all checks on outside data happen here."""

from contrastive_learning.data.aihub import AIHubData
from contrastive_learning.data.sample import SampleData
from contrastive_learning.data.votes_data import VotesData

__all__ = ["AIHubData", "SampleData", "VotesData"]
