"""Several processes as one: ranks and what they agree on."""
