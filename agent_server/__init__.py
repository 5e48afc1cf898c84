"""The agent server: sessions, the batcher, policies and the services that drive simulators over gRPC."""
