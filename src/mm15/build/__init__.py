"""One file per builder: real material → a data set on disk in a public format."""
