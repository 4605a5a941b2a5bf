"""Opens the MLflow UI, from a checkout: python -m src.ui

What it does stands in contrastive_app/ui.py, which an installed wheel starts as `contrastive-ui`.
"""

from contrastive_app.ui import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
