"""A trained judge as a folder of files that loads and serves without this package."""

from contrastive_learning.serving.export import JUDGE_CODE, export_judge, fit_vote_shares

__all__ = ["JUDGE_CODE", "export_judge", "fit_vote_shares"]
