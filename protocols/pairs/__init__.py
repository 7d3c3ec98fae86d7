"""Pairs of images: who is paired, where their points lie, and how a point is found again."""
