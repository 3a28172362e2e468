"""Families of language models. A module tells: ``MODEL_TYPE``, ``read_config``, ``write_config``, ``entries``."""
