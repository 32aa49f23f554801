"""The table: one DynamoDB table, every key under the user's own partition."""
