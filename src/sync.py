"""Sends what a tracking server has not taken yet, from a checkout: python -m src.sync

What it does stands in contrastive_app/sync.py, which an installed wheel starts as `contrastive-sync`.
"""

from contrastive_app.sync import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
