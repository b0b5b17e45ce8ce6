"""Results as tables, figures, files and one HTML page."""
