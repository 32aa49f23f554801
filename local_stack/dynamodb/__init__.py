"""DynamoDB: moto's tables behind AWS's checks."""
