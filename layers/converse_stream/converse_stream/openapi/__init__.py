"""The description of all routes of both functions, as OpenAPI 3.1. Only the route that serves it and tests import it.

`routes` describes what the functions do, and does not handle requests. Tests compare it with real responses.
"""
