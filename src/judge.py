"""Judges the responses of a file, from a checkout: python -m src.judge FILE

It begins in contrastive_app/judge/start.py, which an installed wheel starts as `contrastive-judge`.
"""

from contrastive_app.judge.start import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
