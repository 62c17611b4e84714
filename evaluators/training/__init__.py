"""How a model is trained: a recipe, a step, and the run of them."""
