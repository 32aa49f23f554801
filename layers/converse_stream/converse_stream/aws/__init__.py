"""boto3 clients: their connections, deadlines and cancellation."""
