"""An app that knows nothing of this library."""
