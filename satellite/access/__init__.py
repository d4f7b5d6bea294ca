"""Who may do what: API keys and the tenants they speak for, limits, tickets for sockets, the audit log."""
