"""The HTTP reference in docs/reference, generated from the code, template.yaml and the test fixtures.

`make docs` writes the pages; `make lint` fails when one is stale. Each page is a module with a function `page`, which
returns the Markdown text. Sentences that no code contains stand in these modules, beside what they explain.
"""
