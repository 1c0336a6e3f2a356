"""Our own dialect: REST and a WebSocket of events under `/srs/v1`."""
