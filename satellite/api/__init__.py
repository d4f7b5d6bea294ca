"""HTTP and WebSocket, on top of `satellite.service`."""
