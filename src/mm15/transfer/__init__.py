"""Models between projects: other people's weights in. Built on interop, bundle and the processor."""
