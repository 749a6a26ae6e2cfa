"""A comparison as tables, pictures, files and one HTML page."""
