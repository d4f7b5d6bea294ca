"""The kinds of processes that loads look at."""

INGRESS = "ServeReplica:satellite:Ingress"
# They fill their caches with use, up to what their own settings allow.
DATABASES = ("postgres", "redis-server")
