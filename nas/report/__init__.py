"""Reports: a study in one file, readable without the program and the database."""
