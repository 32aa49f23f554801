"""The entry points: Function URL, API Gateway, CloudFront and the static files."""
