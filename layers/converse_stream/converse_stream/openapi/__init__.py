"""The description of every route of both functions, as OpenAPI 3.1. Imported by the route that serves it, and by tests.

Nothing here answers a request: `routes` says what the functions do, and tests compare it with what they really answer.
"""
