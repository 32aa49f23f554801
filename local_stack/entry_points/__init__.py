"""What clients reach: Function URL, API Gateway, CloudFront and the static files."""
