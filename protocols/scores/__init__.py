"""From predictions to values: the metrics, each by its definition."""
