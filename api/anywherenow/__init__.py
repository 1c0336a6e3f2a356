"""AnywhereNow: REST recording interface and SignalR hubs."""
