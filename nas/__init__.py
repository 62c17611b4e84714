"""What a person touches: commands and views, and where the parts are assembled."""
