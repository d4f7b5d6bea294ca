"""How the weights under `models/artifacts` are made and scored. Never imported while serving."""
