"""report.html: what a sweep found, on one page that needs nothing else."""

from src.report.page import render

__all__ = ["render"]
