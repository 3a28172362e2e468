"""Self-contained pages: HTML and SVG in one file, all text escaped, no script."""
