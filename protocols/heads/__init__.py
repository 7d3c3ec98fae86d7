"""Regressors and classifiers that read features, and their training."""
