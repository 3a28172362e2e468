"""Models from elsewhere and to elsewhere: other shapes, other people's weights, other people's programs."""
