"""Words every room uses: no model, no pixels, no files."""
