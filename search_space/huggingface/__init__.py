"""An Architecture and its weights as transformers has them, both ways, exactly or not at all."""
