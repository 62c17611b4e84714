"""The dashboard: a local web page that shows studies, and the documents that it draws from."""
