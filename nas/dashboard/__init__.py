"""The dashboard: a local web page over studies, and the documents that it draws."""
