"""Commands, views, dashboard, report and exporters, and the assembly of the other packages."""
