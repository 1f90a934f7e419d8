"""Figures, pages and the model card."""
