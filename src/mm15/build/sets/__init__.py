"""One file per name of ``mm15 data build NAME``: data sets in public formats from the user's own material."""
