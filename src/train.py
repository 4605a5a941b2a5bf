"""The single entry point in a checkout: python -m src.train loss=supcon loss.temperature=0.1

What it does stands in contrastive_app/train.py, which an installed wheel starts as `contrastive-train`.
"""

from contrastive_app.train import main, run_from_hydra, train

__all__ = ["main", "run_from_hydra", "train"]

if __name__ == "__main__":
    main()
