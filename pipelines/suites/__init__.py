"""GLUE-style suites: several tasks, one model, one table."""
