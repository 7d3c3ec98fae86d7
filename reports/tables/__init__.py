"""The published tables and plotted figures of five papers, as recipes."""
