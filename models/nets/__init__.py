"""The networks behind the models. Most modules here import torch: import them inside `load`."""
