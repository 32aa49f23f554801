"""The DynamoDB emulator: moto's tables, with more of DynamoDB's checks and with faults."""
