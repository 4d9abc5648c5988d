"""An app that does not use this library."""
