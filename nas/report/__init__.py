"""A study in one file, to be sent to somebody who has neither the program nor the database."""
