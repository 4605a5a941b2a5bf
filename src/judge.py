"""Judges the responses of a file, from a checkout: python -m src.judge FILE

What it does stands in contrastive_app/judge/command.py, which an installed wheel starts as `contrastive-judge`.
"""

from contrastive_app.judge.command import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
