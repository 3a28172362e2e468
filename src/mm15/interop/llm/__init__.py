"""Families of language models. A module tells: ``MODEL_TYPE``, ``LIKE`` (what its config must not lack),
``read_config``, ``write_config``, ``entries``."""
