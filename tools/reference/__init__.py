"""Generates the reference in docs/reference from the code, template.yaml and the test fixtures.

`make docs` writes the pages. `make lint` fails if one is stale. Each page is a module with a function `text`, which
returns its Markdown. Descriptions that are not in the code are in these modules.
"""
