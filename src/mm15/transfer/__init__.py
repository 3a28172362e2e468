"""Models that come from elsewhere and models that go elsewhere."""
