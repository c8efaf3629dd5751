"""Guards around the routes. Pure ASGI: Starlette's BaseHTTPMiddleware hides a client's leaving."""
