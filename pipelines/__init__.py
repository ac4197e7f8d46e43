"""Plumbline: from raw text to a trained, evaluated and published language model, with numbers that can be trusted."""
