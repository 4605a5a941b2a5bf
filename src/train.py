"""The single entry point in a checkout: python -m src.train loss=supcon loss.temperature=0.1

What it does stands in contrastive_app/train.py, which an installed wheel starts as `contrastive-train`.
"""

from contrastive_app.start import main

if __name__ == "__main__":
    main()
else:  # what takes long to import comes after the first word of `main`
    from contrastive_app.train import run_from_hydra, train

__all__ = ["main", "run_from_hydra", "train"]
