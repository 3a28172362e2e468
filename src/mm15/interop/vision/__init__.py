"""Families of image encoders. A module tells: ``claims`` (is a folder's config its own), ``read_config``, ``entries``,
``SCOPES``, ``IGNORED``, and ``write_config`` where it can be written."""
