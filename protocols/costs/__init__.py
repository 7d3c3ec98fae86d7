"""Counting and measuring what a network costs."""
